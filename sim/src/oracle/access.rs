//! Oracles of access (S-34, S-36): who was admitted by what right, who holds what, and what was accepted.

use driftless::hostile::{Content, Made};
use driftless::{
    Author, Certificate, DeviceId, Edit, Invitation, JoinRefusal, KeyChain, Knowledge, Notice, PublicKey,
    Rights, SyncgroupId, SyncgroupState, UserId, Version, Wall,
};

use super::{Checked, Held, Oracle, Seen, Violation, Watch};
use crate::coverage::{Coverage, Point};
use crate::model::{
    self, Enrolled, Fact, Generation, Granted, Revoked, Rolled, RowKey, Rows, Rules, Whom, holds,
};

/// How long what was put together may wait for a disk before it leaves, in milliseconds: slow ones are slower than that
/// only where much else waits as well.
const UNDER_WAY: u64 = 60_000;

/// An invitation that a device has shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    device: DeviceId,
    group: SyncgroupId,
    issuer: DeviceId,
    granted: Granted,
    /// As whose device.
    user: Option<UserId>,
    reusable: bool,
    /// When the first of what was shown stops being good.
    until: Wall,
}

impl Watch {
    /// A device asks to join, by an invitation, and maybe as one of a user's.
    pub(crate) fn shows(
        &mut self,
        device: DeviceId,
        invitation: &Invitation,
        certificate: Option<&Certificate>,
    ) {
        let group = invitation.syncgroup();
        let granted = Granted { rights: invitation.rights(), ends: invitation.ends() };
        let user = certificate.map(Certificate::user);
        let ends = [invitation.ends(), certificate.and_then(Certificate::ends)];
        let until = ends.into_iter().flatten().chain([invitation.expires()]).min().unwrap_or_default();
        let (issuer, reusable) = (invitation.issuer().device(), invitation.is_reusable());
        self.shown.push(Shown { device, group, issuer, granted, user, reusable, until });
    }

    /// Whether a device is refused for a reason that what it has shown gives (S-32). Whether an invitation is not valid
    /// at its issuer hangs on what that one knew, and when.
    pub(super) fn refused_rightly(&self, replica: usize, group: &SyncgroupId, why: JoinRefusal) -> Checked {
        let device = self.devices[replica];
        let shown = || self.shown.iter().filter(|it| it.device == device && it.group == *group);
        let is_hostile = |device: &DeviceId| {
            self.devices.iter().position(|it| it == device).is_none_or(|at| self.fates[at].hostile)
        };
        let latest = self.fastest.max(self.greatest.wall());
        let is_right = match why {
            JoinRefusal::Used => shown().any(|it| !it.reusable),
            JoinRefusal::Expired => shown().any(|it| it.until <= latest),
            // Nobody lowers that limit, and no run has as many.
            JoinRefusal::Full => false,
            _ => true,
        };
        if is_right || shown().any(|it| is_hostile(&it.issuer)) {
            return Ok(());
        }
        let what = format!("is not let into {group:?} ({why}), and has shown nothing that is so");
        Err(Violation::new(Oracle::Conduct, "S-32", replica, what))
    }

    /// Whether a device has a reason to wait in vain to be let in: whoever would let it in is not there, or is
    /// not what it was.
    pub(super) fn waits_in_vain(&self, device: &DeviceId, group: &SyncgroupId) -> bool {
        let asked = self.shown.iter().filter(|it| it.device == *device && it.group == *group);
        asked.map(|it| it.issuer).any(|issuer| {
            self.devices.iter().position(|it| *it == issuer).is_some_and(|at| self.fates[at].is_changed())
        })
    }

    /// All syncgroups that there are.
    pub(crate) fn syncgroups(&self) -> impl Iterator<Item = &SyncgroupId> {
        self.model.syncgroups()
    }

    /// Whether a device was ever let in anywhere.
    pub(crate) fn was_ever_admitted(&self, device: &DeviceId) -> bool {
        self.model.was_ever_admitted(device)
    }

    /// Whether a log is one that somebody else has made who has a former key of its device.
    pub(super) fn is_made_by_a_thief(&self, group: &SyncgroupId, log: &Author) -> bool {
        self.stolen.iter().any(|(of, version)| of == group && version.author == *log)
    }

