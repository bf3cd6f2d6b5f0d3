//! One thread per shard for what may block and has no place on the ring: opening, names, closing,
//! lengths.
//!
//! The shard's core never waits for it: jobs go by channel, results come back by channel, and an
//! eventfd
//! the ring reads says that there are some. It runs unpinned at the same priority; jobs run in
//! order.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::files::{self, Folders, OpenedFile, PathOp, disk_error};
use crate::op::{DiskError, DiskOk, DiskPath, FileId, OpId, OpenMode};

/// What the helper is asked.
#[derive(Debug)]
pub(super) enum Job {
    Open { op: OpId, file: FileId, path: DiskPath, mode: OpenMode },
    Close { op: OpId, file: Arc<File> },
    Truncate { op: OpId, file: Arc<File>, bytes: u64 },
    Path { op: OpId, path_op: PathOp },
}

/// What it answers.
#[derive(Debug)]
pub(super) enum JobDone {
    Opened { op: OpId, file: FileId, result: Result<OpenedFile, DiskError> },
    Other { op: OpId, result: Result<DiskOk, DiskError> },
}

/// The thread's other end.
#[derive(Debug)]
pub(super) struct Helper {
    jobs: Option<Sender<Job>>,
    done: Receiver<JobDone>,
    event: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Helper {
    /// Starts the thread. `name` is what `ps` shows.
    pub(super) fn start(folders: Arc<Folders>, name: String) -> io::Result<Self> {
        let event = Arc::new(eventfd()?);
        let (jobs, inbox) = channel::<Job>();
        let (outbox, done) = channel();
        let signal = Arc::clone(&event);
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            for job in inbox {
                let answer = run(&folders, job);
                if outbox.send(answer).is_err() {
                    return;
                }
                ring_bell(&signal);
            }
        })?;
        Ok(Self { jobs: Some(jobs), done, event, thread: Some(thread) })
    }

    /// Hands a job over.
    pub(super) fn submit(&mut self, job: Job) {
        let jobs = self.jobs.as_ref().expect("open until dropped");
        jobs.send(job).expect("the helper ends only after its sender");
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
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
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
        Job::Path { op, path_op } => {
            JobDone::Other { op, result: files::execute(folders, path_op) }
        }
    }
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
