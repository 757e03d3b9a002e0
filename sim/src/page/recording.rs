//! What is kept of a run for the page: frames with what they say, events, what each replica held and showed.

use std::collections::BTreeMap;

use bytes::Bytes;
use driftless::CollectionId;
use driftless::inspect::{self, Content, Entry, Frame};
use driftless::read::{self, Edited};
use driftless::store::{Commit, MemStore};
use driftless::{Action, Command, CommitSeq, Core, DeviceId, Event, LinkId, Notice, SyncgroupId, Version};

use super::kept::{
    Arrival, Change, DELETION, EVENT_KINDS, How, Kept, KeptFrame, KeptGeneration, KeptHead, Lost, OPERATION,
    Texts,
};
use super::naming::Naming;
use super::words;
use crate::merges::Merges;
use crate::plan::Act;

/// Frames that are kept: beyond them a page would be too large to open.
const MOST_FRAMES: usize = 200_000;
/// Events that are kept.
const MOST_EVENTS: usize = 300_000;
/// A run, recorded for [`super::render`]. Give it to [`crate::Options::record`].
///
/// Recording changes nothing of the run. It takes memory in proportion to what happens, up to some hundred
/// megabytes for runs that never come to rest; what does not fit any more is counted.
#[derive(Debug, Default)]
pub struct Recording {
    naming: Naming,
    texts: Texts,
    pub(super) kept: Kept,
    /// Frames on their way, by the end at which they arrive and their place in the direction.
    flying: BTreeMap<(LinkId, u64), usize>,
    rows: BTreeMap<(usize, CollectionId, Bytes), usize>,
    values: BTreeMap<Bytes, usize>,
    replicas: Vec<Last>,
    links: BTreeMap<LinkId, usize>,
    last_cuts: Vec<(usize, usize)>,
    merges: Merges,
}

/// What a replica held and showed when it was last looked at.
#[derive(Debug, Default)]
struct Last {
    held: BTreeMap<(usize, usize), u64>,
    states: BTreeMap<usize, String>,
    shown: BTreeMap<usize, (i64, bool, Vec<KeptHead>)>,
    committed: CommitSeq,
    /// Since when there has been something that is not durable.
    at_risk: Option<u64>,
}

impl Recording {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many frames were sent, and how many of them are kept.
    pub fn frames(&self) -> (u64, usize) {
        (self.kept.frames.len() as u64 + self.kept.left_out.frames, self.kept.frames.len())
    }

    /// Everything but the plan and the outcome, for the page.
    pub(super) fn data(&self) -> serde_json::Value {
        let mut kept = serde_json::json!(self.kept);
        kept["left_out"]["texts"] = self.texts.left_out.into();
        serde_json::json!({
            "frame_kinds": words::FRAME_KINDS,
            "event_kinds": EVENT_KINDS,
            "replicas": (0..self.replicas.len()).map(|index| format!("r{index}")).collect::<Vec<_>>(),
            "groups": self.naming.labels,
            "authors": self.naming.lives,
            "texts": self.texts.list,
            "kept": kept,
        })
    }

    /// A text with names in place of identifiers.
    pub(super) fn plain(&mut self, text: &str) -> String {
        self.naming.plain(text)
    }

    /// The run begins, with these devices.
    pub(crate) fn begin(&mut self, devices: impl Iterator<Item = DeviceId>, merges: Merges) {
        *self = Self { merges, ..Self::default() };
        for (replica, device) in devices.enumerate() {
            self.naming.device(device, replica);
            self.replicas.push(Last::default());
        }
    }

    fn note(&mut self, at: u64, replica: Option<usize>, kind: &str, text: String) {
        if self.kept.events.len() >= MOST_EVENTS {
            self.kept.left_out.events += 1;
            return;
        }
        let text = self.texts.put(text);
        let kind = EVENT_KINDS.iter().position(|it| *it == kind).unwrap_or_default();
        self.kept.events.push((at, replica.map_or(-1, |replica| replica as i64), kind, text));
    }

