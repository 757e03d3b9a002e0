//! `demo`: three replicas as processes, a cut and a crash, conflicts, and a comparison of every row.
//!
//! ```text
//!        a ─────────── b         a, b, c import a third each
//!         ╲           ╱
//!          ╲         ╱           c is cut off; all three change the same rows at once
//!           ╲── c ──╱            b is killed while it writes, and started again
//!                                c comes back; when all know the same, every row is compared
//! ```

mod compare;
mod kept;
mod replica;
mod report;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use driftless::{Name, Rights};
use futures_util::future::try_join_all;
use tokio::sync::mpsc;

use self::compare::compare;
use self::kept::Kept;
use self::replica::Replica;
use self::report::{ReplicaReport, Report};
use crate::No;
use crate::args::Demo;
use crate::commands::{Batcher, Context};
use crate::output::Output;
use crate::protocol::{Change, CollectionRef, Request, Response, SyncgroupRef};
use crate::source::Source;
use crate::text;

/// What the replicas share.
pub(crate) const COLLECTION: &str = "facts";
const SYNCGROUP: &str = "demo";
const NAMES: [&str; 3] = ["a", "b", "c"];
/// Chemical elements (IUPAC) and countries (ISO 3166-1).
const FACTS: &str = include_str!("../../data/facts.jsonl");
/// Rows that all replicas change at once.
const CONTENDED: usize = 24;
/// Writes that `b` has reported as safe when it is killed.
const BEFORE_KILL: u64 = 40;
/// Rows that `a` and `c` write while `b` is down.
const MEANWHILE: u64 = 20;
/// How long to wait until a replica has joined.
const JOIN: Duration = Duration::from_secs(60);
/// How often to ask how far the replicas are.
const LOOK: Duration = Duration::from_millis(40);

/// Runs the demo.
pub(crate) async fn demo(context: &mut Context, args: Demo) -> Result<()> {
    let source = source(&args).await?;
    let root =
        tempfile::Builder::new().prefix("driftless-demo-").tempdir().context("cannot make a directory")?;
    let mut stage = Stage { replicas: Vec::new(), of: collection(context)?, out: &context.out };
    let outcome = tokio::select! {
        outcome = stage.play(root.path(), source, &args) => outcome,
        () = crate::commands::interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    for replica in &mut stage.replicas {
        replica.stop().await;
    }
    drop(stage);
    let (report, kept) = if args.clean {
        let (path, closed) = (root.path().to_owned(), root.close());
        let report = outcome?;
        closed.with_context(|| format!("cannot remove {}", path.display()))?;
        (report, None)
    } else {
        let root = root.keep();
        let left =
            || format!("what there is of the replicas, and what they logged, is in {}", root.display());
        let report = outcome.with_context(left)?;
        (report, Some(Kept::new(root, &context.global.db)))
    };
    report.print(&mut context.out, kept.as_ref())?;
    verdict(&report)
}

fn verdict(report: &Report) -> Result<()> {
    match report.is_good() {
        true => Ok(()),
        false => Err(No("the replicas are not as they should be".to_owned()).into()),
    }
}

async fn source(args: &Demo) -> Result<Source> {
    let Some(path) = args.from.clone() else {
        return Ok(Source::from_text(FACTS, "the facts of this command"));
    };
    tokio::task::spawn_blocking(move || Source::open(&path, None, true)).await?
}

fn collection(context: &Context) -> Result<CollectionRef> {
    let collection = Name::new(COLLECTION)?;
    Ok(CollectionRef { database: context.global.db.clone(), collection, syncgroup: None })
}

/// The replicas, and what they work on.
struct Stage<'c> {
    replicas: Vec<Replica>,
    of: CollectionRef,
    out: &'c Output,
}

