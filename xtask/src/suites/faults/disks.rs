//! Disks that are full, read-only, broken or slow under the running broker.
//!
//! `tests/faults/disks.py` causes each fault and judges the answers; this file gives it a broker
//! whose folder is on a disk that obeys, and where a fault is final until a restart, restarts both.

use std::fs;

use super::{Ended, Faults};
use crate::disk::Disk;
use crate::server::{Plan, Server};

const DISK_BYTES: u64 = 512 << 20;

/// The faults, and whether what they broke works again without a restart.
const FAULTS: [(&str, bool); 6] = [
    ("full", true),
    ("slow", true),
    ("eio_read", false),
    ("eio_write", false),
    ("eio_flush", false),
    ("read_only", false),
];

pub(super) fn run(faults: &mut Faults<'_, '_>, suite: &str) -> Result<(), Ended> {
    let mut plan = faults
        .run
        .plan(suite)?
        .with("corelane.journal.bytes", "16777216")
        .with("corelane.tail.bytes", "8388608")
        .with("log.segment.bytes", "4194304");
    let mut disk = Disk::make(&plan.folder().join("disk"), &plan.data(), DISK_BYTES)?;
    let mut server = plan.start()?;
    for (name, heals) in FAULTS {
        program(faults, suite, name, &plan, &disk, &server);
        if heals {
            continue;
        }
        // It may have ended by itself: a disk that is gone leaves nothing to serve.
        if server.alive() {
            server.kill();
        }
        disk.restart()?;
        server = plan.start().map_err(|reason| format!("after {name}: {reason}"))?;
        program(faults, suite, &format!("after_{name}"), &plan, &disk, &server);
    }
    super::conformance::stop(server, &mut faults.run.tally);
    let _ = fs::remove_dir_all(plan.folder().join("memory"));
    Ok(())
}

fn program(
    faults: &mut Faults<'_, '_>,
    suite: &str,
    phase: &str,
    plan: &Plan,
    disk: &Disk,
    server: &Server,
) {
    let mut command = faults.python("tests/faults/disks.py");
    command.args(["--bootstrap", &server.bootstrap, "--pid", &server.pid().to_string()]);
    command.args(["--phase", phase, "--device", disk.device_name()]);
    command.arg("--control").arg(&disk.control).arg("--mounted").arg(&disk.mounted);
    command.arg("--state").arg(plan.folder().join("state.json"));
    faults.judge(suite, &mut command);
}
