//! Cutting a byte stream into frames of a four-byte length and a body.
//!
//! Pure. A frame that lies whole in the received bytes is handed on where it lies; one that
//! straddles receives is put together in a buffer that grows with the bytes really received, so
//! that a peer's promise of 50 MiB costs nothing. Which frame means what is the shard's business.

use crate::ledger::Arrival;

/// Bytes of the length before each frame.
const LENGTH_BYTES: usize = 4;

/// A buffer for a straddling frame starts with this much at most, and doubles.
const FIRST_BYTES: usize = 64 * 1024;

/// Buffers larger than this are not kept for the next frame.
const KEEP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Memory kept for frames to come, over all connections of a shard: beyond it buffers are freed.
const KEEP_TOTAL_BYTES: usize = 32 * 1024 * 1024;

/// Why a stream is not ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// A length below zero.
    #[error("a request of negative length {0}")]
    Negative(i32),
    /// A length above the limit.
    #[error("a request of {bytes} bytes, above the limit of {max}")]
    TooLarge { bytes: i32, max: u32 },
}

/// Buffers to use again for frames that straddle receives.
#[derive(Debug, Default)]
pub struct SpareBuffers {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl SpareBuffers {
    fn take(&mut self) -> Vec<u8> {
        let buffer = self.buffers.pop().unwrap_or_default();
        self.bytes -= buffer.capacity();
        buffer
    }

    /// Keeps a buffer unless enough are kept.
    pub fn give_back(&mut self, mut buffer: Vec<u8>) {
        let bytes = buffer.capacity();
        if bytes == 0 || bytes > KEEP_BYTES_MAX || self.bytes + bytes > KEEP_TOTAL_BYTES {
            return;
        }
        buffer.clear();
        self.bytes += bytes;
        self.buffers.push(buffer);
    }
}

/// What became of the bytes of one receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fed {
    /// Bytes taken, from the front. The rest comes again when its turn has come.
    pub taken: usize,
    /// Frames that were put together from several receives.
    pub assembled: u64,
}

/// One connection's place in its stream.
#[derive(Debug, Default)]
pub struct FrameReader {
    /// The frame under way with its length, empty between frames.
    partial: Vec<u8>,
    /// When its first bytes came.
    partial_since_ns: u64,
}

impl FrameReader {
    /// Takes bytes received at `now_ns` and hands on the frames they complete, each with when it
    /// came, until `on_frame` says that it wants no more this turn.
    pub fn feed(
        &mut self,
        received: &[u8],
        now_ns: u64,
        frame_bytes_max: u32,
        spare: &mut SpareBuffers,
        mut on_frame: impl FnMut(&[u8], Arrival) -> bool,
    ) -> Result<Fed, FrameError> {
        let mut bytes = received;
        let mut assembled = 0;
        let fed = |rest: &[u8], assembled| Fed { taken: received.len() - rest.len(), assembled };
        if !self.partial.is_empty() {
            bytes = self.add(bytes, LENGTH_BYTES);
            if self.partial.len() < LENGTH_BYTES {
                return Ok(fed(bytes, assembled));
            }
            let end = LENGTH_BYTES + frame_length(&self.partial, frame_bytes_max)?;
            bytes = self.add(bytes, end);
            if self.partial.len() < end {
                return Ok(fed(bytes, assembled));
            }
            let arrival = Arrival { ready_ns: self.partial_since_ns, framed_ns: now_ns };
            let goes_on = on_frame(&self.partial[LENGTH_BYTES..], arrival);
            assembled += 1;
            spare.give_back(std::mem::take(&mut self.partial));
            if !goes_on {
                return Ok(fed(bytes, assembled));
            }
        }
        while bytes.len() >= LENGTH_BYTES {
            let end = LENGTH_BYTES + frame_length(bytes, frame_bytes_max)?;
            let Some(frame) = bytes.get(LENGTH_BYTES..end) else { break };
            let goes_on = on_frame(frame, Arrival::at(now_ns));
            bytes = &bytes[end..];
            if !goes_on {
                return Ok(fed(bytes, assembled));
            }
        }
        if !bytes.is_empty() {
            self.partial = spare.take();
            self.partial_since_ns = now_ns;
            let wanted = match bytes.get(..LENGTH_BYTES) {
                Some(_) => LENGTH_BYTES + frame_length(bytes, frame_bytes_max)?,
                None => LENGTH_BYTES,
            };
            self.add(bytes, wanted);
        }
        Ok(Fed { taken: received.len(), assembled })
    }

    /// Gives the memory back when the connection ends.
    pub fn reset(&mut self, spare: &mut SpareBuffers) {
        spare.give_back(std::mem::take(&mut self.partial));
    }

