//! `driftless-sim bench`.

mod figures;
mod memory;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use comfy_table::{CellAlignment, Table, presets};
use driftless_sim::shrink::{self, Effort, Shrunk};
use driftless_sim::suite::{self, Seeds};
use driftless_sim::world::Sabotage;
use driftless_sim::{Plan, Profile};

use crate::Trouble;
use crate::bar::{bar, jobs};
use crate::shrink::{tell, with_story};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    figures: figures::Args,
    /// Find each planted defect, shrink the plan, and compare it with the smallest one known.
    #[arg(long)]
    shrink: bool,
    /// Only these planted defects.
    #[arg(long, value_name = "NAME")]
    defect: Vec<Sabotage>,
    /// From what plans are drawn: from the first profile that has any.
    #[arg(long, value_name = "NAME", default_values = ["harsh", "hostile", "removals", "clocks"])]
    profile: Vec<String>,
    /// In which seeds to look for each defect, or which to run and measure.
    #[arg(long, value_name = "A..B", default_value = "0..400")]
    seeds: Seeds,
    /// How many plans that fail to shrink for each defect.
    #[arg(long, value_name = "N", default_value_t = 1)]
    plans: usize,
    /// How many plans to try at most for each.
    #[arg(long, value_name = "N", default_value_t = Effort::default().executions)]
    executions: u64,
    /// How many at a time.
    #[arg(long, value_name = "N", default_value_t = jobs())]
    jobs: usize,
    /// Where the smallest known plans are.
    #[arg(long, value_name = "DIR", default_value = "sim/planted")]
    known: PathBuf,
    /// Keep plans there that are smaller than the known ones.
    #[arg(long)]
    keep: bool,
}

/// How many times larger than the smallest known plan the median may be.
const MOST_TIMES: f64 = 3.0;

/// What came of one plan.
struct Row {
    defect: Sabotage,
    seed: u64,
    before: Plan,
    shrunk: Shrunk,
    known: Option<usize>,
    took: Duration,
}

impl Row {
    fn times(&self) -> Option<f64> {
        Some(shrink::size(&self.shrunk.plan) as f64 / self.known? as f64)
    }
}

