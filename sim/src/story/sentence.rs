//! A sentence for each kind of step.

use driftless::Rights;
use serde_json::Value;

use super::names::{Names, listed};
use super::{rows, seconds};
use crate::plan::{Act, Fate, Require};

pub(super) fn tell(act: &Act, names: &Names) -> String {
    let told = people(act, names)
        .or_else(|| rows::tell(act, names))
        .or_else(|| process(act, names))
        .or_else(|| network(act, names))
        .or_else(|| super::trouble::tell(act, names));
    told.unwrap_or_else(|| plain(act, names))
}

fn people(act: &Act, names: &Names) -> Option<String> {
    Some(match act {
        Act::Create { replica, group, database, collections } => {
            let (who, group) = (names.device(*replica), names.group(*group));
            let collections =
                if *collections == 1 { String::new() } else { format!(" with {collections} collections") };
            format!("{who} makes {group}{collections}{}.", in_database(*database))
        }
        Act::AddCollection { replica, group, collection } => {
            format!("{} adds collection c{collection} to {}.", names.device(*replica), names.group(*group))
        }
        Act::Invite { replica, group, ticket, rights, reusable, valid_ms, lasts_ms } => {
            let (who, group) = (names.device(*replica), names.group(*group));
            let rights = match rights {
                Rights::Read => "a reader",
                Rights::Write => "a writer",
                _ => "an admin",
            };
            let often = if *reusable { ", which several may use" } else { "" };
            let valid = if *valid_ms == 24 * 3_600_000 {
                String::new()
            } else {
                format!(", good for {} s", seconds(*valid_ms))
            };
            let lasts = lasts(*lasts_ms);
            format!("{who} invites {rights}{lasts} to {group} (invitation {ticket}{often}{valid}).")
        }
        Act::Join { replica, ticket, database } => {
            format!("{} takes invitation {ticket}{}.", names.device(*replica), in_database(*database))
        }
        Act::Leave { replica, group } => {
            format!("{} leaves {}.", names.device(*replica), names.group(*group))
        }
        Act::Eject { replica, group, peer } => {
            let (who, whom) = (names.device(*replica), names.device(*peer));
            format!("{who} removes {whom} from {}.", names.group(*group))
        }
        Act::SetRights { replica, group, peer, rights, lasts_ms } => {
            let (who, whom) = (names.device(*replica), names.device(*peer));
            let rights = may(*rights);
            let lasts = lasts(*lasts_ms);
            format!("{who} says that {whom} may {rights} in {}{lasts}.", names.group(*group))
        }
        Act::Describe { replica, group, description, meet, unless_changed } => {
            let describes = description.map(|number| format!("what it is for ({number})"));
            let meet = meet.as_ref().map(|all| match all.as_slice() {
                [] => "that nobody is met anywhere".to_owned(),
                all => format!("where to meet {}", names.devices(all)),
            });
            let said: Vec<String> = describes.into_iter().chain(meet).collect();
            let said = if said.is_empty() { "nothing".to_owned() } else { said.join(", and ") };
            let unless = if *unless_changed { ", unless that has changed since it looked" } else { "" };
            format!("{} says of {} {said}{unless}.", names.device(*replica), names.group(*group))
        }
        Act::Publish { replica, group, peer, rights } => {
            let (who, whom) = (names.device(*replica), names.device(*peer));
            format!("{who} publishes {} at {whom}, which may {} then.", names.group(*group), may(*rights))
        }
        Act::Unpublish { replica, group, peer } => {
            let (who, whom) = (names.device(*replica), names.device(*peer));
            format!("{who} does not want {} published at {whom} any more.", names.group(*group))
        }
        Act::Accept { replica, group, database } => {
            let (who, database) = (names.device(*replica), in_database(*database));
            format!("From now on {who} accepts {} when it is published there{database}.", names.group(*group))
        }
        Act::Decline { replica, group } => {
            let who = names.device(*replica);
            format!("From now on {who} declines {} when it is published there.", names.group(*group))
        }
        Act::AdmitUser { replica, group, user, rights, lasts_ms } => {
            let who = names.device(*replica);
            let rights = may(*rights);
            let lasts = lasts(*lasts_ms);
            format!("{who} says that user {user} may {rights} in {}{lasts}.", names.group(*group))
        }
        Act::Open { replica, group, rights, lasts_ms } => {
            let (who, rights, lasts) = (names.device(*replica), may(*rights), lasts(*lasts_ms));
            format!(
                "{who} opens {}: any member may let in others, who may {rights}{lasts}.",
                names.group(*group)
            )
        }
        Act::Close { replica, group } => {
            format!("{} closes {} to everybody.", names.device(*replica), names.group(*group))
        }
        Act::EjectUser { replica, group, user } => {
            format!("{} removes user {user} from {}.", names.device(*replica), names.group(*group))
        }
        Act::InviteDevice { replica, group, ticket, user } => {
            let (who, group) = (names.device(*replica), names.group(*group));
            format!("{who} invites the devices of user {user} to {group} (invitation {ticket}).")
        }
        Act::JoinAs { replica, ticket, user, number, database } => {
            let (who, database) = (names.device(*replica), in_database(*database));
            let again = again(*number);
            format!("{who} takes invitation {ticket} as a device of user {user}{again}{database}.")
        }
        Act::Enrol { replica, group, peer, user, number } => {
            let (who, whom, again) = (names.device(*replica), names.device(*peer), again(*number));
            let group = names.group(*group);
            format!("{who} writes down in {group} that {whom} is a device of user {user}{again}.")
        }
        Act::StrikeOff { replica, group, peer, user } => {
            let (who, whom) = (names.device(*replica), names.device(*peer));
            let group = names.group(*group);
            format!("User {user} strikes off {whom} in {group}, and {who} writes that down.")
        }
        Act::Destroy { replica, group } => {
            format!("{} destroys {}.", names.device(*replica), names.group(*group))
        }
        Act::PauseSync { replica, database } => {
            format!("{} pauses the exchange of database {database}.", names.device(*replica))
        }
        Act::ResumeSync { replica, database } => {
            format!("{} resumes the exchange of database {database}.", names.device(*replica))
        }
        Act::Reissue { replica } => {
            format!("{} writes again what it wrote while its clock was ahead.", names.device(*replica))
        }
        Act::Rotate { replica } => format!("{} takes another key.", names.device(*replica)),
        Act::Write { replica, changes, require, .. } => {
            let changes: Vec<String> = changes.iter().map(|edit| rows::change(edit, names)).collect();
            let require: Vec<String> = require.iter().map(|it| condition(it, names)).collect();
            let require = if require.is_empty() {
                String::new()
            } else {
                format!(", provided that {}", listed(&require))
            };
            format!("{} {}{require}.", names.device(*replica), listed(&changes))
        }
        _ => return None,
    })
}

