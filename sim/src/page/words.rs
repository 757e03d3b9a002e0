//! Frames, commands and answers in words.

use driftless::inspect::{Content, Entry, Frame};
use driftless::read::Edited;
use driftless::{
    Command, Edit, LinkId, Operation, Outcome, Precondition, Refusal, RowRef, SpecChange, SyncgroupState,
};

use super::naming::Naming;
use crate::plan::Act;

/// Kinds of frames, by number: what the page lists, and in which order.
pub(super) const FRAME_KINDS: [&str; 14] = [
    "hello",
    "offer",
    "summary",
    "digests",
    "pull",
    "announce",
    "introduction",
    "deltas",
    "join",
    "joined",
    "publish",
    "declined",
    "forked",
    "unreadable",
];

/// The most generations of a frame that are told one by one.
const MOST_TOLD: usize = 40;

/// A frame in words: the number of its kind, the syncgroup that it is about if it is about one, and what it
/// says.
pub(super) fn frame(
    naming: &mut Naming,
    link: LinkId,
    frame: Option<&Frame>,
) -> (usize, Option<usize>, String) {
    let (kind, group, text) = match frame {
        Some(Frame::Hello { protocol, wanted, .. }) => {
            let wanted = if *wanted { ", and has not heard the other's" } else { "" };
            ("hello", None, format!("says hello in protocol {protocol}{wanted}"))
        }
        Some(Frame::Offer { revision, syncgroups, ended }) => {
            let list = |tags: &[driftless::Tag]| -> Vec<String> {
                let mut named = |tag| match naming.on_link(link, tag) {
                    Some(group) => naming.labels[group].clone(),
                    None => format!("{tag:?}"),
                };
                tags.iter().map(&mut named).collect()
            };
            let offered = list(syncgroups);
            let offered = if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
            let ended = list(ended);
            let ended =
                if ended.is_empty() { String::new() } else { format!("; has ended {}", ended.join(", ")) };
            ("offer", None, format!("offers {offered} (offer {revision}){ended}"))
        }
        Some(Frame::Summary { knowledge, visible, answer }) => {
            let how = if *answer { "answers" } else { "asks" };
            ("summary", None, format!("{how}: knows {knowledge:?}, shows {visible:?}"))
        }
        Some(Frame::Digests(digests)) => {
            let one = |(tag, digest): &(driftless::Tag, driftless::Tag)| match naming.on_link(link, tag) {
                Some(group) => format!("{} {digest:?}", naming.labels[group]),
                None => format!("{tag:?} {digest:?}"),
            };
            ("digests", None, digests.iter().map(one).collect::<Vec<_>>().join("\n"))
        }
        Some(Frame::Pull(holdings)) => {
            let whole = if holdings.whole { "everything" } else { "of these authors" };
            let held = naming.of_versions(&holdings.held);
            ("pull", naming.on_link(link, &holdings.name), format!("wants {whole} beyond {held}"))
        }
        Some(Frame::Announce(holdings)) => {
            let held = naming.of_versions(&holdings.held);
            ("announce", naming.on_link(link, &holdings.name), format!("holds {held}"))
        }
        Some(Frame::Introduction { author, users, holdings }) => {
            let (admitter, held) = (naming.of_author(author), naming.of_versions(&holdings.held));
            let users: Vec<String> = users.iter().map(ToString::to_string).collect();
            let shown = users.iter().map(|user| format!(" and that it is a device of {user},"));
            let shown: String = shown.collect();
            let text = format!("shows the word of {admitter}, who admitted it,{shown} and holds {held}");
            ("introduction", naming.on_link(link, &holdings.name), text)
        }
        Some(Frame::Deltas { name, generations }) => {
            let mut lines: Vec<String> = Vec::new();
            let group = naming.on_link(link, name);
            for (version, content) in generations.iter().take(MOST_TOLD) {
                lines.push(format!("{} {}", naming.of_version(version), generation(naming, group, content)));
            }
            if generations.len() > MOST_TOLD {
                lines.push(format!("and {} more generations", generations.len() - MOST_TOLD));
            }
            ("deltas", group, lines.join("\n"))
        }
        Some(Frame::Join { syncgroup, name, withdraw }) => {
            let asks = if *withdraw { "gives up, and asks whether it was let in" } else { "asks to join" };
            ("join", Some(naming.group(syncgroup)), format!("{name} {asks}"))
        }
        Some(Frame::Publish(all)) => {
            let all: Vec<String> = all.iter().map(|group| naming.of_group(group)).collect();
            ("publish", None, all.join(", "))
        }
        Some(Frame::Declined { syncgroup }) => {
            ("declined", Some(naming.group(syncgroup)), "declines".to_owned())
        }
        Some(Frame::Forked { name, author, proven }) => {
            let what = if *proven { "proves" } else { "finds out" };
            let by = naming.of_device(&author.device);
            ("forked", naming.on_link(link, name), format!("{what} that {by} has forked its log"))
        }
        Some(Frame::NoneOffered) => ("publish", None, "has heard that nothing is offered".to_owned()),
        Some(Frame::Joined { syncgroup, answer }) => {
            let text = match answer {
                Ok(held) => format!("admitted; complete once it holds {}", naming.of_versions(held)),
                Err(refusal) => format!("refused: {refusal}"),
            };
            ("joined", Some(naming.group(syncgroup)), text)
        }
        _ => ("unreadable", None, "cannot be read".to_owned()),
    };
    (FRAME_KINDS.iter().position(|it| *it == kind).unwrap_or(FRAME_KINDS.len() - 1), group, text)
}

