//! A command's way to the data: through the `serve` that holds the data directory, or by holding it itself.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use driftless_fjall::OpenError as StoreError;
use driftless_tokio::{Node, OpenError, Options};
use tokio::sync::mpsc;

use crate::control::{self, Connection, Found};
use crate::passphrase::Unlock;
use crate::protocol::{Request, Response};
use crate::{service, settings};

/// How long to wait for another command that holds the data directory.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to look whether it is done.
const RETRY: Duration = Duration::from_millis(50);
/// Items that wait to be taken.
const ITEMS: usize = 4;

/// How a command that finds no server uses the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Without the network.
    Alone,
    /// With it: what the command wants comes from others.
    Network,
}

/// What to do if there is no data directory yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// What the command asks for cannot be there.
    Refuse,
    /// The command is how things begin.
    Make,
}

/// A way to the data.
#[derive(Debug)]
pub enum Session {
    /// Through a server.
    Remote(Box<Connection>),
    /// By holding the data directory.
    Local(Node),
}

impl Session {
    /// Opens the data directory, or connects to whoever has it open.
    ///
    /// # Errors
    /// If it is not there, or cannot be used.
    pub async fn open(dir: &Path, unlock: &Unlock, reach: Reach, missing: Missing) -> Result<Self> {
        if missing == Missing::Refuse && !is_initialised(dir) {
            bail!(
                "there is no data directory {}: begin with `driftless syncgroup create NAME`, `driftless syncgroup \
                 join INVITATION` or `driftless init`, or name another with --dir",
                dir.display()
            );
        }
        let options = || {
            let (discovery, store) = (reach == Reach::Network, unlock.options(dir)?);
            Ok(Options { discovery, store, ..Options::default() })
        };
        Self::reach_or_hold(dir, None, options).await
    }

    /// Connects to whoever has the data directory open, or opens it as soon as nobody has.
    ///
    /// # Errors
    /// If it cannot be used, or somebody has it for long whom nothing can be asked.
    pub(crate) async fn reach_or_hold(
        dir: &Path,
        listen: Option<SocketAddr>,
        options: impl Fn() -> Result<Options>,
    ) -> Result<Self> {
        let (mut known, mut in_use_since) = (None, None);
        loop {
            let unproven = match control::connect(dir).await? {
                Found::Server(connection) => return Ok(Self::Remote(connection)),
                Found::Nobody => None,
                Found::Unproven(why) => Some(why),
            };
            // A server has the key already: nobody is asked for a passphrase who may only have missed it, or come
            // while it starts.
            let opened = match driftless_fjall::see_unused(dir) {
                Ok(()) => {
                    let options = match &known {
                        Some(known) => known,
                        None => known.insert(options()?),
                    };
                    settings::open_listening(dir, listen, options.clone()).await
                }
                Err(error) => Err(error.into()),
            };
            let error = match opened {
                Ok(node) => {
                    if unproven.is_some() {
                        // Others need not wait for whoever has the port now.
                        control::forget_port(dir);
                    }
                    return Ok(Self::Local(node));
                }
                Err(error) => error,
            };
            if !is_in_use(&error) {
                return Err(explain(&error, dir));
            }
            // Another command has it for a moment, or a server is just starting, or ending.
            let since = *in_use_since.get_or_insert_with(|| {
                tracing::info!("{error}; waiting up to {} s for that to end", PATIENCE.as_secs());
                Instant::now()
            });
            if since.elapsed() >= PATIENCE {
                return Err(match unproven {
                    Some(why) => why.context(error.to_string()),
                    None => explain(&error, dir),
                });
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Whether a server answers.
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
    }

    /// Asks for something.
    ///
    /// # Errors
    /// If the server cannot be asked.
    pub async fn ask(&mut self, request: Request) -> Result<Answer<'_>> {
        match self {
            Self::Remote(connection) => {
                connection.ask(&request).await?;
                Ok(Answer(Source::Remote(connection)))
            }
            Self::Local(node) => {
                let (out, items) = mpsc::channel(ITEMS);
                let node = node.clone();
                tokio::spawn(async move { service::answer(&node, request, &out).await });
                Ok(Answer(Source::Local(items)))
            }
        }
    }

    /// Asks for something whose answer is that it is done.
    ///
    /// # Errors
    /// If it is not done.
    pub async fn tell(&mut self, request: Request) -> Result<()> {
        let mut answer = self.ask(request).await?;
        while answer.next().await?.is_some() {}
        Ok(())
    }

    /// Asks for something whose answer is one item.
    ///
    /// # Errors
    /// If there is none.
    pub async fn one(&mut self, request: Request) -> Result<Response> {
        let mut answer = self.ask(request).await?;
        let item = answer.next().await?.context("the answer is empty; this is a defect")?;
        while answer.next().await?.is_some() {}
        Ok(item)
    }

    /// Lets go of the data directory: everything written is safe, and every link is closed with a good-bye.
    pub async fn close(self) {
        if let Self::Local(node) = self {
            node.shutdown().await;
        }
    }
}

/// The items of an answer.
#[derive(Debug)]
pub struct Answer<'s>(Source<'s>);

