//! How fast the simulator is, and how much memory it takes: on one core, by one thread.
//!
//! Each scale is measured in a process of its own, so that memory which the allocator keeps from one is not counted for
//! another.

use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use comfy_table::{CellAlignment, Table, presets};
use driftless_sim::scale::{Scale, Scenario};
use driftless_sim::suite::{Seeds, attempt};
use driftless_sim::{Options, Plan, Profile};
use serde::{Deserialize, Serialize};

use super::memory;
use crate::Trouble;

#[derive(Debug, ClapArgs)]
#[group(id = "figures")]
pub(super) struct Args {
    /// How many replicas at once; each number is measured by itself.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "100,10000,100000")]
    scale: Vec<u32>,
    /// How many events of cores to measure at each scale, besides those that it takes to found syncgroups.
    #[arg(long, value_name = "N", default_value_t = 2_000_000)]
    events: u64,
    /// Members of each syncgroup of a scale.
    #[arg(long, value_name = "N", default_value_t = 10)]
    group: u32,
    /// Milliseconds of virtual time between two writes of a replica of a scale, on average.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    pause: u64,
    /// Measure scales only, and no runs of full plans.
    #[arg(long)]
    only_scale: bool,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Debug, Serialize, Deserialize)]
struct Figures {
    scale: Vec<ScaleFigures>,
    plans: Option<PlanFigures>,
}

/// One scale.
#[derive(Debug, Serialize, Deserialize)]
struct ScaleFigures {
    scenario: String,
    replicas: u32,
    /// Booting, and founding the syncgroups.
    founding_events: u64,
    founding_s: f64,
    /// Writes, exchange and faults.
    events: u64,
    seconds: f64,
    events_per_s: f64,
    /// Milliseconds of virtual time that this took.
    virtual_ms: u64,
    writes: u64,
    frames: u64,
    frames_lost: u64,
    crashes: u64,
    cuts: u64,
    /// Bytes for each replica, by the memory that the process has in use: booted; a member, linked and idle; after
    /// all that was written, at rest.
    booted_bytes: Option<u64>,
    idle_bytes: Option<u64>,
    rest_bytes: Option<u64>,
    /// At the end all members of each of so many syncgroups hold and show the same.
    syncgroups: u32,
    generations: u64,
    /// What all of them show, in a hash: the same for the same scenario and number of events.
    digest: String,
}

/// Runs of full plans, with all faults and oracles.
#[derive(Debug, Serialize, Deserialize)]
struct PlanFigures {
    scenario: String,
    seeds: u64,
    failed: u64,
    seconds: f64,
    seeds_per_minute: f64,
    events: u64,
    events_per_s: f64,
    /// What the digest of the trace adds, of what a run takes without.
    digest_share: f64,
    /// The most memory that the process had in use while any one of them ran.
    peak_bytes: Option<u64>,
}

pub(super) fn figures(args: &Args, seeds: &Seeds) -> Result<bool, Trouble> {
    let mut figures = Figures { scale: Vec::new(), plans: None };
    match &args.scale[..] {
        [one] if args.only_scale => figures.scale.push(scale(args, *one)?),
        several => {
            for replicas in several {
                figures.scale.extend(elsewhere(args, *replicas)?.scale);
            }
        }
    }
    if !args.only_scale {
        figures.plans = Some(plans(seeds));
    }
    if args.json {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        tell(&figures);
    }
    Ok(figures.plans.is_none_or(|plans| plans.failed == 0))
}