    /// A step of the plan is taken.
    pub(crate) fn step(&mut self, at: u64, index: usize, act: &Act) {
        let (name, fields) = words::step(act);
        let replica = act.replicas().first().copied();
        let text = format!("step {index}: {name}\n{fields}");
        self.note(at, replica, "step", text.trim_end().to_owned());
    }

    /// All faults end.
    pub(crate) fn healed(&mut self, at: u64) {
        self.note(at, None, "healed", "all faults end".into());
    }

    /// From whom to whom nothing gets through, after it may have changed.
    pub(crate) fn cuts(&mut self, at: u64, cuts: impl Iterator<Item = (usize, usize)>) {
        let cuts: Vec<_> = cuts.collect();
        if cuts != self.last_cuts {
            self.last_cuts.clone_from(&cuts);
            self.kept.cuts.push((at, cuts));
        }
    }

    /// A process starts.
    pub(crate) fn starts(&mut self, at: u64, replica: usize, shown: bool) {
        let how = if shown {
            "its store continues"
        } else {
            "as a new author, because nothing shows that its store continues"
        };
        self.note(at, Some(replica), "start", format!("starts; {how}"));
    }

    /// A process dies.
    pub(crate) fn dies(&mut self, at: u64, replica: usize, lost: usize, at_risk: usize) {
        self.note(at, Some(replica), "crash", format!("dies; {lost} of {at_risk} commits at risk are lost"));
        self.end_risk(at, replica);
    }

    /// A process has stopped, in good order or for another reason.
    pub(crate) fn stopped(&mut self, at: u64, replica: usize, why: &str) {
        self.note(at, Some(replica), "stop", why.to_owned());
        self.end_risk(at, replica);
    }

    fn end_risk(&mut self, at: u64, replica: usize) {
        if let Some(from) = self.replicas[replica].at_risk.take() {
            self.kept.at_risk.push((from, at as i64, replica));
        }
    }

    /// A core is given an event.
    pub(crate) fn event(&mut self, at: u64, replica: usize, event: &Event) {
        let (kind, text) = match event {
            Event::Command { command: Command::Write(batch), .. } if batch.changes.is_empty() => return,
            Event::Command { command, .. } => ("command", words::command(&mut self.naming, command)),
            Event::LinkUp { link, peer, initiated, .. } => {
                let peer = self.naming.of_device(&peer.device());
                let to: usize = peer.trim_start_matches('r').parse().unwrap_or_default();
                self.links.insert(*link, self.kept.links.len());
                self.kept.links.push((link.0 / 2, replica, to, at, -1));
                let who = if *initiated { "called" } else { "was called by" };
                ("link-up", format!("{who} {peer}: link {}", link.0 / 2))
            }
            Event::LinkDown { link } => {
                let Some(index) = self.links.remove(link) else { return };
                self.kept.links[index].4 = at as i64;
                ("link-down", format!("link {} to r{} is gone", link.0 / 2, self.kept.links[index].2))
            }
            Event::ConnectFailed { device } => {
                ("no-answer", format!("cannot reach {}", self.naming.of_device(device)))
            }
            Event::PeerFound { device, .. } => ("found", format!("finds {}", self.naming.of_device(device))),
            Event::PeerLost { device, .. } => {
                ("out-of-sight", format!("loses sight of {}", self.naming.of_device(device)))
            }
            Event::Durable { seq } => {
                if *seq >= self.replicas[replica].committed {
                    self.end_risk(at, replica);
                }
                ("durable", format!("commits up to {} are durable", seq.0))
            }
            Event::Shutdown => ("command", "is asked to stop".to_owned()),
            _ => return,
        };
        self.note(at, Some(replica), kind, text);
    }

