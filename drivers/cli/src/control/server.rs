//! The server's end.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use driftless_tokio::Node;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::lines::{Lines, TooLong};
use super::proof::{End, is_proof, proof};
use super::{NO_RANDOMNESS, Port, port_path};
use crate::protocol::{Challenge, Hello, Problem, Request, Response, VERSION, Welcome, Word};
use crate::service;

/// Clients served at a time; more of them wait.
const CLIENTS: usize = 64;
/// Clients at a time that have not shown yet that they may be served; for one more the oldest is let go.
const NEWCOMERS: usize = 128;
/// How long they may take where nobody else comes: they have nothing else to do.
const GREETING: Duration = Duration::from_secs(5);
/// How long each of them may take whoever else comes: so all of the [`BACKLOG`] have had their turn within a second.
const FIRST: Duration = Duration::from_millis(100);
/// Clients that the system keeps until they are accepted.
const BACKLOG: u32 = 1_024;
/// Clients at a time that wait for a place; more of them are turned away at once.
const WAITING: usize = 128;
/// How long one waits for a place: less than it waits to be greeted.
const PATIENCE: Duration = Duration::from_secs(5);
/// Items that wait for a client to take them.
const ITEMS: usize = 4;

/// Where clients are served, and where they wait for that.
struct Places {
    free: Semaphore,
    waiting: Semaphore,
}

impl Places {
    fn new() -> Self {
        Self { free: Semaphore::new(CLIENTS), waiting: Semaphore::new(WAITING) }
    }
}

/// Clients that have not shown yet that they may be served, the oldest first: since when, and what lets go of it.
#[derive(Default)]
struct Newcomers(VecDeque<(Instant, oneshot::Sender<()>)>);

impl Newcomers {
    /// Waits until there is room for another one.
    async fn make_room(&mut self) {
        self.0.retain(|(_, newcomer)| !newcomer.is_closed());
        if self.0.len() >= NEWCOMERS
            && let Some((since, oldest)) = self.0.front_mut()
        {
            let _ = tokio::time::timeout_at(*since + FIRST, oldest.closed()).await;
            self.0.pop_front();
        }
    }

    /// Adds one, and gives what completes when it is let go. It is none any more once that is dropped.
    fn add(&mut self) -> oneshot::Receiver<()> {
        let (newcomer, let_go) = oneshot::channel();
        self.0.push_back((Instant::now(), newcomer));
        let_go
    }
}

/// A bound control socket. It is removed when this is dropped.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    path: PathBuf,
    token: Option<Word>,
}

#[derive(Debug)]
enum Listener {
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
    Tcp(TcpListener),
}

impl Server {
    /// Binds the control socket of a data directory, whose lock the caller holds.
    ///
    /// # Errors
    /// If the operating system does not let us.
    pub async fn bind(dir: &Path) -> Result<Self> {
        super::forget_port(dir);
        #[cfg(unix)]
        if let Some(path) = super::socket_path(dir) {
            let listener = bind_for_owner(&path)
                .with_context(|| format!("cannot make the control socket {}", path.display()))?;
            return Ok(Self { listener: Listener::Unix(listener), path, token: None });
        }
        Self::bind_tcp(dir)
    }

    fn bind_tcp(dir: &Path) -> Result<Self> {
        let listener = listen_on_loopback().context("cannot listen on the loopback")?;
        let token = Word::draw().context(NO_RANDOMNESS)?;
        let path = port_path(dir);
        let port = Port { port: listener.local_addr()?.port(), token };
        write_for_owner(&path, &serde_json::to_vec(&port)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { listener: Listener::Tcp(listener), path, token: Some(token) })
    }