fn in_database(database: u8) -> String {
    if database == 0 { String::new() } else { format!(" in its database db{database}") }
}

fn condition(require: &Require, names: &Names) -> String {
    let what = match require.to {
        None => names.row(&require.row),
        Some(to) => format!("the range from {} to k{to}", names.row(&require.row)),
    };
    let since = if require.fresh { "just now" } else { "when it was last looked at" };
    format!("{what} is as it was {since}")
}

fn process(act: &Act, names: &Names) -> Option<String> {
    let kept = |keep: &Option<usize>| match keep {
        None => String::new(),
        Some(0) => ", and everything that is not durable is lost".to_owned(),
        Some(1) => ", and the first commit that is not durable survives".to_owned(),
        Some(keep) if *keep > 1_000 => ", and nothing is lost".to_owned(),
        Some(keep) => format!(", and the first {keep} commits that are not durable survive"),
    };
    Some(match act {
        Act::Crash { replica, keep } => format!("{} crashes{}.", names.device(*replica), kept(keep)),
        Act::CrashAtCommit { replica, after, keep } => {
            let when = match after {
                0 => "its next commit".to_owned(),
                after => format!("{after} more commits and the one after these"),
            };
            format!("{} is going to crash right after {when}{}.", names.device(*replica), kept(keep))
        }
        Act::Shutdown { replica } => format!("{} is asked to stop.", names.device(*replica)),
        Act::Restart { replica, shown, settings } => {
            let set = if settings.is_some() { ", set up otherwise" } else { "" };
            let how =
                if *shown { "" } else { ", as another incarnation: nothing shows that its store continues" };
            format!("{} starts again{set}{how}.", names.device(*replica))
        }
        _ => return None,
    })
}

