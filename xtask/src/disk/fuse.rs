//! One file, `disk`, whose contents are a [`CachedDisk`]: the kernel's FUSE protocol, spoken
//! directly.
//!
//! A loop device over that file is a disk that loses what was not flushed and fails on command,
//! under any file system and any program. Only what a loop device asks is answered; everything else
//! is ENOSYS. One request at a time. Source: `include/uapi/linux/fuse.h`, version 7.31.
#![expect(unsafe_code, reason = "mount and poll")]

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use super::cache::{CachedDisk, Failed};

const ROOT_NODE: u64 = 1;
const DISK_NODE: u64 = 2;
/// The file's name.
pub const DISK_NAME: &str = "disk";

const HEADER_IN_BYTES: usize = 40;
const WRITE_IN_BYTES: usize = 40;
const WRITE_BYTES_MAX: u32 = 1 << 20;
/// Names and attributes stay true: nobody else changes them.
const VALID_SECONDS: u64 = 3600;

/// The disk goes past the page cache: what the loop device wrote is here when the power is cut.
const FOPEN_DIRECT_IO: u32 = 1;
const INIT_ASYNC_READ: u32 = 1;
const INIT_BIG_WRITES: u32 = 1 << 5;
const INIT_MAX_PAGES: u32 = 1 << 22;

mod opcode {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const WRITE: u32 = 16;
    pub const STATFS: u32 = 17;
    pub const RELEASE: u32 = 18;
    pub const FSYNC: u32 = 20;
    pub const FLUSH: u32 = 25;
    pub const INIT: u32 = 26;
    pub const INTERRUPT: u32 = 36;
    pub const DESTROY: u32 = 38;
    pub const BATCH_FORGET: u32 = 42;
}

/// Mounts the disk at `folder`, takes commands at the socket `control`, and serves until unmounted.
pub fn serve(folder: &Path, control: &Path, bytes: u64) -> io::Result<()> {
    let device = File::options().read(true).write(true).open("/dev/fuse")?;
    mount(folder, device.as_raw_fd())?;
    let listener = UnixListener::bind(control)?;
    println!("ready");
    let mut disk =
        Served { disk: CachedDisk::new(bytes), slow: Duration::ZERO, waits_for_cut: None };
    let mut request = vec![0; WRITE_BYTES_MAX as usize + 64 * 1024];
    loop {
        let (has_request, has_command) = wait(device.as_raw_fd(), listener.as_raw_fd())?;
        if has_command {
            let (stream, _) = listener.accept()?;
            // Who asked may be gone: that is its own matter.
            let _ = disk.command(stream);
        }
        if has_request && !disk.answer_one(&device, &mut request)? {
            return Ok(());
        }
        disk.tell_of_cut();
    }
}