    /// Generations were made by other means than a core. What may be accepted of them the model will say.
    pub(crate) fn made(&mut self, by: usize, group: SyncgroupId, made: &[Made]) {
        for it in made {
            if it.version.author.device != self.devices[by] {
                self.stolen.insert((group, it.version));
            }
            let mut past = Knowledge::new();
            let own = it.version.generation - 1;
            let before = (own > 0).then_some(Version { author: it.version.author, generation: own });
            for cause in it.dependencies.iter().chain(&before) {
                past.insert(cause.author, cause.generation);
                let known = self.model.generation(&group, cause).map(|known| known.past.clone());
                for (author, last) in known.unwrap_or_default() {
                    let entry = past.entry(author).or_default();
                    *entry = last.max(*entry);
                }
            }
            let stamp = Some(it.stamp);
            let device = it.version.author.device;
            let rolled = it.rolled.as_ref().filter(|_| !self.withholds_rollovers()).map(|(keys, until)| {
                let until = until.iter().map(|(it, last)| (Author { device, incarnation: *it }, *last));
                Rolled { keys: keys.clone(), until: until.collect() }
            });
            let mut generation = Generation { past, stamp, rolled, ..Generation::default() };
            match &it.content {
                Content::Never => continue,
                Content::Row { key, parents, edit, .. } => {
                    let row = RowKey { collection: crate::world::collection(0), key: key.clone() };
                    let content = match edit {
                        Edit::Put(value) => model::Content::Put(value.clone()),
                        Edit::Delete => model::Content::Delete,
                        Edit::Operate(operation) => model::Content::Operate(vec![operation.clone()]),
                    };
                    let parents = parents.iter().copied().collect();
                    generation.parents = Some([(row.clone(), parents)].into());
                    generation.rows = Rows::from([(row, content)]);
                }
                Content::Rule { rule, .. } => {
                    let place = (crate::world::collection(0), rule.prefix.clone());
                    generation.rules = Rules::from([(place, Some(rule.policy.clone()))]);
                }
                Content::Admits(device, rights) => {
                    generation.says = Fact::Admits(*device, Granted::for_ever(*rights));
                }
                Content::Revokes { device, grants, keep, until } => {
                    generation.says = Fact::Revokes(vec![Revoked {
                        whom: Whom::Device(*device),
                        grants: grants.iter().copied().collect(),
                        keep: keep.map(Granted::for_ever),
                        until: until
                            .iter()
                            .map(|it| (Author { device: *device, incarnation: it.0 }, it.1))
                            .collect(),
                    }]);
                }
                Content::AdmitsUser(user, rights) => {
                    generation.says = Fact::AdmitsUser(*user, Granted::for_ever(*rights));
                }
                Content::Enrols(user, device, number) => {
                    let (user, device, number, granted) = (*user, *device, *number, None);
                    let enrolled = Enrolled { user, device, number, granted, asked: false };
                    generation.says = Fact::Enrols(enrolled);
                }
                Content::AdmitsAs(user, device, rights) => {
                    let (user, device, granted) = (*user, *device, Some(Granted::for_ever(*rights)));
                    let enrolled = Enrolled { user, device, number: 1, granted, asked: false };
                    generation.says = Fact::Enrols(enrolled);
                }
                Content::RevokesUser { user, grants } => {
                    generation.says = Fact::Revokes(vec![Revoked {
                        whom: Whom::User(*user),
                        grants: grants.iter().copied().collect(),
                        keep: None,
                        until: Knowledge::new(),
                    }]);
                }
                Content::EndsOthers => {}
            }
            if let Some(elsewhere) = &it.batch {
                generation.batch = Some(self.next_batch());
                self.parts.lacking((group, it.version), elsewhere);
            }
            self.made.insert((group, it.version));
            self.model.record(group, it.version, generation);
        }
    }

    /// Whether the model does not hear that devices take other keys.
    pub(super) fn withholds_rollovers(&self) -> bool {
        self.sabotage.is_some_and(crate::world::Sabotage::withholds_rollovers)
    }