/// A generation of a syncgroup in words.
pub(super) fn generation(naming: &mut Naming, group: Option<usize>, content: &Content) -> String {
    let entries: Vec<String> = content.entries.iter().map(|it| entry(naming, group, it)).collect();
    let batch = if content.batch.is_some() { " (part of a batch over several syncgroups)" } else { "" };
    format!("{}{batch}", entries.join("; "))
}

fn entry(naming: &mut Naming, group: Option<usize>, entry: &Entry) -> String {
    match entry {
        Entry::Row { collection, key, parents, edited } => {
            let group = group.map_or_else(String::new, |group| format!("{}/", naming.labels[group]));
            let row = format!("{group}{}/{}", naming.of_collection(collection), text(key, 40));
            let over = match parents.len() {
                0 => String::new(),
                _ => format!(" over {}", naming.of_versions(parents)),
            };
            match edited {
                Edited::Put(value) => format!("{row} = {}{over}", brief(value)),
                Edited::Deleted => format!("{row} deleted{over}"),
                Edited::Operated { operations, .. } => format!("{row}: {}{over}", done(operations)),
                _ => format!("{row} changed{over}"),
            }
        }
        Entry::Genesis(name) => format!("founds {name}"),
        Entry::Admit { device, rights, ends, .. } => {
            format!("admits {} ({rights:?}{})", naming.of_device(device), until(*ends))
        }
        Entry::AdmitUser { name, rights, ends, .. } => {
            format!("admits user {name} ({rights:?}{})", until(*ends))
        }
        Entry::Enrol(it) => {
            format!("enrols {} as a device of user {}", naming.of_device(&it.device()), it.user_name())
        }
        Entry::StrikeOff(it) => format!("strikes off {}", naming.of_device(&it.device())),
        Entry::RevokeUser { user, keep: None, .. } => format!("removes user {user:?}"),
        Entry::RevokeUser { user, keep: Some(rights), ends } => {
            format!("leaves user {user:?} no more than {rights:?}{}", until(*ends))
        }
        Entry::Open { rights, ends } => format!("opens to everybody ({rights:?}{})", until(*ends)),
        Entry::Close { keep: None, .. } => "closes to everybody".to_owned(),
        Entry::Close { keep: Some(rights), ends } => {
            format!("leaves everybody no more than {rights:?}{}", until(*ends))
        }
        Entry::Spec(change) => format!("says {}", spec(naming, change)),
        Entry::Publish { device, rights, .. } => {
            format!("publishes at {} ({rights:?})", naming.of_device(device))
        }
        Entry::Unpublish { device, .. } => {
            format!("does not publish at {} any more", naming.of_device(device))
        }
        Entry::Decline { device, .. } => format!("hears that {} declines", naming.of_device(device)),
        Entry::Cut { first, last, .. } => {
            format!("stands for {first} to {last} of an earlier log of its own")
        }
        Entry::Fork { author, prefix } => {
            format!("proves that {} has forked its log behind {prefix}", naming.of_device(&author.device))
        }
        Entry::Repeats { generation, .. } => {
            format!("gives again what {generation} of an earlier log of its own gave")
        }
        Entry::Rollover { chain, .. } => format!("says that it has key {}", chain.rollovers()),
        Entry::Leave => "leaves".to_owned(),
        Entry::Revoke { device, keep: None, .. } => format!("removes {}", naming.of_device(device)),
        Entry::Revoke { device, keep: Some(rights), ends } => {
            format!("leaves {} no more than {rights:?}{}", naming.of_device(device), until(*ends))
        }
        Entry::Collection(name) => format!("adds collection {name}"),
        Entry::Rule { collection, prefix, policy } => {
            let rows = format!("{}/{}…", naming.of_collection(collection), text(prefix, 40));
            match policy {
                Some(policy) => format!("conflicts of {rows}: {policy:?}"),
                None => format!("conflicts of {rows}: no rule"),
            }
        }
        _ => "something newer".to_owned(),
    }
}

