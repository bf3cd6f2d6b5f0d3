//! What the process takes from the machine: cores (`--cores 0,2-5`), pinned threads, descriptors.
#![expect(unsafe_code, reason = "affinity and limits are system calls without a safe wrapper")]

use std::io;

/// Why a list of cores is not usable.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CoresError {
    #[error("`{0}` is not a core or a range of cores; write for example 0,2-5")]
    Syntax(String),
    #[error("core {0} is named twice")]
    Twice(usize),
    #[error("core {core} is not available to this process, which may use {available}")]
    NotAvailable { core: usize, available: String },
}

/// Cores in the order they were named.
pub fn parse(list: &str) -> Result<Vec<usize>, CoresError> {
    let syntax = |part: &str| CoresError::Syntax(part.to_owned());
    let number = |text: &str, part: &str| match text.trim().parse::<usize>() {
        Ok(core) if core < libc::CPU_SETSIZE as usize => Ok(core),
        Ok(_) | Err(_) => Err(syntax(part)),
    };
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first, part)?, number(last, part)?),
            None => (number(part, part)?, number(part, part)?),
        };
        if first > last {
            return Err(syntax(part));
        }
        for core in first..=last {
            if cores.contains(&core) {
                return Err(CoresError::Twice(core));
            }
            cores.push(core);
        }
    }
    Ok(cores)
}

/// Writes cores as `parse` reads them: ascending neighbours as a range.
pub fn format(cores: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for &core in cores {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == core => *last = core,
            Some(_) | None => parts.push((core, core)),
        }
    }
    let texts =
        parts.iter().map(
            |(first, last)| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            },
        );
    texts.collect::<Vec<_>>().join(",")
}

/// Cores this process may run on, ascending.
pub fn available() -> io::Result<Vec<usize>> {
    // SAFETY: a set of zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is writable and of the stated size.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: every index is below CPU_SETSIZE.
    let is_set = |core: &usize| unsafe { libc::CPU_ISSET(*core, &set) };
    Ok((0..libc::CPU_SETSIZE as usize).filter(is_set).collect())
}

/// Checks that all of `cores` are among those `available`.
pub fn check(cores: &[usize], available: &[usize]) -> Result<(), CoresError> {
    match cores.iter().find(|core| !available.contains(core)) {
        Some(&core) => Err(CoresError::NotAvailable { core, available: format(available) }),
        None => Ok(()),
    }
}

/// A set of cores, as the kernel takes it.
pub fn set_of(cores: &[usize]) -> libc::cpu_set_t {
    // SAFETY: a set of zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &core in cores {
        assert!(core < libc::CPU_SETSIZE as usize, "cores were parsed or listed");
        // SAFETY: below CPU_SETSIZE.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    set
}

/// Pins the calling thread.
pub fn pin(core: usize) -> io::Result<()> {
    let set = set_of(&[core]);
    // SAFETY: the set is readable and of the stated size.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Raises the limit of open files to the hardest one allowed; says what it is then.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is writable.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the limit is readable.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_read_and_written() {
        assert_eq!(parse("0,2-5"), Ok(vec![0, 2, 3, 4, 5]));
        assert_eq!(parse("7"), Ok(vec![7]));
        assert_eq!(format(&[0, 2, 3, 4, 5]), "0,2-5");
        assert_eq!(format(&[3, 1]), "3,1");
    }

    #[test]
    fn what_is_not_a_list_of_cores_is_refused() {
        for list in ["", "a", "1-", "3-1", "1,,2", "-1", "99999"] {
            assert!(matches!(parse(list), Err(CoresError::Syntax(_))), "{list}");
        }
        assert_eq!(parse("1,0-2"), Err(CoresError::Twice(1)));
    }

    #[test]
    fn a_core_outside_the_container_is_refused_by_name() {
        let error = check(&[0, 9], &[0, 1]).expect_err("9 is not there");
        assert_eq!(error.to_string(), "core 9 is not available to this process, which may use 0-1");
    }
}