pub(crate) fn bench(args: &Args) -> Result<bool, Trouble> {
    if !args.shrink {
        return figures::figures(&args.figures, &args.seeds);
    }
    let profiles: Vec<Profile> = args.profile.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let defects = if args.defect.is_empty() { Sabotage::ALL } else { &args.defect };
    // Before all the work: whoever is in the wrong directory need not wait, and must not be told that all is well.
    let lacking = defects.iter().map(|defect| path(&args.known, *defect)).find(|path| !path.exists());
    if let Some(path) = lacking.filter(|_| !args.keep) {
        return Err(Trouble::NoKnownPlan(path.display().to_string()));
    }
    let bar = bar(2 * defects.len() as u64, true);
    // One thread looks for each, as it tries seeds one after another; each plan is shrunk by all of them.
    let found = suite::each(args.jobs, defects, |defect| {
        bar.set_message(format!("looking for {defect}"));
        let found = failing(args, &profiles, *defect);
        bar.inc(1);
        found
    });
    let (mut rows, mut unnoticed) = (Vec::new(), Vec::new());
    for (defect, found) in defects.iter().zip(found) {
        bar.set_message(format!("shrinking {defect}"));
        let before = rows.len();
        for (seed, plan) in found {
            let row = measure(args, *defect, seed, plan)?;
            if args.keep && row.known.is_none_or(|known| shrink::size(&row.shrunk.plan) < known) {
                keep(&args.known, &row)?;
            }
            rows.push(row);
        }
        if rows.len() == before {
            unnoticed.push(defect.name());
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("{}", table(&rows));
    Ok(conclude(&rows, &unnoticed))
}

/// Plans of the first seeds that fail by the oracle that must notice.
fn failing(args: &Args, profiles: &[Profile], defect: Sabotage) -> Vec<(u64, Plan)> {
    let judge = shrink::judge(Some(defect));
    let seeds = |profile| args.seeds.0.clone().map(move |seed| (seed, Plan::draw(seed, profile)));
    let plans = profiles.iter().flat_map(seeds);
    let noticed = |plan: &Plan| {
        judge(plan, None).is_some_and(|failure| failure.violation.oracle == defect.noticed_by())
    };
    plans.filter(|(_, plan)| noticed(plan)).take(args.plans).collect()
}

fn measure(args: &Args, defect: Sabotage, seed: u64, before: Plan) -> Result<Row, Trouble> {
    let known = known(&args.known, defect)?.map(|plan| shrink::size(&plan));
    let start = Instant::now();
    let effort = Effort { executions: args.executions, jobs: args.jobs };
    let shrunk = shrink::shrink(&before, &shrink::judge(Some(defect)), effort, &mut |_| {});
    let shrunk = shrunk.map_err(|_| Trouble::Passes(format!("seed {seed} with {defect}")))?;
    Ok(Row { defect, seed, before, shrunk, known, took: start.elapsed() })
}

fn path(directory: &Path, defect: Sabotage) -> PathBuf {
    directory.join(format!("{defect}.plan"))
}

/// The smallest known plan that shows a defect.
fn known(directory: &Path, defect: Sabotage) -> Result<Option<Plan>, Trouble> {
    let path = path(directory, defect);
    if !path.exists() {
        return Ok(None);
    }
    crate::input::load(&path.display().to_string(), "default").map(Some)
}

fn keep(directory: &Path, row: &Row) -> Result<(), Trouble> {
    let path = path(directory, row.defect);
    let title = format!("The smallest known plan that shows the planted defect {}.", row.defect);
    let told = tell(&row.shrunk, &shrink::judge(Some(row.defect)));
    let text = with_story(&title, &row.shrunk, &told);
    let written = std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&path, text));
    written.map_err(Trouble::file("write", &path.display().to_string()))
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "defect",
        "oracle",
        "seed",
        "steps",
        "",
        "decisions",
        "",
        "known",
        "times",
        "plans",
        "s",
    ]);
    for row in rows {
        let (before, after) = (&row.before, &row.shrunk.plan);
        table.add_row([
            row.defect.to_string(),
            row.shrunk.failure.violation.oracle.to_string(),
            row.seed.to_string(),
            before.steps.len().to_string(),
            after.steps.len().to_string(),
            shrink::size(before).to_string(),
            shrink::size(after).to_string(),
            row.known.map_or("?".to_owned(), |known| known.to_string()),
            row.times().map_or("?".to_owned(), |times| format!("{times:.2}")),
            row.shrunk.executions.to_string(),
            format!("{:.1}", row.took.as_secs_f64()),
        ]);
    }
    for column in 2..=10 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Says how it went, and whether it went well.
fn conclude(rows: &[Row], unnoticed: &[&str]) -> bool {
    let mut times: Vec<f64> = rows.iter().filter_map(Row::times).collect();
    times.sort_by(f64::total_cmp);
    let (median, worst) = (times.get(times.len() / 2).copied(), times.last().copied());
    let slowest = rows.iter().map(|row| row.took).max().unwrap_or_default();
    let gave_up = rows.iter().filter(|row| row.shrunk.gave_up).count();
    println!(
        "{} plans; {gave_up} were stopped before the end; the slowest took {:.1} s",
        rows.len(),
        slowest.as_secs_f64()
    );
    if let (Some(median), Some(worst)) = (median, worst) {
        println!(
            "decisions, compared with the smallest known plan: median {median:.2} times, worst {worst:.2} times"
        );
    }
    if !unnoticed.is_empty() {
        println!("not noticed in these seeds: {}", unnoticed.join(", "));
    }
    // Not how long it took: that is for people to judge, who know what else the machine had to do.
    unnoticed.is_empty() && gave_up == 0 && median.is_none_or(|median| median <= MOST_TIMES)
}