/// A command in words.
pub(super) fn command(naming: &mut Naming, command: &Command) -> String {
    match command {
        Command::Write(batch) => {
            let mut parts = Vec::new();
            for change in &batch.changes {
                let row = row(naming, &change.row);
                parts.push(match &change.edit {
                    Edit::Put(value) => format!("writes {row} = {}", brief(value)),
                    Edit::Delete => format!("deletes {row}"),
                    Edit::Operate(operation) => {
                        format!("changes {row}: {}", done(std::slice::from_ref(operation)))
                    }
                });
            }
            for precondition in &batch.preconditions {
                parts.push(match precondition {
                    Precondition::Heads { row: of, heads } => {
                        format!("if {} still is {}", row(naming, of), naming.of_versions(heads))
                    }
                    Precondition::Range { from, rows, .. } => {
                        format!("if from {} on there still are {} rows", row(naming, from), rows.len())
                    }
                    _ => "under a condition".to_owned(),
                });
            }
            parts.join("\n")
        }
        Command::CreateSyncgroup { database, name, .. } => format!("creates syncgroup {name} in {database}"),
        Command::CreateCollection { syncgroup, collection } => {
            format!("adds collection {collection} to {}", naming.of_group(syncgroup))
        }
        Command::SetSchema { syncgroup, collection, rules } => {
            let rows = format!("{}/{collection}", naming.of_group(syncgroup));
            let one = |rule: &driftless::Rule| format!("“{}”: {:?}", text(&rule.prefix, 40), rule.policy);
            let rules: Vec<String> = rules.iter().map(one).collect();
            format!("sets rules for conflicts of {rows}: {}", rules.join(", "))
        }
        Command::ChangeSchema { syncgroup, collection, changes } => {
            let rows = format!("{}/{collection}", naming.of_group(syncgroup));
            let one = |(prefix, policy): (&bytes::Bytes, &Option<driftless::Policy>)| match policy {
                Some(policy) => format!("“{}”: {policy:?}", text(prefix, 40)),
                None => format!("“{}”: none", text(prefix, 40)),
            };
            let changes: Vec<String> = changes.iter().map(one).collect();
            format!("changes rules for conflicts of {rows}: {}", changes.join(", "))
        }
        Command::Invite { syncgroup, rights, reusable, .. } => {
            let who = if *reusable { "several devices" } else { "one device" };
            format!("invites {who} to {} ({rights:?})", naming.of_group(syncgroup))
        }
        Command::Join { invitation, database } => {
            format!("wants to join {} in {database}", naming.of_group(&invitation.syncgroup()))
        }
        Command::JoinAs { invitation, database, certificate } => {
            let (group, user) = (naming.of_group(&invitation.syncgroup()), certificate.user_name());
            format!("wants to join {group} in {database} as a device of {user}")
        }
        Command::SetSpec { syncgroup, change, unless_changed } => {
            let unless = if unless_changed.is_some() { ", unless that has changed" } else { "" };
            format!("says of {} {}{unless}", naming.of_group(syncgroup), spec(naming, change))
        }
        Command::Publish { syncgroup, device, rights, .. } => {
            let (group, device) = (naming.of_group(syncgroup), naming.of_device(device));
            format!("publishes {group} at {device} ({rights:?})")
        }
        Command::Unpublish { syncgroup, device } => {
            let (group, device) = (naming.of_group(syncgroup), naming.of_device(device));
            format!("does not want {group} published at {device} any more")
        }
        Command::Decline { invitation } => {
            format!("declines {}", naming.of_group(&invitation.syncgroup()))
        }
        Command::Leave { syncgroup } => format!("leaves {}", naming.of_group(syncgroup)),
        other => naming.plain(&format!("{other:?}")),
    }
}

/// What members are told, in words.
fn spec(naming: &mut Naming, change: &SpecChange) -> String {
    let describes = change.description.as_ref().map(|text| format!("what it is for: “{text}”"));
    let meet = change.rendezvous.as_ref().map(|all| {
        let all: Vec<String> = all.iter().map(|it| naming.of_device(&it.device)).collect();
        if all.is_empty() {
            "to meet nowhere".to_owned()
        } else {
            format!("where to meet {}", all.join(", "))
        }
    });
    let said: Vec<String> = describes.into_iter().chain(meet).collect();
    said.join(", and ")
}

