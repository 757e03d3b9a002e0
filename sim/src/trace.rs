//! What happened in a run, as a digest to compare and as lines to read.

use std::fmt::{self, Write as _};

use driftless::{Action, Command, Edit, Event, LocalWrite, Outcome, Written};

use crate::page::Recording;

/// Takes the lines of a trace.
pub type TraceLine<'t> = dyn FnMut(&str) + 't;

/// Everything that went into the cores and came out of them.
pub(crate) struct Trace<'t> {
    /// `None` if nobody wants the digest.
    hasher: Option<Hashed>,
    lines: Option<&'t mut TraceLine<'t>>,
    recording: Option<&'t mut Recording>,
    pub(crate) events: u64,
}

impl fmt::Debug for Trace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("events", &self.events).finish_non_exhaustive()
    }
}

/// Bytes that are hashed together: a hash of many at once costs a fraction of many small ones.
const TOGETHER: usize = 64 << 10;

/// A digest of whatever is put into it.
#[derive(Default)]
struct Hashed {
    hasher: blake3::Hasher,
    /// What is not hashed yet.
    rest: Vec<u8>,
}

impl Hashed {
    fn put(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        if self.rest.len() >= TOGETHER {
            self.hasher.update(&self.rest);
            self.rest.clear();
        }
    }

    fn digest(&self) -> [u8; 32] {
        *self.hasher.clone().update(&self.rest).finalize().as_bytes()
    }
}

impl fmt::Write for Hashed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

impl<'t> Trace<'t> {
    pub(crate) fn new(lines: Option<&'t mut TraceLine<'t>>, recording: Option<&'t mut Recording>) -> Self {
        Self { hasher: Some(Hashed::default()), lines, recording, events: 0 }
    }

    /// The same without a digest, which is then all zeros.
    pub(crate) fn without_digest(self) -> Self {
        Self { hasher: None, ..self }
    }

    /// Whoever records the run, if it is recorded.
    pub(crate) fn recording(&mut self) -> Option<&mut Recording> {
        self.recording.as_deref_mut()
    }

    /// The digest of everything up to now.
    pub(crate) fn digest(&self) -> [u8; 32] {
        self.hasher.as_ref().map_or([0; 32], Hashed::digest)
    }

    fn hash(&mut self, head: &[u64], payload: &[&[u8]], rest: Option<&dyn fmt::Debug>) {
        let Some(hasher) = &mut self.hasher else { return };
        for number in head {
            hasher.put(&number.to_le_bytes());
        }
        for bytes in payload {
            hasher.put(&(bytes.len() as u64).to_le_bytes());
            hasher.put(bytes);
        }
        if let Some(rest) = rest {
            // A hasher takes everything.
            let _ = write!(hasher, "{rest:?}");
        }
    }

    pub(crate) fn event(&mut self, at: u64, replica: usize, event: &Event) {
        self.events += 1;
        if let Some(recording) = self.recording() {
            recording.event(at, replica, event);
        }
        let head = [1, at, replica as u64];
        match event {
            Event::Received { link, frame } => self.hash(&[2, at, replica as u64, link.0], &[frame], None),
            // What happens most is not worth being told in words first.
            Event::Tick => self.hash(&[6, at, replica as u64], &[], None),
            Event::Durable { seq } => self.hash(&[7, at, replica as u64, seq.0], &[], None),
            Event::Writable { link, credit } => {
                self.hash(&[8, at, replica as u64, link.0, *credit], &[], None);
            }
            Event::PeerFound { device, address } => {
                self.hash(&[10, at, replica as u64], &[&device.0, address.as_str().as_bytes()], None);
            }
            Event::Command { request, command: Command::Write(batch) } => {
                self.hash(&[11, at, replica as u64, request.0, batch.changes.len() as u64], &[], None);
                self.batch(batch);
            }
            event => self.hash(&head, &[], Some(event)),
        }
        self.line(|| {
            let text = match event {
                Event::Received { link, frame } => {
                    format!("received {} bytes on link {}", frame.len(), link.0)
                }
                event => brief(event),
            };
            format!("{at:>8} r{replica} <- {text}")
        });
    }

    pub(crate) fn action(&mut self, at: u64, replica: usize, action: &Action) {
        if let Some(recording) = self.recording() {
            recording.action(at, replica, action);
        }
        match action {
            Action::Send { link, frame } => self.hash(&[3, link.0], &[frame], None),
            Action::Commit(commit) => {
                self.hash(&[4, commit.seq.0], &[], None);
                for write in &commit.writes {
                    let value = write.value.as_deref();
                    let head = [write.table as u64, u64::from(value.is_some())];
                    self.hash(&head, &[&write.key, value.unwrap_or_default()], None);
                }
            }
            Action::Changed(rows) => {
                self.hash(&[9, rows.len() as u64], &[], None);
                for row in rows {
                    let head = [u64::from(row.local), u64::from(row.value.is_some())];
                    let value = row.value.as_deref().unwrap_or_default();
                    self.hash(&head, &[&row.syncgroup.0, &row.collection.0, &row.key, value], None);
                }
            }
            Action::Written { request, parts } => self.parts(12, request.0, parts),
            Action::Reply { request, result: Ok(Outcome::Written(parts)) } => {
                self.parts(13, request.0, parts);
            }
            action => self.hash(&[5], &[], Some(action)),
        }
        self.line(|| {
            let text = match action {
                Action::Send { link, frame } => format!("send {} bytes on link {}", frame.len(), link.0),
                Action::Commit(commit) => format!("commit {} ({} writes)", commit.seq.0, commit.writes.len()),
                action => brief(action),
            };
            format!("{at:>8} r{replica}    -> {text}")
        });
    }

    fn batch(&mut self, batch: &LocalWrite) {
        for change in &batch.changes {
            let row = &change.row;
            let place: [&[u8]; 3] = [&row.syncgroup.0, row.collection.as_str().as_bytes(), &row.key];
            match &change.edit {
                Edit::Put(value) => self.hash(&[1], &[place[0], place[1], place[2], value], None),
                Edit::Delete => self.hash(&[2], &place, None),
                edit => self.hash(&[3], &place, Some(edit)),
            }
        }
        if !batch.preconditions.is_empty() {
            self.hash(&[4], &[], Some(&batch.preconditions));
        }
    }

    fn parts(&mut self, what: u64, request: u64, parts: &[Written]) {
        self.hash(&[what, request, parts.len() as u64], &[], None);
        for Written { syncgroup, version, stamp } in parts {
            let head = [version.author.incarnation.0, version.generation, stamp.0];
            self.hash(&head, &[&syncgroup.0, &version.author.device.0], None);
        }
    }

    /// A remark on what the world does.
    pub(crate) fn note(&mut self, at: u64, text: impl FnOnce() -> String) {
        self.line(|| format!("{at:>8} ** {}", text()));
    }

    fn line(&mut self, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines(&text());
        }
    }
}

/// The debug form, cut where it grows long.
fn brief(what: &impl fmt::Debug) -> String {
    let mut text = format!("{what:?}");
    if let Some((end, _)) = text.char_indices().nth(400) {
        text.truncate(end);
        text.push('…');
    }
    text
}