impl Stage<'_> {
    /// The whole story.
    async fn play(&mut self, root: &Path, source: Source, args: &Demo) -> Result<Report> {
        self.out.remark("Starting three replicas, each a process with its own data directory");
        for name in NAMES {
            self.replicas.push(Replica::start(root, name).await?);
        }
        self.share().await?;
        let mut report = self.import(source, args).await?;

        self.out.remark("Cutting c off from the network");
        self.replicas[2].set_online(false).await?;
        self.contend(&report.sample).await?;

        self.out.remark("Killing b (SIGKILL) while it writes");
        let acknowledged = self.kill_while_writing().await?;
        self.meanwhile().await?;
        self.out.remark("Starting b again");
        self.replicas[1].restart().await?;
        let missing = self.missing(1, acknowledged).await?;
        if missing > 0 {
            bail!("b has lost {missing} of {acknowledged} writes that it had reported as safe");
        }
        self.out.remark("Connecting c again; waiting until all know the same");
        self.replicas[2].set_online(true).await?;

        let progress = self.converge(args.timeout).await?;
        self.out.remark("Comparing every row of every replica");
        report.converged_after = progress.converged_after();
        report.acknowledged = acknowledged;
        self.finish(report, &progress).await
    }

    /// `a` makes a syncgroup, `b` and `c` join by invitation.
    async fn share(&mut self) -> Result<()> {
        self.out.remark("a makes a syncgroup; b and c join by invitation");
        let (database, name) = (self.of.database.clone(), Name::new(SYNCGROUP)?);
        let [a, others @ ..] = self.replicas.as_mut_slice() else { bail!("there are no replicas") };
        a.create(&database, &name, &self.of.collection).await?;
        for joiner in others {
            let request = Request::Invite {
                of: SyncgroupRef { database: database.clone(), syncgroup: SYNCGROUP.to_owned() },
                rights: Rights::Write,
                ends: None,
                valid_for: Duration::from_secs(3_600),
                reusable: false,
            };
            let Response::Invitation { invitation, .. } = a.session.one(request).await? else {
                bail!("a answers something else when asked for an invitation");
            };
            let request = Request::Join { database: database.clone(), invitation, timeout: JOIN };
            joiner.session.tell(request).await.with_context(|| format!("{} cannot join", joiner.name))?;
        }
        Ok(())
    }

    /// Each replica imports a third of the data, all at once.
    async fn import(&mut self, source: Source, args: &Demo) -> Result<Begun> {
        let place = args
            .from
            .as_ref()
            .map_or("chemical elements and countries".to_owned(), |path| path.display().to_string());
        self.out.remark(&format!("Each imports a third of: {place}"));
        let mut batches = Batcher::start(source);
        let bar = self.out.progress(batches.total, "rows");
        let started = Instant::now();
        let (mut imported, mut sample) = (0, Vec::new());
        {
            let (mut lanes, mut writers) = (Vec::new(), Vec::new());
            for replica in &mut self.replicas {
                let (lane, batches) = mpsc::channel::<Vec<Change>>(2);
                lanes.push(lane);
                writers.push(write_all(replica, &self.of, batches));
            }
            let deal = async {
                while let Some(batch) = batches.next().await? {
                    imported += batch.changes.len() as u64;
                    if sample.len() < CONTENDED {
                        sample.extend(batch.changes.iter().take(CONTENDED).map(|change| change.key.clone()));
                        sample.truncate(CONTENDED);
                    }
                    for (lane, part) in lanes.iter().zip(thirds(batch.changes)) {
                        // It closes only if its replica fails, which is told by its writer.
                        let _ = lane.send(part).await;
                    }
                    bar.set_position(imported);
                }
                drop(lanes);
                anyhow::Ok(())
            };
            let mut writers = writers.into_iter();
            let (Some(one), Some(two), Some(three)) = (writers.next(), writers.next(), writers.next()) else {
                bail!("there are no three replicas");
            };
            tokio::try_join!(deal, one, two, three)?;
        }
        bar.finish_and_clear();
        if imported == 0 {
            bail!("there is no row in {place} that could be imported");
        }
        let (import_time, skipped) = (started.elapsed(), batches.skipped().await);
        self.out.remark(&format!(
            "  {} in {:.1} s",
            text::plural(imported, "row"),
            import_time.as_secs_f64()
        ));
        Ok(Begun {
            source: place,
            imported,
            skipped,
            import_time,
            sample,
            acknowledged: 0,
            converged_after: None,
        })
    }

    /// All three change the same rows at once, each in its own way; `a` deletes some of them.
    async fn contend(&mut self, keys: &[Vec<u8>]) -> Result<()> {
        self.out
            .remark(&format!("All three change the same {} at once", text::plural(keys.len() as u64, "row")));
        let of = &self.of;
        let writing = self.replicas.iter_mut().map(|replica| {
            let name = replica.name;
            let change = |(index, key): (usize, &Vec<u8>)| {
                let deletes = name == "a" && index % 4 == 3;
                let value = format!("changed by {name} while c was cut off");
                Change { key: key.clone(), value: (!deletes).then(|| value.into_bytes()) }
            };
            let changes = keys.iter().enumerate().map(change).collect();
            replica.write(of, changes)
        });
        try_join_all(writing).await?;
        Ok(())
    }

    /// `b` writes row after row until it is killed in between. Says how many it has reported as safe.
    async fn kill_while_writing(&mut self) -> Result<u64> {
        let mut session = self.replicas[1].another_session().await?;
        let (of, b) = (self.of.clone(), &mut self.replicas[1]);
        let (told, mut reports) = mpsc::unbounded_channel();
        let writing = async move {
            for number in 1.. {
                let request = Request::Write { of: of.clone(), changes: vec![numbered("b", number)] };
                if session.tell(request).await.is_err() || told.send(number).is_err() {
                    // It was killed, as it should be.
                    break;
                }
            }
        };
        let killing = async move {
            let mut acknowledged = 0;
            while acknowledged < BEFORE_KILL {
                match reports.recv().await {
                    Some(number) => acknowledged = number,
                    None => bail!("b fails to write before it is killed"),
                }
                if acknowledged == BEFORE_KILL / 2 {
                    // Its figures die with it. The rest of the writes go on meanwhile.
                    b.note_traffic().await?;
                }
            }
            b.kill().await?;
            // What was reported while it was being killed counts as well.
            while let Some(number) = reports.recv().await {
                acknowledged = number;
            }
            Ok(acknowledged)
        };
        let ((), acknowledged) = tokio::join!(writing, killing);
        acknowledged
    }

    /// `a` and `c`, which cannot reach each other, go on writing.
    async fn meanwhile(&mut self) -> Result<()> {
        let of = &self.of;
        let writing = self.replicas.iter_mut().filter(|replica| replica.name != "b").map(|replica| {
            let changes = (1..=MEANWHILE).map(|number| numbered(replica.name, number)).collect();
            replica.write(of, changes)
        });
        try_join_all(writing).await?;
        Ok(())
    }

    /// How many of the writes that `b` had reported as safe a replica does not show.
    async fn missing(&mut self, at: usize, acknowledged: u64) -> Result<u64> {
        let mut missing = 0;
        for number in 1..=acknowledged {
            let request = Request::Get { of: self.of.clone(), key: numbered("b", number).key };
            if !matches!(self.replicas[at].session.one(request).await?, Response::Row { row: Some(_) }) {
                missing += 1;
            }
        }
        Ok(missing)
    }

    /// Waits until all replicas hold the same number of generations and all links agree.
    async fn converge(&mut self, timeout: Duration) -> Result<Progress> {
        let mut progress = Progress { started: Instant::now(), steps: Vec::new(), done: false };
        let bar = self.out.progress(None, "generations known to the slowest");
        while progress.started.elapsed() < timeout {
            let mut known = Vec::new();
            let mut agreed = true;
            for replica in &mut self.replicas {
                let status = replica.status().await?;
                agreed &= !status.links.is_empty() && status.links.iter().all(|link| link.agreed);
                known.push(status.syncgroups.iter().map(|syncgroup| syncgroup.generations).sum::<u64>());
            }
            bar.set_position(known.iter().copied().min().unwrap_or(0));
            let same = known.windows(2).all(|pair| pair[0] == pair[1]);
            progress.steps.push((progress.started.elapsed(), known));
            if same && agreed {
                progress.done = true;
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        bar.finish_and_clear();
        Ok(progress)
    }

    async fn finish(&mut self, begun: Begun, progress: &Progress) -> Result<Report> {
        let comparison = compare(&self.replicas, &self.of).await?;
        let (mut lost, mut replicas) = (0, Vec::new());
        for at in 0..self.replicas.len() {
            lost = lost.max(self.missing(at, begun.acknowledged).await?);
            let replica = &mut self.replicas[at];
            replicas.push(ReplicaReport {
                name: replica.name,
                device: replica.status().await?.device,
                dir: replica.dir.clone(),
                complete_after: progress.complete_after(at),
                traffic: replica.traffic().await?,
            });
        }
        Ok(Report {
            source: begun.source,
            imported: begun.imported,
            skipped: begun.skipped,
            import_time: begun.import_time,
            contended: begun.sample.len() as u64,
            acknowledged: begun.acknowledged,
            lost,
            converged_after: begun.converged_after,
            replicas,
            comparison,
        })
    }
}

/// What is known before the end.
struct Begun {
    source: String,
    imported: u64,
    skipped: u64,
    import_time: Duration,
    /// Keys of some of the rows.
    sample: Vec<Vec<u8>>,
    acknowledged: u64,
    converged_after: Option<Duration>,
}

/// How the replicas came to know the same.
struct Progress {
    started: Instant,
    /// When was looked, and how many generations each replica held then.
    steps: Vec<(Duration, Vec<u64>)>,
    done: bool,
}

impl Progress {
    fn converged_after(&self) -> Option<Duration> {
        self.steps.last().filter(|_| self.done).map(|(time, _)| *time)
    }

    /// When a replica held all that there was in the end.
    fn complete_after(&self, at: usize) -> Option<Duration> {
        let (_, last) = self.steps.last().filter(|_| self.done)?;
        let all = last.get(at)?;
        self.steps.iter().find(|(_, known)| known.get(at) == Some(all)).map(|(time, _)| *time)
    }
}

async fn write_all(
    replica: &mut Replica,
    of: &CollectionRef,
    mut batches: mpsc::Receiver<Vec<Change>>,
) -> Result<()> {
    while let Some(changes) = batches.recv().await {
        if !changes.is_empty() {
            replica.write(of, changes).await?;
        }
    }
    Ok(())
}

/// Deals a batch to three.
fn thirds(changes: Vec<Change>) -> [Vec<Change>; 3] {
    let mut parts = [const { Vec::new() }; 3];
    for (index, change) in changes.into_iter().enumerate() {
        parts[index % 3].push(change);
    }
    parts
}

/// A row of a replica's own.
fn numbered(name: &str, number: u64) -> Change {
    let value = format!("written by {name}").into_bytes();
    Change { key: format!("by-{name}/{number:05}").into_bytes(), value: Some(value) }
}
