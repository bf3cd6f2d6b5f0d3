//! Memory: nothing of the broker's is swapped, compacted under it or fetched from far away.

use super::{Judged, Survey};
use crate::setting::{About, Form, Kind, Place, Status};

/// Dirty pages at which the kernel begins to write them back; in a burst they delay the journal.
const DIRTY_BACKGROUND_BYTES: u64 = 256 << 20;

/// Dirty pages at which who makes them waits.
const DIRTY_BYTES: u64 = 1 << 30;

/// Transparent huge pages.
pub static THP: About = About {
    name: "mem.thp",
    why: "With `always` the kernel merges and splits pages under a running process, which stalls \
          it at moments of its own choosing.",
    kind: Kind::Insurance,
};

/// Compaction in the fault.
pub static THP_DEFRAG: About = About {
    name: "mem.thp_defrag",
    why: "With `always` a page fault may first compact memory, for milliseconds.",
    kind: Kind::Insurance,
};

/// Swapping.
pub static SWAPPINESS: About = About {
    name: "mem.swappiness",
    why: "Under memory pressure a low value drops cached files first, so that a shard's buffers \
          are not read back from swap in the middle of a request.",
    kind: Kind::Insurance,
};

/// Write-back begins.
pub static DIRTY_BACKGROUND: About = About {
    name: "mem.dirty_background",
    why: "The broker writes past the page cache; what other programs leave dirty reaches the same \
          disk in one burst, in front of the journal, unless write-back starts early.",
    kind: Kind::Insurance,
};

/// Writers wait.
pub static DIRTY: About = About {
    name: "mem.dirty",
    why: "The upper bound of the same burst: gigabytes of dirty pages keep a disk busy for \
          seconds.",
    kind: Kind::Insurance,
};

/// Reclaim before going far.
pub static ZONE_RECLAIM: About = About {
    name: "mem.zone_reclaim",
    why: "With it on, an allocation reclaims pages of its own memory node first instead of using \
          free memory of another, and stalls meanwhile.",
    kind: Kind::Insurance,
};

/// Automatic placement.
pub static BALANCING: About = About {
    name: "mem.numa_balancing",
    why: "Takes pages away from a process to see which node uses them: page faults on pinned \
          threads that learn nothing from it.",
    kind: Kind::Speed,
};

/// Placement of devices.
pub static PLACEMENT: About = About {
    name: "mem.numa_placement",
    why: "A disk or a card at another memory node than the shard costs every transfer the way \
          between the sockets.",
    kind: Kind::Report,
};

pub(super) const ALL: &[&About] = &[
    &THP,
    &THP_DEFRAG,
    &SWAPPINESS,
    &DIRTY_BACKGROUND,
    &DIRTY,
    &ZONE_RECLAIM,
    &BALANCING,
    &PLACEMENT,
];

pub(super) fn judge(survey: &mut Survey<'_>) {
    for (about, file) in [(&THP, "enabled"), (&THP_DEFRAG, "defrag")] {
        let path = format!("/sys/kernel/mm/transparent_hugepage/{file}");
        survey.file(about, Place::Host, &path, Form::Choice, |value| match value {
            "always" => Judged::Write("madvise".to_owned()),
            value => Judged::Good(value.to_owned()),
        });
    }
    if survey.host.has_swap {
        survey.at_most(&SWAPPINESS, "/proc/sys/vm/swappiness", 10, 1);
    } else {
        survey.note(&SWAPPINESS, Place::Host, Status::Good, None, "this host has no swap");
    }
    dirty(survey);
    let nodes = survey.host.nodes.len();
    if nodes < 2 {
        for about in [&ZONE_RECLAIM, &BALANCING, &PLACEMENT] {
            survey.absent(about, "this host has one memory node");
        }
        return;
    }
    survey.at_most(&ZONE_RECLAIM, "/proc/sys/vm/zone_reclaim_mode", 0, 0);
    survey.at_most(&BALANCING, "/proc/sys/kernel/numa_balancing", 0, 0);
    placement(survey);
}

/// Either the bytes or the percentage is in force; the other one reads 0 and must not be written.
fn dirty(survey: &mut Survey<'_>) {
    let memory_bytes = survey.host.memory_bytes.max(1);
    let settings = [
        (&DIRTY_BACKGROUND, "dirty_background", DIRTY_BACKGROUND_BYTES, 1, 5),
        (&DIRTY, "dirty", DIRTY_BYTES, 2, 10),
    ];
    for (about, name, bytes, least, most) in settings {
        let in_bytes = format!("/proc/sys/vm/{name}_bytes");
        let has_bytes = survey.files.text(&in_bytes).is_some_and(|text| text != "0");
        if has_bytes {
            survey.at_most(about, &in_bytes, bytes, bytes);
        } else {
            let percent = (bytes.saturating_mul(100) / memory_bytes).clamp(least, most);
            survey.at_most(about, &format!("/proc/sys/vm/{name}_ratio"), percent, percent);
        }
    }
}

fn placement(survey: &mut Survey<'_>) {
    let host = survey.host;
    let mut nodes: Vec<u32> = host.shards.iter().filter_map(|core| host.node_of(core)).collect();
    nodes.dedup();
    nodes.sort_unstable();
    nodes.dedup();
    let shown: Vec<String> = nodes.iter().map(u32::to_string).collect();
    let shown = format!("shards on node {}", shown.join(","));
    let mut far = false;
    for device in host.disks().into_iter().chain(&host.cards) {
        let Some(node) = device.node.filter(|node| !nodes.contains(node)) else { continue };
        far = true;
        let place = Place::Named(device.name.clone());
        let how = format!(
            "{} is at node {node}: choose --cores there, or put the device elsewhere",
            device.name
        );
        survey.note(&PLACEMENT, place, Status::Advice, Some(&shown), &how);
    }
    if !far {
        let note = "no disk or card is at a node without shards";
        survey.note(&PLACEMENT, Place::Host, Status::Good, Some(&shown), note);
    }
}
