//! Names that people can keep apart: `r2` for a device, `r2'` for its second life, `g0` for a syncgroup, instead
//! of hexadecimal digits.

use std::collections::BTreeMap;

use driftless::inspect::LinkNames;
use driftless::{Author, CollectionId, DeviceId, LinkId, Name, SyncgroupId, SyncgroupInfo, Tag, Version};

/// What is called how.
#[derive(Debug, Default)]
pub(super) struct Naming {
    devices: BTreeMap<DeviceId, usize>,
    authors: BTreeMap<Author, usize>,
    groups: BTreeMap<SyncgroupId, usize>,
    /// The label of each syncgroup, by its number.
    pub(super) labels: Vec<String>,
    /// Each author by its number: the replica, and which of its lives.
    pub(super) lives: Vec<(usize, usize)>,
    /// The nonces of both hellos of a link, as far as they were said, by the link's number.
    hellos: BTreeMap<u64, BTreeMap<DeviceId, [u8; 16]>>,
    collections: BTreeMap<CollectionId, Name>,
}

impl Naming {
    pub(super) fn device(&mut self, device: DeviceId, replica: usize) {
        self.devices.insert(device, replica);
    }

    pub(super) fn device_of(&self, replica: usize) -> Option<DeviceId> {
        self.devices.iter().find(|(_, number)| **number == replica).map(|(device, _)| *device)
    }

    /// What a device is called.
    pub(super) fn of_device(&self, device: &DeviceId) -> String {
        self.devices.get(device).map_or_else(|| format!("{device:?}"), |replica| format!("r{replica}"))
    }

    /// The number of an author.
    pub(super) fn author(&mut self, author: &Author) -> usize {
        if let Some(number) = self.authors.get(author) {
            return *number;
        }
        let replica = self.devices.get(&author.device).copied().unwrap_or(usize::MAX);
        let life = self.lives.iter().filter(|(of, _)| *of == replica).count();
        self.authors.insert(*author, self.lives.len());
        self.lives.push((replica, life));
        self.lives.len() - 1
    }

    pub(super) fn of_author(&mut self, author: &Author) -> String {
        let number = self.author(author);
        let (_, life) = self.lives[number];
        self.of_device(&author.device) + &"'".repeat(life)
    }

    pub(super) fn of_version(&mut self, version: &Version) -> String {
        format!("{}/{}", self.of_author(&version.author), version.generation)
    }

    pub(super) fn of_versions(&mut self, versions: &[Version]) -> String {
        let names: Vec<String> = versions.iter().map(|version| self.of_version(version)).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(" ") }
    }

    /// The number of a syncgroup.
    pub(super) fn group(&mut self, group: &SyncgroupId) -> usize {
        let next = self.labels.len();
        let number = *self.groups.entry(*group).or_insert(next);
        if number == next {
            self.labels.push(format!("{group:?}"));
        }
        number
    }

    /// Learns what members call their syncgroups.
    pub(super) fn learn(&mut self, infos: &[SyncgroupInfo]) {
        for info in infos {
            let number = self.group(&info.id);
            for name in &info.collections {
                self.collections.entry(CollectionId::of(name)).or_insert_with(|| name.clone());
            }
            let Some(name) = &info.name else { continue };
            if self.labels[number] == format!("{:?}", info.id) {
                let same = self.labels.iter().filter(|label| label.split('#').next() == Some(name.as_str()));
                self.labels[number] = match same.count() {
                    0 => name.to_string(),
                    others => format!("{name}#{}", others + 1),
                };
            }
        }
    }

    pub(super) fn of_group(&mut self, group: &SyncgroupId) -> String {
        let number = self.group(group);
        self.labels[number].clone()
    }

    pub(super) fn of_collection(&self, collection: &CollectionId) -> String {
        self.collections.get(collection).map_or_else(|| format!("{collection:?}"), ToString::to_string)
    }

    /// An end of a link has said hello.
    pub(super) fn hello(&mut self, link: LinkId, device: DeviceId, nonce: [u8; 16]) {
        self.hellos.entry(link.0 / 2).or_default().insert(device, nonce);
    }

    /// The syncgroup of a name on a link.
    pub(super) fn on_link(&self, link: LinkId, tag: &Tag) -> Option<usize> {
        let mut ends = self.hellos.get(&(link.0 / 2))?.iter();
        let names = LinkNames::new(ends.next()?, ends.next()?);
        self.groups.iter().find(|(group, _)| names.of(group) == *tag).map(|(_, number)| *number)
    }

    /// A text in which identifiers, whole or by their first eight digits, are replaced by names.
    pub(super) fn plain(&mut self, text: &str) -> String {
        let mut plain = String::new();
        let mut rest = text;
        while let Some(start) = rest.find(|letter: char| letter.is_ascii_alphanumeric()) {
            let (before, from) = rest.split_at(start);
            plain.push_str(before);
            let end = from.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(from.len());
            let (word, after) = from.split_at(end);
            let (name, used) = self.named(word, after).unwrap_or_else(|| (word.to_owned(), 0));
            plain.push_str(&name);
            rest = &after[used..];
        }
        plain + rest
    }

    /// The name that stands for a word, and how much of what follows belongs to it.
    fn named(&mut self, word: &str, after: &str) -> Option<(String, usize)> {
        if !matches!(word.len(), 8 | 32 | 64) || word.bytes().any(|digit| !digit.is_ascii_hexdigit()) {
            return None;
        }
        let start =
            |bytes: &[u8]| -> String { bytes[..4].iter().map(|byte| format!("{byte:02x}")).collect() };
        if let Some(group) = self.groups.keys().find(|group| start(&group.0) == word[..8]).copied() {
            return Some((self.of_group(&group), 0));
        }
        let device = self.devices.keys().find(|device| start(&device.0) == word[..8]).copied()?;
        let life = after.get(..5).and_then(|text| text.strip_prefix('.'));
        let author = life.and_then(|life| {
            let incarnation = u64::from_str_radix(life, 16).ok()?;
            let mut lives = self.authors.keys();
            lives.find(|it| it.device == device && it.incarnation.0 >> 48 == incarnation).copied()
        });
        Some(match author {
            Some(author) => (self.of_author(&author), 5),
            None => (format!("r{}", self.devices[&device]), 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use driftless::Incarnation;

    use super::*;

    #[test]
    fn identifiers_in_a_text_become_names() {
        let mut naming = Naming::default();
        let device = DeviceId([0xab; 16]);
        naming.device(device, 3);
        let first = Author { device, incarnation: Incarnation(0x1234 << 48) };
        let second = Author { device, incarnation: Incarnation(0x5678 << 48) };
        assert_eq!((naming.of_author(&first), naming.of_author(&second)), ("r3".into(), "r3'".into()));
        let version = Version { author: second, generation: 7 };
        let text = format!("{version:?} of {first:?} on {device:?}, {device} and deadbeef, not abababab0");
        assert_eq!(naming.plain(&text), "r3'/7 of r3 on r3, r3 and deadbeef, not abababab0");
    }
}