    /// A core asks for something.
    pub(crate) fn action(&mut self, at: u64, replica: usize, action: &Action) {
        let (kind, text) = match action {
            Action::Reply { result, .. } => {
                let kind = if result.is_ok() { "reply" } else { "refused" };
                (kind, words::reply(&mut self.naming, result))
            }
            Action::Notice(notice) => ("notice", self.notice(notice)),
            _ => return,
        };
        self.note(at, Some(replica), kind, text);
    }

    fn notice(&mut self, notice: &Notice) -> String {
        match notice {
            Notice::Syncgroup { syncgroup, state } => {
                format!("{}: {}", self.naming.of_group(syncgroup), words::state(state))
            }
            Notice::Admitted { syncgroup, device, .. } => {
                format!("admits {} to {}", self.naming.of_device(device), self.naming.of_group(syncgroup))
            }
            Notice::SetBack { syncgroup, .. } => {
                let group = self.naming.of_group(syncgroup);
                format!(
                    "hears what it had written in {group} and does not hold, and goes on as another author"
                )
            }
            Notice::Forked { author, last, .. } => {
                let by = self.naming.of_device(&author.device);
                format!("knows that {by} has forked its log behind {last}")
            }
            Notice::WrittenAgain { batches, .. } => {
                format!("writes again {batches} batches of a branch of its own log")
            }
            Notice::Invited { invitation } => {
                let by = self.naming.of_device(&invitation.issuer().device());
                format!("is offered {} by {by}", self.naming.of_group(&invitation.syncgroup()))
            }
            Notice::Publications { syncgroup } => {
                format!("{} is published otherwise", self.naming.of_group(syncgroup))
            }
            Notice::Openness { syncgroup } => {
                format!("everybody is granted something else in {}", self.naming.of_group(syncgroup))
            }
            Notice::Enrolled { syncgroup, device, .. } => {
                let (device, group) = (self.naming.of_device(device), self.naming.of_group(syncgroup));
                format!("lets in {device} to {group} as its user's")
            }
            other => self.naming.plain(&format!("{other:?}")),
        }
    }
}

/// A frame that is sent.
#[derive(Debug)]
pub(crate) struct Sent<'f> {
    pub(crate) at: u64,
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// The end at which it arrives, and its place in its direction.
    pub(crate) arrives: (LinkId, u64),
    pub(crate) frame: &'f [u8],
    pub(crate) arrivals: &'f [u64],
}

impl Recording {
    /// A frame is sent.
    pub(crate) fn sent(&mut self, sent: &Sent<'_>) {
        let read = inspect::frame(sent.frame);
        if let Some(Frame::Hello { nonce, .. }) = &read
            && let Some(device) = self.naming.device_of(sent.from)
        {
            self.naming.hello(sent.arrives.0, device, *nonce);
        }
        if self.kept.frames.len() >= MOST_FRAMES {
            self.kept.left_out.frames += 1;
            return;
        }
        let (kind, group, text) = words::frame(&mut self.naming, sent.arrives.0, read.as_ref());
        let lost = if !sent.arrivals.is_empty() {
            Lost::No
        } else if self.last_cuts.contains(&(sent.from, sent.to)) {
            Lost::Cut
        } else {
            Lost::OnTheWay
        };
        if !sent.arrivals.is_empty() {
            self.flying.insert(sent.arrives, self.kept.frames.len());
        }
        self.kept.frames.push(KeptFrame {
            sent: sent.at,
            from: sent.from,
            to: sent.to,
            kind,
            group: group.map_or(-1, |group| group as i64),
            bytes: sent.frame.len() as u64,
            text: self.texts.put(text),
            lost,
            arrivals: sent.arrivals.iter().map(|at| (*at, How::Awaited as u8)).collect(),
        });
    }

