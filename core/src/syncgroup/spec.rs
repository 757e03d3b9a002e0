//! What members are told of a syncgroup, beside who they are and which collections there are (S-30): what it is for, and
//! where devices can be met that stay in one place.
//!
//! Each field is *last-wins* by itself (S-20): the change with the greatest (stamp, version) counts, of those that count
//! at all (S-35).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::Rights;
use super::command::{Means, active, require};
use crate::action::{Outcome, Refusal};
use crate::id::{Address, DeviceId, SyncgroupId, Version};
use crate::limits;
use crate::log::record::{MetaRecord, Record};
use crate::replica::Stop;
use crate::replica::plan::Plan;
use crate::time::Hlc;

/// What members are told of a syncgroup.
///
/// ```
/// use driftless::{Address, PublicKey, Rendezvous, Spec};
///
/// let server = PublicKey([7; 32]).device();
/// let address = Address::new("quic:sync.example.org:4433").unwrap();
/// let spec = Spec {
///     description: "Who waters the plants, and when".into(),
///     rendezvous: vec![Rendezvous { device: server, address }],
/// };
/// assert!(spec.rendezvous.len() <= driftless::limits::MAX_RENDEZVOUS);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// What it is for: at most [`limits::MAX_DESCRIPTION`] bytes, empty if nobody has said.
    pub description: String,
    /// Where members can be met that stay in one place, at most [`limits::MAX_RENDEZVOUS`]: whoever has the syncgroup
    /// tries these too (S-38). That somebody is listed gives it no right.
    pub rendezvous: Vec<Rendezvous>,
}

/// Where a device can be met.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rendezvous {
    /// Which device: nobody else is accepted there.
    pub device: DeviceId,
    /// Where.
    pub address: Address,
}

/// What is to be said anew of a syncgroup; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecChange {
    /// See [`Spec::description`].
    pub description: Option<String>,
    /// See [`Spec::rendezvous`].
    pub rendezvous: Option<Vec<Rendezvous>>,
}

impl SpecChange {
    /// Why it cannot be, if it cannot.
    pub(crate) fn excess(&self) -> Option<(&'static str, usize)> {
        let long = self.description.as_ref().is_some_and(|text| text.len() > limits::MAX_DESCRIPTION);
        let many = self.rendezvous.as_ref().is_some_and(|all| all.len() > limits::MAX_RENDEZVOUS);
        match (long, many) {
            (true, _) => Some(("bytes of a description", limits::MAX_DESCRIPTION)),
            (_, true) => Some(("places to meet", limits::MAX_RENDEZVOUS)),
            _ => None,
        }
    }
}

/// Which changes of a spec were the last, field by field: whoever sets it can ask that nobody else has since. One version
/// for all would not do, as what was said of one field before the other may arrive, or become void, afterwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecVersion {
    /// Of the description, if it was ever set.
    pub description: Option<Version>,
    /// Of the meeting places, likewise.
    pub rendezvous: Option<Version>,
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, version) in [self.description, self.rendezvous].iter().enumerate() {
            f.write_str(if number == 0 { "" } else { "," })?;
            match version {
                Some(version) => version.fmt(f)?,
                None => f.write_str("unset")?,
            }
        }
        Ok(())
    }
}

/// A field, with when it was last set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Register<T>(Option<((Hlc, Version), T)>);

impl<T: Clone + Default> Register<T> {
    fn set(&mut self, value: Option<&T>, at: (Hlc, Version)) {
        if let Some(value) = value.filter(|_| self.at().is_none_or(|last| last < at)) {
            self.0 = Some((at, value.clone()));
        }
    }

    fn at(&self) -> Option<(Hlc, Version)> {
        self.0.as_ref().map(|(at, _)| *at)
    }

    fn version(&self) -> Option<Version> {
        self.at().map(|(_, version)| version)
    }

    fn value(&self) -> T {
        self.0.as_ref().map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

/// A spec as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Registers {
    description: Register<String>,
    rendezvous: Register<Vec<Rendezvous>>,
}

impl Registers {
    pub(crate) fn set(&mut self, change: &SpecChange, at: (Hlc, Version)) {
        self.description.set(change.description.as_ref(), at);
        self.rendezvous.set(change.rendezvous.as_ref(), at);
    }

    pub(crate) fn spec(&self) -> Spec {
        Spec { description: self.description.value(), rendezvous: self.rendezvous.value() }
    }

    pub(crate) fn rendezvous(&self) -> impl Iterator<Item = &Rendezvous> {
        self.rendezvous.0.iter().flat_map(|(_, all)| all)
    }