    /// Moves bytes into the frame under way until it has `end`; returns the rest.
    fn add<'a>(&mut self, bytes: &'a [u8], end: usize) -> &'a [u8] {
        let missing = end.saturating_sub(self.partial.len());
        let (now, rest) = bytes.split_at(missing.min(bytes.len()));
        let needed = self.partial.len() + now.len();
        if self.partial.capacity() < needed {
            let grown = (self.partial.capacity() * 2).max(FIRST_BYTES).max(needed);
            self.partial.reserve_exact(grown.min(end) - self.partial.len());
        }
        self.partial.extend_from_slice(now);
        rest
    }
}

fn frame_length(bytes: &[u8], max: u32) -> Result<usize, FrameError> {
    let prefix: [u8; LENGTH_BYTES] =
        bytes[..LENGTH_BYTES].try_into().expect("the caller has the four bytes");
    let length = i32::from_be_bytes(prefix);
    match u32::try_from(length) {
        Err(_) => Err(FrameError::Negative(length)),
        Ok(unsigned) if unsigned > max => Err(FrameError::TooLarge { bytes: length, max }),
        Ok(unsigned) => Ok(unsigned as usize),
    }
}

#[cfg(test)]
mod tests {
    //! Frames come out as they went in, whatever the cuts; what is not a frame is refused before
    //! memory is spent on it.

    use super::*;

    fn stream(frames: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for frame in frames {
            bytes.extend_from_slice(&(frame.len() as i32).to_be_bytes());
            bytes.extend_from_slice(frame);
        }
        bytes
    }

    fn feed(
        reader: &mut FrameReader,
        bytes: &[u8],
        out: &mut Vec<Vec<u8>>,
    ) -> Result<Fed, FrameError> {
        let mut spare = SpareBuffers::default();
        reader.feed(bytes, 1, 1 << 20, &mut spare, |frame, _| {
            out.push(frame.to_vec());
            true
        })
    }

    #[test]
    fn frames_survive_a_cut_at_every_byte() {
        let frames: [&[u8]; 4] = [b"first", b"", b"the third one", b"x"];
        let bytes = stream(&frames);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let mut reader = FrameReader::default();
                let mut out = Vec::new();
                for part in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                    feed(&mut reader, part, &mut out).expect("well formed");
                }
                assert_eq!(out, frames, "cut at {first} and {second}");
                assert!(reader.partial.is_empty());
            }
        }
    }

    #[test]
    fn a_frame_in_pieces_arrived_when_its_first_and_its_last_did() {
        let mut reader = FrameReader::default();
        let mut spare = SpareBuffers::default();
        let bytes = stream(&[b"first", b"second"]);
        let mut arrivals = Vec::new();
        for (part, now_ns) in [(&bytes[..3], 10), (&bytes[3..12], 20), (&bytes[12..], 30)] {
            let note = |_: &[u8], arrival| {
                arrivals.push(arrival);
                true
            };
            reader.feed(part, now_ns, 1 << 20, &mut spare, note).expect("well formed");
        }
        let pieces = [(10, 20), (20, 30)];
        assert_eq!(arrivals, pieces.map(|(ready_ns, framed_ns)| Arrival { ready_ns, framed_ns }));
    }

    #[test]
    fn what_is_left_after_the_last_frame_of_a_turn_comes_again() {
        let frames: [&[u8]; 4] = [b"first", b"", b"the third one", b"x"];
        let bytes = stream(&frames);
        for cut in 0..=bytes.len() {
            let mut reader = FrameReader::default();
            let mut spare = SpareBuffers::default();
            let mut out: Vec<Vec<u8>> = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                let mut at = 0;
                while at < part.len() {
                    let before = out.len();
                    let fed = reader.feed(&part[at..], 1, 1 << 20, &mut spare, |frame, _| {
                        out.push(frame.to_vec());
                        false
                    });
                    at += fed.expect("well formed").taken;
                    assert!(out.len() <= before + 1, "one frame was asked for");
                }
            }
            assert_eq!(out, frames, "cut at {cut}");
        }
    }

    #[test]
    fn a_promised_length_costs_only_what_arrived() {
        let mut reader = FrameReader::default();
        let mut spare = SpareBuffers::default();
        let promise = 50_000_000i32.to_be_bytes();
        for byte in promise.iter().chain(&[0; 100]) {
            let byte = std::slice::from_ref(byte);
            let fed = reader.feed(byte, 1, 1 << 26, &mut spare, |_, _| true);
            fed.expect("within the limit");
        }
        assert!(reader.partial.capacity() <= FIRST_BYTES);
    }

    #[test]
    fn lengths_out_of_bounds_are_refused_before_memory_is_taken() {
        let mut out = Vec::new();
        let mut reader = FrameReader::default();
        let negative = feed(&mut reader, &(-5i32).to_be_bytes(), &mut out);
        assert_eq!(negative, Err(FrameError::Negative(-5)));
        let mut reader = FrameReader::default();
        let large = feed(&mut reader, &i32::MAX.to_be_bytes(), &mut out);
        assert_eq!(large, Err(FrameError::TooLarge { bytes: i32::MAX, max: 1 << 20 }));
        assert!(out.is_empty());
    }
}
