//! Parts of batches that nobody waits for any more, since this device was removed from where they are.

use super::*;

impl Apart {
    /// An admin removes the reader from a syncgroup, and tells it so. Nothing happens after the frame that brings it.
    fn remove_reader(&mut self, from: usize) {
        let (group, device) = (self.groups[from], self.nodes[READER].core.public_key().device());
        self.command(RELAYS[from], Command::Eject { syncgroup: group, device }).unwrap();
        let link = self.link(RELAYS[from], READER);
        let mut steps = 0;
        while self.state(READER, group) != SyncgroupState::Removed {
            match self.frames.pop_front() {
                Some((at, link, frame)) => self.event(at, Event::Received { link, frame }),
                None => self.event(RELAYS[from], Event::Tick),
            }
            steps += 1;
            assert!(steps < 1_000, "it does not hear of its removal");
        }
        self.unlink(link);
    }

    /// Of which parts it was told that others are missing, and why.
    fn split_parts(&self) -> Vec<(SyncgroupId, Vec<SyncgroupId>, Split)> {
        let why = |notice| match notice {
            Notice::BatchSplit { syncgroup, missing, why, .. } => (syncgroup, missing, why),
            other => panic!("{other:?}"),
        };
        self.splits().into_iter().map(why).collect()
    }
}

#[test]
fn whoever_is_removed_from_a_syncgroup_does_not_wait_for_its_parts() {
    for restarts in [false, true] {
        let mut apart = Apart::new();
        let [one, two] = apart.groups;
        apart.write("batch");
        apart.put(WRITER, one, "after", "v");
        apart.pass(0);
        assert_eq!(apart.sees("batch"), [false; 2]);
        apart.remove_reader(1);
        if restarts {
            let store = apart.nodes[READER].store.clone();
            apart.reboot(READER, store, Continuity::Shown);
            apart.run(1);
        }
        assert_eq!(apart.sees("batch"), [true, false], "restarts: {restarts}");
        assert!(apart.text(READER, one, "after").is_some());
        assert_eq!(apart.split_parts(), [(one, vec![two], Split::Left)], "restarts: {restarts}");
        apart.run(120_000);
        assert_eq!(apart.splits().len(), 1);
    }
}

#[test]
fn what_waits_where_a_device_is_removed_is_shown_there() {
    for restarts in [false, true] {
        let mut apart = Apart::new();
        let [one, two] = apart.groups;
        apart.write("batch");
        apart.pass(0);
        assert_eq!(apart.sees("batch"), [false; 2]);
        apart.remove_reader(0);
        if restarts {
            let store = apart.nodes[READER].store.clone();
            apart.reboot(READER, store, Continuity::Shown);
            apart.run(1);
        }
        assert_eq!(apart.sees("batch"), [true, false], "restarts: {restarts}");
        assert_eq!(apart.split_parts(), [(one, vec![two], Split::Left)], "restarts: {restarts}");
        apart.pass(1);
        assert_eq!(apart.sees("batch"), [true; 2]);
    }
}
