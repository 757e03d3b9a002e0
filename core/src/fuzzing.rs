//! Entrances for fuzzers, behind the feature `fuzzing`: each takes any bytes, as a hostile peer or a damaged
//! disk would give them, and checks what must hold of whatever was accepted. They are no part of the API.

use bytes::Bytes;

use crate::id::{Author, DeviceId, Incarnation};
use crate::log::generation::Encoded;
use crate::log::record::MetaRecord;
use crate::object::RowState;
use crate::replica::stored::Stored;
use crate::syncgroup::group::{GroupRecord, Tip};
use crate::wire::Message;

const AUTHOR: Author = Author { device: DeviceId([7; 16]), incarnation: Incarnation(7) };

/// A frame from a peer. What is accepted comes back from its own encoding.
pub fn frame(data: &[u8]) {
    if let Ok(message) = Message::decode(data) {
        assert_eq!(Message::decode(&message.encode()).as_ref(), Ok(&message));
    }
}

/// A generation from a peer. What is accepted comes back from its own encoding, record by record.
pub fn generation(data: &[u8]) {
    let Ok(encoded) = Encoded::read(Bytes::copy_from_slice(data)) else { return };
    generation_content(&encoded);
}

/// A generation whose body's hash is not checked: so that a fuzzer comes past it.
pub fn generation_body(data: &[u8]) {
    let Ok(encoded) = Encoded::read_trusted(Bytes::copy_from_slice(data)) else { return };
    generation_content(&encoded);
}

fn generation_content(encoded: &Encoded) {
    let Ok(records) = encoded.records(&AUTHOR) else { return };
    if records.contains(&crate::log::record::Record::Unknown) {
        return; // What is not understood is kept as bytes, and never written anew.
    }
    let again = Encoded::write(encoded.header.clone(), &AUTHOR, &records);
    assert_eq!(again.records(&AUTHOR).as_ref(), Ok(&records));
    assert_eq!(again.header.dependencies, encoded.header.dependencies);
}

/// A stored row. What is accepted comes back from its own encoding.
pub fn row(data: &[u8]) {
    if let Ok(row) = RowState::from_bytes(Bytes::copy_from_slice(data)) {
        assert_eq!(RowState::from_bytes(row.to_bytes()), Ok(row));
    }
}

/// A stored generation, under each of a few numbers.
pub fn stored_generation(data: &[u8]) {
    for number in [1, 2, 64] {
        if let Ok(stored) = Stored::from_bytes(Bytes::copy_from_slice(data), number) {
            drop(stored.encoded());
        }
    }
}

/// What is stored of a syncgroup.
pub fn syncgroup(data: &[u8]) {
    if let Ok(tip) = Tip::from_bytes(Bytes::copy_from_slice(data)) {
        assert_eq!(Tip::from_bytes(tip.to_bytes()), Ok(tip));
    }
    drop(postcard::from_bytes::<GroupRecord>(data));
    drop(postcard::from_bytes::<MetaRecord>(data));
}
