//! Signals become events: SIGTERM and SIGINT stop every shard, SIGHUP calls a hook.
//!
//! All threads block them, one waits for them: no code runs in a signal handler.
#![expect(unsafe_code, reason = "signal masks")]

use std::io;
use std::time::Duration;

/// What arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    HangUp,
}

fn set() -> libc::sigset_t {
    // SAFETY: the set is initialised by sigemptyset before it is read.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    for signal in [None, Some(libc::SIGTERM), Some(libc::SIGINT), Some(libc::SIGHUP)] {
        // SAFETY: `set` is a valid set, the signals exist.
        let result = unsafe {
            match signal {
                None => libc::sigemptyset(&raw mut set),
                Some(signal) => libc::sigaddset(&raw mut set, signal),
            }
        };
        assert!(result == 0, "these signals exist on Linux");
    }
    set
}

/// Blocks the signals on this thread and those it starts. Called before any other thread exists.
pub fn block() -> io::Result<()> {
    let set = set();
    // SAFETY: the set is valid; the old mask is not asked for.
    let result =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

/// Waits for the next signal; `None` when `timeout` passed first, or a debugger interrupted.
pub fn wait(timeout: Option<Duration>) -> Option<Signal> {
    let set = set();
    let time = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: timeout.subsec_nanos().into(),
    });
    loop {
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the set is valid, no details are asked for, the time is null or outlives the
        // call.
        let signal = unsafe { libc::sigtimedwait(&raw const set, std::ptr::null_mut(), time) };
        match signal {
            libc::SIGTERM | libc::SIGINT => return Some(Signal::Stop),
            libc::SIGHUP => return Some(Signal::HangUp),
            _ if timeout.is_some() => return None,
            // Interrupted by a signal that is not ours, for example by a debugger.
            _ => {}
        }
    }
}