fn mount(folder: &Path, device: RawFd) -> io::Result<()> {
    let text = |text: &str| CString::new(text).expect("no zero byte in it");
    let target = text(&folder.display().to_string());
    let options = text(&format!("fd={device},rootmode=40000,user_id=0,group_id=0"));
    let (name, kind) = (text("corelane-disk"), text("fuse.corelane"));
    // SAFETY: all four are strings that outlive the call.
    let result = unsafe {
        libc::mount(
            name.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            libc::MS_NOSUID | libc::MS_NODEV,
            options.as_ptr().cast(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Waits until one of the two can be read.
fn wait(first: RawFd, second: RawFd) -> io::Result<(bool, bool)> {
    let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut both = [poll(first), poll(second)];
    // SAFETY: two entries, as it is told.
    while unsafe { libc::poll(both.as_mut_ptr(), 2, -1) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok((both[0].revents != 0, both[1].revents != 0))
}

struct Served {
    disk: CachedDisk,
    /// Each write and flush takes this much longer.
    slow: Duration,
    /// Who armed a cut.
    waits_for_cut: Option<UnixStream>,
}

impl Served {
    /// Answers one request of the kernel; `false` when the file system was unmounted.
    fn answer_one(&mut self, mut device: &File, buffer: &mut [u8]) -> io::Result<bool> {
        let count = match device.read(buffer) {
            Ok(count) => count,
            Err(error) => match error.raw_os_error() {
                Some(libc::ENODEV) => return Ok(false),
                // Interrupted before it was read.
                Some(libc::ENOENT | libc::EINTR | libc::EAGAIN) => return Ok(true),
                _ => return Err(error),
            },
        };
        let request = Request(&buffer[..count]);
        let (unique, result) = (request.u64(8), self.answer(&request));
        let (error, body) = match result {
            Answer::Body(body) => (0, body),
            Answer::Error(errno) => (-errno, Vec::new()),
            Answer::None => return Ok(true),
        };
        let mut out = Out(Vec::with_capacity(16 + body.len()));
        out.u32(16 + body.len() as u32);
        out.u32(error as u32);
        out.u64(unique);
        out.0.extend_from_slice(&body);
        match device.write_all(&out.0) {
            // The request was aborted meanwhile.
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(true),
        }
    }

    fn answer(&mut self, request: &Request<'_>) -> Answer {
        let body = HEADER_IN_BYTES;
        match request.u32(4) {
            opcode::INIT => Answer::Body(init()),
            opcode::LOOKUP => {
                let name = request.0[body..].strip_suffix(&[0]);
                if request.u64(16) != ROOT_NODE || name != Some(DISK_NAME.as_bytes()) {
                    return Answer::Error(libc::ENOENT);
                }
                let mut out = Out::default();
                out.u64(DISK_NODE);
                out.u64(0);
                out.u64(VALID_SECONDS);
                out.u64(VALID_SECONDS);
                out.u64(0);
                self.attributes(DISK_NODE, &mut out);
                Answer::Body(out.0)
            }
            opcode::GETATTR => {
                let mut out = Out::default();
                out.u64(VALID_SECONDS);
                out.u64(0);
                self.attributes(request.u64(16), &mut out);
                Answer::Body(out.0)
            }
            opcode::OPEN => {
                let mut out = Out::default();
                out.u64(0);
                out.u32(FOPEN_DIRECT_IO);
                out.u32(0);
                Answer::Body(out.0)
            }
            opcode::READ => {
                let (at, count) = (request.u64(body + 8), request.u32(body + 16));
                self.disk.read(at, count as usize).map_or(Answer::Error(libc::EIO), Answer::Body)
            }
            opcode::WRITE => {
                let (at, count) = (request.u64(body + 8), request.u32(body + 16) as usize);
                let from = body + WRITE_IN_BYTES;
                let Some(bytes) = request.0.get(from..from + count) else {
                    return Answer::Error(libc::EINVAL);
                };
                self.dawdle();
                let mut out = Out::default();
                out.u64(count as u64);
                result(self.disk.write(at, bytes), out.0)
            }
            opcode::FSYNC => {
                self.dawdle();
                result(self.disk.flush(), Vec::new())
            }
            opcode::STATFS => Answer::Body(vec![0; 80]),
            opcode::FLUSH | opcode::RELEASE | opcode::DESTROY => Answer::Body(Vec::new()),
            opcode::FORGET | opcode::BATCH_FORGET | opcode::INTERRUPT => Answer::None,
            _ => Answer::Error(libc::ENOSYS),
        }
    }

    fn attributes(&self, node: u64, out: &mut Out) {
        let is_disk = node == DISK_NODE;
        let bytes = if is_disk { self.disk.bytes() } else { 0 };
        let mode = if is_disk { libc::S_IFREG | 0o600 } else { libc::S_IFDIR | 0o700 };
        out.u64(node);
        out.u64(bytes);
        out.u64(bytes / 512);
        // Three times, then their nanoseconds.
        (0..3).for_each(|_| out.u64(0));
        (0..3).for_each(|_| out.u32(0));
        out.u32(mode);
        out.u32(1);
        // Owner, group, device.
        (0..3).for_each(|_| out.u32(0));
        out.u32(4096);
        out.u32(0);
    }

    fn dawdle(&self) {
        if !self.slow.is_zero() {
            std::thread::sleep(self.slow);
        }
    }

    /// One line per connection: `arm OPERATIONS SEED PERCENT`, `cut SEED PERCENT`, `on`,
    /// `fail read|write|flush`, `slow MS`. An armed cut is waited for: the answer comes with it.
    fn command(&mut self, mut stream: UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut line = Vec::new();
        let mut byte = [0];
        while stream.read(&mut byte)? == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        if let Some(said) = self.obey(&line) {
            return writeln!(stream, "{said}");
        }
        match self.arm(&line) {
            Some(()) => self.waits_for_cut = Some(stream),
            None => writeln!(stream, "no such command: {line}")?,
        }
        Ok(())
    }

    fn arm(&mut self, line: &str) -> Option<()> {
        let mut numbers = line.strip_prefix("arm ")?.split(' ').map(str::parse::<u64>);
        let mut number = || numbers.next()?.ok();
        self.disk.arm(number()?, number()?, number()?);
        Some(())
    }

    /// Tells who waits for it that an armed cut has come.
    fn tell_of_cut(&mut self) {
        if let Some(cut) = self.disk.last_cut()
            && let Some(mut stream) = self.waits_for_cut.take()
        {
            let _ = writeln!(stream, "ok {} {}", cut.kept, cut.lost);
        }
    }

    fn obey(&mut self, line: &str) -> Option<String> {
        let mut words = line.split(' ');
        let command = words.next()?;
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        match command {
            "cut" => {
                let cut = self.disk.cut(number()?, number()?);
                return Some(format!("ok {} {}", cut.kept, cut.lost));
            }
            "on" => {
                self.disk.power_on();
                self.slow = Duration::ZERO;
            }
            "slow" => self.slow = Duration::from_millis(number()?),
            "fail" => match words.next()? {
                "read" => self.disk.faults.fails_reads = true,
                "write" => self.disk.faults.fails_writes = true,
                "flush" => self.disk.faults.fails_flushes = true,
                _ => return None,
            },
            _ => return None,
        }
        Some("ok".to_string())
    }
}

enum Answer {
    Body(Vec<u8>),
    Error(i32),
    /// The kernel waits for none.
    None,
}

fn result(done: Result<(), Failed>, body: Vec<u8>) -> Answer {
    match done {
        Ok(()) => Answer::Body(body),
        Err(Failed) => Answer::Error(libc::EIO),
    }
}

fn init() -> Vec<u8> {
    let mut out = Out::default();
    out.u32(7);
    out.u32(31);
    out.u32(128 * 1024);
    out.u32(INIT_ASYNC_READ | INIT_BIG_WRITES | INIT_MAX_PAGES);
    // Requests in the background, and where that is congested: 16 bits each.
    out.u32(64 | 48 << 16);
    out.u32(WRITE_BYTES_MAX);
    // Granularity of times.
    out.u32(1);
    // Pages of a request, and no alignment of maps: 16 bits each.
    out.u32(WRITE_BYTES_MAX / 4096);
    (0..8).for_each(|_| out.u32(0));
    out.0
}

/// The bytes of a request. The kernel is believed: a short one ends the program.
struct Request<'a>(&'a [u8]);

impl Request<'_> {
    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.0[at..at + 8].try_into().expect("eight bytes"))
    }
}

#[derive(Default)]
struct Out(Vec<u8>);

impl Out {
    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_ne_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_ne_bytes());
    }
}
