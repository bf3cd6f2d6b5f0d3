//! An edge under test: shards of an echo core on free ports, and a client that speaks length
//! frames.
//!
//! The echo core stands for the broker. The first byte of a frame says what to do with it;
//! everything else comes back as it went.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use broker::edge::config::EdgeConfig;
use broker::edge::listener::Bound;
use broker::edge::log::Logger;
use broker::edge::shards::Shards;
use broker::shard::event::{ConnId, Core, Event, Output};
use broker::shard::response::{Response, Splice};
use broker::time::Now;
use storage::buffer::{AlignedBuf, SharedBuf};
use storage::edge::files::Folders;

/// Answers at once.
pub const ECHO: u8 = b'e';
/// Answers after 50 ms.
pub const LATER: u8 = b'l';
/// Pauses the connection for 50 ms, then answers.
pub const PAUSE: u8 = b'p';
/// Followed by a big-endian u32: answers with so many bytes out of shared buffers.
pub const LARGE: u8 = b'x';
/// Answers, then closes.
pub const CLOSE: u8 = b'c';
/// Is not answered on the wire.
pub const SILENT: u8 = b's';

const LATER_NS: u64 = 50_000_000;

/// What a test may look at from outside.
#[derive(Debug, Default)]
pub struct Seen {
    pub connected: AtomicU64,
    pub disconnected: AtomicU64,
    pub given_back: AtomicU64,
    /// Most responses sent and not given back at one time.
    pub outstanding_max: AtomicU64,
    pub frames_while_paused: AtomicU64,
    /// Most frames of one connection in one turn of the event loop.
    pub frames_in_turn_max: AtomicU64,
}

/// The stand-in for a shard.
#[derive(Debug)]
pub struct EchoCore {
    outputs: VecDeque<Output>,
    spare: Vec<Response>,
    later: VecDeque<(u64, ConnId, Vec<u8>, bool)>,
    paused: Vec<ConnId>,
    in_turn: Vec<(ConnId, u64)>,
    outstanding: u64,
    block: SharedBuf,
    seen: Arc<Seen>,
}

impl EchoCore {
    pub fn new(seen: Arc<Seen>) -> Self {
        let mut block = AlignedBuf::new(64 * 1024);
        block.set_len(64 * 1024);
        for (index, byte) in block.as_mut_slice().iter_mut().enumerate() {
            *byte = (index % 251) as u8;
        }
        Self {
            outputs: VecDeque::new(),
            spare: Vec::new(),
            later: VecDeque::new(),
            paused: Vec::new(),
            in_turn: Vec::new(),
            outstanding: 0,
            block: SharedBuf::new(Arc::new(block)),
            seen,
        }
    }

    fn send(&mut self, conn: ConnId, body: &[u8]) {
        assert!(body != b"explode", "asked to panic");
        let mut response = self.spare.pop().unwrap_or_default();
        response.head.extend_from_slice(&(body.len() as u32).to_be_bytes());
        response.head.extend_from_slice(body);
        self.send_response(conn, response);
    }

    fn send_response(&mut self, conn: ConnId, response: Response) {
        self.outstanding += 1;
        self.seen.outstanding_max.fetch_max(self.outstanding, Ordering::Relaxed);
        self.outputs.push_back(Output::Send { conn, response });
    }

    fn send_large(&mut self, conn: ConnId, bytes: usize) {
        let mut response = self.spare.pop().unwrap_or_default();
        response.head.extend_from_slice(&(bytes as u32).to_be_bytes());
        let mut left = bytes;
        while left > 0 {
            let part = left.min(self.block.len());
            let at = response.head.len() as u32;
            response.splices.push(Splice { at, records: self.block.slice(0, part) });
            left -= part;
        }
        self.send_response(conn, response);
    }
}

