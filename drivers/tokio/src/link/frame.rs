//! Frames on a stream: each is preceded by its length, four bytes, most significant first.

use bytes::{Buf, Bytes, BytesMut};
use driftless::limits::MAX_FRAME;

/// Bytes of the length before each frame.
pub(crate) const HEADER: usize = 4;

/// What comes before a frame of this length.
pub(crate) fn header(frame: &[u8]) -> Result<[u8; HEADER], FrameError> {
    check(frame.len())?;
    u32::try_from(frame.len()).map(u32::to_be_bytes).map_err(|_| FrameError::TooLong(frame.len()))
}

fn check(length: usize) -> Result<(), FrameError> {
    match length {
        0 => Err(FrameError::Empty),
        1..=MAX_FRAME => Ok(()),
        _ => Err(FrameError::TooLong(length)),
    }
}

/// Puts frames together from a stream that arrives in pieces of any size.
///
/// It holds what has arrived, at most a frame and a piece: a length alone makes it hold nothing.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    arrived: BytesMut,
}

impl FrameReader {
    /// Takes in a piece of the stream.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.arrived.extend_from_slice(piece);
    }

    /// The next frame, if all of it has arrived. After an error the stream is of no use any more.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(header) = self.arrived.first_chunk::<HEADER>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
        check(length)?;
        if self.arrived.len() - HEADER < length {
            return Ok(None);
        }
        self.arrived.advance(HEADER);
        Ok(Some(self.arrived.split_to(length).freeze()))
    }

    /// Whether a part of a frame has arrived, and not the rest.
    pub(crate) fn is_within_frame(&self) -> bool {
        !self.arrived.is_empty()
    }
}

/// Why a stream holds no frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of no bytes")]
    Empty,
    #[error("a frame of {0} bytes; at most {MAX_FRAME} are allowed")]
    TooLong(usize),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(frames: &[Vec<u8>]) -> Vec<u8> {
        frames.iter().flat_map(|frame| [&header(frame).unwrap()[..], frame].concat()).collect()
    }

    fn read_all(reader: &mut FrameReader) -> Result<Vec<Bytes>, FrameError> {
        let mut frames = Vec::new();
        while let Some(frame) = reader.next()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    proptest! {
        #[test]
        fn frames_arrive_whole_however_the_stream_is_cut(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8),
            piece in 1usize..50,
        ) {
            let (mut reader, mut arrived) = (FrameReader::default(), Vec::new());
            for piece in stream(&frames).chunks(piece) {
                reader.push(piece);
                arrived.extend(read_all(&mut reader).unwrap());
            }
            prop_assert_eq!(arrived, frames);
            prop_assert!(!reader.is_within_frame());
        }

        #[test]
        fn garbage_is_refused_or_waited_for_and_never_makes_the_reader_hold_more_than_came(
            garbage in prop::collection::vec(any::<u8>(), 0..2_000),
        ) {
            let mut reader = FrameReader::default();
            reader.push(&garbage);
            let _ = read_all(&mut reader);
            prop_assert!(reader.arrived.len() <= garbage.len());
            prop_assert!(reader.arrived.capacity() < 8_192);
        }
    }

    #[test]
    fn half_a_frame_is_waited_for() {
        let whole = stream(&[b"hello".to_vec()]);
        let mut reader = FrameReader::default();
        for byte in &whole[..whole.len() - 1] {
            reader.push(&[*byte]);
            assert_eq!(reader.next(), Ok(None));
            assert!(reader.is_within_frame());
        }
        reader.push(&whole[whole.len() - 1..]);
        assert_eq!(reader.next(), Ok(Some(Bytes::from_static(b"hello"))));
    }

    #[test]
    fn a_frame_of_the_largest_size_passes_and_one_byte_more_is_refused_by_its_length_alone() {
        let largest = vec![7; MAX_FRAME];
        let mut reader = FrameReader::default();
        reader.push(&header(&largest).unwrap());
        assert_eq!(reader.next(), Ok(None));
        reader.push(&largest);
        assert_eq!(reader.next().unwrap().unwrap().len(), MAX_FRAME);

        let length = MAX_FRAME + 1;
        reader.push(&u32::try_from(length).unwrap().to_be_bytes());
        assert_eq!(reader.next(), Err(FrameError::TooLong(length)));
        assert_eq!(header(&vec![7; length]), Err(FrameError::TooLong(length)));
    }

    #[test]
    fn a_frame_of_no_bytes_is_refused() {
        let mut reader = FrameReader::default();
        reader.push(&[0, 0, 0, 0]);
        assert_eq!(reader.next(), Err(FrameError::Empty));
    }
}
