//! Printing results on standard output, and progress on standard error.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::args::Global;

/// Standard output could not be written to.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}")]
pub(crate) struct Closed(pub io::Error);

/// Where a command's results go, and how much else it says.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: BufWriter<Stdout>,
    /// Whether results are JSON.
    pub(crate) json: bool,
    quiet: bool,
}

impl Output {
    /// As the command line wants it.
    pub(crate) fn new(global: &Global) -> Self {
        Self { stdout: BufWriter::new(io::stdout()), json: global.json, quiet: global.quiet }
    }

    /// Prints a line of the result.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Closed> {
        writeln!(self.stdout, "{text}").map_err(Closed)
    }

    /// Prints an object of the result, on one line.
    pub(crate) fn object(&mut self, object: &Value) -> Result<(), Closed> {
        self.line(&object.to_string())
    }

    /// Prints bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        self.stdout.write_all(bytes).map_err(Closed)
    }

    /// Makes sure that what was printed has arrived.
    pub(crate) fn flush(&mut self) -> Result<(), Closed> {
        self.stdout.flush().map_err(Closed)
    }

    /// Prints a remark for people, on standard error.
    pub(crate) fn remark(&self, text: &str) {
        if !self.quiet {
            // Nobody may be listening, and that is no failure.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// A progress bar on standard error, if somebody is watching; of unknown length if `total` is `None`.
    pub(crate) fn progress(&self, total: Option<u64>, unit: &str) -> ProgressBar {
        if self.quiet || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let template = match total {
            Some(_) => {
                format!("{{elapsed_precise}} {{wide_bar}} {{human_pos}}/{{human_len}} {unit} {{per_sec}}")
            }
            None => format!("{{elapsed_precise}} {{spinner}} {{human_pos}} {unit} {{per_sec}}"),
        };
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        bar.set_style(
            ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

/// A table for people.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.iter().copied());
    table
}