    /// Whether a replica knows that a device has a later key than those that somebody shows, from a syncgroup whose exchange
    /// is not paused.
    pub(crate) fn knows_later_key(&self, replica: usize, core: &driftless::Core, shown: &KeyChain) -> bool {
        let infos = core.syncgroups();
        let open = infos.iter().filter(|info| !info.paused);
        let mut known = open.filter_map(|info| {
            self.model.keys_of(&info.id, &shown.device(), self.notes[replica].held.get(&info.id)?)
        });
        let shown: Vec<PublicKey> = shown.keys().skip(1).collect();
        known.any(|known| known.len() > shown.len() && known.starts_with(&shown))
    }

    /// What a generation of metadata says, that a replica has just written.
    pub(super) fn fact(
        &self,
        seen: Seen<'_>,
        notices: &[&Notice],
        group: &SyncgroupId,
        version: &Version,
    ) -> Result<Fact, Violation> {
        let forked = notices.iter().find_map(|notice| match notice {
            Notice::Forked { author, last, by, .. } if by == version => Some((*author, *last)),
            _ => None,
        });
        if let Some((author, last)) = forked {
            let is_withheld = self.sabotage.is_some_and(crate::world::Sabotage::withholds_forks);
            return Ok(if is_withheld { Fact::Nothing } else { Fact::Forks(author, last) });
        }
        let enrolled = notices.iter().find_map(|notice| match notice {
            Notice::Enrolled { user, device, number, granted, ends, version: by, .. } if by == version => {
                let granted = granted.map(|rights| Granted { rights, ends: *ends });
                Some((*user, *device, *number, granted))
            }
            _ => None,
        });
        if let Some((user, device, number, granted)) = enrolled {
            self.may_be_enrolled(seen, group, (&user, &device), granted)?;
            return Ok(match self.sabotage.is_some_and(crate::world::Sabotage::withholds_enrolments) {
                true => Fact::Nothing,
                false => match (number, granted) {
                    (Some(number), granted) => {
                        Fact::Enrols(Enrolled { user, device, number, granted, asked: true })
                    }
                    (None, Some(granted)) => Fact::AdmitsUser(user, granted),
                    (None, None) => Fact::Nothing,
                },
            });
        }
        let admitted = notices.iter().find_map(|notice| match notice {
            Notice::Admitted { device, rights, ends, version: by, .. } if by == version => {
                Some((*device, Granted { rights: *rights, ends: *ends }))
            }
            _ => None,
        });
        if let Some((device, granted)) = admitted {
            self.was_invited(seen, group, &device, granted)?;
            let withheld = self.sabotage.is_some_and(crate::world::Sabotage::withholds_admissions);
            return Ok(if withheld { Fact::Nothing } else { Fact::Admits(device, granted) });
        }
        let declined = notices.iter().find_map(|notice| match notice {
            Notice::Declined { device, attempt, version: by, .. } if by == version => {
                Some((*device, *attempt))
            }
            _ => None,
        });
        if let Some(declined) = declined {
            return self.heard_decline(seen, group, declined);
        }
        let info = seen.core.syncgroups().into_iter().find(|info| info.id == *group);
        let Some(info) = info else { return Ok(Fact::Nothing) };
        if self.model.generations(group).next().is_none() {
            return Ok(Fact::Begins);
        }
        let leaves = notices.iter().any(|notice| {
            let left = SyncgroupState::Left;
            matches!(notice, Notice::Syncgroup { syncgroup, state } if syncgroup == group && *state == left)
        });
        if leaves && info.rights.is_none() {
            return Ok(Fact::Leaves);
        }
        let known = self.notes[seen.replica].collections.get(group);
        let is_new = |name: &&driftless::Name| known.is_none_or(|known| !known.contains(*name));
        let new = info.collections.iter().find(is_new);
        Ok(new.map_or(Fact::Nothing, |name| Fact::AddsCollection(name.clone())))
    }

    /// Whoever is enrolled has shown a certificate of a user to whom something is granted, or an invitation that lets the
    /// user in with it.
    fn may_be_enrolled(
        &self,
        seen: Seen<'_>,
        group: &SyncgroupId,
        (user, device): (&UserId, &DeviceId),
        granted: Option<Granted>,
    ) -> Checked {
        let now = self.moment(seen.core);
        let held = seen.core.knowledge(group).unwrap_or_default();
        let may = |it: &Shown| {
            let is_it = it.device == *device && it.group == *group && it.user == Some(*user);
            is_it
                && match granted {
                    None => self.model.rights_of(group, user, &held, Some(seen.core.clock())).is_some(),
                    Some(granted) => {
                        it.granted == granted
                            && (self.model.rights(group, &it.issuer, &held, now) == Some(Rights::Admin)
                                || self.lets_in(seen, it, (Whom::User(*user), Some(*device))))
                    }
                }
        };
        if self.shown.iter().any(may) {
            return Ok(());
        }
        let what = format!("enrols {device:?} of {user:?} with {granted:?}, which has shown nothing for it");
        Err(Violation::new(Oracle::Access, "S-3", seen.replica, what))
    }

