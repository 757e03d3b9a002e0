//! Documents of a CRDT library in rows: a text of [Yrs](https://docs.rs/yrs), edited on two devices while they are
//! apart, is one text on both when they meet.
//!
//! Run it: `cargo run -p driftless-tokio --example document`
//!
//! A merge function makes it work. Each edit is written as an *operation*, which leaves room for the edits of
//! others; what the row shows is derived from all of them, on every device alike, and is never written. Driftless
//! brings what the library leaves to the application: operations reach everybody, come signed, in an order that
//! respects causes, together with all other changes of their batch, and survive crashes.
//!
//! ```text
//!   edit on ann ──► operation ──┐                       ┌──► merge ──► the text on ann
//!                               ├──► the row's log ─────┤
//!   edit on bob ──► operation ──┘                       └──► merge ──► the same text on bob
//! ```
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "an example runs real nodes")]

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use driftless::{Merge, MergeFunction, Name, Operation, Policy, Rule};
use driftless_tokio::{Collection, Merges, Node, Options, StoreOptions};
use yrs::updates::decoder::Decode as _;
use yrs::{
    Doc, GetString as _, ReadTxn as _, StateVector, Text as _, TextRef, Transact as _, TransactionMut, Update,
};

/// Merges documents of Yrs: puts are whole documents, operations are updates, and so is what is shown.
struct Documents;

impl Documents {
    const NAME: &str = "yrs";
    /// Merging must give the same bytes everywhere. A document that only takes in updates never uses its own
    /// number, but it should not be drawn at random either.
    const READER: u64 = 0;

    fn merged(updates: impl Iterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
        let doc = Doc::with_client_id(Self::READER);
        let mut transaction = doc.transact_mut();
        for update in updates {
            // Anybody who may write can have written anything: what is no update counts as nothing.
            if let Ok(update) = Update::decode_v1(update.as_ref()) {
                let _ = transaction.apply_update(update);
            }
        }
        transaction.encode_state_as_update_v1(&StateVector::default())
    }
}

impl MergeFunction for Documents {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn merge(&self, bases: &[&[u8]], operations: &[&[u8]]) -> Option<Vec<u8>> {
        // Bases come last first. A library that meets bytes made to break it may panic; the row shows nothing
        // then, and the same nothing everywhere.
        let all = bases.iter().rev().chain(operations);
        catch_unwind(AssertUnwindSafe(|| Self::merged(all))).ok()
    }
}

/// A text in a row.
struct Document<'c> {
    notes: &'c Collection,
    key: &'c str,
}

impl Document<'_> {
    /// Opens it as it is now, for reading or for one edit.
    fn open(&self) -> Result<(Doc, TextRef), Box<dyn Error>> {
        // A new one each time draws a number of its own, which edits at the same time must have.
        let doc = Doc::new();
        let text = doc.get_or_insert_text("text");
        if let Some(row) = self.notes.get(self.key)? {
            doc.transact_mut().apply_update(Update::decode_v1(&row.value)?)?;
        }
        Ok((doc, text))
    }

    fn text(&self) -> Result<String, Box<dyn Error>> {
        let (doc, text) = self.open()?;
        let shown = text.get_string(&doc.transact());
        Ok(shown)
    }

    /// Edits it, and writes what has changed.
    async fn edit(&self, how: impl FnOnce(&TextRef, &mut TransactionMut<'_>)) -> Result<(), Box<dyn Error>> {
        let (doc, text) = self.open()?;
        let update = {
            let mut transaction = doc.transact_mut();
            how(&text, &mut transaction);
            transaction.encode_update_v1()
        };
        let operation = Operation::Named { merge: Name::new(Documents::NAME)?, operation: update.into() };
        self.notes.operate(self.key, operation).await?;
        Ok(())
    }

    /// Puts the whole in the place of all operations that are known here, so that readers need not fold them.
    /// What others write meanwhile applies on top of it.
    async fn compact(&self) -> Result<(), Box<dyn Error>> {
        if let Some(row) = self.notes.get(self.key)? {
            self.notes.put(self.key, row.value).await?;
        }
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let (ann, bob) = (open(dir.path(), "ann")?, open(dir.path(), "bob")?);

    // Every row whose key starts with "doc/" is a document, for all members.
    let family = ann.database("default")?.create_syncgroup("family", &["notes"]).await?;
    let notes = family.collection("notes")?;
    let policy = Policy::Merge(Merge::Named(Name::new(Documents::NAME)?));
    notes.set_schema(vec![Rule { prefix: "doc/".into(), policy }]).await?;
    let at_ann = Document { notes: &notes, key: "doc/list" };
    at_ann.edit(|text, change| text.push(change, "buy milk")).await?;

    let invitation = family.invite(Default::default()).await?;
    let joined = bob.database("default")?.join(&invitation, Duration::from_secs(30)).await?;
    let bobs_notes = joined.collection("notes")?;
    let at_bob = Document { notes: &bobs_notes, key: "doc/list" };
    assert_eq!(at_bob.text()?, "buy milk");

    // Both edit the same line while they cannot reach each other, and one of them tidies up.
    bob.set_online(false);
    at_ann.edit(|text, change| text.insert(change, 4, "oat ")).await?;
    at_ann.compact().await?;
    at_bob.edit(|text, change| text.push(change, " and bread")).await?;
    at_bob.edit(|text, change| text.remove_range(change, 0, 4)).await?;
    println!("ann, apart: {}", at_ann.text()?);
    println!("bob, apart: {}", at_bob.text()?);

    bob.set_online(true);
    for document in [&at_ann, &at_bob] {
        until_it_shows(document, "oat milk and bread").await?;
    }
    println!("together:   {}", at_ann.text()?);
    assert_eq!(notes.get("doc/list")?.unwrap().value, bobs_notes.get("doc/list")?.unwrap().value);

    ann.shutdown().await;
    bob.shutdown().await;
    Ok(())
}

/// A device. Each of them must register the function.
fn open(dir: &Path, name: &str) -> Result<Node, Box<dyn Error>> {
    let options = Options {
        name: Some(Name::new(name)?),
        listen: Some(([127, 0, 0, 1], 0).into()),
        discovery: false,
        merges: Merges::new().with(&Documents),
        store: StoreOptions::new().state_dir(dir.join("state").join(name)),
        ..Options::default()
    };
    Ok(Node::open(dir.join(name), options)?)
}

/// Waits for the other device's edits.
async fn until_it_shows(document: &Document<'_>, text: &str) -> Result<(), Box<dyn Error>> {
    let mut watch = document.notes.watch(document.key)?;
    let arrived = async {
        while document.text()? != text {
            watch.next().await?;
        }
        Ok(())
    };
    tokio::time::timeout(Duration::from_secs(30), arrived).await?
}