fn network(act: &Act, names: &Names) -> Option<String> {
    Some(match act {
        Act::Cut { from, to, both: true } => {
            format!("The network is cut between {} and {}.", names.devices(from), names.devices(to))
        }
        Act::Cut { from, to, both: false } => {
            format!("Nothing gets from {} to {} any more.", names.devices(from), names.devices(to))
        }
        Act::Heal => "The network heals.".to_owned(),
        Act::Break { a, b } => {
            format!("Every link between {} and {} breaks.", names.device(*a), names.device(*b))
        }
        Act::Find { replica, peer } => {
            format!("{} finds out where {} is.", names.device(*replica), names.device(*peer))
        }
        Act::LoseSight { replica, peer } => {
            format!("{} is told that {} is not there any more.", names.device(*replica), names.device(*peer))
        }
        Act::Frame { from, to, nth, fate: what } => {
            let (from, to) = (names.device(*from), names.device(*to));
            format!("The frame {nth} from {from} to {to} {}.", fate(*what))
        }
        _ => return None,
    })
}

pub(super) fn fate(fate: Fate) -> String {
    match fate {
        Fate::Arrive => "arrives".to_owned(),
        Fate::Lose => "is lost".to_owned(),
        Fate::Twice(0) => "arrives twice at once".to_owned(),
        Fate::Twice(later) => format!("arrives twice, the second time {} s later", seconds(later)),
        Fate::Late(0) => "is sent on its own, so that later ones may overtake it".to_owned(),
        Fate::Corrupt => "is damaged on its way, which is noticed, and the link breaks".to_owned(),
        Fate::Late(by) => format!("arrives {} s late, and later ones overtake it", seconds(by)),
    }
}

/// What it means for a device that a syncgroup comes to a state there.
pub(super) fn state(state: &str, group: &str) -> String {
    match state {
        "Joining" => format!("asks to be admitted to {group}"),
        "Pending" => format!("is admitted to {group}, and has yet to get it"),
        "Active" => format!("has all of {group}"),
        "Left" => format!("has left {group}"),
        other => format!("is not admitted to {group}: {other}"),
    }
}

pub(super) fn with_article(noun: &str) -> String {
    let vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u']);
    match noun {
        "deltas" | "digests" | "garbage" => noun.to_owned(),
        noun => format!("{} {noun}", if vowel { "an" } else { "a" }),
    }
}

/// A step that nobody has found words for: what its line in the plan says.
fn plain(act: &Act, names: &Names) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(act) else { return format!("{act:?}.") };
    let what =
        fields.remove("do").and_then(|what| Some(what.as_str()?.replace('-', " "))).unwrap_or_default();
    let who = fields.remove("replica").and_then(|who| who.as_u64());
    let who = who.map(|who| format!("{}: ", names.device(who as usize))).unwrap_or_default();
    let rest: Vec<String> = fields.iter().map(|(name, value)| format!("{name} {value}")).collect();
    if rest.is_empty() { format!("{who}{what}.") } else { format!("{who}{what}, {}.", rest.join(", ")) }
}

fn may(rights: Rights) -> &'static str {
    match rights {
        Rights::Read => "only read",
        Rights::Write => "read and write",
        _ => "do everything",
    }
}

/// For how long, if not for ever.
fn lasts(millis: u64) -> String {
    if millis == 0 { String::new() } else { format!(" for {} s", seconds(millis)) }
}

/// Which of several certificates.
fn again(number: u8) -> String {
    if number == 0 { String::new() } else { format!(" by certificate {number}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::plan::{Plan, Profile};

    #[test]
    fn every_kind_of_step_that_is_drawn_has_words_of_its_own() {
        let profile: Profile = "harsh".parse().unwrap();
        for seed in 0..20 {
            let plan = Plan::draw(seed, &profile);
            let names = Names::new(&plan, &Facts::default());
            for step in &plan.steps {
                let told = tell(&step.act, &names);
                assert_ne!(told, plain(&step.act, &names), "{:?}", step.act);
                assert!(told.ends_with('.') && !told.contains('{'), "{told}");
            }
        }
    }

    #[test]
    fn a_step_without_words_is_told_by_its_fields() {
        let plan: Plan = r#"{"plan":1,"seed":1,"setup":{"replicas":2,"safety_ms":1}}"#.parse().unwrap();
        let names = Names::new(&plan, &Facts::default());
        let act = Act::CrashAtCommit { replica: 1, after: 3, keep: None };
        assert_eq!(plain(&act, &names), "B: crash at commit, after 3.");
    }
}
