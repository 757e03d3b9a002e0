//! Read-write batches that are run again until nobody stands in their way.

use std::time::Duration;

use driftless::Refusal;

use super::{Batch, Database, Node, Receipt};
use crate::error::Error;
use crate::options::Retry;

impl Database {
    /// Runs `work` on a batch and writes the batch; if what it has read through the batch was changed meanwhile,
    /// runs it again on a new one, a bounded number of times with random pauses ([`crate::Options::retry`]).
    /// Returns what `work` returned the last time, and what was written.
    ///
    /// So on this device batches happen as if one after the other. Other devices write without asking this one:
    /// where they changed the same rows, the collection's schema says what becomes of it. With
    /// [`driftless::Policy::LastWins`] that is said row by row, which may tear batches: the one that loses a row
    /// keeps the rows that only it wrote. With [`driftless::Policy::BatchWins`] batches win or lose as a whole,
    /// within the bounds told there. With every policy, two batches on two devices that read the same and write
    /// different rows are both kept (write skew).
    ///
    /// `work` may run several times: what it does besides the batch should bear that. An error of `work` ends it,
    /// and nothing is written.
    ///
    /// ```
    /// use driftless_tokio::{Batch, Collection, Error, Node, Options};
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// enum TransferError {
    ///     #[error("there is too little on the account")]
    ///     TooLittle,
    ///     #[error(transparent)]
    ///     Store(#[from] Error),
    /// }
    ///
    /// fn balance(batch: &mut Batch, accounts: &Collection, of: &str) -> Result<i64, Error> {
    ///     let value = batch.get(accounts, of)?;
    ///     Ok(value.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok()).unwrap_or(0))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let store = driftless_tokio::StoreOptions::new().state_dir(dir.path().join("state"));
    /// # let options = Options { discovery: false, store, ..Options::default() };
    /// # let node = Node::open(dir.path().join("data"), options)?;
    /// # let db = node.database("default")?;
    /// # db.create_syncgroup("bank", &["accounts"]).await?;
    /// let accounts = db.collection("accounts")?;
    /// accounts.put("ann", "10").await?;
    ///
    /// let transfer = |batch: &mut Batch| {
    ///     let (ann, bob) = (balance(batch, &accounts, "ann")?, balance(batch, &accounts, "bob")?);
    ///     if ann < 7 {
    ///         return Err(TransferError::TooLittle);
    ///     }
    ///     batch.put(&accounts, "ann", (ann - 7).to_string()).put(&accounts, "bob", (bob + 7).to_string());
    ///     Ok(ann - 7)
    /// };
    /// let (left, receipt) = db.run_in_batch(transfer).await?;
    /// assert_eq!((left, receipt.parts.len()), (3, 1));
    /// assert!(matches!(db.run_in_batch(transfer).await, Err(TransferError::TooLittle)));
    /// # node.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `work` returns; [`Error::Contended`] if others were faster each time; what [`Batch::commit`] returns.
    pub async fn run_in_batch<T, E>(
        &self,
        mut work: impl FnMut(&mut Batch) -> Result<T, E>,
    ) -> Result<(T, Receipt), E>
    where
        E: From<Error>,
    {
        let mut attempts = Attempts::new(self.node());
        loop {
            let mut batch = self.batch();
            let value = work(&mut batch)?;
            if let Some(receipt) = attempts.write(batch).await? {
                return Ok((value, receipt));
            }
        }
    }

    /// The same for work that waits for something else than the batch: `async |batch: &mut Batch| …`. The longer
    /// it takes, the more often somebody else is faster. Reading and changing through a batch never waits, so
    /// mostly [`Database::run_in_batch`] is enough; and where the future must be `Send`, compilers cannot yet
    /// always see that one with an async closure is.
    ///
    /// # Errors
    /// As [`Database::run_in_batch`].
    pub async fn run_in_batch_async<T, E>(
        &self,
        mut work: impl AsyncFnMut(&mut Batch) -> Result<T, E>,
    ) -> Result<(T, Receipt), E>
    where
        E: From<Error>,
    {
        let mut attempts = Attempts::new(self.node());
        loop {
            let mut batch = self.batch();
            let value = work(&mut batch).await?;
            if let Some(receipt) = attempts.write(batch).await? {
                return Ok((value, receipt));
            }
        }
    }
}

/// How often a batch was run, and how long to wait before the next time.
struct Attempts<'n> {
    node: &'n Node,
    made: u32,
    wait: Duration,
}

impl<'n> Attempts<'n> {
    fn new(node: &'n Node) -> Self {
        Self { node, made: 0, wait: node.retry().wait }
    }

    /// Writes a batch. `None` if somebody else was faster, and it should be run again.
    async fn write(&mut self, batch: Batch) -> Result<Option<Receipt>, Error> {
        if batch.is_idle() {
            return Ok(Some(Receipt { parts: Vec::new() }));
        }
        match batch.commit().await {
            Ok(receipt) => return Ok(Some(receipt)),
            Err(Error::Refused(Refusal::Precondition { .. })) => {}
            Err(error) => return Err(error),
        }
        let Retry { attempts, wait_max, .. } = self.node.retry();
        self.made += 1;
        if self.made >= attempts {
            return Err(Error::Contended { attempts: self.made });
        }
        self.node.sleep(up_to(self.wait)).await;
        self.wait = self.wait.saturating_mul(2).min(wait_max);
        Ok(None)
    }
}

/// A random span.
fn up_to(bound: Duration) -> Duration {
    let mut random = [0; 4];
    // Without randomness waiting the longest is right as well.
    if getrandom::fill(&mut random).is_err() {
        return bound;
    }
    bound.mul_f64(f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX))
}
