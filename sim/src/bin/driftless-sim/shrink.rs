//! `driftless-sim shrink`.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args as ClapArgs;
use driftless_sim::shrink::{self, Effort, Judge, Shrunk};
use driftless_sim::{Facts, story};

use crate::Trouble;
use crate::bar::{bar, jobs};
use crate::input::{Input, twice};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,
    /// Where to write the plan; otherwise it is printed.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Run each plan twice, and compare: what differs is a failure, too.
    #[arg(long)]
    check_determinism: bool,
    /// How many plans to try at most.
    #[arg(long, value_name = "N", default_value_t = Effort::default().executions)]
    executions: u64,
    /// How many at a time: this changes how long it takes, and not what comes out.
    #[arg(long, value_name = "N", default_value_t = jobs())]
    jobs: usize,
}

pub(crate) fn shrink(args: &Args) -> Result<bool, Trouble> {
    let plan = args.input.load()?;
    let sabotage = args.input.sabotage;
    let judge: Box<Judge<'_>> = match args.check_determinism {
        true => Box::new(shrink::judge_twice(sabotage)),
        false => Box::new(shrink::judge(sabotage)),
    };
    let bar = bar(args.executions, true);
    let start = Instant::now();
    let effort = Effort { executions: args.executions, jobs: args.jobs };
    let shrunk = shrink::shrink(&plan, &*judge, effort, &mut |progress| {
        bar.set_position(progress.executions);
        let (steps, size) = (progress.steps, progress.size);
        bar.set_message(format!(
            "{steps} steps, {size} decisions, {} plans: {}",
            progress.executions, progress.pass
        ));
    });
    bar.finish_and_clear();
    let shrunk = shrunk.map_err(|_| Trouble::Passes(args.input.again(&args.input.plan)))?;
    let told = tell(&shrunk, &*judge);
    eprintln!(
        "from {} decisions in {} steps to {} in {}; {} plans executed in {:.1} s",
        shrink::size(&plan),
        plan.steps.len(),
        shrink::size(&shrunk.plan),
        shrunk.plan.steps.len(),
        shrunk.executions,
        start.elapsed().as_secs_f64()
    );
    if shrunk.gave_up {
        eprintln!("stopped before the end: --executions allows for no more, and more might make it smaller");
    }
    let text = with_story(&format!("Shrunk from {}.", args.input.origin(&plan)), &shrunk, &told);
    match &args.output {
        Some(path) => {
            let name = path.display().to_string();
            std::fs::write(path, text).map_err(Trouble::file("write the plan to", &name))?;
            let again = args.input.again(&name) + twice(&shrunk.failure);
            println!("{told}\n\n  replay    driftless-sim replay {again}");
        }
        None => print!("{text}"),
    }
    Ok(true)
}

/// The story of a plan that was shrunk.
pub(crate) fn tell(shrunk: &Shrunk, judge: &Judge<'_>) -> String {
    let mut facts = Facts::default();
    judge(&shrunk.plan, Some(&mut facts));
    story::tell(&shrunk.plan, &facts, Some(&shrunk.failure))
}

/// The plan, with comments that say what it is and what happens in it.
pub(crate) fn with_story(title: &str, shrunk: &Shrunk, told: &str) -> String {
    let mut text = format!("# {title}\n#\n");
    for line in told.lines() {
        text.push_str(format!("# {line}").trim_end());
        text.push('\n');
    }
    text + &shrunk.plan.to_string()
}
