//! The trace of a run: a hash of every event and output, and the last of them for people.

use std::collections::VecDeque;

/// Events kept for the report of a failure.
const KEPT: usize = 60;

#[derive(Clone, Debug)]
struct Entry {
    step: u64,
    at_ns: u64,
    what: &'static str,
    a: u64,
    b: u64,
    text: String,
}

/// What happened.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    last: VecDeque<Entry>,
    print: bool,
    step: u64,
    at_ns: u64,
}

impl Trace {
    /// An empty trace; `print` shows every event as it happens.
    pub fn new(print: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, last: VecDeque::new(), print, step: 0, at_ns: 0 }
    }

    /// The moment of what follows.
    pub fn moment(&mut self, step: u64, at_ns: u64) {
        self.step = step;
        self.at_ns = at_ns;
        self.mix(at_ns);
    }

    /// Something happened, with two numbers that tell it from others.
    pub fn note(&mut self, what: &'static str, a: u64, b: u64) {
        self.keep(what, a, b, String::new());
    }

    /// Something happened that needs words.
    pub fn say(&mut self, what: &'static str, text: String) {
        self.bytes(text.as_bytes());
        self.keep(what, 0, 0, text);
    }

    /// Bytes that moved belong to the hash, not to the report.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.mix(u64::from_le_bytes(chunk.try_into().expect("a chunk is eight bytes")));
        }
        let tail = chunks.remainder().iter().fold(0, |tail, byte| tail << 8 | u64::from(*byte));
        self.mix(tail ^ (bytes.len() as u64) << 56);
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last events, oldest first.
    pub fn last(&self) -> Vec<String> {
        self.last.iter().map(Entry::line).collect()
    }

    fn mix(&mut self, value: u64) {
        self.hash = (self.hash.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn keep(&mut self, what: &'static str, a: u64, b: u64, text: String) {
        self.mix(what.len() as u64 ^ u64::from(what.as_bytes()[0]) << 8);
        self.mix(a);
        self.mix(b);
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        let entry = Entry { step: self.step, at_ns: self.at_ns, what, a, b, text };
        if self.print {
            println!("{}", entry.line());
        }
        self.last.push_back(entry);
    }
}

impl Entry {
    fn line(&self) -> String {
        let Entry { step, at_ns, what, a, b, text } = self;
        let at_ms = *at_ns as f64 / 1e6;
        if text.is_empty() {
            format!("{step:>7} {at_ms:>12.3} ms  {what} {a} {b}")
        } else {
            format!("{step:>7} {at_ms:>12.3} ms  {what}: {text}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_and_byte_counts() {
        let hash = |a, bytes: &[u8]| {
            let mut trace = Trace::new(false);
            trace.note("x", a, 0);
            trace.bytes(bytes);
            trace.hash()
        };
        assert_eq!(hash(1, b"abc"), hash(1, b"abc"));
        assert_ne!(hash(1, b"abc"), hash(2, b"abc"));
        assert_ne!(hash(1, b"abcdefghi"), hash(1, b"abcdefghj"));
    }
}