    /// Whoever is admitted has shown an invitation that gives just that, by one who might give it.
    fn was_invited(
        &self,
        seen: Seen<'_>,
        group: &SyncgroupId,
        device: &DeviceId,
        granted: Granted,
    ) -> Checked {
        let now = Some(seen.core.clock());
        let held = seen.core.knowledge(group).unwrap_or_default();
        let gives = |it: &Shown| {
            it.device == *device
                && it.group == *group
                && it.granted == granted
                && (self.model.rights(group, &it.issuer, &held, now) == Some(Rights::Admin)
                    || self.lets_in(seen, it, (Whom::Device(*device), None)))
        };
        if self.shown.iter().any(gives) {
            return Ok(());
        }
        let what =
            format!("admits {device:?} with {granted:?}, which has shown no invitation that gives it that");
        Err(Violation::new(Oracle::Access, "S-32", seen.replica, what))
    }

    /// Whether whoever has made an invitation, and is no admin, lets in by it by what is granted to everybody.
    fn lets_in(&self, seen: Seen<'_>, shown: &Shown, whom: (Whom, Option<DeviceId>)) -> bool {
        let author = seen.core.author();
        let mut held = seen.core.knowledge(&shown.group).unwrap_or_default();
        // Before it did so.
        held.entry(author).and_modify(|last| *last = last.saturating_sub(1));
        let by = (&held, self.moment(seen.core));
        author.device == shown.issuer
            && self.model.lets_in(&shown.group, author, Some(whom), shown.granted, by)
    }

    /// Whether somebody holds a generation, and by what that one knows a replica is a member: a removal that the
    /// generation knew of may have turned out to be void.
    fn may_be_given(&self, to: usize, group: &SyncgroupId, version: &Version) -> bool {
        let others = self.notes.iter().enumerate().filter(|(replica, _)| *replica != to);
        let mut held =
            others.filter_map(|(_, notes)| notes.held.get(group)).filter(|held| holds(held, version));
        held.any(|held| self.model.rights(group, &self.devices[to], held, None).is_some())
    }

    /// Whether a member gives a device nothing but what ended its membership: its time is over, by what the member holds
    /// and its clock, and was so long enough ago for what was put together before to have left.
    pub(crate) fn is_over_for(&self, from: usize, to: usize, group: &SyncgroupId) -> bool {
        if self.model.ends_in(group).next().is_none() {
            return false; // As nearly always.
        }
        let (device, notes) = (&self.devices[to], &self.notes[from]);
        let Some(held) = notes.held.get(group) else { return false };
        let earlier = Wall(notes.clock.0.saturating_sub(UNDER_WAY));
        self.model.rights(group, device, held, None).is_some()
            && self.model.rights(group, device, held, Some(earlier)).is_none()
            && self.model.rights(group, &self.devices[from], held, Some(notes.clock)).is_some()
    }

    /// The clock of a replica is set: what it has put together before was by another one, and somebody who may write for a
    /// time may do so again.
    pub(crate) fn clock_is_set(&mut self, now: u64, replica: usize) {
        self.notes[replica].clock_was_set = now + UNDER_WAY;
        self.forgets_questions(replica);
    }

    /// Whether what leaves a replica may have been put together before its clock was set.
    pub(crate) fn was_clock_set(&self, now: u64, replica: usize) -> bool {
        now < self.notes[replica].clock_was_set
    }

    /// Whether a generation was written when, by every clock, the time of a device had been over for a while, whatever was
    /// said of it before or after.
    fn is_after_the_end(&self, group: &SyncgroupId, device: &DeviceId, version: &Version) -> bool {
        if self.model.ends_in(group).next().is_none() {
            return false; // As nearly always.
        }
        let Some(moment) = self.model.generation(group, version).and_then(Generation::moment) else {
            return false;
        };
        let earlier = Wall(moment.0.saturating_sub(UNDER_WAY + self.most_apart));
        self.model.is_member(group, device, None) && !self.model.is_member(group, device, Some(earlier))
    }

