//! Sentences for what disks, clocks, processes and neighbourhoods do, and for hostile devices.

use super::names::Names;
use super::seconds;
use crate::plan::{Act, Attack};

pub(super) fn tell(act: &Act, names: &Names) -> Option<String> {
    disk(act, names).or_else(|| others(act, names))
}

fn disk(act: &Act, names: &Names) -> Option<String> {
    let after = |count: u32, what: &str| match count {
        0 => String::new(),
        1 => format!(" after one more {what}"),
        count => format!(" after {count} more {what}s"),
    };
    Some(match act {
        Act::FailReads { replica, after: count, again } => {
            let how = if *again { "has to be fetched first" } else { "cannot be read" };
            format!("What is in the store of {} {how}{}.", names.device(*replica), after(*count, "read"))
        }
        Act::FillDisk { replica, after: count } => {
            format!("The disk of {} is full{}.", names.device(*replica), after(*count, "commit"))
        }
        Act::SlowSync { replica, ms } => {
            let who = names.device(*replica);
            format!("The next sync of the disk of {who} takes {} s longer.", seconds(*ms))
        }
        Act::Damage { replica } => {
            format!(
                "The disk of {} is damaged, which is noticed when it is next read.",
                names.device(*replica)
            )
        }
        Act::Copy { replica } => format!("Somebody copies the disk of {}.", names.device(*replica)),
        Act::Restore { replica, unnoticed } => {
            let token = if *unnoticed { ", token and all" } else { "" };
            let who = names.device(*replica);
            format!("The disk of {who} is set back to the copy{token}, and it starts again.")
        }
        Act::LoseDisk { replica } => format!("{} loses its disk.", names.device(*replica)),
        _ => return None,
    })
}

fn others(act: &Act, names: &Names) -> Option<String> {
    Some(match act {
        Act::Pause { replica, ms, links_break } => {
            let links = if *links_break { ", and its links break" } else { "" };
            format!("{} sleeps for {} s{links}.", names.device(*replica), seconds(*ms))
        }
        Act::Vanish { replica } => format!("{} is never seen again.", names.device(*replica)),
        Act::SetClock { replica, ms } => {
            let clock = format!("The clock of {}", names.device(*replica));
            let by = seconds(ms.unsigned_abs());
            match ms.signum() {
                0 => format!("{clock} is set right."),
                1 => format!("{clock} is set {by} s ahead."),
                _ => format!("{clock} is set {by} s back."),
            }
        }
        Act::Clog { a, b, ms } => {
            let (a, b) = (names.device(*a), names.device(*b));
            format!("What {a} and {b} send each other is held up for {} s.", seconds(*ms))
        }
        Act::Gather { members } => format!("{} come together.", names.devices(members)),
        Act::Part { members } => format!("{} part, and lose sight of each other.", names.devices(members)),
        Act::Attack { replica, peer, group, attack: what } => {
            let (who, whom) = (names.device(*replica), names.device(*peer));
            format!("{who}, which is hostile, {} ({}).", attack(*what, &whom), names.group(*group))
        }
        _ => return None,
    })
}

fn attack(attack: Attack, whom: &str) -> String {
    let named = |kind: serde_json::Result<serde_json::Value>| {
        let name = kind.ok().and_then(|kind| Some(kind.as_str()?.replace('-', " ")));
        name.unwrap_or_default()
    };
    match attack {
        Attack::Replay => format!("sends old frames to {whom} again"),
        Attack::Reflect => format!("sends frames back to {whom} that it got"),
        Attack::Garbage => format!("sends garbage to {whom}"),
        Attack::Mangle => format!("sends frames to {whom} of which it has changed some bytes"),
        Attack::Forge(kind) => {
            format!("sends {whom} generations that it has forged: {}", named(serde_json::to_value(kind)))
        }
        Attack::Lie(kind) => format!("lies to {whom}: {}", named(serde_json::to_value(kind))),
        Attack::CallAsAnother => format!("calls {whom} by a key that another device had before"),
        Attack::Flood(kind) => format!("floods {whom}: {}", named(serde_json::to_value(kind))),
    }
}