    /// Serves clients until `stop` completes; then what they asked for is broken off.
    pub async fn run(&self, node: &Node, stop: impl Future<Output = ()>) {
        let mut clients = JoinSet::new();
        let (places, mut newcomers) = (Arc::new(Places::new()), Newcomers::default());
        tokio::pin!(stop);
        loop {
            let accepting = async {
                newcomers.make_room().await;
                self.accept().await
            };
            let accepted = tokio::select! {
                accepted = accepting => accepted,
                () = &mut stop => break,
            };
            while clients.try_join_next().is_some() {}
            match accepted {
                Ok(mut lines) => {
                    let mut let_go = newcomers.add();
                    let (node, places, token) = (node.clone(), Arc::clone(&places), self.token);
                    clients.spawn(async move {
                        let served = async {
                            let greeted = async {
                                let greeted = tokio::time::timeout(GREETING, greet(&mut lines, token)).await;
                                if !greeted.context("the client does not greet")?? {
                                    return anyhow::Ok(None);
                                }
                                match places.waiting.try_acquire() {
                                    Ok(waiting) => Ok(Some(waiting)),
                                    Err(_) => turn_away(&mut lines, &node).await.map(|()| None),
                                }
                            };
                            let waiting = tokio::select! {
                                waiting = greeted => waiting?,
                                _ = &mut let_go => bail!("it was let go for others who come"),
                            };
                            let Some(waiting) = waiting else { return Ok(()) };
                            drop(let_go);
                            let place = tokio::select! {
                                place = tokio::time::timeout(PATIENCE, places.free.acquire()) => place,
                                // It is gone, or does not wait for its turn.
                                () = lines.interrupted() => return Ok(()),
                            };
                            let Ok(place) = place else { return turn_away(&mut lines, &node).await };
                            let _place = place?;
                            drop(waiting);
                            serve(lines, &node).await
                        };
                        if let Err(error) = served.await {
                            tracing::debug!("a control connection ended: {error:#}");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!("cannot take a control connection: {error:#}");
                    // Mostly there are too many open files; at once it would only fail again.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn accept(&self) -> Result<Lines> {
        match &self.listener {
            #[cfg(unix)]
            Listener::Unix(listener) => Ok(Lines::unix(listener.accept().await?.0)),
            Listener::Tcp(listener) => Ok(Lines::tcp(listener.accept().await?.0)?),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Has a client show that it speaks this protocol and, where there is a token, that it knows it; `false` if it goes
/// away, or is told that it is of another version.
async fn greet(lines: &mut Lines, token: Option<Word>) -> Result<bool> {
    let Some(hello) = lines.read::<Hello>().await? else { return Ok(false) };
    if hello.driftless != VERSION {
        lines.write(&Welcome { driftless: VERSION, device: None, challenge: None }).await?;
        return Ok(false);
    }
    if let Some(token) = token {
        let client = hello.nonce.context("the client asks for no proof")?;
        let nonce = Word::draw().context(NO_RANDOMNESS)?;
        let challenge = Challenge { nonce, proof: proof(token, End::Server, client, nonce) };
        lines.write(&Welcome { driftless: VERSION, device: None, challenge: Some(challenge) }).await?;
        let Some(shown) = lines.read().await? else { return Ok(false) };
        if !is_proof(shown, token, End::Client, client, nonce) {
            bail!("the client does not know the token");
        }
    }
    Ok(true)
}

/// Tells a client for which there is no place.
async fn turn_away(lines: &mut Lines, node: &Node) -> Result<()> {
    let told = async {
        lines.write(&welcome(node)).await?;
        // What is closed before all of it was read may take what was written with it.
        if lines.read::<Request>().await?.is_some() {
            let message = format!(
                "the server serves no more than {CLIENTS} commands at a time; end some, such as `driftless watch`, \
                 and try again"
            );
            lines.write(&Response::Error(Problem { refused: false, message })).await?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(GREETING, told).await.context("the client does not ask")?
}

fn welcome(node: &Node) -> Welcome {
    Welcome { driftless: VERSION, device: Some(node.device()), challenge: None }
}

async fn serve(mut lines: Lines, node: &Node) -> Result<()> {
    lines.write(&welcome(node)).await?;
    loop {
        match lines.read::<Request>().await {
            Ok(Some(request)) => answer(&mut lines, node, request).await?,
            Ok(None) => return Ok(()),
            Err(error) => {
                let problem = Problem { refused: false, message: format!("{error:#}") };
                return lines.write(&Response::Error(problem)).await;
            }
        }
    }
}

/// Passes on the answer to a request; gives it up when the client goes away.
async fn answer(lines: &mut Lines, node: &Node, request: Request) -> Result<()> {
    let (out, mut items) = mpsc::channel(ITEMS);
    let answering = service::answer(node, request, &out);
    tokio::pin!(answering);
    let mut answered = false;
    loop {
        tokio::select! {
            item = items.recv() => match item {
                Some(item) => match lines.write(&item).await {
                    Ok(()) if matches!(item, Response::End | Response::Error(_)) => return Ok(()),
                    Ok(()) => {}
                    Err(error) if error.is::<TooLong>() => {
                        let problem = Problem { refused: false, message: error.to_string() };
                        return lines.write(&Response::Error(problem)).await;
                    }
                    Err(error) => return Err(error),
                },
                None => return Ok(()),
            },
            () = &mut answering, if !answered => answered = true,
            () = lines.interrupted() => return Ok(()),
        }
    }
}

fn listen_on_loopback() -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    socket.listen(BACKLOG)
}

/// Binds a socket that only its owner may use, instead of one that is there. Until its mode is set it is where nobody
/// else comes: anybody might connect to it.
#[cfg(unix)]
fn bind_for_owner(path: &Path) -> std::io::Result<tokio::net::UnixListener> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let apart = path.with_extension("d");
    // A server that died may have left it.
    let _ = std::fs::remove_dir_all(&apart);
    std::fs::DirBuilder::new().mode(0o700).create(&apart)?;
    let draft = apart.join("s");
    let bound = tokio::net::UnixListener::bind(&draft).and_then(|listener| {
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&draft, path)?;
        Ok(listener)
    });
    let _ = std::fs::remove_dir_all(&apart);
    bound
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_for_owner(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let temporary = path.with_extension("new");
    let _ = std::fs::remove_file(&temporary);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&temporary)?.write_all(content)?;
    std::fs::rename(&temporary, path)
}