    /// A frame comes to an end of its link; `late` is `None` if that end is not there to take it.
    pub(crate) fn arrives(&mut self, at: u64, link: LinkId, order: u64, late: Option<bool>) {
        let Some(frame) = self.flying.get(&(link, order)).and_then(|index| self.kept.frames.get_mut(*index))
        else {
            return;
        };
        let how = match late {
            None => How::NobodyThere,
            Some(true) => How::Overtaken,
            Some(false) => How::Taken,
        };
        let awaited = |arrival: &&mut Arrival| arrival.0 == at && arrival.1 == How::Awaited as u8;
        if let Some(arrival) = frame.arrivals.iter_mut().find(awaited) {
            arrival.1 = how as u8;
        }
        if frame.arrivals.iter().all(|arrival| arrival.1 != How::Awaited as u8) {
            self.flying.remove(&(link, order));
        }
    }

    /// A replica may know what a syncgroup is called.
    pub(crate) fn learn(&mut self, core: &Core) {
        self.naming.learn(&core.syncgroups());
    }

    /// What a replica holds and shows, after its commits were applied.
    pub(crate) fn observe(
        &mut self,
        at: u64,
        replica: usize,
        core: &Core,
        store: &MemStore,
        actions: &[Action],
    ) {
        let commits = || {
            actions.iter().filter_map(|action| match action {
                Action::Commit(commit) => Some(commit),
                _ => None,
            })
        };
        if commits().next().is_none() {
            return;
        }
        self.membership(at, replica, core);
        let mut touched = Vec::new();
        for commit in commits() {
            touched.extend(self.commit(at, replica, commit, store));
        }
        // What counts otherwise than before changes rows that no generation of the commit writes.
        let changes = actions.iter().filter_map(|action| match action {
            Action::Changed(changes) => Some(changes),
            _ => None,
        });
        for change in changes.flatten() {
            let group = self.naming.group(&change.syncgroup);
            touched.push(self.row(group, &change.collection, &change.key));
        }
        touched.sort_unstable();
        touched.dedup();
        self.look(at, replica, store, &touched);
    }

    /// The same for a process that starts: everything may have changed, because a crash took commits away.
    pub(crate) fn observe_start(
        &mut self,
        at: u64,
        replica: usize,
        core: &Core,
        store: &MemStore,
        actions: &[Action],
    ) {
        self.observe(at, replica, core, store, actions);
        let rows: Vec<usize> = self.replicas[replica].shown.keys().copied().collect();
        self.look(at, replica, store, &rows);
    }

    fn membership(&mut self, at: u64, replica: usize, core: &Core) {
        let infos = core.syncgroups();
        self.naming.learn(&infos);
        let mut held = BTreeMap::new();
        for info in &infos {
            let group = self.naming.group(&info.id);
            let mut text = words::state(&info.state);
            if let Some(rights) = info.rights {
                text = format!("{text}, {rights:?}");
            }
            if self.replicas[replica].states.get(&group) != Some(&text) {
                self.replicas[replica].states.insert(group, text.clone());
                let text = self.texts.put(text);
                self.kept.states.push((at, replica, group, text));
            }
            for (author, last) in core.knowledge(&info.id).unwrap_or_default() {
                held.insert((group, self.naming.author(&author)), last);
            }
        }
        let before = std::mem::replace(&mut self.replicas[replica].held, held.clone());
        for (key, last) in &held {
            if before.get(key) != Some(last) {
                self.kept.held.push((at, replica, key.0, key.1, *last));
            }
        }
        for key in before.keys().filter(|key| !held.contains_key(key)) {
            self.kept.held.push((at, replica, key.0, key.1, 0));
        }
    }

    /// Notes what a commit brings. Returns the rows that it touches.
    fn commit(&mut self, at: u64, replica: usize, commit: &Commit, store: &MemStore) -> Vec<usize> {
        let last = &mut self.replicas[replica];
        last.committed = commit.seq;
        last.at_risk.get_or_insert(at);
        // A store in memory does not fail; one that is damaged is for the oracles to find.
        let brought = inspect::generations(commit, store).unwrap_or_default();
        let mut lines = vec![format!("commit {}: {} writes", commit.seq.0, commit.writes.len())];
        let mut touched = Vec::new();
        for (group, version, content) in &brought {
            lines.push(format!("{} {}", self.naming.of_group(group), self.naming.of_version(version)));
            touched.extend(self.generation(at, replica, group, version, content));
        }
        self.note(at, Some(replica), "commit", lines.join("\n"));
        touched
    }

