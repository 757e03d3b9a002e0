//! The loop: wait for what happens, tell the core, do what it says.
//!
//! ```text
//!   requests ─┐                                  ┌─► store, then readers, watches  (Commit)
//!   links ────┼─► one event ─► Core::handle ─► actions, in order ─► links           (Send, Connect, …)
//!   disk ─────┤                                  ├─► whoever asked                 (Written, Reply)
//!   deadline ─┘                                  └─► resolvers, news               (Resolve, Notice)
//! ```
//!
//! Of several things that have happened any may come first, so none can keep another waiting for ever: a
//! deadline that has passed is as good as a request that waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use driftless::store::Store;
use driftless::{
    Action, Address, Command, CommitSeq, Conflict, Core, DeviceId, Event, Fault, LinkId, Name, Notice,
    Outbox, Outcome, Refusal, RequestId, Written,
};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Clock, Disk, End, Request};
use crate::address;
use crate::discovery::Discovery;
use crate::error::{Closed, Error};
use crate::link::{DeviceKey, Endpoint, Incoming, Line};
use crate::news::News;
use crate::resolver::{self, Queue};
use crate::shared::Published;

/// How long the core may take to finish what it has accepted, once it was told to shut down.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);
/// How long links may take to say good-bye, and the name to be withdrawn.
const GOODBYE_PATIENCE: Duration = Duration::from_millis(1_500);

/// A replica and its surroundings, as its thread sees them.
pub(super) struct Replica<S: Store> {
    core: Core,
    outbox: Outbox,
    clock: Clock,

    store: S,
    /// The store after the last commit.
    view: S::Snapshot,
    applied: CommitSeq,
    disk: Disk,

    endpoint: Endpoint,
    discovery: Option<Discovery>,
    links: BTreeMap<LinkId, Link>,
    /// Bytes of credit that a new link gets.
    send_buffer: u64,

    /// `None` once all handles are gone.
    requests: Option<mpsc::Receiver<Request>>,
    incoming: mpsc::UnboundedReceiver<Incoming>,
    waiting: BTreeMap<RequestId, Waiting>,
    next_request: u64,

    published: Arc<Published>,
    news: broadcast::Sender<News>,
    /// Who resolves conflicts, by database.
    resolvers: BTreeMap<Name, Weak<Queue>>,

    shutdown: Option<Shutdown>,
    stopped: bool,
}

/// A link until it is down.
struct Link {
    device: DeviceId,
    /// `None` once the core has closed it.
    line: Option<Line>,
}

/// Who waits for a command.
struct Waiting {
    written: Option<oneshot::Sender<Vec<Written>>>,
    reply: oneshot::Sender<Result<Outcome, Error>>,
}

/// Somebody has asked to close the node.
struct Shutdown {
    deadline: Instant,
    tell: Vec<oneshot::Sender<()>>,
}

/// What has happened.
enum Happened {
    Request(Option<Request>),
    Incoming(Incoming),
    Durable(CommitSeq),
    Deadline,
    TooLate,
}

/// Who must hear that the node is closed. Requests are refused from the moment when this is dropped.
pub(super) struct Ended {
    requests: Option<mpsc::Receiver<Request>>,
    tell: Vec<oneshot::Sender<()>>,
}

impl Ended {
    pub(super) fn tell(self) {
        drop(self.requests);
        for somebody in self.tell {
            // Who does not wait any more need not hear.
            let _ = somebody.send(());
        }
    }
}

impl<S: Store> Replica<S> {
    pub(super) fn new(
        (core, outbox, clock): (Core, Outbox, Clock),
        (store, view, disk): (S, S::Snapshot, Disk),
        (endpoint, discovery, send_buffer): (Endpoint, Option<Discovery>, u64),
        (requests, incoming): (mpsc::Receiver<Request>, mpsc::UnboundedReceiver<Incoming>),
        (published, news): (Arc<Published>, broadcast::Sender<News>),
    ) -> Self {
        Self {
            core,
            outbox,
            clock,
            applied: store.seq(),
            store,
            view,
            disk,
            endpoint,
            discovery,
            links: BTreeMap::new(),
            send_buffer,
            requests: Some(requests),
            incoming,
            waiting: BTreeMap::new(),
            next_request: 1,
            published,
            news,
            resolvers: BTreeMap::new(),
            shutdown: None,
            stopped: false,
        }
    }

    /// Runs until somebody asks to close the node, or a fault ends it; then closes everything.
    pub(super) async fn run(mut self, peers: Vec<(DeviceId, Address)>) -> Ended {
        let end = match self.live(peers).await {
            Ok(end) => end,
            Err(fault) => End::Fault(fault),
        };
        let closed = match &end {
            End::Stopped => Closed::by_request(),
            End::Late => {
                tracing::warn!("the replica did not finish in time; it is closed as it is");
                Closed::by_request()
            }
            End::Fault(fault) => {
                tracing::error!(%fault, "the node is closed");
                Closed::new(&fault.to_string())
            }
        };
        self.published.close(&closed);
        self.waiting.clear();
        self.close_links().await;
        Ended {
            requests: self.requests.take(),
            tell: self.shutdown.take().map(|shutdown| shutdown.tell).unwrap_or_default(),
        }
    }

