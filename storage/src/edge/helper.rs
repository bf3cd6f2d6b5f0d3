//! Threads per shard for what may block and has no place on the ring: opening, names, lengths on
//! one, removals and the last close of a file on another; and one, of the lowest priority, for what
//! computes for long: compaction.
//!
//! The shard's core never waits for them: jobs go by channel, results come back by channel, and an
//! eventfd the ring reads says that there are some. Jobs of one lane run in order.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::files::{self, Folders, OpenedFile, PathOp, disk_error};
use crate::compact::Pass;
use crate::op::{DiskError, DiskOk, DiskPath, FileId, OpId, OpenMode};

/// What the helper is asked.
#[derive(Debug)]
pub(super) enum Job {
    Open {
        op: OpId,
        file: FileId,
        path: DiskPath,
        mode: OpenMode,
    },
    Close {
        op: OpId,
        file: Arc<File>,
    },
    Truncate {
        op: OpId,
        file: Arc<File>,
        bytes: u64,
    },
    Path {
        op: OpId,
        path_op: PathOp,
    },
    /// Computation that must not hold up the shard.
    Clean {
        op: OpId,
        work: Box<Pass>,
    },
}

/// What it answers.
#[derive(Debug)]
pub(super) enum JobDone {
    Opened { op: OpId, file: FileId, result: Result<OpenedFile, DiskError> },
    Other { op: OpId, result: Result<DiskOk, DiskError> },
}

impl Job {
    /// Removing large files takes the file system seconds; nothing that a write waits for may queue
    /// behind it.
    fn lane(&self) -> Lane {
        match self {
            Self::Close { .. } => Lane::Slow,
            Self::Open { .. } | Self::Truncate { .. } => Lane::Quick,
            Self::Clean { .. } => Lane::Compute,
            Self::Path { path_op, .. } => match path_op {
                PathOp::Remove { .. } | PathOp::RemoveTree { .. } => Lane::Slow,
                PathOp::Rename { .. }
                | PathOp::CreateDir { .. }
                | PathOp::SyncDir { .. }
                | PathOp::List { .. }
                | PathOp::ReplaceFile { .. }
                | PathOp::ReadFile { .. } => Lane::Quick,
            },
        }
    }
}

/// The threads' other end.
#[derive(Debug)]
pub(super) struct Helper {
    /// `None` while it is dropped: the threads end with their channels.
    lanes: Option<Lanes>,
    done: Receiver<JobDone>,
    event: Arc<OwnedFd>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Lanes {
    quick: Sender<Job>,
    slow: Sender<Job>,
    compute: Sender<Job>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lane {
    Quick,
    Slow,
    Compute,
}

impl Helper {
    /// Starts the threads. `name` is what `ps` shows.
    pub(super) fn start(folders: Arc<Folders>, name: &str) -> io::Result<Self> {
        let event = Arc::new(eventfd()?);
        let (outbox, done) = channel();
        let mut threads = Vec::new();
        let mut lane = |name: String, lane: Lane| -> io::Result<Sender<Job>> {
            let (jobs, inbox) = channel::<Job>();
            let (folders, outbox) = (Arc::clone(&folders), outbox.clone());
            let bell = Arc::clone(&event);
            let thread = std::thread::Builder::new().name(name).spawn(move || {
                if lane == Lane::Compute {
                    yield_to_all();
                }
                for job in inbox {
                    if outbox.send(run(&folders, job)).is_err() {
                        return;
                    }
                    ring_bell(&bell);
                }
            })?;
            threads.push(thread);
            Ok(jobs)
        };
        let lanes = Lanes {
            quick: lane(name.to_owned(), Lane::Quick)?,
            slow: lane(format!("{name}-slow"), Lane::Slow)?,
            compute: lane(format!("{name}-clean"), Lane::Compute)?,
        };
        Ok(Self { lanes: Some(lanes), done, event, threads })
    }

    /// Hands a job over.
    pub(super) fn submit(&mut self, job: Job) {
        let lanes = self.lanes.as_ref().expect("open until dropped");
        let lane = match job.lane() {
            Lane::Quick => &lanes.quick,
            Lane::Slow => &lanes.slow,
            Lane::Compute => &lanes.compute,
        };
        lane.send(job).expect("a helper ends only after its sender");
    }

    /// The next answer.
    pub(super) fn poll(&mut self) -> Option<JobDone> {
        self.done.try_recv().ok()
    }

    /// Readable when there are answers.
    pub(super) fn event(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.lanes = None;
        for thread in self.threads.drain(..) {
            // A panic there was printed by the hook; a second one here would hide it.
            let _ = thread.join();
        }
    }
}

fn run(folders: &Folders, job: Job) -> JobDone {
    match job {
        Job::Open { op, file, path, mode } => {
            JobDone::Opened { op, file, result: files::open(folders, &path, mode) }
        }
        Job::Close { op, file } => {
            drop(file);
            JobDone::Other { op, result: Ok(DiskOk::Done) }
        }
        Job::Truncate { op, file, bytes } => {
            let result = match file.set_len(bytes) {
                Ok(()) => Ok(DiskOk::Done),
                Err(error) => Err(disk_error(&error)),
            };
            JobDone::Other { op, result }
        }
        Job::Clean { op, mut work } => {
            work.run();
            JobDone::Other { op, result: Ok(DiskOk::Cleaned(work)) }
        }
        Job::Path { op, path_op } => {
            JobDone::Other { op, result: files::execute(folders, path_op) }
        }
    }
}

/// The calling thread runs only when nothing else wants its core. Where the kernel refuses, it runs
/// as others do.
#[expect(unsafe_code, reason = "the standard library has no scheduling policies")]
fn yield_to_all() {
    // SAFETY: an all-zero `sched_param` is a valid one.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: 0 names the calling thread; the parameters outlive the call.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) };
}

/// An eventfd, close-on-exec.
#[expect(unsafe_code, reason = "the standard library has no eventfd")]
fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[expect(unsafe_code, reason = "a write of eight bytes to an eventfd")]
fn ring_bell(event: &OwnedFd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: the buffer is eight readable bytes and outlives the call.
    let written = unsafe { libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    assert!(written == 8, "an eventfd takes a count of one");
}
