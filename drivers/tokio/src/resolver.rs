//! The application's resolver: conflicts come, answers go (S-17).
//!
//! ```text
//!   raised by the core ──► which row (bounded queue) ──► looked at afresh ──► the application ──► one batch
//!                                 ▲                                                │
//!                                 └────────── overflow: raised again ──────────────┴── stale: the new state
//! ```
//!
//! The queue holds which rows are concerned and not what they hold, so that a resolver that is slow sees each
//! conflict as it is when its turn comes, and costs nothing meanwhile. Readers and writers never wait for it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driftless::store::{Fault, View};
use driftless::{Choice, Command, Conflict, Name, Outcome, Refusal, Resolution, RowRef, read};
use tokio::sync::Notify;

use crate::error::Error;
use crate::handle::{Database, Receipt};
use crate::shared::Following;

/// Conflicts that wait for a slow resolver; beyond that they are asked for again.
const WAITING: usize = 1_024;

/// The resolver of a database: made by [`Database::resolver`]. Dropping it detaches it, and what is open then
/// stays open for the next one.
///
/// ```
/// use driftless::{Choice, Policy, Resolution, Rule};
/// use driftless_tokio::{Node, Options};
/// # use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let open = |name: &str| {
/// #     let store = driftless_tokio::StoreOptions::new().state_dir(dir.path().join("state").join(name));
/// #     let mut options = Options { discovery: false, store, ..Options::default() };
/// #     options.listen = Some("127.0.0.1:0".parse().unwrap());
/// #     options.timing.resolve = driftless::Millis(20);
/// #     Node::open(dir.path().join(name), options)
/// # };
/// # let (laptop, phone) = (open("laptop")?, open("phone")?);
/// let db = laptop.database("default")?;
/// let family = db.create_syncgroup("family", &["notes"]).await?;
/// let notes = db.collection("notes")?;
/// notes.set_schema(vec![Rule { prefix: "".into(), policy: Policy::AppResolves }]).await?;
/// # let other = phone.database("default")?;
/// # other.join(&family.invite(Default::default()).await?, Duration::from_secs(30)).await?;
/// # phone.set_online(false);
///
/// // Two devices write the same row while they cannot reach each other.
/// notes.put("milk", "2 l").await?;
/// other.collection("notes")?.put("milk", "oat milk").await?;
/// # phone.set_online(true);
///
/// let mut resolver = db.resolver().await?;
/// while let Some(conflict) = resolver.next().await? {
///     let mut answer = Resolution::new();
///     for row in conflict.open() {
///         let values = row.heads.iter().filter_map(|head| head.value.as_deref());
///         answer = answer.answer(row, Choice::Put(values.collect::<Vec<_>>().join(&b", "[..]).into()));
///     }
///     resolver.resolve(answer).await?;
/// #   break;
/// }
/// let row = notes.get("milk")?.unwrap();
/// assert!(!row.in_conflict && row.value.len() == "2 l, oat milk".len());
/// # laptop.shutdown().await;
/// # phone.shutdown().await;
/// # Ok(())
/// # }
/// ```
pub struct Resolver {
    database: Database,
    queue: Arc<Queue>,
    following: Following,
}

impl Database {
    /// Attaches a resolver: conflicts under [`driftless::Policy::AppResolves`] come to it from now on, those that
    /// are open already included; and, once, those that [`driftless::Policy::Defer`] has left open. Devices take
    /// turns, so a conflict may come a little later than it arises. One resolver is attached at a time: another
    /// one takes its place.
    ///
    /// # Errors
    /// [`Error::Closed`] if the node is closed.
    pub async fn resolver(&self) -> Result<Resolver, Error> {
        let following = self.node().published().follow();
        let queue = Arc::new(Queue::default());
        self.node().attach(self.name(), &queue).await?;
        Ok(Resolver { database: self.clone(), queue, following })
    }

