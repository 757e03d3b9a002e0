//! What the demo tells in the end.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::compare::{Comparison, Shown};
use super::kept::Kept;
use crate::output::{Output, table};
use crate::protocol::TrafficText;
use crate::text;

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Report {
    /// Where the data came from.
    pub(super) source: String,
    /// Rows imported, over all replicas.
    pub(super) imported: u64,
    /// Rows left out because they are too large.
    pub(super) skipped: u64,
    /// How long the import took.
    pub(super) import_time: Duration,
    /// Rows that all replicas changed at once.
    pub(super) contended: u64,
    /// Writes reported as safe by the replica that was killed.
    pub(super) acknowledged: u64,
    /// Those of them that some replica does not show.
    pub(super) lost: u64,
    /// From the moment when the last fault was healed.
    pub(super) converged_after: Option<Duration>,
    /// Each replica.
    pub(super) replicas: Vec<ReplicaReport>,
    /// How they compare.
    pub(super) comparison: Comparison,
}

/// What was measured of one replica.
#[derive(Debug)]
pub(super) struct ReplicaReport {
    pub(super) name: &'static str,
    pub(super) device: String,
    pub(super) dir: PathBuf,
    /// When it had everything, from the moment when the last fault was healed.
    pub(super) complete_after: Option<Duration>,
    pub(super) traffic: TrafficText,
}

impl Report {
    /// Whether all is as it should be.
    pub(super) fn is_good(&self) -> bool {
        self.converged_after.is_some() && self.comparison.differing == 0 && self.lost == 0
    }

    pub(super) fn print(&self, out: &mut Output, kept: Option<&Kept>) -> Result<()> {
        if out.json {
            out.object(&self.to_json(kept))?;
        } else {
            for line in self.to_text(kept) {
                out.line(&line)?;
            }
        }
        Ok(out.flush()?)
    }

    fn rows(&self) -> impl Iterator<Item = (&ReplicaReport, Shown)> {
        self.replicas.iter().zip(self.comparison.shown.iter().copied())
    }

    fn to_json(&self, kept: Option<&Kept>) -> Value {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        let replicas: Vec<Value> = self
            .rows()
            .map(|(replica, shown)| {
                json!({
                    "name": replica.name,
                    "device": replica.device,
                    "dir": kept.map(|_| replica.dir.display().to_string()),
                    "look": kept.map(|kept| kept.look(&replica.dir)),
                    "rows": shown.rows,
                    "bytes": shown.bytes,
                    "conflicts": shown.conflicts,
                    "seconds_to_converge": seconds(replica.complete_after),
                    "traffic": replica.traffic,
                })
            })
            .collect();
        json!({
            "ok": self.is_good(),
            "source": self.source,
            "imported_rows": self.imported,
            "skipped_rows": self.skipped,
            "seconds_to_import": self.import_time.as_secs_f64(),
            "contended_rows": self.contended,
            "acknowledged_before_kill": self.acknowledged,
            "acknowledged_and_lost": self.lost,
            "seconds_to_converge": seconds(self.converged_after),
            "differing_rows": self.comparison.differing,
            "differences": self.comparison.described,
            "replicas": replicas,
            "remove": kept.map(Kept::remove),
        })
    }

    fn to_text(&self, kept: Option<&Kept>) -> Vec<String> {
        let mut lines = vec![String::new()];
        lines.extend(self.table().lines().map(|line| line.trim_end().to_owned()));
        lines.push(String::new());
        lines.extend(self.verdict());
        match kept {
            Some(kept) => lines.extend(self.places(kept)),
            None => lines.push("The data directories are removed.".to_owned()),
        }
        lines
    }

    /// Where the replicas are, and what to paste.
    fn places(&self, kept: &Kept) -> Vec<String> {
        let mut lines = vec![String::new(), "Look at the replicas:".to_owned()];
        for replica in &self.replicas {
            lines.push(format!("  {} is in {}", replica.name, replica.dir.display()));
            lines.extend(kept.look(&replica.dir).map(|command| format!("    {command}")));
        }
        lines.push("Remove them all (--clean does so at the end):".to_owned());
        lines.push(format!("    {}", kept.remove()));
        lines
    }

    fn table(&self) -> String {
        let header = ["REPLICA", "DEVICE", "ROWS", "BYTES", "CONFLICTS", "CONVERGED IN", "SENT", "RECEIVED"];
        let mut table = table(&header);
        for (replica, shown) in self.rows() {
            table.add_row([
                replica.name.to_owned(),
                replica.device.chars().take(8).collect(),
                shown.rows.to_string(),
                text::bytes(shown.bytes),
                shown.conflicts.to_string(),
                replica.complete_after.map_or("never".into(), |time| format!("{:.2} s", time.as_secs_f64())),
                text::bytes(replica.traffic.sent),
                text::bytes(replica.traffic.received),
            ]);
        }
        table.to_string()
    }

    fn verdict(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.converged_after.is_none() {
            lines.push("FAILED: the replicas did not come to know the same in time".to_owned());
        }
        match self.comparison.differing {
            0 => {
                lines.push("Every row of every replica was read and compared: they are the same.".to_owned());
            }
            count => {
                lines.push(format!("FAILED: {} differ between the replicas:", text::plural(count, "row")));
                lines.extend(self.comparison.described.iter().map(|line| format!("  {line}")));
            }
        }
        match self.lost {
            0 => lines.push(format!(
                "Of the {} writes that were reported as safe before the kill, none was lost.",
                self.acknowledged
            )),
            lost => lines.push(format!(
                "FAILED: of the {} writes that were reported as safe before the kill, {lost} are lost",
                self.acknowledged
            )),
        }
        lines
    }
}
