//! One core's io_uring: set-up with fallbacks, pushing entries, one `io_uring_enter` per turn.
//!
//! Not an event loop: it knows neither sockets nor files. The broker's edge owns one per shard and
//! lends it to `UringDisk`; user data with `DISK_BIT` set belongs to the disk, everything else to
//! the broker. Flags and why: `DEFER_TASKRUN` is worth 16 to 28 % CPU per request on small requests
//! (measured).
#![expect(unsafe_code, reason = "the ring takes raw addresses; every caller of push promises them")]

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::{IoUring, Probe, cqueue, squeue, types};

/// Set in the user data of every entry the disk pushes.
pub const DISK_BIT: u64 = 1 << 63;

/// Completions taken from the ring in one go; the rest waits for the next call.
pub const REAP_MAX: usize = 1024;

const ENTER_GETEVENTS: u32 = 1;
const ENTER_EXT_ARG: u32 = 1 << 3;
const ENTER_NO_IOWAIT: u32 = 1 << 7;

/// What `io_uring_enter` takes with `IORING_ENTER_EXT_ARG` (kernel ABI).
#[repr(C)]
struct EnterArg {
    signal_mask: u64,
    signal_mask_bytes: u32,
    min_wait_us: u32,
    timespec: u64,
}

/// How a ring is set up.
#[derive(Clone, Copy, Debug)]
pub struct RingOptions {
    /// Submission entries; rounded up to a power of two by the kernel.
    pub entries: u32,
    /// Completion entries. More than these at once are kept by the kernel and cost it an
    /// allocation.
    pub completions: u32,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self { entries: 1024, completions: 8192 }
    }
}

/// Which set-up flags the kernel accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RingFlavor {
    /// `SINGLE_ISSUER | DEFER_TASKRUN | COOP_TASKRUN | TASKRUN_FLAG` (Linux 6.1).
    Deferred,
    /// `COOP_TASKRUN | TASKRUN_FLAG` (Linux 5.19).
    Cooperative,
    /// No flags.
    Plain,
}

/// A completion, as plain values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completion {
    pub user_data: u64,
    /// As the system call would return: negative errno or a count.
    pub result: i32,
    pub flags: u32,
}

impl Completion {
    /// Whether the same submission will complete again.
    pub fn has_more(self) -> bool {
        cqueue::more(self.flags)
    }

    /// The provided buffer it used.
    pub fn buffer(self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

/// Until when `enter` may sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Submit, run what is due, come back at once.
    Not,
    /// Until a completion, at most so many nanoseconds.
    AtMost(u64),
    /// Until a completion.
    Forever,
}

/// Why a ring cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The kernel has no io_uring, or an administrator switched it off.
    #[error(
        "io_uring is not available ({0}): a Linux kernel 5.19 or newer with io_uring enabled is \
         needed \
         (sysctl kernel.io_uring_disabled=0; a container's seccomp profile must allow it)"
    )]
    Unavailable(io::Error),
    /// It is there, but an operation no fallback exists for is not.
    #[error("io_uring of this kernel lacks {0}: Linux 5.19 or newer is needed")]
    Lacks(&'static str),
}

/// One core's ring.
pub struct Ring {
    uring: IoUring,
    flavor: RingFlavor,
    probe: Probe,
    no_iowait: bool,
    /// Entries, and what is linked to them, that found the submission queue full and the kernel
    /// unwilling; they go first.
    backlog: VecDeque<(squeue::Entry, Option<squeue::Entry>)>,
    enters: u64,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("flavor", &self.flavor).field("enters", &self.enters).finish()
    }
}

impl Ring {
    /// Sets a ring up on the calling thread, which must be the one that uses it.
    pub fn new(options: RingOptions) -> Result<Self, RingError> {
        let (mut uring, flavor) = Self::build(options).map_err(RingError::Unavailable)?;
        let mut probe = Probe::new();
        uring.submitter().register_probe(&mut probe).map_err(RingError::Unavailable)?;
        if !uring.params().is_feature_ext_arg() {
            return Err(RingError::Lacks("timed waits"));
        }
        // Saves the descriptor look-up of every enter; a kernel without it works the same.
        let _ = uring.submitter().register_ring_fd();
        let no_iowait = uring.params().is_feature_no_iowait();
        let _ = uring.submission();
        Ok(Self { uring, flavor, probe, no_iowait, backlog: VecDeque::new(), enters: 0 })
    }