    /// Writes the answer to a conflict, as one batch: to one that came to a resolver, or that
    /// [`crate::Collection::conflict`] has shown. No resolver need be attached.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`Refusal::NoAnswer`]: its [`Stale`](driftless::NoAnswer::Stale) holds the conflict as
    /// it is now.
    pub async fn resolve(&self, answer: Resolution) -> Result<Receipt, Error> {
        match self.node().command(Command::Resolve(answer)).await? {
            Outcome::Written(parts) => Ok(Receipt { parts }),
            _ => Err(Error::Unexpected("resolve a conflict")),
        }
    }

    /// Attaches a resolver and answers every conflict by `work`, one at a time, until the node is closed or
    /// another resolver takes its place. An answer that was overtaken, by other versions or by another schema, is
    /// dropped, and asked for again if the conflict is still open; an empty one leaves the conflict open. Run it as a
    /// task of its own:
    ///
    /// ```
    /// use driftless::{Choice, Resolution};
    /// # use driftless_tokio::Database;
    /// # fn spawn(db: Database) {
    /// tokio::spawn(async move {
    ///     db.resolve_with(async |conflict| {
    ///         let mut answer = Resolution::new();
    ///         for row in conflict.open() {
    ///             let longest = row.heads.iter().max_by_key(|head| head.value.as_ref().map(|v| v.len()));
    ///             answer = answer.answer(row, longest.map_or(Choice::Leave, |head| Choice::Pick(head.version)));
    ///         }
    ///         answer
    ///     })
    ///     .await
    /// });
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`] once the node is closed; [`Error::Read`] if the store fails; [`Error::Refused`] with
    /// [`Refusal::NoAnswer`] if an answer does not fit a conflict that is still as `work` was shown it, which is a
    /// mistake of `work`.
    pub async fn resolve_with<W, A>(&self, mut work: W) -> Result<(), Error>
    where
        W: FnMut(Conflict) -> A,
        A: Future<Output = Resolution>,
    {
        let mut resolver = self.resolver().await?;
        while let Some(conflict) = resolver.next().await? {
            let mut open = Some(conflict);
            while let Some(conflict) = open.take() {
                let mut answer = work(conflict.clone()).await;
                if answer.answers.is_empty() {
                    // This has to be said: of conflicts that are not answered only so many are open at a time.
                    answer = leave(&conflict);
                }
                match self.resolve(answer).await {
                    Ok(_) => {}
                    // What was committed before the refusal can be read by now.
                    Err(Error::Refused(Refusal::NoAnswer(reason))) => match resolver.again(&conflict)? {
                        Some(now) if now == conflict => {
                            return Err(Error::Refused(Refusal::NoAnswer(reason)));
                        }
                        now => open = now.filter(is_open),
                    },
                    // This conflict cannot be answered by this device now; others can be.
                    Err(Error::Refused(refusal)) => {
                        tracing::warn!(%refusal, "the answer to a conflict was refused; it stays open");
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

impl Resolver {
    /// The next conflict, as it is now; `None` once another resolver has taken the place of this one. It waits
    /// until there is one, and can be cancelled without losing any.
    ///
    /// Answer each, and one that is to stay open by [`Choice::Leave`] for all its rows: while 64 rows of the database
    /// have come and are not answered, no more come.
    ///
    /// # Errors
    /// [`Error::Closed`] once the node is closed; [`Error::Read`] if the store fails.
    pub async fn next(&mut self) -> Result<Option<Conflict>, Error> {
        loop {
            // What comes after this look is news.
            let view = self.following.now()?;
            match self.queue.take() {
                Taken::Row(row) => {
                    // It may have been resolved meanwhile.
                    if let Some(conflict) = look(&*view, &row)?.filter(is_open) {
                        return Ok(Some(conflict));
                    }
                }
                Taken::Missed => self.database.node().attach(self.database.name(), &self.queue).await?,
                Taken::Replaced => return Ok(None),
                Taken::Nothing => tokio::select! {
                    () = self.queue.news.notified() => {}
                    () = self.following.changed() => {}
                },
            }
        }
    }

    /// A conflict as it is now; `None` if it cannot be told any more.
    fn again(&mut self, conflict: &Conflict) -> Result<Option<Conflict>, Error> {
        let view = self.following.now()?;
        match conflict.open().next() {
            Some(row) => Ok(look(&*view, &row.row)?),
            None => Ok(None),
        }
    }

    /// Writes an answer: see [`Database::resolve`].
    ///
    /// # Errors
    /// As [`Database::resolve`].
    pub async fn resolve(&self, answer: Resolution) -> Result<Receipt, Error> {
        self.database.resolve(answer).await
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.database.node().detach(self.database.name(), &self.queue);
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("database", self.database.name()).finish_non_exhaustive()
    }
}

/// The conflict that a row is in; `None` if its collection is not here.
fn look(view: &dyn View, row: &RowRef) -> Result<Option<Conflict>, Fault> {
    let found = read::collections(view)?;
    let found = found.into_iter().find(|it| it.syncgroup == row.syncgroup && it.name == row.collection);
    found.map(|collection| read::conflict(view, &collection, &row.key)).transpose()
}

/// The answer that leaves a conflict open.
fn leave(conflict: &Conflict) -> Resolution {
    conflict.open().fold(Resolution::new(), |answer, row| answer.answer(row, Choice::Leave))
}

fn is_open(conflict: &Conflict) -> bool {
    conflict.open().next().is_some()
}

/// Conflicts on their way to a resolver: one row of each.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    rows: VecDeque<RowRef>,
    missed: bool,
    replaced: bool,
}

enum Taken {
    Row(RowRef),
    Missed,
    Replaced,
    Nothing,
}

impl Queue {
    /// Nothing here is left half done if a thread panics in between, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a conflict that was raised.
    pub(crate) fn offer(&self, row: RowRef) {
        let mut waiting = self.lock();
        if waiting.rows.len() >= WAITING {
            waiting.missed = true;
        } else if !waiting.rows.contains(&row) {
            waiting.rows.push_back(row);
        }
        drop(waiting);
        self.news.notify_one();
    }

    /// Another resolver is attached.
    pub(crate) fn replace(&self) {
        self.lock().replaced = true;
        self.news.notify_one();
    }

    fn take(&self) -> Taken {
        let mut waiting = self.lock();
        if waiting.replaced {
            return Taken::Replaced;
        }
        match waiting.rows.pop_front() {
            Some(row) => Taken::Row(row),
            None if waiting.missed => Taken::Missed,
            None => Taken::Nothing,
        }
    }

    /// Whether another resolver has taken the place of this one.
    pub(crate) fn is_replaced(&self) -> bool {
        self.lock().replaced
    }

    /// What was missed so far is about to be raised again.
    pub(crate) fn miss_nothing(&self) {
        self.lock().missed = false;
    }
}

/// Which database a conflict belongs to, and a row that stands for it.
pub(crate) fn whose(conflict: &Conflict) -> Option<(Name, RowRef)> {
    conflict.open().next().map(|row| (row.database.clone(), row.row.clone()))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::{Pin, pin};
    use std::task::Poll;
    use std::time::Duration;

    use driftless::store::SharedMemStore;
    use driftless::{Continuity, Core, Identity, Millis, Policy, Rule, SecretKey};

    use super::*;
    use crate::replica::Request;
    use crate::{Node, Options};

    fn node(seed: u8) -> Node {
        let mut options =
            Options { listen: Some(([127, 0, 0, 1], 0).into()), discovery: false, ..Options::default() };
        options.timing.resolve = Millis(20);
        let identity =
            Identity { chain: None, secret: SecretKey([seed; 32]), continuity: Continuity::Unknown };
        Node::start(SharedMemStore::new(), &identity, options).unwrap()
    }

    async fn soon<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(30), what).await.expect("it should not take so long")
    }

    /// Keeps the replica's thread busy until what is returned is dropped.
    fn hold(node: &Node) -> std::sync::mpsc::Sender<()> {
        let (start, started) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel();
        let look = move |_: &Core| {
            start.send(()).unwrap();
            let _ = released.recv();
        };
        node.requests().try_send(Request::Look(Box::new(look))).unwrap();
        started.recv().unwrap();
        release
    }

    /// As [`hold`], and fills the queue of requests.
    fn fill(node: &Node) -> std::sync::mpsc::Sender<()> {
        let release = hold(node);
        while node.requests().try_send(Request::Look(Box::new(|_| {}))).is_ok() {}
        release
    }

    /// Has something begin, which cannot end yet.
    async fn begin(what: Pin<&mut impl Future>) {
        let mut what = what;
        poll_fn(|context| {
            assert!(what.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
    }

    /// Two nodes that share a row in conflict, its database on the first, and the resolver there that it has come to.
    async fn in_conflict() -> ([Node; 2], Database, Resolver, Conflict) {
        let (ann, bob) = (node(1), node(2));
        let (db, other) = (ann.database("default").unwrap(), bob.database("default").unwrap());
        let group = soon(db.create_syncgroup("family", &["notes"])).await.unwrap();
        let notes = db.collection("notes").unwrap();
        let rule = Rule { prefix: "".into(), policy: Policy::AppResolves };
        soon(notes.set_schema(vec![rule])).await.unwrap();
        let invitation = soon(group.invite(Default::default())).await.unwrap();
        soon(other.join(&invitation, Duration::from_secs(30))).await.unwrap();
        bob.set_online(false);
        soon(notes.put("a", "of ann")).await.unwrap();
        soon(other.collection("notes").unwrap().put("a", "of bob")).await.unwrap();
        bob.set_online(true);
        let mut resolver = soon(db.resolver()).await.unwrap();
        let conflict = soon(resolver.next()).await.unwrap().unwrap();
        ([ann, bob], db, resolver, conflict)
    }

    /// More come than fit. These are not in conflict, so none of them is shown.
    fn overflow(resolver: &Resolver, conflict: &Conflict) {
        for n in 0..=WAITING as u64 {
            let key = n.to_be_bytes().to_vec().into();
            resolver.queue.offer(RowRef { key, ..conflict.rows[0].row.clone() });
        }
    }

    #[tokio::test]
    async fn whoever_gives_up_while_it_asks_for_what_it_has_missed_gets_it_the_next_time() {
        let (nodes, _, mut resolver, conflict) = in_conflict().await;
        // Before there is a place for what is asked, and after.
        for busy in [fill, hold] {
            overflow(&resolver, &conflict);
            let release = busy(&nodes[0]);
            begin(pin!(resolver.next())).await;
            assert!(matches!(resolver.queue.take(), Taken::Missed), "it is not asked for again");
            drop(release);
            assert_eq!(soon(resolver.next()).await.unwrap().as_ref(), Some(&conflict));
        }
        for node in nodes {
            node.shutdown().await;
        }
    }

    #[tokio::test]
    async fn whoever_is_replaced_while_it_asks_for_what_it_has_missed_does_not_take_the_place_back() {
        let (nodes, db, mut resolver, conflict) = in_conflict().await;
        overflow(&resolver, &conflict);
        let release = hold(&nodes[0]);
        {
            let (mut other, mut next) = (pin!(db.resolver()), pin!(resolver.next()));
            begin(other.as_mut()).await;
            begin(next.as_mut()).await;
            drop(release);
            assert_eq!(soon(next).await.unwrap(), None);
            let mut other = soon(other).await.unwrap();
            assert_eq!(soon(other.next()).await.unwrap(), Some(conflict));
            // Nor does one that is given up before it is attached.
            let release = hold(&nodes[0]);
            begin(pin!(db.resolver())).await;
            drop(release);
            nodes[0].status().await.unwrap();
            assert!(!other.queue.is_replaced());
        }
        for node in nodes {
            node.shutdown().await;
        }
    }
}