    async fn live(&mut self, peers: Vec<(DeviceId, Address)>) -> Result<End, Fault> {
        self.perform()?;
        for (device, address) in peers {
            self.handle(Event::PeerFound { device, address })?;
        }
        // What was written while it started: nothing else may happen for long.
        self.disk.want(self.applied);
        while !self.stopped {
            match self.next().await? {
                Happened::Request(request) => self.request(request)?,
                Happened::Incoming(incoming) => self.incoming(incoming)?,
                Happened::Durable(seq) => self.handle(Event::Durable { seq })?,
                Happened::Deadline => self.handle(Event::Tick)?,
                Happened::TooLate => return Ok(End::Late),
            }
            self.disk.want(self.applied);
        }
        Ok(End::Stopped)
    }

    async fn next(&mut self) -> Result<Happened, Fault> {
        let requests = async {
            match &mut self.requests {
                Some(requests) => requests.recv().await,
                None => std::future::pending().await,
            }
        };
        let too_late = async {
            match &self.shutdown {
                Some(shutdown) => sleep_until(shutdown.deadline).await,
                None => std::future::pending().await,
            }
        };
        Ok(tokio::select! {
            request = requests => Happened::Request(request),
            Some(incoming) = self.incoming.recv() => Happened::Incoming(incoming),
            durable = self.disk.done() => Happened::Durable(durable?),
            () = self.clock.until(self.core.next_deadline()) => Happened::Deadline,
            () = too_late => Happened::TooLate,
        })
    }

    fn handle(&mut self, event: Event) -> Result<(), Fault> {
        self.core.handle(self.clock.now(), event, &self.view, &mut self.outbox)?;
        self.perform()
    }

    fn request(&mut self, request: Option<Request>) -> Result<(), Fault> {
        match request {
            Some(Request::Command { command, written, reply }) => {
                self.command(*command, Some(Waiting { written, reply }))
            }
            Some(Request::Attach { database, queue, reply }) => {
                let Some(attaching) = queue.upgrade().filter(|it| !it.is_replaced()) else {
                    // Nobody waits for conflicts there any more, or another one has taken its place since.
                    let _ = reply.send(Ok(Outcome::ResolverNoted));
                    return Ok(());
                };
                let before = self.resolvers.insert(database.clone(), queue.clone());
                if let Some(before) = before.filter(|before| !before.ptr_eq(&queue)).and_then(|b| b.upgrade())
                {
                    before.replace();
                }
                // Not before: whoever gives up while it asks for what it has missed must ask again.
                attaching.miss_nothing();
                let command = Command::Resolver { database, attached: true };
                self.command(command, Some(Waiting { written: None, reply }))
            }
            Some(Request::Detach { database, queue }) => {
                if !self.resolvers.get(&database).is_some_and(|attached| attached.ptr_eq(&queue)) {
                    return Ok(());
                }
                self.resolvers.remove(&database);
                self.command(Command::Resolver { database, attached: false }, None)
            }
            Some(Request::Look(look)) => {
                look(&self.core);
                Ok(())
            }
            Some(Request::Peer { device, address }) => self.handle(Event::PeerFound { device, address }),
            Some(Request::Shutdown(tell)) => self.shut_down(Some(tell)),
            None => {
                self.requests = None;
                self.shut_down(None)
            }
        }
    }

    fn command(&mut self, command: Command, waiting: Option<Waiting>) -> Result<(), Fault> {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.waiting.extend(waiting.map(|waiting| (request, waiting)));
        let new = if let Command::RotateKey(new) = &command { Some(new.clone()) } else { None };
        self.handle(Event::Command { request, command })?;
        if let Some(new) = new.filter(|new| new.chain.current() == self.core.keys().current()) {
            let key = DeviceKey::new(&new.secret, &new.chain).and_then(|key| self.endpoint.take_key(key));
            if let Err(error) = key {
                tracing::error!(%error, "cannot prove this device by its new key: start it again");
            }
        }
        Ok(())
    }

