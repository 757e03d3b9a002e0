//! Stands in for the store on disk until it is there.
use driftless::store::{Commit, MemStore, Store, Syncer};
use driftless::{CommitSeq, Fault, Identity};
use std::path::Path;
#[derive(Debug, thiserror::Error)]
#[error("cannot open")]
pub struct OpenError;
#[derive(Debug, Clone, Default)]
pub struct Options;
pub(crate) struct Opened {
    pub(crate) store: Mem,
    pub(crate) identity: Identity,
}
pub(crate) struct Mem(MemStore);
impl Store for Mem {
    type Snapshot = MemStore;
    fn snapshot(&self) -> Self::Snapshot {
        unimplemented!()
    }
    fn apply(&mut self, _: &Commit) -> Result<(), Fault> {
        unimplemented!()
    }
    fn seq(&self) -> CommitSeq {
        self.0.seq()
    }
    fn syncer(&self) -> Syncer {
        unimplemented!()
    }
}
pub(crate) fn open(_: &Path, _: Options) -> Result<Opened, OpenError> {
    Err(OpenError)
}