impl Core for EchoCore {
    fn handle_event(&mut self, event: Event<'_>, now: Now) {
        match event {
            Event::Connected { .. } => {
                self.seen.connected.fetch_add(1, Ordering::Relaxed);
            }
            Event::Frame { conn, frame, .. } => {
                if self.paused.contains(&conn) {
                    self.seen.frames_while_paused.fetch_add(1, Ordering::Relaxed);
                }
                match self.in_turn.iter_mut().find(|(of, _)| *of == conn) {
                    Some((_, count)) => *count += 1,
                    None => self.in_turn.push((conn, 1)),
                }
                match frame.first() {
                    Some(&LATER) => {
                        let due = now.mono_ns + LATER_NS;
                        self.later.push_back((due, conn, frame.to_vec(), false));
                    }
                    Some(&PAUSE) => {
                        let due = now.mono_ns + LATER_NS;
                        self.outputs.push_back(Output::PauseReading { conn });
                        self.later.push_back((due, conn, frame.to_vec(), true));
                    }
                    Some(&LARGE) => {
                        let bytes = u32::from_be_bytes(frame[1..5].try_into().expect("four bytes"));
                        self.send_large(conn, bytes as usize);
                    }
                    Some(&CLOSE) => {
                        self.send(conn, frame);
                        self.outputs.push_back(Output::Close { conn, reason: None });
                    }
                    Some(&SILENT) => self.send_response(conn, Response::default()),
                    Some(_) | None => self.send(conn, frame),
                }
            }
            Event::Sent { response: mut sent, .. } => {
                self.outstanding -= 1;
                self.seen.given_back.fetch_add(1, Ordering::Relaxed);
                sent.clear();
                self.spare.push(sent);
            }
            Event::Disconnected { conn } => {
                self.paused.retain(|paused| *paused != conn);
                self.seen.disconnected.fetch_add(1, Ordering::Relaxed);
            }
            Event::Disk(_) | Event::Mesh { .. } => {}
            Event::Reconfigured(_) => {}
            Event::Timeout => {
                while let Some((due, ..)) = self.later.front()
                    && *due <= now.mono_ns
                {
                    let (_, conn, body, resume) = self.later.pop_front().expect("looked at");
                    if resume {
                        self.paused.retain(|paused| *paused != conn);
                        self.outputs.push_back(Output::ResumeReading { conn });
                    }
                    self.send(conn, &body);
                }
            }
            Event::Stop => self.outputs.push_back(Output::Stopped),
        }
    }

    fn end_turn(&mut self, _now: Now) {
        for (_, count) in self.in_turn.drain(..) {
            self.seen.frames_in_turn_max.fetch_max(count, Ordering::Relaxed);
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if let Some(Output::PauseReading { conn }) = &output {
            self.paused.push(*conn);
        }
        output
    }

    fn poll_timeout(&self) -> Option<u64> {
        self.later.front().map(|(due, ..)| *due)
    }
}

static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// A folder of this test's own, removed at the end.
#[derive(Debug)]
pub struct TestFolder(PathBuf);

impl TestFolder {
    pub fn new() -> Self {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("corelane-edge-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Running echo shards; stopped and checked when dropped.
#[derive(Debug)]
pub struct Edge {
    shards: Option<Shards>,
    pub seen: Arc<Seen>,
    _folder: TestFolder,
}

/// Starts `count` shards, all on the first core there is.
pub fn start(count: usize, change: impl FnOnce(&mut EdgeConfig)) -> Edge {
    let folder = TestFolder::new();
    let mut config = EdgeConfig::new(folder.path());
    let core = broker::edge::cpu::available().expect("affinity")[0];
    config.cores = vec![core; count];
    change(&mut config);
    let address = "127.0.0.1:0".parse().expect("an address");
    let bound = Bound::bind_all(address, count, config.sockets).expect("a free port");
    let bound = bound.into_iter().map(|bound| vec![bound]).collect();
    let folders = Arc::new(Folders::new(folder.path(), folder.path(), folder.path()));
    let seen = Arc::<Seen>::default();
    let cores = (0..count).map(|_| EchoCore::new(Arc::clone(&seen))).collect();
    let log = Logger::start().expect("a thread");
    let shards = Shards::start(&config, bound, &folders, cores, &log).expect("shards start");
    Edge { shards: Some(shards), seen, _folder: folder }
}

impl Edge {
    pub fn shards(&self) -> &Shards {
        self.shards.as_ref().expect("running")
    }

    pub fn address(&self) -> SocketAddr {
        self.shards().address()
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// A counter summed over the shards.
    pub fn counter(&self, name: &str) -> u64 {
        let shards = &self.shards().process().shards;
        let of = |counters: &broker::edge::counters::Counters| {
            counters.each().find(|reading| reading.name == name).expect("a counter's name").value
        };
        shards.iter().map(|shard| of(&shard.counters)).sum()
    }

    /// Waits until `done`, or fails with what was waited for.
    pub fn wait_until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if done(self) {
                return;
            }
            pause(5);
        }
        panic!("{what}: {self:?}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test waits for another thread's counter")]
pub fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

impl Drop for Edge {
    fn drop(&mut self) {
        let shards = self.shards.take().expect("dropped once");
        shards.stop();
        let joined = shards.join();
        if !std::thread::panicking() {
            joined.expect("shards stop cleanly");
        }
    }
}

/// A blocking client.
#[derive(Debug)]
pub struct Client(pub TcpStream);

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the edge listens");
        stream.set_nodelay(true).expect("an option");
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).expect("an option");
        stream.set_write_timeout(patience).expect("an option");
        Self(stream)
    }

    pub fn send(&mut self, body: &[u8]) {
        self.0.write_all(&frame(body)).expect("sent");
    }

    pub fn receive(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).expect("a length");
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut body).expect("a body");
        body
    }

    /// Whether the peer has closed.
    pub fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0; 1]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// A body with its length before it.
pub fn frame(body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}
