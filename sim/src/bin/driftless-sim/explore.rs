//! `driftless-sim explore`.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use driftless_sim::explore::{Broken, Explore, Found, Order};
use indicatif::{ProgressBar, ProgressDrawTarget};

use crate::Trouble;
use crate::run::minutes;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How many replicas; 2 or 3 is what can be walked.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=6))]
    replicas: u8,
    /// How many batches are written in all, each by any replica.
    #[arg(long, value_name = "N", default_value_t = 2)]
    writes: u64,
    /// How many crashes there are at most.
    #[arg(long, value_name = "N", default_value_t = 0)]
    crashes: u64,
    /// How many frames are lost at most.
    #[arg(long, value_name = "N", default_value_t = 0)]
    losses: u64,
    /// How often a wait is over at most while something else could still happen.
    #[arg(long, value_name = "N", default_value_t = 0)]
    timeouts: u64,
    /// How many different states are gone into at most; a million takes about 40 MB.
    #[arg(long, value_name = "N", default_value_t = 2_000_000)]
    max_states: usize,
    /// How many events follow each other at most.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    max_depth: usize,
    /// For how long at most.
    #[arg(long, value_name = "M", value_parser = minutes)]
    minutes: Option<Duration>,
    /// Where the order of events that breaks a rule is written, for `replay`.
    #[arg(short, long, value_name = "FILE", default_value = "driftless-order.txt")]
    output: String,
}

pub(crate) fn explore(args: &Args) -> Result<bool, Trouble> {
    let explore = Explore {
        replicas: usize::from(args.replicas),
        writes: args.writes,
        crashes: args.crashes,
        losses: args.losses,
        timeouts: args.timeouts,
        max_states: args.max_states,
        max_depth: args.max_depth,
        defect: None,
    };
    let start = Instant::now();
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
    };
    let found = explore.run(&mut |found| {
        bar.set_message(format!(
            "{} states, {} events, {} deep",
            found.states, found.transitions, found.depth
        ));
        bar.tick();
        args.minutes.is_none_or(|limit| start.elapsed() < limit)
    });
    bar.finish_and_clear();
    print(&found, start.elapsed());
    if let Some(broken) = &found.failure {
        let order = Order::of(&explore, broken).to_string();
        std::fs::write(&args.output, order).map_err(Trouble::file("write", &args.output))?;
        println!("replay    driftless-sim replay {}", args.output);
    }
    Ok(found.failure.is_none())
}

/// Walks an order of events that was kept.
pub(crate) fn replay(path: &str, text: &str) -> Result<bool, Trouble> {
    let order: Order = text.parse().map_err(Trouble::order(path))?;
    let broken = order.walk().map_err(Trouble::order(path))?;
    match &broken {
        Some(broken) => tell(broken),
        None => println!("{} events pass, and no rule is broken", order.path.len()),
    }
    Ok(broken.is_none())
}

fn tell(broken: &Broken) {
    println!("after {} events a rule is broken: {}", broken.path.len(), broken.violation);
    for (index, step) in broken.story.iter().enumerate() {
        println!("{:>5}  {step}", index + 1);
    }
}

fn print(found: &Found, took: Duration) {
    let Found { states, transitions, ends, depth, exhausted, failure } = found;
    if let Some(broken) = failure {
        tell(broken);
    }
    let whole = match (failure, exhausted) {
        (Some(_), _) => "up to there",
        (None, true) => "the whole scope",
        (None, false) => "only a part of the scope: a limit was reached",
    };
    println!(
        "{states} states, {transitions} events, {ends} ends, {depth} events deep: {whole}; took {:.1} s",
        took.as_secs_f64()
    );
}