    pub(crate) fn version(&self) -> SpecVersion {
        SpecVersion { description: self.description.version(), rendezvous: self.rendezvous.version() }
    }
}

/// Says something anew of a syncgroup.
pub(super) fn set(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    syncgroup: &SyncgroupId,
    mut change: SpecChange,
    unless_changed: Option<SpecVersion>,
) -> Result<Outcome, Stop> {
    let group = active(plan.replica, syncgroup)?;
    require(plan.replica, group, Rights::Admin, "change the description or the meeting places")?;
    if let Some((what, limit)) = change.excess() {
        return Err(Refusal::Limit { what, limit }.into());
    }
    let present = group.metadata.spec();
    let (spec, mut version) = (present.spec(), present.version());
    if unless_changed.is_some_and(|read| read != version) {
        return Err(Refusal::SpecChanged(version).into());
    }
    // What is so already is not written again.
    change.description = change.description.filter(|it| *it != spec.description);
    change.rendezvous = change.rendezvous.filter(|it| *it != spec.rendezvous);
    if change != SpecChange::default() {
        let (describes, meets) = (change.description.is_some(), change.rendezvous.is_some());
        let stamp = plan.next_stamp(means.wall);
        let written = plan.write(group.ix, stamp, &[Record::Meta(MetaRecord::Spec(change))], None)?;
        version.description = if describes { Some(written) } else { version.description };
        version.rendezvous = if meets { Some(written) } else { version.rendezvous };
    }
    Ok(Outcome::SpecSet(*syncgroup, version))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::id::{Author, Incarnation};

    fn version(n: u8) -> Version {
        let author = Author { device: DeviceId([n; 16]), incarnation: Incarnation(0) };
        Version { author, generation: 1 }
    }

    proptest! {
        #[test]
        fn changes_come_to_the_same_in_any_order(
            changes in prop::collection::vec((any::<u8>(), 0_u64..4, 0..3_u8, any::<bool>(), any::<bool>()), 0..8),
            order in any::<u8>(),
        ) {
            let mut changes: Vec<_> = changes
                .into_iter()
                .enumerate()
                .map(|(n, (text, stamp, by, describes, meets))| {
                    let place = Rendezvous {
                        device: DeviceId([text; 16]),
                        address: Address::new("quic:here").unwrap(),
                    };
                    let change = SpecChange {
                        description: describes.then(|| alloc::format!("{text}")),
                        rendezvous: meets.then(|| vec![place]),
                    };
                    let mut version = version(by);
                    version.generation = n as u64;
                    (change, (Hlc(stamp), version))
                })
                .collect();
            let all = |changes: &[(SpecChange, (Hlc, Version))]| {
                let mut registers = Registers::default();
                changes.iter().for_each(|(change, at)| registers.set(change, *at));
                registers
            };
            let one = all(&changes);
            let len = changes.len().max(1);
            changes.rotate_left(usize::from(order) % len);
            prop_assert_eq!(&all(&changes), &one);
            changes.reverse();
            prop_assert_eq!(&all(&changes), &one);
        }
    }

    #[test]
    fn what_is_not_said_anew_stays() {
        let mut registers = Registers::default();
        assert_eq!(registers.version().to_string(), "unset,unset");
        let says = SpecChange { description: Some("plants".into()), ..SpecChange::default() };
        registers.set(&says, (Hlc(2), version(1)));
        let place = Rendezvous { device: DeviceId([1; 16]), address: Address::new("quic:here").unwrap() };
        let meets = SpecChange { rendezvous: Some(vec![place.clone()]), ..SpecChange::default() };
        registers.set(&meets, (Hlc(1), version(2)));
        let spec = Spec { description: "plants".into(), rendezvous: vec![place] };
        let last = SpecVersion { description: Some(version(1)), rendezvous: Some(version(2)) };
        assert_eq!((registers.spec(), registers.version()), (spec, last));
    }

    #[test]
    fn what_is_too_much_is_named() {
        let long = SpecChange {
            description: Some("x".repeat(limits::MAX_DESCRIPTION + 1)),
            ..SpecChange::default()
        };
        assert_eq!(long.excess(), Some(("bytes of a description", limits::MAX_DESCRIPTION)));
        let place = Rendezvous { device: DeviceId([1; 16]), address: Address::new("quic:here").unwrap() };
        let many =
            SpecChange { rendezvous: Some(vec![place; limits::MAX_RENDEZVOUS + 1]), ..SpecChange::default() };
        assert_eq!(many.excess(), Some(("places to meet", limits::MAX_RENDEZVOUS)));
    }
}
