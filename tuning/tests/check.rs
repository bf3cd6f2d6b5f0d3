//! Checking: what is said of a made-up machine, setting by setting.
//!
//! Method: a tree of files as a kernel shows them is surveyed, and each setting's status, values
//! and reason are compared. A setting that is judged wrongly, not judged, or touched fails here.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Kernel, QUEUE, Tree, aims, survey};
use tuning::files::{Files, Trouble};
use tuning::host::{Aims, Host};
use tuning::setting::{Finding, Kind, Place, Status};
use tuning::settings;

/// Status, current and wanted of every finding, by setting.
fn table(findings: &[Finding]) -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut table: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for finding in findings {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let status = finding.status.name();
        let line = match finding.path {
            Some(_) => format!("{status} {} > {}", value(&finding.current), value(&finding.wanted)),
            None => status.to_owned(),
        };
        table.entry(finding.about.name).or_default().insert(line);
    }
    table
}

fn note<'a>(findings: &'a [Finding], setting: &str, place: &str) -> &'a str {
    let is_it = |finding: &&Finding| {
        let shown = Place::summary(std::slice::from_ref(&finding.place));
        finding.about.name == setting && shown.contains(place)
    };
    let finding = findings.iter().find(is_it).expect(setting);
    finding.note.as_deref().unwrap_or_default()
}

#[test]
fn a_machine_out_of_the_box_is_judged_setting_by_setting() {
    let tree = Tree::machine();
    let findings = survey(&tree.files());
    let expected: &[(&str, &[&str])] = &[
        ("cpu.energy_preference", &["change balance_performance > performance"]),
        ("cpu.governor", &["change powersave > performance"]),
        ("cpu.idle_states", &["change 0 > 1"]),
        ("cpu.halt_poll", &["absent"]),
        ("cpu.clocksource", &["change hpet > tsc"]),
        ("cpu.siblings", &["ok"]),
        ("cpu.isolation", &["advice"]),
        ("cpu.tickless", &["ok"]),
        ("cpu.mitigations", &["info"]),
        ("irq.default", &["change f > 1"]),
        ("irq.disk", &["change 0-3 > 0", "untouchable on 1 > 0"]),
        ("irq.network", &["change 2 > 0"]),
        ("irq.workqueues", &["change f > 1"]),
        ("irq.balancer", &["ok"]),
        ("net.rps", &["change f > 1", "ok 0 > 0"]),
        ("net.xps", &["change 0 > 5", "change 0 > a"]),
        ("net.busy_read", &["ok 0 > 0"]),
        ("net.busy_poll", &["change 50 > 0"]),
        ("net.somaxconn", &["change 128 > 4096"]),
        ("net.netdev_max_backlog", &["change 1000 > 10000"]),
        ("net.rmem_max", &["change 212992 > 16777216"]),
        ("net.wmem_max", &["ok 33554432 > at least 16777216"]),
        ("net.tcp_rmem", &["change 4096 131072 6291456 > 4096 131072 16777216"]),
        ("net.tcp_wmem", &["change 4096 16384 4194304 > 4096 16384 16777216"]),
        ("net.slow_start_after_idle", &["change 1 > 0"]),
        ("mem.thp", &["change always > madvise"]),
        ("mem.thp_defrag", &["ok madvise > madvise"]),
        ("mem.swappiness", &["change 60 > 1"]),
        ("mem.dirty_background", &["change 10 > 1"]),
        ("mem.dirty", &["change 8589934592 > 1073741824"]),
        ("mem.zone_reclaim", &["ok 0 > at most 0"]),
        ("mem.numa_balancing", &["change 1 > 0"]),
        ("mem.numa_placement", &["ok"]),
        ("disk.scheduler", &["change mq-deadline > none"]),
        ("disk.write_cache", &["info write back > -"]),
        ("disk.file_system", &["ok"]),
        ("disk.mount", &["advice"]),
        ("limits.open_files", &["advice"]),
        ("limits.nr_open", &["ok 1048576 > at least 1048576"]),
        ("limits.memlock", &["advice"]),
        ("limits.aio", &["info 65536 > -"]),
        ("limits.io_uring", &["ok 0 > 0"]),
    ];
    let found = table(&findings);
    for (setting, lines) in expected {
        let lines: BTreeSet<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(found.get(setting), Some(&lines), "{setting}");
    }
    assert_eq!(found.len(), expected.len(), "a setting is judged that is not expected: {found:?}");
}

