//! Writing and reading bytes: what generations and stored records are made of. Numbers are LEB128 varints
//! unless their width is fixed. Reading never panics, and takes no count on trust: nothing is allocated for more things
//! than the input has bytes.

use alloc::vec::Vec;

use bytes::{Buf, Bytes};

use crate::id::{Author, DeviceId, Incarnation};

/// Bytes that do not say what they should. `what` names the part that was being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {what}")]
pub(crate) struct DecodeError {
    /// The part that was being read.
    pub(crate) what: &'static str,
}

pub(crate) type Decoded<T> = Result<T, DecodeError>;

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length and the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends an author: 24 bytes.
pub(crate) fn put_author(out: &mut Vec<u8>, author: &Author) {
    out.extend_from_slice(&author.device.0);
    out.extend_from_slice(&author.incarnation.0.to_be_bytes());
}

/// Takes bytes apart from the front. What it returns shares the input's memory.
#[derive(Debug, Clone)]
pub(crate) struct Reader(Bytes);

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is left.
    pub(crate) fn rest(self) -> Bytes {
        self.0
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Decoded<u8> {
        self.0.try_get_u8().map_err(|_| DecodeError { what })
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Decoded<u64> {
        self.0.try_get_u64_le().map_err(|_| DecodeError { what })
    }

    pub(crate) fn varint(&mut self, what: &'static str) -> Decoded<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(what)?;
            let bits = u64::from(byte & 0x7f);
            // One number, one encoding: so that nobody can change the bytes of what a hash does not cover.
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError { what })
    }

    /// A count of things of which each takes at least one byte, and of which at most `max` are allowed.
    pub(crate) fn count(&mut self, max: usize, what: &'static str) -> Decoded<usize> {
        let count = usize::try_from(self.varint(what)?).map_err(|_| DecodeError { what })?;
        if count > max || count > self.0.len() { Err(DecodeError { what }) } else { Ok(count) }
    }

    pub(crate) fn take(&mut self, len: usize, what: &'static str) -> Decoded<Bytes> {
        if len > self.0.len() { Err(DecodeError { what }) } else { Ok(self.0.split_to(len)) }
    }

    pub(crate) fn bytes(&mut self, max: usize, what: &'static str) -> Decoded<Bytes> {
        let len = self.count(max, what)?;
        self.take(len, what)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Decoded<[u8; N]> {
        let mut array = [0; N];
        self.0.try_copy_to_slice(&mut array).map_err(|_| DecodeError { what })?;
        Ok(array)
    }

    pub(crate) fn author(&mut self, what: &'static str) -> Decoded<Author> {
        let device = DeviceId(self.array(what)?);
        let incarnation = Incarnation(u64::from_be_bytes(self.array(what)?));
        Ok(Author { device, incarnation })
    }

    /// Makes sure that nothing is left.
    pub(crate) fn end(self, what: &'static str) -> Decoded<()> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError { what }) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints_come_back(value: u64, tail: u8) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            out.push(tail);
            let mut reader = Reader::new(out.into());
            prop_assert_eq!(reader.varint("test").unwrap(), value);
            prop_assert_eq!(reader.u8("test").unwrap(), tail);
            prop_assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_varint_that_does_not_fit_is_refused() {
        let too_large = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert!(Reader::new(Bytes::copy_from_slice(&too_large)).varint("test").is_err());
        let longer_than_needed = [0x81, 0x00];
        assert!(Reader::new(Bytes::copy_from_slice(&longer_than_needed)).varint("test").is_err());
        let endless = [0x80; 12];
        assert!(Reader::new(Bytes::copy_from_slice(&endless)).varint("test").is_err());
    }

    #[test]
    fn a_count_beyond_the_input_is_refused_before_anything_is_allocated() {
        let mut out = Vec::new();
        put_varint(&mut out, 1 << 40);
        assert!(Reader::new(out.into()).count(usize::MAX, "test").is_err());
    }
}
