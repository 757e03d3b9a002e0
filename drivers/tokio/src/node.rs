//! skeleton
use crate::error::{Error, OpenError};
use crate::handle::Inner;
use crate::options::Options;
use driftless::store::Store;
use driftless::{Address, Command, Core, DeviceId, Identity, Outcome, Written};
use tokio::sync::oneshot;
pub(crate) enum Request {
    Command {
        command: Command,
        written: Option<oneshot::Sender<Vec<Written>>>,
        reply: oneshot::Sender<Result<Outcome, Error>>,
    },
    Look(Box<dyn FnOnce(&Core) + Send>),
    Peer {
        device: DeviceId,
        address: Address,
    },
    Shutdown(oneshot::Sender<()>),
}
pub(crate) fn start<S: Store + Send + 'static>(
    _store: S,
    _identity: &Identity,
    _options: Options,
) -> Result<Inner, OpenError> {
    unimplemented!("comes with the node loop")
}
