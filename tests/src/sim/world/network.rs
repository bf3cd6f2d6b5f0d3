//! Connections: two streams of bytes in segments, each with its delay, its cuts and its deaf side.
//!
//! Bytes of one direction keep their order; connections overtake each other as their delays differ.
//! What a link does wrong is set on it by a fault and lasts as long as the link.

use std::collections::VecDeque;

use broker::shard::event::ConnId;
use broker::shard::response::Response;
use storage::prng::Prng;

use crate::sim::plan::{Knobs, delay};

/// Bytes of a link that is cut into bytes which really come one by one; the rest comes at once.
const BYTEWISE: usize = 48;
/// As the broker's edge: `socket.request.max.bytes`.
const FRAME_BYTES_MAX: i32 = 100 * 1024 * 1024;

/// Bytes on their way.
#[derive(Debug)]
pub struct Segment {
    pub due_ns: u64,
    pub bytes: Vec<u8>,
    /// The response whose last bytes these are: given back when they have arrived.
    pub ends: Option<Response>,
}

/// One connection.
#[derive(Debug)]
pub struct Link {
    pub seat: usize,
    pub shard: usize,
    pub conn: ConnId,
    pub up: VecDeque<Segment>,
    pub down: VecDeque<Segment>,
    up_last_ns: u64,
    down_last_ns: u64,
    /// The part of a frame that has arrived.
    pub partial: Vec<u8>,
    /// The broker does not read.
    pub paused: bool,
    /// The client's bytes reach nobody; the broker is not told that it hangs up.
    pub up_deaf: bool,
    /// The broker's bytes reach nobody.
    pub down_deaf: bool,
    pub bytewise: bool,
    /// What the client takes longer for each answer.
    pub slow_ns: u64,
    /// The broker closes once everything is out.
    pub closing: bool,
    /// The client has gone; the broker has not heard it yet.
    pub left: bool,
}

impl Link {
    /// A fresh connection of a client.
    pub fn new(seat: usize, shard: usize, conn: ConnId) -> Self {
        Self {
            seat,
            shard,
            conn,
            up: VecDeque::new(),
            down: VecDeque::new(),
            up_last_ns: 0,
            down_last_ns: 0,
            partial: Vec::new(),
            paused: false,
            up_deaf: false,
            down_deaf: false,
            bytewise: false,
            slow_ns: 0,
            closing: false,
            left: false,
        }
    }

    fn pieces(&self, bytes: Vec<u8>, prng: &mut Prng) -> Vec<Vec<u8>> {
        if self.bytewise {
            let (slow, rest) = bytes.split_at(bytes.len().min(BYTEWISE));
            let singles = slow.iter().map(|byte| vec![*byte]);
            return singles.chain((!rest.is_empty()).then(|| rest.to_vec())).collect();
        }
        if bytes.len() > 1 && prng.one_in(20) {
            let at = prng.between(1, bytes.len() as u64 - 1) as usize;
            return vec![bytes[..at].to_vec(), bytes[at..].to_vec()];
        }
        vec![bytes]
    }

    /// The client sends; when each piece arrives.
    pub fn send_up(
        &mut self,
        now_ns: u64,
        bytes: Vec<u8>,
        knobs: &Knobs,
        prng: &mut Prng,
    ) -> Vec<u64> {
        let mut dues = Vec::new();
        for bytes in self.pieces(bytes, prng) {
            let due_ns = now_ns + delay(prng, knobs.network_ns_min, knobs.network_ns_mean);
            let due_ns = due_ns.max(self.up_last_ns + 1);
            self.up_last_ns = due_ns;
            self.up.push_back(Segment { due_ns, bytes, ends: None });
            dues.push(due_ns);
        }
        dues
    }

    /// The broker sends a response; when each piece arrives.
    pub fn send_down(
        &mut self,
        now_ns: u64,
        response: Response,
        knobs: &Knobs,
        prng: &mut Prng,
    ) -> Vec<u64> {
        let mut bytes = Vec::with_capacity(response.len());
        response.chunks().for_each(|chunk| bytes.extend_from_slice(chunk));
        let mut dues = Vec::new();
        for bytes in self.pieces(bytes, prng) {
            let wire_ns = delay(prng, knobs.network_ns_min, knobs.network_ns_mean);
            let due_ns = (now_ns + wire_ns + self.slow_ns).max(self.down_last_ns + 1);
            self.down_last_ns = due_ns;
            self.down.push_back(Segment { due_ns, bytes, ends: None });
            dues.push(due_ns);
        }
        if let Some(last) = self.down.back_mut() {
            last.ends = Some(response);
        }
        dues
    }

    /// Bytes have arrived at the broker: the frames they complete, without their lengths. An error
    /// is a stream that is none of ours.
    pub fn frames(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
        self.partial.extend_from_slice(bytes);
        let mut frames = Vec::new();
        let mut at = 0;
        while let Some(length) = self.partial[at..].first_chunk::<4>() {
            let length = i32::from_be_bytes(*length);
            if !(0..=FRAME_BYTES_MAX).contains(&length) {
                return Err("a length that no request has");
            }
            let (from, end) = (at + 4, at + 4 + length as usize);
            let Some(frame) = self.partial.get(from..end) else { break };
            frames.push(frame.to_vec());
            at = end;
        }
        self.partial.drain(..at);
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_put_together_from_single_bytes() {
        let mut link = Link::new(0, 0, ConnId(1));
        let mut found = Vec::new();
        for byte in [0, 0, 0, 3, 7, 8, 9, 0, 0, 0, 0, 0] {
            found.extend(link.frames(&[byte]).expect("the lengths are good"));
        }
        assert_eq!(found, [vec![7, 8, 9], vec![]]);
        assert_eq!(link.partial, [0]);
        assert!(link.frames(&[0xff, 0xff, 0xff]).is_ok(), "a large length is not over yet");
        assert!(Link::new(0, 0, ConnId(2)).frames(&[0xff; 4]).is_err(), "it is negative");
    }
}
