//! The end of a suite, for people: what was exercised, and what was not.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::coverage::Point;
use crate::run::Outcome;
use crate::suite::Summary;

/// A table of what a suite exercised. A run that shows nothing wrong is worth what it had the chance to show.
pub fn table(summary: &Summary) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["exercised", "times", "exercised", "times"]);
    let topics = Point::ALL.chunk_by(|one, two| one.group() == two.group());
    for (nth, points) in topics.enumerate() {
        let cell = |point: &Point| {
            let mark = if summary.missing.contains(point) { " (missing)" } else { "" };
            [format!("  {}{mark}", point.name()), grouped(summary.coverage.count(*point))]
        };
        let cells: Vec<[String; 2]> = points.iter().map(cell).collect();
        let title = points.first().map_or("", |point| point.group().name());
        if nth > 0 {
            table.add_row([""; 4]);
        }
        table.add_row([title, "", "", ""]);
        let (left, right) = cells.split_at(cells.len().div_ceil(2));
        let empty = [String::new(), String::new()];
        for (index, left) in left.iter().enumerate() {
            let right = right.get(index).unwrap_or(&empty);
            table.add_row(left.iter().chain(right));
        }
    }
    for column in [1, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// One line on how it went.
pub fn verdict(summary: &Summary) -> String {
    let figures = &summary.figures;
    let mut text = format!(
        "{} runs, {} failed, {} vacuous; {} events, {} frames, {} batches in {} of virtual time; slowest \
         agreement after {} s",
        grouped(summary.runs),
        grouped(summary.failed.len() as u64),
        grouped(summary.vacuous),
        grouped(figures.events),
        grouped(figures.frames),
        grouped(figures.batches),
        hours(figures.virtual_ms),
        figures.agreed_after_ms / 1_000,
    );
    if !summary.missing.is_empty() {
        let missing: Vec<&str> = summary.missing.iter().map(|point| point.name()).collect();
        text.push_str(&format!(
            "\nnever happened, though so many runs should have seen it: {}",
            missing.join(", ")
        ));
    }
    if summary.means_little {
        text.push_str("\nmost runs did too little to mean anything: was anything ever written?");
    }
    text
}

/// What to print when a run has failed.
pub fn failed(outcome: &Outcome, replay: &str) -> Option<String> {
    let failure = outcome.failure.as_ref()?;
    Some(format!("seed {} failed\n{failure}\n  replay    {replay}", outcome.seed))
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn hours(millis: u64) -> String {
    let minutes = millis / 60_000;
    format!("{} h {} min", grouped(minutes / 60), minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_in_the_table_and_in_the_verdict() {
        let summary = Summary { runs: 1_234, missing: vec![Point::ThreeHeads], ..Summary::default() };
        assert!(table(&summary).contains("three heads (missing)"));
        assert!(verdict(&summary).starts_with("1 234 runs, 0 failed"));
        assert!(verdict(&summary).contains("three heads"));
        assert!(!summary.passed());
    }

    #[test]
    fn a_suite_of_runs_that_mean_little_does_not_pass() {
        let mut summary = Summary { runs: 3, vacuous: 1, ..Summary::default() };
        summary.judge_coverage(&"calm".parse().unwrap());
        assert!(summary.passed() && !verdict(&summary).contains("too little"));
        for (runs, vacuous) in [(3, 2), (0, 0)] {
            let mut summary = Summary { runs, vacuous, ..Summary::default() };
            summary.judge_coverage(&"calm".parse().unwrap());
            assert!(!summary.passed() && verdict(&summary).contains("too little"));
        }
    }
}