/// Measures a scale in a process of its own.
fn elsewhere(args: &Args, replicas: u32) -> Result<Figures, Trouble> {
    let number = |n: u64| n.to_string();
    let wrong = |error: std::io::Error| Trouble::Measurement(error.to_string());
    let output = std::process::Command::new(std::env::current_exe().map_err(wrong)?)
        .args(["bench", "--only-scale", "--json", "--scale", &replicas.to_string()])
        .args(["--events", &number(args.events), "--pause", &number(args.pause)])
        .args(["--group", &args.group.to_string()])
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(wrong)?;
    if !output.status.success() {
        return Err(Trouble::Measurement(format!("{replicas} replicas: {}", output.status)));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn scale(args: &Args, replicas: u32) -> Result<ScaleFigures, Trouble> {
    let (group, pause) = (args.group, args.pause);
    let scenario = Scenario { seed: 1, replicas, group, pause, faults: true };
    let before = memory::resident();
    let each = |now: Option<u64>| Some(now?.saturating_sub(before?) / u64::from(replicas));
    let start = Instant::now();
    let mut scale = Scale::boot(scenario).map_err(Trouble::Scenario)?;
    let booted_bytes = each(memory::resident());
    scale.found().map_err(Trouble::Scenario)?;
    let founding = start.elapsed();
    let (founded, idle_bytes, virtual_start) = (scale.happened(), each(memory::resident()), scale.now_ms());
    let start = Instant::now();
    scale.work(args.events).map_err(Trouble::Scenario)?;
    let (worked, seconds, virtual_end) = (scale.happened(), start.elapsed().as_secs_f64(), scale.now_ms());
    let agreed = scale.settle().map_err(Trouble::Scenario)?;
    let events = worked.events - founded.events;
    Ok(ScaleFigures {
        scenario: scenario.to_string(),
        replicas,
        founding_events: founded.events,
        founding_s: founding.as_secs_f64(),
        events,
        seconds,
        events_per_s: events as f64 / seconds,
        virtual_ms: virtual_end - virtual_start,
        writes: worked.writes,
        frames: worked.frames - founded.frames,
        frames_lost: worked.lost,
        crashes: worked.crashes,
        cuts: worked.cuts,
        booted_bytes,
        idle_bytes,
        rest_bytes: each(memory::resident()),
        syncgroups: agreed.syncgroups,
        generations: agreed.generations,
        digest: agreed.digest.to_string(),
    })
}

/// Runs the plans of seeds, each with and without the digest of its trace by turns.
fn plans(seeds: &Seeds) -> PlanFigures {
    let profile = Profile { replicas: (3, 12), ..Profile::default() };
    let (mut with, mut without) = (Duration::ZERO, Duration::ZERO);
    let (mut failed, mut events, mut most) = (0, 0, None);
    for seed in seeds.0.clone() {
        let plan = Plan::draw(seed, &profile);
        memory::forget_peak();
        let start = Instant::now();
        let outcome = attempt(&plan, Options::default());
        with += start.elapsed();
        most = most.max(memory::peak());
        failed += u64::from(outcome.failure.is_some());
        // Its profile has no name, so no command runs it again.
        outcome.failure.iter().for_each(|failure| eprintln!("seed {seed} failed\n{failure}\n"));
        events += outcome.figures.events;
        let start = Instant::now();
        attempt(&plan, Options { without_digest: true, ..Options::default() });
        without += start.elapsed();
    }
    let (count, seconds) = (seeds.0.end - seeds.0.start, with.as_secs_f64());
    PlanFigures {
        scenario: "full plans of the default profile, 3 to 12 replicas, all oracles".to_owned(),
        seeds: count,
        failed,
        seconds,
        seeds_per_minute: 60.0 * count as f64 / seconds,
        events,
        events_per_s: events as f64 / seconds,
        digest_share: seconds / without.as_secs_f64() - 1.0,
        peak_bytes: most,
    }
}

fn tell(figures: &Figures) {
    for scale in &figures.scale {
        println!("{}: {}", scale.replicas, scale.scenario);
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let bytes = |bytes: Option<u64>| bytes.map_or("?".to_owned(), |bytes| bytes.to_string());
    table.set_header(
        std::iter::once("replicas".to_owned()).chain(figures.scale.iter().map(|s| s.replicas.to_string())),
    );
    let mut row = |name: &str, value: &dyn Fn(&ScaleFigures) -> String| {
        table.add_row(std::iter::once(name.to_owned()).chain(figures.scale.iter().map(value)));
    };
    row("events per second", &|s| format!("{:.0}", s.events_per_s));
    row("events", &|s| s.events.to_string());
    row("  frames taken", &|s| s.frames.to_string());
    row("  frames lost", &|s| s.frames_lost.to_string());
    row("  batches written", &|s| s.writes.to_string());
    row("  crashes", &|s| s.crashes.to_string());
    row("  links cut", &|s| s.cuts.to_string());
    row("seconds", &|s| format!("{:.1}", s.seconds));
    row("virtual seconds", &|s| format!("{:.1}", s.virtual_ms as f64 / 1e3));
    row("founding: events", &|s| s.founding_events.to_string());
    row("founding: seconds", &|s| format!("{:.1}", s.founding_s));
    row("bytes each, booted", &|s| bytes(s.booted_bytes));
    row("bytes each, a linked idle member", &|s| bytes(s.idle_bytes));
    row("bytes each, at the end", &|s| bytes(s.rest_bytes));
    row("syncgroups that agree", &|s| s.syncgroups.to_string());
    row("digest of the end", &|s| s.digest.clone());
    for column in 1..=figures.scale.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
    if let Some(plans) = &figures.plans {
        let PlanFigures { scenario, seeds, failed, seconds, events, .. } = plans;
        let peak = plans.peak_bytes.map_or("?".to_owned(), |bytes| format!("{:.1}", bytes as f64 / 1e6));
        println!("{scenario}: {seeds} seeds in {seconds:.1} s, {failed} failed, {events} events");
        println!(
            "{:.0} seeds per minute, {:.0} events per second, {peak} MB at most; the digest of the trace adds {:.1} %",
            plans.seeds_per_minute,
            plans.events_per_s,
            100.0 * plans.digest_share
        );
    }
}