    /// Whether a fact lets in a device, by itself or as one of a user.
    fn is_let_in_by(&self, group: &SyncgroupId, says: &Fact, device: &DeviceId) -> bool {
        let is_of = |user: &UserId| self.is_device_of(group, user, device);
        match says {
            Fact::Admits(it, _) => it == device,
            Fact::AdmitsUser(user, _) => is_of(user),
            Fact::Enrols(it) => it.granted.is_some() && (it.device == *device || is_of(&it.user)),
            _ => false,
        }
    }

    /// Whether one device has let in another one.
    pub(super) fn has_let_in(&self, group: &SyncgroupId, by: &DeviceId, device: &DeviceId) -> bool {
        let mut facts = self.model.facts(group).filter(|(of, _)| of.author.device == *by);
        facts.any(|(_, it)| self.is_let_in_by(group, &it.says, device))
    }

    /// Whether a device may have a generation as one that tells it of its end, or of what let it in.
    fn tells_of_its_end(&self, group: &SyncgroupId, device: &DeviceId, version: &Version) -> bool {
        let user = |whom: &Whom| matches!(whom, Whom::User(user) if self.is_device_of(group, user, device));
        let is_its = |whom: &Whom| *whom == Whom::Device(*device) || user(whom);
        // What is granted to everybody says something of those alone whom a member has let in.
        let lets_it_in = |says: &Fact| self.is_let_in_by(group, says, device);
        let is_by_a_member = self.model.facts(group).any(|(by, it)| {
            let rights = || self.model.rights(group, &by.author.device, &it.past, None);
            lets_it_in(&it.says) && rights() < Some(Rights::Admin)
        });
        if self.comes_with_a_word(group, device, version) {
            return true;
        }
        self.model.facts(group).any(|(by, it)| {
            let concerns = |whom: Whom| is_its(&whom) || is_by_a_member && whom == Whom::Everybody;
            let is_its = match &it.says {
                Fact::Enrols(it) => it.device == *device || concerns(Whom::User(it.user)),
                Fact::StrikesOff(it) => it.device == *device,
                Fact::Begins => false,
                says => {
                    by.author.device == *device && *says == Fact::Leaves
                        || says.concerns().into_iter().any(concerns)
                }
            };
            is_its && (by == version || holds(&it.past, version))
        })
    }

    /// Whether a device may have a generation as what somebody says of its keys, by which what let the device in is void; or as
    /// what comes before that, where it is not the first such word: only a later one may say so beside what the device knows.
    fn comes_with_a_word(&self, group: &SyncgroupId, device: &DeviceId, version: &Version) -> bool {
        let admissions =
            || self.model.facts(group).filter(|(_, it)| self.is_let_in_by(group, &it.says, device));
        let in_vain = || admissions().filter(|(of, _)| self.model.is_void_in_the_end(group, of));
        let has_let_in = |by: &Version| in_vain().any(|(of, _)| of.author.device == by.author.device);
        let mut later =
            self.model.words(group).filter(|(_, it)| it.rolled.as_ref().is_some_and(|it| it.keys.len() > 1));
        self.model.is_word(group, version) && in_vain().next().is_some()
            || later.any(|(by, it)| holds(&it.past, version) && has_let_in(by))
    }

    /// Whether a device whose time is over may still be given something: what it wrote itself, and what ended it.
    pub(crate) fn is_given_after_the_end(&self, to: usize, group: &SyncgroupId, version: &Version) -> bool {
        let device = &self.devices[to];
        version.author.device == *device || self.tells_of_its_end(group, device, version)
    }

    /// Whether a device may be given something by anybody at all.
    pub(crate) fn is_given(&self, to: usize, group: &SyncgroupId, version: &Version) -> bool {
        let device = &self.devices[to];
        version.author.device == *device
            || self.made.contains(&(*group, *version))
            || self.model.is_entitled(group, device, version)
            || self.may_be_given(to, group, version)
    }

