//! One end of a control connection: JSON values, one on each line.

use std::io;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use crate::protocol::MAX_LINE;

/// A value that is no line of the protocol.
#[derive(Debug, thiserror::Error)]
#[error(
    "this is {size} bytes in one piece, and the control connection takes {MAX_LINE}; stop driftless serve, and the \
     command does without it"
)]
pub(super) struct TooLong {
    size: usize,
}

/// A connection, whatever carries it.
pub(super) struct Lines {
    reader: Box<dyn AsyncBufRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    line: Vec<u8>,
}

impl Lines {
    #[cfg(unix)]
    pub(super) fn unix(stream: tokio::net::UnixStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self { reader: Box::new(BufReader::new(reader)), writer: Box::new(writer), line: Vec::new() }
    }

    pub(super) fn tcp(stream: tokio::net::TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        Ok(Self { reader: Box::new(BufReader::new(reader)), writer: Box::new(writer), line: Vec::new() })
    }

    /// The next value; `None` if the other end has closed.
    pub(super) async fn read<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        self.line.clear();
        let mut limited = (&mut self.reader).take(MAX_LINE as u64);
        limited.read_until(b'\n', &mut self.line).await.context("the control connection broke")?;
        match self.line.last() {
            None => return Ok(None),
            Some(b'\n') => {}
            Some(_) if self.line.len() >= MAX_LINE => bail!("a line on the control connection is too long"),
            Some(_) => bail!("the control connection ended in the middle of a line"),
        }
        serde_json::from_slice(&self.line)
            .context("the other end of the control connection is not understood")
            .map(Some)
    }

    /// Sends a value.
    ///
    /// # Errors
    /// [`TooLong`] if the other end would not take it: then nothing was sent. Or if the connection broke.
    pub(super) async fn write(&mut self, value: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        if line.len() > MAX_LINE {
            return Err(TooLong { size: line.len() }.into());
        }
        self.writer.write_all(&line).await.context("the control connection broke")?;
        self.writer.flush().await.context("the control connection broke")
    }

    /// Waits until the other end closes, or says something out of turn. May be cancelled.
    pub(super) async fn interrupted(&mut self) {
        // Either way what was asked before is not waited for any more.
        let _ = self.reader.fill_buf().await;
    }
}