    fn shut_down(&mut self, tell: Option<oneshot::Sender<()>>) -> Result<(), Fault> {
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.tell.extend(tell);
            return Ok(());
        }
        let deadline = Instant::now() + SHUTDOWN_PATIENCE;
        self.shutdown = Some(Shutdown { deadline, tell: tell.into_iter().collect() });
        self.handle(Event::Shutdown)
    }

    fn incoming(&mut self, incoming: Incoming) -> Result<(), Fault> {
        match incoming {
            Incoming::LinkUp { link, peer, initiated, remote, line } => {
                let device = peer.device();
                tracing::debug!(%device, %remote, initiated, "a link is open");
                self.tell(News::Linked { device, address: remote, initiated });
                self.links.insert(link, Link { device, line: Some(line) });
                let address = Some(address::of(remote));
                self.handle(Event::LinkUp { link, peer, initiated, address })?;
                self.handle(Event::Writable { link, credit: self.send_buffer })
            }
            Incoming::LinkDown { link, reason, .. } => {
                if let Some(Link { device, .. }) = self.links.remove(&link) {
                    tracing::debug!(%device, reason, "a link is gone");
                    self.tell(News::Unlinked { device, reason });
                }
                self.handle(Event::LinkDown { link })
            }
            Incoming::ConnectFailed { device } => self.handle(Event::ConnectFailed { device }),
            // What still arrives on a link that the core has closed is of no interest.
            Incoming::Received { link, frame, _budget } => match self.line(link) {
                Some(_) => self.handle(Event::Received { link, frame }),
                None => Ok(()),
            },
            Incoming::Writable { link } => match self.line(link).map(Line::take_credit) {
                Some(credit) if credit > 0 => self.handle(Event::Writable { link, credit }),
                _ => Ok(()),
            },
            Incoming::PeerFound { device, address } => self.handle(Event::PeerFound { device, address }),
            Incoming::PeerLost { device, address } => self.handle(Event::PeerLost { device, address }),
        }
    }

    fn line(&self, link: LinkId) -> Option<&Line> {
        self.links.get(&link)?.line.as_ref()
    }

    /// Does what the core asks for, in order.
    fn perform(&mut self) -> Result<(), Fault> {
        while let Some(action) = self.outbox.pop() {
            match action {
                Action::Commit(commit) => {
                    self.store.apply(&commit)?;
                    self.applied = commit.seq;
                    self.view = self.store.snapshot();
                    self.published.publish(Arc::new(self.view.clone()));
                }
                Action::Send { link, frame } => {
                    if let Some(line) = self.line(link) {
                        line.send(frame);
                    }
                }
                Action::Connect { device, addresses, keys } => {
                    self.endpoint.dial(device, addresses, keys);
                }
                Action::Disconnect { link, reason } => {
                    if let Some(line) = self.links.get_mut(&link).and_then(|link| link.line.take()) {
                        line.close(reason);
                    }
                }
                Action::Advertise { on } => {
                    if let Some(discovery) = &mut self.discovery {
                        discovery.advertise(on);
                    }
                }
                Action::Written { request, parts } => {
                    let waiting = self.waiting.get_mut(&request);
                    if let Some(written) = waiting.and_then(|waiting| waiting.written.take()) {
                        // Who does not wait any more need not hear.
                        let _ = written.send(parts);
                    }
                }
                Action::Reply { request, result } => self.reply(request, result),
                // Watches read the log of changes that the store keeps.
                Action::Changed(_) => {}
                Action::Resolve(conflicts) => self.raise(&conflicts),
                Action::Notice(notice) => self.notice(notice),
                Action::Stopped => self.stopped = true,
                other => {
                    tracing::error!(?other, "the core asks for something that this driver does not know");
                }
            }
        }
        Ok(())
    }

    fn reply(&mut self, request: RequestId, result: Result<Outcome, Refusal>) {
        if let Some(waiting) = self.waiting.remove(&request) {
            // Who does not wait any more need not hear.
            let _ = waiting.reply.send(result.map_err(Error::from));
        }
    }

    /// Tells resolvers of conflicts. Where there is none any more, they stay open for the next one.
    fn raise(&self, conflicts: &[Conflict]) {
        for (database, row) in conflicts.iter().filter_map(resolver::whose) {
            if let Some(queue) = self.resolvers.get(&database).and_then(Weak::upgrade) {
                queue.offer(row);
            }
        }
    }

    fn notice(&self, notice: Notice) {
        match &notice {
            Notice::SetBack { .. }
            | Notice::Forked { .. }
            | Notice::Diverged { .. }
            | Notice::PeerFault { .. }
            | Notice::KeyEnded { .. }
            | Notice::KeysDisputed { .. } => {
                tracing::warn!(?notice, "the replica has noticed something");
            }
            _ => tracing::debug!(?notice, "the replica has noticed something"),
        }
        self.tell(News::Notice(notice));
    }

    fn tell(&self, news: News) {
        // An error means that nobody listens.
        let _ = self.news.send(news);
    }

    /// Closes what is still open, without asking the core.
    async fn close_links(&mut self) {
        let withdrawn = async {
            if let Some(discovery) = self.discovery.take() {
                discovery.stop().await;
            }
        };
        for link in self.links.values_mut() {
            link.line = None;
        }
        let all_down = async {
            while !self.links.is_empty() {
                match self.incoming.recv().await {
                    Some(Incoming::LinkDown { link, .. }) => drop(self.links.remove(&link)),
                    Some(_) => {}
                    None => return,
                }
            }
        };
        if timeout(GOODBYE_PATIENCE, async { tokio::join!(withdrawn, all_down) }).await.is_err() {
            tracing::debug!("some links or the name in the neighbourhood are dropped without a good-bye");
        }
        self.endpoint.close().await;
    }
}
