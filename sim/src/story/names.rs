//! What things are called in a story.

use std::collections::BTreeMap;

use driftless::SyncgroupId;

use crate::facts::Facts;
use crate::plan::{Act, Plan, RowLabel};

pub(super) struct Names {
    /// What is in the texts of oracles, and what it is called.
    texts: BTreeMap<String, String>,
    groups: BTreeMap<SyncgroupId, u8>,
    several_groups: bool,
}

impl Names {
    pub(super) fn new(plan: &Plan, facts: &Facts) -> Self {
        let made = plan.steps.iter().filter(|step| matches!(step.act, Act::Create { .. })).count();
        let mut names = Self { texts: BTreeMap::new(), groups: BTreeMap::new(), several_groups: made > 1 };
        for (replica, device) in facts.devices.iter().enumerate() {
            names.texts.insert(format!("{device:?}"), letter(replica));
        }
        for (label, group) in &facts.groups {
            names.groups.insert(*group, *label);
            names.texts.insert(format!("{group:?}"), names.group(*label));
        }
        names
    }

    pub(super) fn device(&self, replica: usize) -> String {
        letter(replica)
    }

    pub(super) fn devices(&self, replicas: &[usize]) -> String {
        let mut sorted = replicas.to_vec();
        sorted.sort_unstable();
        listed(&sorted.into_iter().map(letter).collect::<Vec<_>>())
    }

    pub(super) fn group(&self, label: u8) -> String {
        if self.several_groups { format!("syncgroup g{label}") } else { "the syncgroup".to_owned() }
    }

    pub(super) fn group_of(&self, id: &SyncgroupId) -> String {
        self.groups.get(id).map_or_else(|| format!("syncgroup {id:?}"), |label| self.group(*label))
    }

    pub(super) fn row(&self, row: &RowLabel) -> String {
        let RowLabel { collection, key, .. } = row;
        if self.several_groups { row.to_string() } else { format!("c{collection}/k{key}") }
    }

    /// A text of an oracle, with the names of this story.
    pub(super) fn in_text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (id, name) in &self.texts {
            text = text.replace(id, name);
        }
        let mut told = String::new();
        let mut rest = text.as_str();
        while let Some(start) = rest.find("replica ") {
            let number = &rest[start + "replica ".len()..];
            let digits = number.chars().take_while(char::is_ascii_digit).count();
            told.push_str(&rest[..start]);
            match number[..digits].parse() {
                Ok(replica) => told.push_str(&letter(replica)),
                Err(_) => told.push_str("replica "),
            }
            rest = &number[digits..];
        }
        told + rest
    }
}

/// A, B, C … Z, A1, B1 …
fn letter(replica: usize) -> String {
    let letter = char::from(b'A' + (replica % 26) as u8);
    match replica / 26 {
        0 => letter.to_string(),
        round => format!("{letter}{round}"),
    }
}

/// "A, B and C".
pub(super) fn listed(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_letters_also_in_what_oracles_say() {
        let plan: Plan = r#"{"plan":1,"seed":1,"setup":{"replicas":2,"safety_ms":1}}"#.parse().unwrap();
        let device = driftless::DeviceId([0xab; 16]);
        let facts = Facts { devices: vec![device], ..Facts::default() };
        let names = Names::new(&plan, &facts);
        assert_eq!(names.in_text("replica 1 lists abababab; replica x"), "B lists A; replica x");
        assert_eq!([letter(2), letter(25), letter(27)], ["C", "Z", "B1"]);
        assert_eq!(names.devices(&[2, 0, 1]), "A, B and C");
    }
}
