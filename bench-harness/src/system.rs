//! The few system calls that the standard library lacks: CPU clocks of other processes, and which
//! cores a thread may run on.
#![expect(unsafe_code, reason = "plain system calls on values of this module")]

use std::io;
use std::mem::MaybeUninit;

/// CPU time that all threads of a process have used, in nanoseconds. Exact where `/proc` counts in
/// hundredths of a second. 0 means this process.
pub fn process_cpu_ns(pid: u32) -> io::Result<u64> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut clock = 0;
    // SAFETY: writes one clock id to a variable that lives through the call.
    let code = unsafe { libc::clock_getcpuclockid(pid, &mut clock) };
    if code != 0 {
        return Err(io::Error::from_raw_os_error(code));
    }
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: writes one timespec to a variable that lives through the call.
    if unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded and so has written it.
    let time = unsafe { time.assume_init() };
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Binds the calling thread, and those it starts from here on, to these cores.
pub fn bind_to(cores: &[usize]) -> io::Result<()> {
    // SAFETY: an all-zero set is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &core in cores {
        if core >= libc::CPU_SETSIZE as usize {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        // SAFETY: the core is below the set's size.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: reads a set that lives through the call; 0 is the calling thread.
    if unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The highest core that the calling thread may run on: under `taskset` and in containers not the
/// machine's last, and not the number of cores less one either.
pub fn last_core() -> Option<usize> {
    // SAFETY: an all-zero set is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes a set that lives through the call; 0 is the calling thread.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) } != 0 {
        return None;
    }
    // SAFETY: every core is below the set's size.
    (0..libc::CPU_SETSIZE as usize).rev().find(|&core| unsafe { libc::CPU_ISSET(core, &set) })
}

/// Bytes of a memory page.
pub fn page_bytes() -> u64 {
    // SAFETY: has no precondition.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

/// Allows as many open files as the machine lets this process have.
pub fn raise_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes, then reads, a variable that lives through both calls. A refusal shows when
    // connections are opened.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_core_is_the_last_of_those_allowed() {
        // A thread of its own: the mask goes with it.
        let allowed = std::thread::spawn(|| {
            let all = last_core().expect("the mask");
            bind_to(&[0]).map(|()| (all, last_core()))
        });
        // Core 0 may be one that this machine does not lend.
        if let Ok((all, only)) = allowed.join().expect("no panic") {
            assert_eq!(only, Some(0));
            assert!(all < libc::CPU_SETSIZE as usize);
        }
    }

    #[test]
    fn a_process_has_used_its_own_cpu() {
        let before = process_cpu_ns(0).expect("its own clock");
        let mut sum = 0_u64;
        while process_cpu_ns(std::process::id()).expect("its own clock") < before + 1_000_000 {
            sum = sum.wrapping_mul(31).wrapping_add(1);
        }
        assert!(process_cpu_ns(u32::MAX).is_err(), "{sum}");
    }
}