#[derive(Debug)]
enum Source<'s> {
    Remote(&'s mut Connection),
    Local(mpsc::Receiver<Response>),
}

impl Answer<'_> {
    /// The next item; `None` at the end.
    ///
    /// # Errors
    /// [`crate::protocol::Problem`] if the request was not done, or what broke on the way.
    pub async fn next(&mut self) -> Result<Option<Response>> {
        let item = match &mut self.0 {
            Source::Remote(connection) => connection.next().await?,
            Source::Local(items) => items.recv().await.context("the answer broke off; this is a defect")?,
        };
        match item {
            Response::End => Ok(None),
            Response::Error(problem) => Err(problem.into()),
            item => Ok(Some(item)),
        }
    }
}

/// Opens a node: reading the store may take a while, and must not hold up the executor.
///
/// # Errors
/// As [`Node::open`].
pub async fn open_node(dir: &Path, options: Options) -> Result<Node, OpenError> {
    let dir: PathBuf = dir.to_owned();
    let handle = tokio::runtime::Handle::current();
    let opening = tokio::task::spawn_blocking(move || {
        // QUIC wants to know on which runtime it lives.
        let _guard = handle.enter();
        Node::open(dir, options)
    });
    match opening.await {
        Ok(opened) => opened,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Whether somebody else holds the data directory.
fn is_in_use(error: &OpenError) -> bool {
    matches!(error, OpenError::Store(StoreError::InUse { .. }))
}

/// Why a data directory cannot be opened, with the option that may help.
pub fn explain(error: &OpenError, dir: &Path) -> anyhow::Error {
    let lost = matches!(
        error,
        OpenError::Store(
            StoreError::SetBack { .. } | StoreError::Damaged { .. } | StoreError::Unreadable { .. }
        )
    );
    // These errors say themselves what they come from.
    let dir = dir.display();
    match error {
        OpenError::Listen { .. } => anyhow::anyhow!("{error}"),
        _ if lost => anyhow::anyhow!(
            "cannot open the data directory {dir}: {error}. To accept the loss: driftless init --accept-loss"
        ),
        _ => anyhow::anyhow!("cannot open the data directory {dir}: {error}"),
    }
}

/// The same for a command that needs the directory for itself, and cannot ask a server.
pub(crate) fn explain_alone(error: StoreError, dir: &Path) -> anyhow::Error {
    match error {
        StoreError::InUse { .. } => anyhow::anyhow!(
            "the data directory {} is in use: stop `driftless serve` there, and try again",
            dir.display()
        ),
        error => explain(&error.into(), dir),
    }
}

/// Whether a data directory is there.
pub fn is_initialised(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}