#[test]
fn only_the_shards_cores_and_the_data_folders_devices_are_looked_at() {
    let tree = Tree::machine();
    let findings = survey(&tree.files());
    let paths: Vec<&str> = findings.iter().filter_map(|finding| finding.path.as_deref()).collect();
    let touches = |part: &str| paths.iter().any(|path| path.contains(part));
    assert!(touches("/cpu1/") && touches("/irq/40/") && touches("/irq/41/") && touches(QUEUE));
    assert!(!touches("/cpu0/"), "core 0 runs no shard");
    assert!(!touches("/irq/9/"), "an interrupt of neither disk nor card");
    assert!(!touches("/state0/") && !touches("/state1/"), "C1 is shallow enough");
}

#[test]
fn an_interrupt_the_kernel_places_may_not_be_touched_and_says_what_to_do() {
    let tree = Tree::machine();
    let findings = survey(&tree.files());
    let note = note(&findings, "irq.disk", "nvme0q2");
    assert!(note.contains("can only be read") && note.contains("fdatasync"), "{note}");
    tree.remove("/proc/irq/41/effective_affinity_list");
    tree.fixed("/proc/irq/41/effective_affinity_list", "0\n");
    let findings = survey(&tree.files());
    let away = findings.iter().filter(|finding| finding.about.name == "irq.disk");
    assert!(away.into_iter().any(|finding| finding.status == Status::Good), "it is on core 0");
}

#[test]
fn where_nothing_may_be_written_every_change_says_why() {
    for (trouble, says) in [(Trouble::ReadOnly, "container"), (Trouble::Denied, "run as root")] {
        let tree = Tree::machine();
        // Not the kernel's own doing: it arrives away from shards, and somebody may move it there.
        tree.file("/proc/irq/40/effective_affinity_list", "0\n");
        let mut kernel = Kernel::of(&tree);
        kernel.barred = Some(trouble);
        let findings = survey(&kernel);
        for (finding, free) in findings.iter().zip(&survey(&tree.files())) {
            assert!(!matches!(finding.status, Status::Change(_)), "{finding:?}");
            if matches!(free.status, Status::Change(_)) {
                assert_eq!(finding.status, Status::Untouchable, "{finding:?}");
                let note = finding.note.as_deref().unwrap_or_default();
                assert!(note.contains(says) && note.contains("on the host"), "{note}");
                assert!(!note.contains("queue"), "{note}");
            }
        }
    }
}

#[test]
fn a_machine_that_shows_nothing_is_judged_completely_and_left_alone() {
    let tree = Tree::empty();
    let findings = survey(&tree.files());
    for about in settings::all() {
        let of_it: Vec<&Finding> = findings.iter().filter(|f| f.about == about).collect();
        assert!(!of_it.is_empty(), "{} says nothing", about.name);
        for finding in of_it {
            assert!(!matches!(finding.status, Status::Change(_)), "{finding:?}");
            assert!(finding.note.is_some(), "{finding:?} does not say why");
        }
    }
    assert!(tree.snapshot().is_empty(), "checking made files");
}

#[test]
fn strange_values_are_left_alone() {
    let tree = Tree::machine();
    let mut paths: BTreeSet<String> = BTreeSet::new();
    for finding in survey(&tree.files()) {
        paths.extend(finding.path.filter(|_| matches!(finding.status, Status::Change(_))));
    }
    let numbers = paths.iter().filter(|path| path.starts_with("/proc/"));
    for path in numbers.clone() {
        tree.file(path, "<nonsense>\n");
    }
    for finding in survey(&tree.files()) {
        let strange = finding.path.as_ref().is_some_and(|path| path.starts_with("/proc/"));
        assert!(
            !strange || !matches!(finding.status, Status::Change(_)),
            "{finding:?} would be overwritten"
        );
    }
}

#[test]
fn without_a_free_core_interrupts_stay_and_it_is_said() {
    let tree = Tree::machine();
    let files = tree.files();
    let host = Host::look(&files, &Aims { cores: None, ..aims() });
    assert_eq!(host.shards.to_string(), "0-3");
    let findings = settings::survey(&files, &host);
    for finding in findings.iter().filter(|finding| finding.about.name.starts_with("irq.")) {
        assert!(!matches!(finding.status, Status::Change(_)), "{finding:?}");
    }
    assert!(note(&findings, "cpu.isolation", "host").contains("--cores"));
}

#[test]
fn a_spinning_broker_wants_the_card_polled_and_no_tick() {
    let tree = Tree::machine();
    let files = tree.files();
    let host = Host::look(&files, &Aims { busy_poll: true, ..aims() });
    let table = table(&settings::survey(&files, &host));
    assert!(table["net.busy_read"].contains("change 0 > 50"));
    assert!(table["cpu.tickless"].contains("advice"));
}

