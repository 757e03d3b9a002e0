//! Which plan a command is about.

use std::path::Path;

use clap::Args;
use driftless_sim::explore::Order;
use driftless_sim::world::Sabotage;
use driftless_sim::{Failure, Plan, Profile};

use crate::Trouble;

#[derive(Debug, Args)]
pub(crate) struct Input {
    /// A file with a plan, or a seed.
    #[arg(value_name = "PLAN|SEED")]
    pub(crate) plan: String,
    /// From what the plan of a seed is drawn.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) profile: String,
    /// Break something on purpose: the name of a planted defect.
    #[arg(long, value_name = "DEFECT")]
    pub(crate) sabotage: Option<Sabotage>,
}

impl Input {
    /// The text of its file, if that is an order of events and no plan.
    pub(crate) fn order(&self) -> Result<Option<String>, Trouble> {
        if !Path::new(&self.plan).exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&self.plan).map_err(Trouble::file("read", &self.plan))?;
        Ok(Order::is_one(&text).then_some(text))
    }

    /// The plan from its file, or of its seed.
    pub(crate) fn load(&self) -> Result<Plan, Trouble> {
        load(&self.plan, &self.profile)
    }

    /// What the plan is, for people who do not have this machine.
    pub(crate) fn origin(&self, plan: &Plan) -> String {
        let path = Path::new(&self.plan);
        let name = path.file_name().filter(|_| path.exists()).map(|name| name.to_string_lossy());
        let what = match name {
            Some(name) => format!("{name}, seed {}", plan.seed),
            None => format!("seed {} of the profile {}", plan.seed, self.profile),
        };
        let sabotage = self.sabotage.map(|it| format!(", with the planted defect {it}")).unwrap_or_default();
        what + &sabotage
    }

    /// What else to say to a command about the same.
    pub(crate) fn again(&self, plan: &str) -> String {
        let sabotage = self.sabotage.map(|it| format!(" --sabotage {it}")).unwrap_or_default();
        let drawn = plan == self.plan && !Path::new(plan).exists() && self.profile != "default";
        let profile = if drawn { format!(" --profile {}", self.profile) } else { String::new() };
        format!("{plan}{profile}{sabotage}")
    }
}

/// What else to say to a command that is to see a failure again.
pub(crate) fn twice(failure: &Failure) -> &'static str {
    if failure.is_of_two_runs() { " --check-determinism" } else { "" }
}

/// A plan from a file, or of a seed.
pub(crate) fn load(text: &str, profile: &str) -> Result<Plan, Trouble> {
    if Path::new(text).exists() {
        let plan = std::fs::read_to_string(text).map_err(Trouble::file("read", text))?;
        if Order::is_one(&plan) {
            return Err(Trouble::OnlyReplayed(text.to_owned()));
        }
        let plan: Plan = plan.parse().map_err(|cause| Trouble::Plan { path: text.to_owned(), cause })?;
        return match &plan.app {
            Some(app) => Err(Trouble::Application { path: text.to_owned(), app: app.clone() }),
            None => Ok(plan),
        };
    }
    let seed = text.parse().map_err(|_| Trouble::NeitherPlanNorSeed(text.to_owned()))?;
    draw(seed, profile)
}

pub(crate) fn draw(seed: u64, profile: &str) -> Result<Plan, Trouble> {
    let profile: Profile = profile.parse()?;
    Ok(Plan::draw(seed, &profile))
}
