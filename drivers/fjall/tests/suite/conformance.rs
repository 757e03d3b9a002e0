//! The contract of a store.

use driftless::store::Store;
use driftless::store::conformance::{Subject, check, check_random};
use driftless_fjall::{FjallStore, Options, open};

use crate::history::Home;

/// Stores in new directories. A crash here is the end of the process' handles: what was not synced may be
/// lost or not. The process itself is killed in another test.
struct Directories {
    home: Home,
    memtable_bytes: u64,
}

impl Directories {
    fn options(&self) -> Options {
        Options::new().state_dir(self.home.state()).memtable_bytes(self.memtable_bytes)
    }
}

impl Subject for Directories {
    type Store = FjallStore;

    fn create(&mut self) -> Result<FjallStore, String> {
        self.home = Home::new();
        open(&self.home.data(), self.options()).map(|opened| opened.store).map_err(|error| error.to_string())
    }

    fn crash(&mut self, store: FjallStore) -> Result<FjallStore, String> {
        drop(store);
        open(&self.home.data(), self.options()).map(|opened| opened.store).map_err(|error| error.to_string())
    }
}

#[test]
fn the_store_keeps_the_contract() {
    check(&mut Directories { home: Home::new(), memtable_bytes: 16 << 20 }).unwrap();
}

#[test]
fn the_store_keeps_the_contract_while_it_sorts_and_merges_files_all_the_time() {
    let mut directories = Directories { home: Home::new(), memtable_bytes: 16 << 10 };
    check(&mut directories).unwrap();
    check_random(&mut directories, 100, 2_000).unwrap();
}

#[test]
fn one_sync_serves_all_commits_before_it() {
    let home = Home::new();
    let mut store = home.open().unwrap().store;
    let mut syncer = store.syncer();
    let mut syncs = 0;
    for n in 1..=1_000 {
        store.apply(&crate::history::commit(n)).unwrap();
        if n % 250 == 0 {
            syncs += 1;
            assert_eq!(syncer().unwrap().0, n);
        }
    }
    assert_eq!(syncs, 4);
    drop((store, syncer));
    assert_eq!(home.open().unwrap().store.seq().0, 1_000);
}

#[test]
fn a_syncer_on_another_thread_groups_the_commits_that_arrive_while_the_disk_works() {
    const COMMITS: u64 = 5_000;
    let home = Home::new();
    let mut store = home.open().unwrap().store;
    let mut syncer = store.syncer();
    let syncs = std::thread::scope(|scope| {
        let syncing = scope.spawn(move || {
            let mut syncs = 0;
            let mut durable = 0;
            while durable < COMMITS {
                let now = syncer().unwrap().0;
                assert!(now >= durable, "durable numbers never fall");
                durable = now;
                syncs += 1;
            }
            syncs
        });
        for n in 1..=COMMITS {
            store.apply(&crate::history::commit(n)).unwrap();
        }
        syncing.join().unwrap()
    });
    println!("{COMMITS} commits, {syncs} syncs");
    drop(store);
    let store = home.open().unwrap().store;
    assert_eq!(store.seq().0, COMMITS);
    crate::history::verify(&store).unwrap();
}
