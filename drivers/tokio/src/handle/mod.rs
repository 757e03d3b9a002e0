//! The handle for applications: node, database, syncgroup, collection, batch.

mod batch;
mod collection;
mod database;
mod node;
mod reads;
mod retry;
mod syncgroup;
mod users;

pub use self::batch::{Batch, Receipt, Submitted};
pub use self::collection::Collection;
pub use self::database::Database;
pub(crate) use self::node::Inner;
pub use self::node::{Node, NodeStatus};
pub use self::syncgroup::{Syncgroup, rendezvous, socket_addr};
