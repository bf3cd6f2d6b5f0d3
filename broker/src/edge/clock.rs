//! The clocks: time of day once per turn of the event loop, the monotonic one a few times more.
#![expect(unsafe_code, reason = "clock_gettime: the standard library hides the monotonic value")]

use crate::time::Now;

/// Reads both clocks. All shards of a process share their origin.
pub fn now() -> Now {
    let wall = read(libc::CLOCK_REALTIME);
    Now { mono_ns: mono_ns(), wall_ms: wall.tv_sec * 1_000 + wall.tv_nsec / 1_000_000 }
}

/// Reads the monotonic clock.
pub fn mono_ns() -> u64 {
    let mono = read(libc::CLOCK_MONOTONIC);
    mono.tv_sec as u64 * 1_000_000_000 + mono.tv_nsec as u64
}

/// CPU time of the calling thread. A system call: not for every turn.
pub fn thread_cpu_ns() -> u64 {
    let time = read(libc::CLOCK_THREAD_CPUTIME_ID);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable and outlives the call.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert!(result == 0, "these clocks exist on Linux");
    time
}
