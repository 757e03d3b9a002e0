//! The replica's thread: it owns the core and the store, turns what happens into events, and performs what
//! the core asks for. [`start`] puts a node together.

mod clock;
mod disk;
mod run;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use driftless::store::Store;
use driftless::{
    Address, Command, Config, Core, DeviceId, Fault, Identity, Name, Outbox, Outcome, Written, limits,
};
use tokio::runtime::{self, Runtime};
use tokio::sync::{broadcast, mpsc, oneshot};

use self::clock::Clock;
pub(crate) use self::clock::wall;
use self::disk::Disk;
use self::run::Replica;
use crate::address;
use crate::discovery::Discovery;
use crate::error::{Closed, Error, OpenError};
use crate::handle::Inner;
use crate::link::{DeviceKey, Endpoint};
use crate::news;
use crate::options::Options;
use crate::resolver::Queue;
use crate::shared::Published;

/// Requests of the application that wait for the replica's thread; who has more waits with them.
const REQUESTS: usize = 256;
/// Threads for sockets and timers. They encrypt and copy; the replica's thread does the rest.
const IO_THREADS: usize = 2;
/// How long the tasks of links may take to end after everything else has.
const IO_PATIENCE: Duration = Duration::from_secs(2);

/// What the handle asks of the replica's thread.
pub(crate) enum Request {
    /// Carry out a command. `written` hears when readers see a write, `reply` how it went.
    Command {
        command: Box<Command>,
        written: Option<oneshot::Sender<Vec<Written>>>,
        reply: oneshot::Sender<Result<Outcome, Error>>,
    },
    /// Raise conflicts of a database there.
    Attach { database: Name, queue: Weak<Queue>, reply: oneshot::Sender<Result<Outcome, Error>> },
    /// Raise none there any more.
    Detach { database: Name, queue: Weak<Queue> },
    /// Look something up.
    Look(Box<dyn FnOnce(&Core) + Send>),
    /// A device can be reached there.
    Peer { device: DeviceId, address: Address },
    /// Close the node, then say so.
    Shutdown(oneshot::Sender<()>),
}

/// Starts the threads of a node.
pub(crate) fn start<S>(store: S, identity: &Identity, options: Options) -> Result<Inner, OpenError>
where
    S: Store + Send + 'static,
{
    let Options { name, listen, discovery, peers, limits, timing, network, retry, merges, store: _ } =
        options;
    let mut config = Config::new(name.unwrap_or_else(host_name));
    config.limits = limits;
    config.timing = timing;
    config.merges = merges.as_slice().to_vec();

    let mut outbox = Outbox::new();
    let view = store.snapshot();
    let core = Core::boot(&config, identity, seed()?, &view, &mut outbox)?;
    let public_key = core.public_key();
    let key = DeviceKey::new(&identity.secret, core.keys())?;

    let io = Io::start()?;
    let (events, incoming) = mpsc::unbounded_channel();
    let send_buffer = u64::from(network.send_buffer);
    let within = io.handle().enter();
    let endpoint = Endpoint::bind(listen, key, network, events.clone())?;
    let bound = endpoint.wire().local_addr();
    let discovery = discovery.then(|| Discovery::start(public_key.device(), bound, events)).flatten();
    drop(within);

    let (sender, requests) = mpsc::channel(REQUESTS);
    let (news, _) = broadcast::channel(news::KEPT);
    let published = Arc::new(Published::new(Arc::new(view.clone())));
    let inner = Inner {
        public_key,
        requests: sender,
        published: published.clone(),
        wire: endpoint.wire().clone(),
        io: io.handle().clone(),
        news: news.downgrade(),
        retry,
        merges,
        dir: None,
        rotating: Arc::default(),
    };
    let peers = peers.into_iter().map(|(device, addr)| (device, address::of(addr))).collect();
    let disk = Disk::start(store.syncer()).map_err(thread_failed)?;
    let replica = Replica::new(
        (core, outbox, Clock::start()),
        (store, view, disk),
        (endpoint, discovery, send_buffer),
        (requests, incoming),
        (published.clone(), news),
    );
    let body = move || live(io, replica, peers, &published);
    thread::Builder::new().name("driftless-replica".to_owned()).spawn(body).map_err(thread_failed)?;
    Ok(inner)
}

/// The life of the replica's thread.
fn live<S: Store>(io: Io, replica: Replica<S>, peers: Vec<(DeviceId, Address)>, published: &Arc<Published>) {
    // Should this thread panic, readers and watches hear of it. Otherwise the reason is given before.
    let _guard = CloseWhenDropped(published.clone());
    let ended = io.handle().block_on(replica.run(peers));
    io.shutdown();
    ended.tell();
}

struct CloseWhenDropped(Arc<Published>);

impl Drop for CloseWhenDropped {
    fn drop(&mut self) {
        self.0.close(&Closed::new("its thread has ended unexpectedly, which is a defect; please report it"));
    }
}

/// The name of the host, as far as it is a name.
pub(crate) fn host_name() -> Name {
    let host = gethostname::gethostname();
    let mut text: String = host.to_string_lossy().chars().filter(|c| !c.is_control()).collect();
    while text.len() > limits::MAX_NAME {
        text.pop();
    }
    Name::new(text.trim()).or_else(|_| Name::new("device")).unwrap_or_else(|_| unreachable!("it is a name"))
}

fn seed() -> Result<[u8; 32], OpenError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| OpenError::System {
        doing: "draw random numbers",
        source: io::Error::other(error),
    })?;
    Ok(seed)
}

fn thread_failed(source: io::Error) -> OpenError {
    OpenError::System { doing: "start a thread", source }
}

/// The runtime of links and timers. It may be dropped anywhere, also on another runtime's threads.
struct Io(Option<Runtime>);

impl Io {
    fn start() -> Result<Self, OpenError> {
        runtime::Builder::new_multi_thread()
            .worker_threads(IO_THREADS)
            .thread_name("driftless-io")
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
            .map_err(thread_failed)
    }

    fn handle(&self) -> &runtime::Handle {
        match &self.0 {
            Some(runtime) => runtime.handle(),
            None => unreachable!("it is taken only when this is dropped"),
        }
    }

    /// Ends all tasks and waits for it.
    fn shutdown(mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(IO_PATIENCE);
        }
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Why the replica's thread ends.
enum End {
    /// Somebody asked for it.
    Stopped,
    /// Somebody asked for it, but the core did not finish in time.
    Late,
    /// The replica cannot go on.
    Fault(Fault),
}
