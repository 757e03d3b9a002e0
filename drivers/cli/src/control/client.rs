//! The client's end.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use driftless::DeviceId;
use tokio::net::TcpStream;

use super::lines::Lines;
use super::proof::{End, is_proof, proof};
use super::{NO_RANDOMNESS, Port, port_path};
use crate::protocol::{Hello, Request, Response, VERSION, Welcome, Word};

/// How long a server may take to greet: it does so before any work.
const GREETING: Duration = Duration::from_secs(10);

/// A connection to the server of a data directory.
pub struct Connection {
    lines: Lines,
    device: DeviceId,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("device", &self.device).finish_non_exhaustive()
    }
}

/// What is found where the server of a data directory would be.
#[derive(Debug)]
pub enum Found {
    /// It.
    Server(Box<Connection>),
    /// Nobody.
    Nobody,
    /// Somebody who does not show to be it, and how that was seen. Whether there is a server at all, the directory's
    /// lock tells.
    Unproven(anyhow::Error),
}

/// Connects to the server of a data directory.
///
/// # Errors
/// If there is one that does not answer, or not as it should.
pub async fn connect(dir: &Path) -> Result<Found> {
    let mut token = None;
    let greeted = async {
        let Some(mut lines) = reach(dir, &mut token).await? else { return anyhow::Ok(None) };
        Ok(greet(&mut lines, dir, token).await?.map(|device| Connection { lines, device }))
    };
    let error = match tokio::time::timeout(GREETING, greeted).await {
        Ok(Ok(Some(connection))) => return Ok(Found::Server(Box::new(connection))),
        // It ended while it was being greeted: what holds the directory next will be found by trying again.
        Ok(Ok(None)) => return Ok(Found::Nobody),
        Ok(Err(error))
            if error.downcast_ref().is_some_and(|error: &std::io::Error| has_ended(error.kind())) =>
        {
            return Ok(Found::Nobody);
        }
        Ok(Err(error)) => error,
        Err(_) => anyhow!(
            "the server of {} does not answer after {} s; is it stopped? End it and try again",
            dir.display(),
            GREETING.as_secs()
        ),
    };
    // A socket in the directory is its server's; a port is anybody's.
    if token.is_some() { Ok(Found::Unproven(error)) } else { Err(error) }
}

/// Tells whose server it is; `None` if it ended meanwhile. Where there is a token, both ends show that they know it.
async fn greet(lines: &mut Lines, dir: &Path, token: Option<Word>) -> Result<Option<DeviceId>> {
    let nonce = token.map(|_| Word::draw()).transpose().context(NO_RANDOMNESS)?;
    lines.write(&Hello { driftless: VERSION, nonce }).await?;
    let Some(mut welcome) = lines.read::<Welcome>().await? else { return Ok(None) };
    if welcome.driftless != VERSION {
        bail!(
            "the server of {} speaks version {} of the control protocol, this command version {VERSION}: restart \
             the server with this version",
            dir.display(),
            welcome.driftless
        );
    }
    if let Some((token, nonce)) = token.zip(nonce) {
        let challenge =
            welcome.challenge.filter(|it| is_proof(it.proof, token, End::Server, nonce, it.nonce));
        let challenge = challenge.with_context(|| {
            format!("what listens at the port in {} does not know the token there", port_path(dir).display())
        })?;
        lines.write(&proof(token, End::Client, nonce, challenge.nonce)).await?;
        let Some(second) = lines.read::<Welcome>().await? else { return Ok(None) };
        welcome = second;
    }
    let device = welcome.device;
    device.map(Some).with_context(|| format!("the server of {} refused this command", dir.display()))
}

/// Opens a connection; `None` if nobody is there. Where it is to a port, `token` is what its server knows.
async fn reach(dir: &Path, token: &mut Option<Word>) -> Result<Option<Lines>> {
    #[cfg(unix)]
    if let Some(path) = super::socket_path(dir) {
        match tokio::net::UnixStream::connect(&path).await {
            Ok(stream) => return Ok(Some(Lines::unix(stream))),
            Err(error) if nobody_there(error.kind()) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot use {}", path.display())),
        }
    }
    let path = port_path(dir);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    // It may be half written; then its server is just starting.
    let Ok(port) = serde_json::from_str::<Port>(&text) else { return Ok(None) };
    *token = Some(port.token);
    match TcpStream::connect(("127.0.0.1", port.port)).await {
        Ok(stream) => Ok(Some(Lines::tcp(stream)?)),
        Err(_) => Ok(None),
    }
}

/// Whether a connection is broken that was never accepted, or was closed before it was read.
fn has_ended(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe)
}

#[cfg(unix)]
fn nobody_there(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory)
}

impl Connection {
    /// Whose server it is.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Sends a request.
    ///
    /// # Errors
    /// If the connection broke.
    pub async fn ask(&mut self, request: &Request) -> Result<()> {
        self.lines.write(request).await
    }

    /// The next item of the answer.
    ///
    /// # Errors
    /// If the connection broke, or ended within the answer.
    pub async fn next(&mut self) -> Result<Response> {
        self.lines.read().await?.context("the server ended before it had answered; see what it logged")
    }
}
