//! What goes over a link: frames, each a whole message.

pub(crate) mod codec;
mod message;

pub(crate) use self::message::{
    Announce, Deltas, Entry, Forked, Hello, Holdings, Introduction, Message, Offer, Offered, Publish, Pull,
    Run, Says, Summary,
};
