//! How both ends of a TCP connection show that they can read the file beside it. Neither sends the token that is there:
//! when its server has died, somebody else may have the port.

use crate::protocol::Word;

/// Which end it is: what one end sends proves nothing of the other.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Client,
    Server,
}

/// What an end sends that knows the token, for the nonces that the client and the server drew.
pub(super) fn proof(token: Word, end: End, client: Word, server: Word) -> Word {
    Word(*hash(token, end, client, server).as_bytes())
}

/// Whether that is what an end has sent.
pub(super) fn is_proof(shown: Word, token: Word, end: End, client: Word, server: Word) -> bool {
    // In constant time.
    hash(token, end, client, server) == shown.0
}

fn hash(token: Word, end: End, client: Word, server: Word) -> blake3::Hash {
    let end: &[u8] = match end {
        End::Client => b"client",
        End::Server => b"server",
    };
    blake3::Hasher::new_keyed(&token.0).update(end).update(&client.0).update(&server.0).finalize()
}