    /// Checks what a replica has come to hold: that its author might write it, that the replica may have it,
    /// and that its time has come.
    pub(super) fn access(
        &mut self,
        seen: Seen<'_>,
        wall: Wall,
        before: &Held,
        held: &Held,
        coverage: &mut Coverage,
    ) -> Checked {
        let device = self.devices[seen.replica];
        let wrong = |rule, what| Err(Violation::new(Oracle::Access, rule, seen.replica, what));
        for (group, now) in held {
            let old = before.get(group);
            for (author, last) in now {
                let known = old.and_then(|old| old.get(author)).copied().unwrap_or(0);
                for generation in known + 1..=*last {
                    let version = Version { author: *author, generation };
                    if self.judged.insert((*group, version)) && !self.model.is_permitted(group, &version) {
                        return wrong(
                            "S-34",
                            format!("took {version:?} of {group:?}, which is not permitted"),
                        );
                    }
                    // What was made by other means its maker may have given to anybody.
                    let is_made = self.made.contains(&(*group, version));
                    let may_have = || {
                        self.model.is_entitled(group, &device, &version)
                            || self.may_be_given(seen.replica, group, &version)
                            || self.comes_with_a_word(group, &device, &version)
                    };
                    if !is_made && !may_have() {
                        let what = format!("holds {version:?} of {group:?}, to which it is not entitled");
                        return wrong("S-36", what);
                    }
                    if author.device != device
                        && !is_made
                        && self.is_after_the_end(group, &device, &version)
                        && !self.tells_of_its_end(group, &device, &version)
                    {
                        let what = format!("holds {version:?} of {group:?}, written after its time was over");
                        return wrong("S-36", what);
                    }
                    if author.device == device && *author != seen.core.author() {
                        coverage.hit(Point::GotBackOwn);
                    }
                    if is_made && self.stolen.contains(&(*group, version)) {
                        coverage.hit(Point::ThiefBelieved);
                    } else if is_made {
                        coverage.hit(Point::ForgedAccepted);
                    }
                    if author.device != device && self.model.is_void(group, &version, now) {
                        coverage.hit(Point::VoidTaken);
                        self.count_letting_in(group, &version, coverage);
                    } else if self.model.is_by_a_member(group, &version, now) {
                        coverage.hit(Point::LetInByMember);
                    }
                    let known = self.model.generation(group, &version);
                    if let Some(Fact::StandsFor(all)) = known.map(|it| &it.says)
                        && author.device != device
                        && all.iter().any(|version| holds(now, version))
                    {
                        coverage.hit(Point::CutVoided);
                    }
                    if author.device != device && known.is_some_and(|it| it.says == Fact::Leaves) {
                        self.heard.insert((*group, version, seen.replica));
                    }
                    let stamp = known.and_then(|it| it.stamp).unwrap_or_default();
                    self.greatest = self.greatest.max(stamp);
                    let ahead = stamp.wall().0.saturating_sub(wall.0);
                    if author.device != device && ahead > self.limits.drift.0 {
                        let what = format!("took {version:?}, stamped {ahead} ms ahead of its clock");
                        return Err(Violation::new(Oracle::Clocks, "S-27", seen.replica, what));
                    }
                }
            }
        }
        Ok(())
    }

    /// Counts what became of whom members let in beside what admins did.
    fn count_letting_in(&self, group: &SyncgroupId, version: &Version, coverage: &mut Coverage) {
        let Some(generation) = self.model.generation(group, version) else { return };
        let is_member =
            self.model.rights(group, &version.author.device, &generation.past, None) < Some(Rights::Admin);
        let let_in = match &generation.says {
            Fact::Admits(device, _) => Some(*device),
            Fact::Enrols(it) => it.granted.map(|_| it.device),
            _ => None,
        };
        if let Some(device) = let_in.filter(|_| is_member) {
            let is_taken = self.model.is_taken_from(group, &device, version);
            coverage.hit(if is_taken { Point::LetInRemoved } else { Point::LetInBesideClosing });
        }
    }

    /// Whether a syncgroup's departures of a device are all known to a replica.
    pub(super) fn knows_departure(&self, seen: Seen<'_>, group: &SyncgroupId, device: &DeviceId) -> bool {
        let held = seen.core.knowledge(group).unwrap_or_default();
        self.model.departures(group, device).iter().all(|version| holds(&held, version))
    }
}
