//! Limits of processes: files, locked memory, io_uring.

use super::{Judged, Survey};
use crate::setting::{About, Form, Kind, Place, Status};

/// Files and connections of a large broker: 10,000 connections and 10,000 partitions with their
/// three files each leave room in it.
const OPEN_FILES: u64 = 65_536;

/// What a service may be allowed at most; the kernel's default.
const OPEN_FILES_CEILING: u64 = 1_048_576;

/// Locked memory for a shard's rings and their buffers. On Linux 6.18 two shards start with 512 KiB
/// and none with 16 KiB; the rest is room for kernels that count more.
const LOCKED_BYTES_PER_SHARD: u64 = 1 << 20;

/// Open files of this session.
pub static OPEN: About = About {
    name: "limits.open_files",
    why: "Each connection is a file and each partition up to three; the broker raises its own \
          limit to the hard one, and no further.",
    kind: Kind::Report,
};

/// Ceiling of open files.
pub static CEILING: About = About {
    name: "limits.nr_open",
    why: "No service can be given more open files than this.",
    kind: Kind::Insurance,
};

/// Locked memory.
pub static LOCKED: About = About {
    name: "limits.memlock",
    why: "io_uring's queues and buffers count as locked memory for a broker that is not root; \
          beyond the limit it cannot start its shards.",
    kind: Kind::Report,
};

/// Old asynchronous I/O.
pub static AIO: About = About {
    name: "limits.aio",
    why: "Bounds the older libaio only; the broker uses io_uring, which it does not bound.",
    kind: Kind::Report,
};

/// io_uring.
pub static IO_URING: About = About {
    name: "limits.io_uring",
    why: "The broker does all network and disk work through io_uring and cannot start without it.",
    kind: Kind::Report,
};

pub(super) const ALL: &[&About] = &[&OPEN, &CEILING, &LOCKED, &AIO, &IO_URING];

pub(super) fn judge(survey: &mut Survey<'_>) {
    let limits = survey.files.text("/proc/self/limits").unwrap_or_default();
    let session = Place::Named("this session".to_owned());
    match hard_limit(&limits, "Max open files") {
        None => survey.absent(&OPEN, "the kernel does not show this session's limits"),
        Some(limit) => {
            let how = "LimitNOFILE=1048576 in the service (`corelane tune unit` prints one)";
            let good = limit.is_none_or(|limit| limit >= OPEN_FILES);
            tell(survey, &OPEN, &session, good, limit, how);
        }
    }
    survey.at_least(&CEILING, "/proc/sys/fs/nr_open", OPEN_FILES_CEILING);
    let wanted = LOCKED_BYTES_PER_SHARD * survey.host.shards.len() as u64;
    match hard_limit(&limits, "Max locked memory") {
        None => survey.absent(&LOCKED, "the kernel does not show this session's limits"),
        Some(limit) => {
            let how = "LimitMEMLOCK=infinity in the service (root is not bound by it)";
            let good = limit.is_none_or(|limit| limit >= wanted);
            tell(survey, &LOCKED, &session, good, limit, how);
        }
    }
    survey.file(&AIO, Place::Host, "/proc/sys/fs/aio-max-nr", Form::Text, |_| {
        Judged::Info("nothing to do for this broker".to_owned())
    });
    let path = "/proc/sys/kernel/io_uring_disabled";
    survey.file(&IO_URING, Place::Host, path, Form::Text, |value| match value {
        "0" => Judged::Good("0".to_owned()),
        "1" => Judged::Advice(
            "0".to_owned(),
            "put the broker's group into kernel.io_uring_group, or allow it to all with 0".into(),
        ),
        "2" => Judged::Advice("0".to_owned(), "sysctl kernel.io_uring_disabled=0".to_owned()),
        _ => Judged::Strange,
    });
    // Before kernel 6.6 there is no switch: io_uring is there or it is not.
    if let Some(last) = survey.findings.last_mut()
        && last.status == Status::Absent
    {
        last.note = Some("this kernel has no switch for it".to_owned());
    }
}

/// The hard limit: `Some(None)` is no limit.
fn hard_limit(limits: &str, name: &str) -> Option<Option<u64>> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().nth(1)? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

fn tell(
    survey: &mut Survey<'_>,
    about: &'static About,
    place: &Place,
    good: bool,
    limit: Option<u64>,
    how: &str,
) {
    let shown = limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let (status, note) = match good {
        true => (Status::Good, "enough"),
        false => (Status::Advice, how),
    };
    survey.note(about, place.clone(), status, Some(&shown), note);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hard_limit_is_the_second_number() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\n\
                      Max locked memory         8388608              unlimited            bytes\n\
                      Max open files            1024                 20000                files\n";
        assert_eq!(hard_limit(limits, "Max open files"), Some(Some(20_000)));
        assert_eq!(hard_limit(limits, "Max locked memory"), Some(None));
        assert_eq!(hard_limit(limits, "Max nothing"), None);
    }
}