/// An answer in words.
pub(super) fn reply(naming: &mut Naming, result: &Result<Outcome, Refusal>) -> String {
    match result {
        Ok(Outcome::Written(parts)) if parts.is_empty() => "there was nothing to write".to_owned(),
        Ok(Outcome::Written(parts)) => {
            let mut list = Vec::new();
            for part in parts {
                list.push(format!(
                    "{} {}",
                    naming.of_group(&part.syncgroup),
                    naming.of_version(&part.version)
                ));
            }
            format!("safe: {}", list.join(", "))
        }
        Ok(Outcome::Created(group)) => format!("{} exists", naming.of_group(group)),
        Ok(Outcome::CollectionCreated(_)) => "the collection exists".to_owned(),
        Ok(Outcome::Invited(invitation)) => {
            format!("here is an invitation to {}", naming.of_group(&invitation.syncgroup()))
        }
        Ok(Outcome::Joining(group)) => format!("will try to join {}", naming.of_group(group)),
        Ok(Outcome::Left(group)) => format!("has left {}", naming.of_group(group)),
        Ok(other) => naming.plain(&format!("{other:?}")),
        Err(refusal) => naming.plain(&format!("refused: {refusal}")),
    }
}

/// A step of a plan in words: its name, and its fields with their values.
pub(super) fn step(act: &Act) -> (String, String) {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(act) else { return Default::default() };
    let name = fields.get("do").and_then(|name| name.as_str()).unwrap_or_default().to_owned();
    let fields = fields.iter().filter(|(field, _)| *field != "do");
    let fields: Vec<String> = fields.map(|(field, value)| format!("{field} {}", plain_json(value))).collect();
    (name, fields.join(", "))
}

fn plain_json(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(list) => list.iter().map(plain_json).collect::<Vec<_>>().join(" "),
        serde_json::Value::Object(fields) => {
            let fields = fields.iter().map(|(field, value)| format!("{field} {}", plain_json(value)));
            format!("({})", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// How far a device is in a syncgroup.
pub(super) fn state(state: &SyncgroupState) -> String {
    match state {
        SyncgroupState::Joining => "asks to join".to_owned(),
        SyncgroupState::Pending => "is being filled".to_owned(),
        SyncgroupState::Active => "member".to_owned(),
        SyncgroupState::Leaving => "is leaving".to_owned(),
        SyncgroupState::Left => "has left".to_owned(),
        SyncgroupState::Removed => "was removed".to_owned(),
        SyncgroupState::Expired => "has no more time".to_owned(),
        SyncgroupState::Refused(why) => format!("was refused: {why}"),
        other => format!("{other:?}"),
    }
}

fn row(naming: &mut Naming, row: &RowRef) -> String {
    format!("{}/{}/{}", naming.of_group(&row.syncgroup), row.collection, text(&row.key, 40))
}

/// What operations do to their row.
fn done(operations: &[Operation]) -> String {
    let one = |operation: &Operation| match operation {
        Operation::Add(amount) => format!("{amount:+}"),
        Operation::Insert(element) => format!("inserts {}", text(element, 16)),
        Operation::Remove(element) => format!("removes {}", text(element, 16)),
        Operation::SetField { path, value } => format!("sets {} to {}", path.join("."), brief(value)),
        Operation::RemoveField { path } => format!("removes {}", path.join(".")),
        Operation::Named { merge, operation } => format!("{merge} {}", brief(operation)),
        other => format!("{other:?}"),
    };
    operations.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A value: its start and its length.
pub(super) fn brief(value: &[u8]) -> String {
    format!("“{}” ({} B)", text(value, 16), value.len())
}

/// The start of what may be text: as text if it is one, else in hexadecimal.
pub(super) fn text(bytes: &[u8], most: usize) -> String {
    let (mut short, cut): (String, bool) = match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => {
            (text.chars().take(most).collect(), text.chars().nth(most).is_some())
        }
        _ => {
            let digits = bytes.iter().take(most / 2).map(|byte| format!("{byte:02x}"));
            (digits.collect(), bytes.len() > most / 2)
        }
    };
    if cut {
        short.push('…');
    }
    short
}

/// Until when something is, if it ends.
fn until(ends: Option<driftless::Wall>) -> String {
    ends.map_or_else(String::new, |end| format!(" until {}", end.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_by_its_name_and_fields() {
        let act = Act::Cut { from: vec![0, 1], to: vec![2], both: true };
        let (name, fields) = step(&act);
        assert_eq!(name, "cut");
        assert_eq!(fields, "from 0 1, to 2", "what is usual is not said");
    }

    #[test]
    fn bytes_are_shown_as_text_where_they_are_text() {
        assert_eq!(text(b"w1 w1", 16), "w1 w1");
        assert_eq!(text(b"0123456789abcdefgh", 16), "0123456789abcdef…");
        assert_eq!(text(&[0, 255], 16), "00ff");
    }
}