    fn build(options: RingOptions) -> io::Result<(IoUring, RingFlavor)> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(options.completions).setup_clamp().setup_submit_all();
        let mut deferred = builder.clone();
        deferred
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag();
        if let Ok(uring) = deferred.build(options.entries) {
            return Ok((uring, RingFlavor::Deferred));
        }
        let mut cooperative = builder.clone();
        cooperative.setup_coop_taskrun().setup_taskrun_flag();
        if let Ok(uring) = cooperative.build(options.entries) {
            return Ok((uring, RingFlavor::Cooperative));
        }
        let mut plain = IoUring::builder();
        plain.setup_cqsize(options.completions).setup_clamp();
        plain.build(options.entries).map(|uring| (uring, RingFlavor::Plain))
    }

    /// What the kernel accepted.
    pub fn flavor(&self) -> RingFlavor {
        self.flavor
    }

    /// Whether the kernel knows an operation.
    pub fn supports(&self, opcode: u8) -> bool {
        self.probe.is_supported(opcode)
    }

    /// How often the kernel was entered.
    pub fn enters(&self) -> u64 {
        self.enters
    }

    /// The ring underneath, for registrations.
    pub fn submitter(&self) -> io_uring::Submitter<'_> {
        self.uring.submitter()
    }

    /// Queues one entry for the next `enter`.
    ///
    /// # Safety
    /// Every address in `entry` stays valid and unmoved until its final completion.
    pub unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: the caller's promise.
        unsafe { self.push_chain(entry, None) }
    }

    /// Queues an entry with `IO_LINK` set and the one linked to it, to be submitted together.
    ///
    /// # Safety
    /// As `push`.
    pub unsafe fn push_linked(&mut self, first: squeue::Entry, second: squeue::Entry) {
        // SAFETY: the caller's promise.
        unsafe { self.push_chain(first, Some(second)) }
    }

    unsafe fn push_chain(&mut self, first: squeue::Entry, second: Option<squeue::Entry>) {
        if self.backlog.is_empty() {
            // SAFETY: the caller's promise.
            if unsafe { Self::try_push(&mut self.uring, &first, second.as_ref()) } {
                return;
            }
            self.enters += 1;
            // A full queue is handed to the kernel; if it is not willing, the entries wait in
            // order.
            // SAFETY: the caller's promise.
            if self.uring.submit().is_ok()
                && unsafe { Self::try_push(&mut self.uring, &first, second.as_ref()) }
            {
                return;
            }
        }
        self.backlog.push_back((first, second));
    }

    /// # Safety
    /// As `push`.
    unsafe fn try_push(
        uring: &mut IoUring,
        first: &squeue::Entry,
        second: Option<&squeue::Entry>,
    ) -> bool {
        let mut queue = uring.submission();
        let needed = 1 + usize::from(second.is_some());
        if queue.capacity() - queue.len() < needed {
            return false;
        }
        // SAFETY: the caller's promise.
        let pushed = unsafe { queue.push(first) };
        assert!(pushed.is_ok(), "room was checked");
        if let Some(second) = second {
            // SAFETY: the caller's promise.
            let pushed = unsafe { queue.push(second) };
            assert!(pushed.is_ok(), "room was checked");
        }
        true
    }

    fn move_backlog(&mut self) {
        while let Some((first, second)) = self.backlog.front() {
            // SAFETY: promised by whoever pushed it first.
            if !unsafe { Self::try_push(&mut self.uring, first, second.as_ref()) } {
                break;
            }
            self.backlog.pop_front();
        }
    }

    /// Submits what was queued and sleeps as long as allowed.
    pub fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.move_backlog();
        let submit = {
            let mut queue = self.uring.submission();
            queue.sync();
            queue.len() as u32
        };
        let ready = !self.uring.completion().is_empty() || !self.backlog.is_empty();
        let mut flags = ENTER_GETEVENTS;
        if self.no_iowait {
            flags |= ENTER_NO_IOWAIT;
        }
        self.enters += 1;
        let result = match wait {
            _ if ready => self.enter_now(submit, flags),
            Wait::Not => self.enter_now(submit, flags),
            Wait::Forever => {
                // SAFETY: no argument is passed.
                unsafe { self.uring.submitter().enter::<libc::sigset_t>(submit, 1, flags, None) }
            }
            Wait::AtMost(ns) => {
                let timespec = types::Timespec::new()
                    .sec(ns / 1_000_000_000)
                    .nsec((ns % 1_000_000_000) as u32);
                let arg = EnterArg {
                    signal_mask: 0,
                    signal_mask_bytes: 0,
                    min_wait_us: 0,
                    timespec: std::ptr::from_ref(&timespec) as u64,
                };
                // SAFETY: `arg` has the kernel's layout and, with `timespec`, outlives the call.
                unsafe {
                    self.uring.submitter().enter(submit, 1, flags | ENTER_EXT_ARG, Some(&arg))
                }
            }
        };
        match result {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // Interrupted, timed out, or completions must be taken first: all of them mean "go
                // on".
                Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN) => Ok(()),
                Some(_) | None => Err(error),
            },
        }
    }

    fn enter_now(&self, submit: u32, flags: u32) -> io::Result<usize> {
        // SAFETY: no argument is passed.
        unsafe { self.uring.submitter().enter::<libc::sigset_t>(submit, 0, flags, None) }
    }

    /// Whether an enter or a reap would find something, without entering the kernel.
    pub fn has_work(&mut self) -> bool {
        if !self.backlog.is_empty() || !self.uring.completion().is_empty() {
            return true;
        }
        let queue = self.uring.submission();
        !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
    }

    /// Takes at most `REAP_MAX` completions; `batch` is cleared first and keeps its memory. `true`
    /// when more are waiting.
    pub fn reap(&mut self, batch: &mut Vec<Completion>) -> bool {
        batch.clear();
        let mut queue = self.uring.completion();
        let mut taken = [const { MaybeUninit::<cqueue::Entry>::uninit() }; 64];
        while batch.len() < REAP_MAX {
            let entries = queue.fill(&mut taken);
            if entries.is_empty() {
                return false;
            }
            batch.extend(entries.iter().map(|entry| Completion {
                user_data: entry.user_data(),
                result: entry.result(),
                flags: entry.flags(),
            }));
        }
        !queue.is_empty()
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.uring.as_raw_fd()
    }
}
