//! Interrupts and kernel work: where they run, and that it is not where shards run.

use super::{Judged, Survey};
use crate::cores::CoreSet;
use crate::files::Trouble;
use crate::host::Device;
use crate::setting::{About, Finding, Form, Kind, Place, Status};

/// Interrupts to come.
pub static DEFAULT: About = About {
    name: "irq.default",
    why: "A device that starts later puts its interrupts where this mask says; without shard \
          cores in it they stay away from the beginning.",
    kind: Kind::Insurance,
};

/// Disk interrupts.
pub static DISK: About = About {
    name: "irq.disk",
    why: "A durable write completes in a kernel thread on the core that takes the disk's \
          interrupt; behind a busy loop there it waits for the timer tick (measured: 4 ms).",
    kind: Kind::Speed,
};

/// Card interrupts.
pub static NETWORK: About = About {
    name: "irq.network",
    why: "A card's interrupt and the packet work after it preempt the shard on that core, in the \
          middle of a request.",
    kind: Kind::Speed,
};

/// Unbound kernel workers.
pub static WORKERS: About = About {
    name: "irq.workqueues",
    why: "Kernel workers that belong to no core (write-back, flushes, io_uring helpers of others) \
          run on any core of this mask.",
    kind: Kind::Speed,
};

/// irqbalance.
pub static BALANCER: About = About {
    name: "irq.balancer",
    why: "irqbalance moves interrupts back within seconds, also onto shard cores.",
    kind: Kind::Report,
};

pub(super) const ALL: &[&About] = &[&DEFAULT, &DISK, &NETWORK, &WORKERS, &BALANCER];

pub(super) fn judge(survey: &mut Survey<'_>) {
    let host = survey.host;
    balancer(survey);
    if host.others.is_empty() {
        let note = "every core runs a shard; with --cores one can be left for interrupts";
        for about in [&DEFAULT, &DISK, &NETWORK, &WORKERS] {
            survey.note(about, Place::Host, Status::Info, None, note);
        }
        return;
    }
    let others = host.others.clone();
    let mask = |value: &str| away(CoreSet::from_mask(value), &others, CoreSet::to_mask);
    let path = "/proc/irq/default_smp_affinity";
    survey.file(&DEFAULT, Place::Host, path, Form::Mask, mask);

    devices(survey, &DISK, &host.disks(), "no disk was found below the data folder");
    let cards: Vec<&Device> = host.cards.iter().collect();
    devices(survey, &NETWORK, &cards, "no network card that is up");

    let path = "/sys/devices/virtual/workqueue/cpumask";
    survey.file(&WORKERS, Place::Host, path, Form::Mask, mask);
}

/// The cores a mask should keep: those without a shard that it has, or all of them.
fn away(mask: Option<CoreSet>, others: &CoreSet, print: impl Fn(&CoreSet) -> String) -> Judged {
    match mask {
        None => Judged::Strange,
        Some(mask) if mask.is_within(others) => Judged::Good(print(&mask)),
        Some(_) => Judged::Write(print(others)),
    }
}

fn devices(survey: &mut Survey<'_>, about: &'static About, devices: &[&Device], none: &str) {
    let before = survey.findings.len();
    for device in devices {
        // Cores of the device's own memory node, if some of them run no shard.
        let near = survey.host.nodes.iter().find(|(node, _)| Some(*node) == device.node);
        let near = near.map(|(_, cores)| cores.and(&survey.host.others)).unwrap_or_default();
        let home = if near.is_empty() { survey.host.others.clone() } else { near };
        for interrupt in &device.interrupts {
            let place = Place::Named(format!("irq {} {}", interrupt.number, interrupt.name));
            one(survey, about, place, interrupt.number, &home);
        }
    }
    if survey.findings.len() == before {
        let note = match devices {
            [] => none.to_owned(),
            [first, ..] => format!("the kernel shows no interrupts of {}", first.name),
        };
        survey.absent(about, &note);
    }
}

fn one(survey: &mut Survey<'_>, about: &'static About, place: Place, number: u32, home: &CoreSet) {
    let others = survey.host.others.clone();
    let folder = format!("/proc/irq/{number}");
    let allowed = format!("{folder}/smp_affinity_list");
    let effective = survey.files.text(&format!("{folder}/effective_affinity_list"));
    let effective = effective.filter(|text| !text.is_empty());
    let effective: Option<CoreSet> = effective.and_then(|text| text.parse().ok());
    survey.file(about, place, &allowed, Form::List, |value| {
        let print = CoreSet::to_string;
        match value.parse::<CoreSet>() {
            Err(_) => Judged::Strange,
            Ok(cores) if cores.is_within(&others) => Judged::Good(print(&cores)),
            Ok(_) => Judged::Write(print(home)),
        }
    });
    // One the kernel places by itself matters only where it really arrives.
    let Some(last) = survey.findings.last_mut() else { return };
    let is_kept = survey.files.may_write(&allowed) == Err(Trouble::Fixed);
    if last.status != Status::Untouchable || !is_kept {
        return;
    }
    if let Some(cores) = effective {
        managed(last, &cores, &others);
    }
}

fn managed(finding: &mut Finding, effective: &CoreSet, others: &CoreSet) {
    finding.current = Some(format!("on {effective}"));
    if effective.is_within(others) {
        finding.status = Status::Good;
        finding.note = Some("the kernel places it, away from shards".to_owned());
    } else if let Some(note) = &mut finding.note {
        note.push_str(
            "; it follows the queue's cores, so let nothing else spin there, or start the broker \
             with corelane.journal.sync=fdatasync",
        );
    }
}

fn balancer(survey: &mut Survey<'_>) {
    let processes = survey.files.names("/proc").into_iter();
    let mut processes = processes.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let is_it = |pid: &String| {
        survey.files.text(&format!("/proc/{pid}/comm")).as_deref() == Some("irqbalance")
    };
    match processes.find(is_it) {
        None => survey.note(&BALANCER, Place::Host, Status::Good, None, "it does not run"),
        Some(pid) => {
            let how = format!(
                "put IRQBALANCE_BANNED_CPULIST={} into its settings and restart it, or stop it",
                survey.host.shards
            );
            let shown = format!("process {pid}");
            survey.note(&BALANCER, Place::Host, Status::Advice, Some(&shown), &how);
        }
    }
}