    fn generation(
        &mut self,
        at: u64,
        replica: usize,
        group: &SyncgroupId,
        version: &Version,
        content: &Content,
    ) -> Vec<usize> {
        let (group, author) = (self.naming.group(group), self.naming.author(&version.author));
        let mut changes: Vec<Change> = Vec::new();
        for entry in &content.entries {
            let Entry::Row { collection, key, parents, edited } = entry else { continue };
            let row = self.row(group, collection, key);
            let value = match edited {
                Edited::Put(value) => self.value(value),
                Edited::Deleted => DELETION,
                _ => OPERATION,
            };
            let parents = parents.iter().map(|it| (self.naming.author(&it.author), it.generation)).collect();
            changes.push((row, value, parents));
        }
        let touched = changes.iter().map(|change| change.0).collect();
        // Whoever lost a generation in a crash may write another one of the same number: the author tells.
        if self.naming.lives[author].0 == replica {
            let text = words::generation(&mut self.naming, Some(group), content);
            let text = self.texts.put(text);
            let stamp = (content.stamp.wall().0, content.stamp.0 & 0xffff);
            let generation = version.generation;
            let kept = KeptGeneration { at, replica, group, author, generation, text, stamp, changes };
            self.kept.generations.push(kept);
        }
        touched
    }

    /// What readers see of some rows.
    fn look(&mut self, at: u64, replica: usize, store: &MemStore, rows: &[usize]) {
        let collections = read::collections(store).unwrap_or_default().into_iter();
        let collections: Vec<_> = collections.map(|it| it.with_merges(self.merges.list())).collect();
        let keys: Vec<_> = self
            .rows
            .iter()
            .filter(|(_, number)| rows.binary_search(number).is_ok())
            .map(|(key, number)| (key.clone(), *number))
            .collect();
        for ((group, collection, key), number) in keys {
            let here = collections
                .iter()
                .find(|it| it.id == collection && self.naming.group(&it.syncgroup) == group);
            let heads = here.and_then(|it| read::heads(store, it, &key).ok()).unwrap_or_default();
            let mut list = Vec::new();
            for head in heads {
                let value = match &head.value {
                    Some(value) => self.value(value),
                    None if head.is_operation => OPERATION,
                    None => DELETION,
                };
                list.push((self.naming.author(&head.version.author), head.version.generation, value));
            }
            let row = here.and_then(|it| read::get(store, it, &key).ok().flatten());
            let value = row.as_ref().map_or(DELETION, |row| self.value(&row.value));
            let shown = (value, row.is_some_and(|row| row.in_conflict), list);
            let before = self.replicas[replica].shown.insert(number, shown.clone());
            if before.unwrap_or((DELETION, false, Vec::new())) != shown {
                self.kept.shown.push((at, replica, number, shown.0, shown.1, shown.2));
            }
        }
    }

    fn row(&mut self, group: usize, collection: &CollectionId, key: &Bytes) -> usize {
        let next = self.kept.rows.len();
        let number = *self.rows.entry((group, *collection, key.clone())).or_insert(next);
        if number == next {
            self.kept.rows.push((group, self.naming.of_collection(collection), words::text(key, 40)));
        }
        number
    }

    fn value(&mut self, value: &Bytes) -> i64 {
        let next = self.kept.values.len();
        let number = *self.values.entry(value.clone()).or_insert(next);
        if number == next {
            self.kept.values.push((words::text(value, 24), value.len()));
        }
        number as i64
    }

    /// The run is over: whatever still is at risk stays so.
    pub(super) fn risks_left(&self) -> impl Iterator<Item = (u64, usize)> {
        self.replicas.iter().enumerate().filter_map(|(replica, last)| Some((last.at_risk?, replica)))
    }
}