#[test]
fn a_latency_limit_somebody_holds_makes_idle_states_good() {
    let tree = Tree::machine();
    tree.file("/dev/cpu_dma_latency", "\0\0\0\0");
    assert_eq!(table(&survey(&tree.files()))["cpu.idle_states"], BTreeSet::from(["ok".to_owned()]));
    // Two thousand seconds: nobody asks for anything.
    let none = String::from_utf8(2_000_000_000i32.to_ne_bytes().to_vec());
    let none = none.unwrap_or_else(|_| "\0\0\0\x77".to_owned());
    tree.file("/dev/cpu_dma_latency", &none);
    assert!(table(&survey(&tree.files()))["cpu.idle_states"].contains("change 0 > 1"));
}

#[test]
fn a_data_folder_in_layers_leads_to_its_disks() {
    let tree = Tree::machine();
    let mounts = "24 1 253:0 / /data rw - xfs /dev/mapper/data rw\n";
    tree.file("/proc/self/mountinfo", mounts);
    tree.file("/var/lib/corelane/x", "");
    tree.file("/data/x", "");
    tree.link("/sys/dev/block/253:0", "../../devices/virtual/block/dm-0");
    let slave = "../../../../pci0000:00/0000:00:04.0/nvme/nvme0/nvme0n1/nvme0n1p1";
    tree.link("/sys/devices/virtual/block/dm-0/slaves/nvme0n1p1", slave);
    let files = tree.files();
    let folders = vec!["/data/not/there/yet".to_owned()];
    let host = Host::look(&files, &Aims { data_folders: folders, ..aims() });
    assert_eq!(host.folders[0].file_system, "xfs");
    let names: Vec<&str> = host.disks().iter().map(|disk| disk.name.as_str()).collect();
    assert_eq!(names, ["nvme0n1"]);
    let irqs: Vec<u32> = host.disks()[0].interrupts.iter().map(|irq| irq.number).collect();
    assert_eq!(irqs, [40, 41]);
}

#[test]
fn a_device_at_a_node_without_shards_is_named() {
    let tree = Tree::machine();
    let files = tree.files();
    let cores = Some("1".parse().expect("a list"));
    let host = Host::look(&files, &Aims { cores, ..aims() });
    let findings = settings::survey(&files, &host);
    assert!(note(&findings, "mem.numa_placement", "nvme0n1").contains("node 1"));
}

#[test]
fn a_mount_that_breaks_the_promise_of_an_ack_is_named() {
    let tree = Tree::machine();
    let mounts = "24 1 259:1 / / rw,noatime - ext4 /dev/nvme0n1p1 rw,barrier=0\n";
    tree.file("/proc/self/mountinfo", mounts);
    assert!(note(&survey(&tree.files()), "disk.mount", "/").contains("power cut"));
}

#[test]
fn irqbalance_is_noticed() {
    let tree = Tree::machine();
    tree.file("/proc/812/comm", "irqbalance\n");
    let findings = survey(&tree.files());
    assert!(note(&findings, "irq.balancer", "host").contains("IRQBALANCE_BANNED_CPULIST=1-3"));
}

#[test]
fn a_link_out_of_the_root_is_neither_read_nor_written() {
    let (tree, outside) = (Tree::machine(), Tree::empty());
    outside.file("/secret", "60\n");
    tree.remove("/proc/sys/vm/swappiness");
    tree.link("/proc/sys/vm/swappiness", &outside.place("/secret").display().to_string());
    let mut files = tree.files();
    assert!(files.read("/proc/sys/vm/swappiness").is_err());
    assert!(files.write("/proc/sys/vm/swappiness", "1\n").is_err());
    assert_eq!(outside.read("/secret"), "60\n");
    assert!(table(&survey(&files))["mem.swappiness"].iter().all(|l| l.starts_with("untouchable")));
}

#[test]
fn the_catalogue_is_in_order_and_the_page_of_settings_has_all_of_it() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tuning.md");
    let page = std::fs::read_to_string(page).expect("docs/tuning.md");
    let mut names = BTreeSet::new();
    for about in settings::all() {
        assert!(names.insert(about.name), "{} twice", about.name);
        assert!(about.why.ends_with('.') && !about.why.contains('\n'), "{}", about.name);
        let kind = match about.kind {
            Kind::Speed => "speed",
            Kind::Insurance => "insurance",
            Kind::Report => "report",
        };
        let row = format!("| `{}` | {kind} |", about.name);
        assert!(page.contains(&row), "docs/tuning.md lacks the row {row}");
        assert_eq!(settings::named(about.name), [about]);
    }
    let rows = page.lines().filter(|line| line.starts_with("| `") && line.contains('.'));
    let listed = rows.filter(|row| {
        ["speed", "insurance", "report"].iter().any(|k| row.contains(&format!("| {k} |")))
    });
    assert_eq!(listed.count(), names.len(), "docs/tuning.md lists a setting there is not");
}
