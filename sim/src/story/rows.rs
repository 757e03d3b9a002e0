//! Words for what is done to rows, and about them: changes, schemas, transfers, resolvers and watchers.

use serde_json::Value;

use super::names::{Names, listed};
use super::seconds;
use crate::plan::{Act, Edit, ResolverKind, What};

/// What a batch does to a row, to follow the name of who does it.
pub(super) fn change(edit: &Edit, names: &Names) -> String {
    let row = names.row(&edit.row);
    match &edit.what {
        What::Delete => format!("deletes {row}"),
        What::Text(0) => format!("empties {row}"),
        What::Text(1) => format!("writes 1 byte to {row}"),
        What::Text(bytes) => format!("writes {bytes} bytes to {row}"),
        What::Number(number) => format!("writes the number {number} to {row}"),
        What::Elements(set) => {
            let elements: Vec<String> = set.iter().cloned().collect();
            let elements = if set.is_empty() { "no elements".to_owned() } else { listed(&elements) };
            format!("writes the set of {elements} to {row}")
        }
        What::Fields(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(path, value)| format!("{} = {value}", path.join("."))).collect();
            let fields = if fields.is_empty() { "nothing".to_owned() } else { listed(&fields) };
            format!("writes the fields {fields} to {row}")
        }
        What::Add(amount) => format!("adds {amount} to {row}"),
        What::Insert(element) => format!("inserts {element} into {row}"),
        What::Remove(element) => format!("removes {element} from {row}"),
        What::SetField(path, value) => format!("sets field {} of {row} to {value}", path.join(".")),
        What::RemoveField(path) => format!("removes field {} of {row}", path.join(".")),
        What::Append(text) => format!("appends {text} to {row}"),
    }
}

pub(super) fn tell(act: &Act, names: &Names) -> Option<String> {
    Some(match act {
        Act::Schema { replica, group, collection, rules } => {
            let (who, group) = (names.device(*replica), names.group(*group));
            let rules: Vec<String> = rules.iter().map(ToString::to_string).collect();
            let rules = if rules.is_empty() { "has no rules".to_owned() } else { listed(&rules) };
            format!("{who} says what becomes of conflicts in c{collection} of {group}: {rules}.")
        }
        Act::ChangeSchema { replica, group, collection, changes } => {
            let (who, group) = (names.device(*replica), names.group(*group));
            let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
            format!("{who} changes rules for conflicts in c{collection} of {group}: {}.", listed(&changes))
        }
        Act::App { replica, act } => format!("{}: {}.", names.device(*replica), words(act)),
        Act::Transfer { replica, group, from, to, amount, think_ms } => {
            let (who, group) = (names.device(*replica), names.group(*group));
            let thinks = match think_ms {
                0 => String::new(),
                think_ms => format!(", which takes {} s", seconds(*think_ms)),
            };
            format!("{who} moves {amount} from account {from} to account {to} of {group}{thinks}.")
        }
        Act::Resolver { replica, kind } => {
            let who = names.device(*replica);
            match kind {
                ResolverKind::Absent => format!("{who} has no resolver any more."),
                ResolverKind::Correct => format!("{who} gets a resolver, which answers as all others do."),
                ResolverKind::Slow => format!("{who} gets a slow resolver."),
                ResolverKind::Crashing => format!("{who} gets a resolver that dies over the question."),
                ResolverKind::Stubborn => {
                    format!("{who} gets a stubborn resolver: every time it has another answer.")
                }
                ResolverKind::Silent => format!("{who} gets a resolver that never answers."),
            }
        }
        Act::Watch { replica, watcher, group, collection, prefix, page } => {
            let (who, group) = (names.device(*replica), names.group(*group));
            let rows = match prefix.as_str() {
                "" => String::new(),
                prefix => format!(", rows that start with {prefix}"),
            };
            let page = page.map(|page| format!(", {page} updates at a time")).unwrap_or_default();
            format!("Watcher {watcher} of {who} watches c{collection} of {group}{rows}{page}.")
        }
        Act::Unwatch { replica, watcher } => {
            format!("Watcher {watcher} of {} stops, and keeps its marker.", names.device(*replica))
        }
        _ => return None,
    })
}

/// What an application calls an act, without the marks of JSON: `{"Sell":{"item":2}}` is "Sell item 2".
fn words(act: &Value) -> String {
    match act {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{name} {}", words(value));
            fields.iter().map(field).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_do_is_told_without_the_marks_of_json() {
        let told = |text: &str| words(&serde_json::from_str(text).unwrap());
        assert_eq!(told(r#"{"Sell":{"count":3,"item":"apples"}}"#), "Sell count 3, item apples");
        assert_eq!(told(r#"{"Move":[1,2]}"#), "Move 1, 2");
        assert_eq!(told(r#""Count""#), "Count");
        assert_eq!(told("null"), "nothing");
    }
}
