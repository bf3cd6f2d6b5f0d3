//! Disks below the data folder: their queues, what they promise, and how they are mounted.

use super::{Judged, Survey};
use crate::host::{Device, Folder};
use crate::setting::{About, Form, Kind, Place, Status};

/// I/O scheduler.
pub static SCHEDULER: About = About {
    name: "disk.scheduler",
    why: "The journal has one write in flight: there is nothing to reorder, and a scheduler adds a \
          lock and a decision to it. Only a spinning disk gains from one.",
    kind: Kind::Speed,
};

/// Volatile cache.
pub static CACHE: About = About {
    name: "disk.write_cache",
    why: "Before a volatile cache every durable write pays a flush; a disk with power-loss \
          protection says `write through` and needs none.",
    kind: Kind::Report,
};

/// File system.
pub static FILE_SYSTEM: About = About {
    name: "disk.file_system",
    why: "The broker writes with direct I/O into files made beforehand: tested on ext4; xfs \
          promises the same. What copies on write or has no disk keeps less of it.",
    kind: Kind::Report,
};

/// Mount options.
pub static MOUNT: About = About {
    name: "disk.mount",
    why: "Some mount options break the promise of an ack (no barriers), others put work into its \
          way (discard at each delete, a time stamp at each read, data in the file system's \
          journal).",
    kind: Kind::Report,
};

pub(super) const ALL: &[&About] = &[&SCHEDULER, &CACHE, &FILE_SYSTEM, &MOUNT];

pub(super) fn judge(survey: &mut Survey<'_>) {
    let host = survey.host;
    let disks = host.disks();
    if disks.is_empty() {
        for about in [&SCHEDULER, &CACHE] {
            survey.absent(about, "no disk was found below the data folder");
        }
    }
    for disk in disks {
        scheduler(survey, disk);
        cache(survey, disk);
    }
    if host.folders.is_empty() {
        for about in [&FILE_SYSTEM, &MOUNT] {
            survey.absent(about, "the mount table does not show what the data folder lies on");
        }
    }
    for folder in &host.folders {
        file_system(survey, folder);
        mount(survey, folder);
    }
}

fn scheduler(survey: &mut Survey<'_>, disk: &Device) {
    let files = survey.files;
    let queue = format!("{}/queue", disk.path);
    let rotational = files.text(&format!("{queue}/rotational")).as_deref() == Some("1");
    // A virtual disk says it rotates when nobody told it otherwise.
    let virtual_disk = ["vd", "xvd", "nvme"].iter().any(|prefix| disk.name.starts_with(prefix));
    let spins = rotational && !virtual_disk;
    // A change of scheduler sets these back to its defaults.
    let mut companions = vec![format!("{queue}/nr_requests"), format!("{queue}/wbt_lat_usec")];
    let own = files.names(&format!("{queue}/iosched")).into_iter();
    companions.extend(own.map(|name| format!("{queue}/iosched/{name}")));
    let path = format!("{queue}/scheduler");
    let offered = files.text(&path).unwrap_or_default();
    let offers =
        |word: &str| offered.split_whitespace().any(|w| w.trim_matches(['[', ']']) == word);
    let place = Place::Named(disk.name.clone());
    survey.file_with(&SCHEDULER, place, &path, Form::Choice, &companions, |value| {
        if spins {
            return match value {
                "none" if offers("mq-deadline") => Judged::Write("mq-deadline".to_owned()),
                value => Judged::Good(value.to_owned()),
            };
        }
        match value {
            "none" => Judged::Good("none".to_owned()),
            _ if offers("none") => Judged::Write("none".to_owned()),
            _ => Judged::Info("this kernel offers nothing simpler".to_owned()),
        }
    });
}

fn cache(survey: &mut Survey<'_>, disk: &Device) {
    let place = Place::Named(disk.name.clone());
    let path = format!("{}/queue/write_cache", disk.path);
    survey.file(&CACHE, place, &path, Form::Text, |value| match value {
        "write through" => Judged::Good(value.to_owned()),
        _ => {
            let note = "each durable write pays a flush; a disk with power-loss protection would \
                        not. Never declare a cache away that is there";
            Judged::Info(note.to_owned())
        }
    });
}

fn file_system(survey: &mut Survey<'_>, folder: &Folder) {
    let shown = format!("{} on {}", folder.file_system, folder.source);
    let place = Place::Named(folder.path.clone());
    let (status, note) = match folder.file_system.as_str() {
        "ext4" | "xfs" => (Status::Good, "journaled, with direct I/O"),
        "tmpfs" | "ramfs" => (Status::Advice, "this is memory: a power cut takes everything"),
        "overlay" => {
            (Status::Advice, "a container's layer: mount a volume with ext4 or xfs for the data")
        }
        "nfs" | "nfs4" | "cifs" | "fuse" | "9p" | "virtiofs" => {
            (Status::Advice, "a remote file system: what it holds durable, and when, is its own")
        }
        "btrfs" | "zfs" | "bcachefs" | "f2fs" => {
            (Status::Advice, "it moves data at each write: prefer ext4 or xfs")
        }
        _ => (Status::Info, "not one that was tested"),
    };
    survey.note(&FILE_SYSTEM, place, status, Some(&shown), note);
}

fn mount(survey: &mut Survey<'_>, folder: &Folder) {
    let harmful = [
        ("barrier=0", "breaks the promise of an ack in a power cut: remove it"),
        ("nobarrier", "breaks the promise of an ack in a power cut: remove it"),
        ("data=journal", "writes everything twice and refuses direct I/O: remove it"),
        ("sync", "every write waits for the disk: remove it"),
        ("dirsync", "every rename waits for the disk: remove it"),
        ("strictatime", "every read writes a time stamp: use noatime"),
        ("discard", "deleting a segment waits for the disk's trim: run fstrim by a timer instead"),
        ("ro", "mounted for reading: a broker cannot start here"),
    ];
    let mut found = 0;
    for (option, what) in harmful {
        if folder.options.iter().any(|has| has == option) {
            found += 1;
            let place = Place::Named(folder.mount_point.clone());
            survey.note(&MOUNT, place, Status::Advice, Some(option), what);
        }
    }
    if found == 0 {
        let place = Place::Named(folder.mount_point.clone());
        let shown = folder.options.join(",");
        survey.note(&MOUNT, place, Status::Good, Some(&shown), "nothing in the way");
    }
}
