//! The passphrase of the device's key, and of the user's: where it comes from, and how it is changed.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, bail};
use driftless_fjall::{Options, Passphrase, is_locked};
use zeroize::Zeroizing;

/// Where the passphrase of a key comes from, if it is locked: a file, or whoever sits at the terminal.
#[derive(Debug, Clone, Default)]
pub struct Unlock {
    file: Option<PathBuf>,
    /// What was typed: nobody is asked twice.
    typed: Arc<OnceLock<Passphrase>>,
}

impl Unlock {
    /// From a file, if one was named.
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file, typed: Arc::default() }
    }

    /// How a directory is opened with its passphrase: one that was named also locks a key that is made.
    ///
    /// # Errors
    /// If a passphrase is needed and there is none, or the key cannot be read.
    pub fn options(&self, dir: &Path) -> Result<Options> {
        let passphrase = match &self.file {
            Some(file) => Some(from_file(file)?),
            None => self.present(dir)?,
        };
        Ok(passphrase.into_iter().fold(Options::new(), Options::passphrase))
    }

    /// The passphrase by which the key in a directory is locked; `None` if it is not.
    ///
    /// # Errors
    /// As [`Unlock::options`].
    pub fn present(&self, dir: &Path) -> Result<Option<Passphrase>> {
        is_locked(dir)?.then(|| self.ask(&format!("Passphrase for {}: ", dir.display()))).transpose()
    }

    fn ask(&self, prompt: &str) -> Result<Passphrase> {
        if let Some(typed) = self.typed.get() {
            return Ok(typed.clone());
        }
        match &self.file {
            Some(file) => from_file(file),
            None if std::io::stdin().is_terminal() => {
                let typed = taken(&typed(prompt)?)?;
                Ok(self.typed.get_or_init(|| typed).clone())
            }
            None => bail!(
                "the device's key is locked by a passphrase, and there is no terminal to ask for it: name a file with \
                 --passphrase-file, or set DRIFTLESS_PASSPHRASE_FILE"
            ),
        }
    }
}

/// A new passphrase: from a file, or typed twice.
///
/// # Errors
/// If there is none, or the two differ.
pub(crate) fn new(file: Option<&Path>) -> Result<Passphrase> {
    let Some(file) = file else {
        if !std::io::stdin().is_terminal() {
            bail!("there is no terminal to ask for the new passphrase: name a file with --new-file");
        }
        let (first, again) = (typed("New passphrase: ")?, typed("Once more: ")?);
        if first != again {
            bail!("the two differ; nothing was changed");
        }
        return taken(&first);
    };
    from_file(file)
}

/// What is typed at the terminal. Like all that is read here, it is wiped from memory when it is let go.
fn typed(prompt: &str) -> Result<Zeroizing<String>> {
    rpassword::prompt_password(prompt).map(Zeroizing::new).context("cannot ask for a passphrase")
}

/// The first line of a file, so that it does not matter whether that ends with the file.
fn from_file(file: &Path) -> Result<Passphrase> {
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    let text = text.with_context(|| format!("cannot read the passphrase from {}", file.display()))?;
    taken(text.lines().next().unwrap_or_default())
        .with_context(|| format!("the first line of {}", file.display()))
}

fn taken(text: &str) -> Result<Passphrase> {
    Passphrase::new(text).context("a passphrase has at least one character")
}
