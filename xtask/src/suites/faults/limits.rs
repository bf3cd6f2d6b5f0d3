//! Limits of the machine: memory by cgroup, a network that is cut.
//!
//! `tests/faults/limits.py` loads a broker whose cgroup allows it little memory, and cuts and mutes
//! connections through a proxy of its own. The kernel may kill at the limit, and then a start must
//! find everything; the broker itself must not die of a request.

use std::fs;
use std::path::PathBuf;

use super::{Ended, Faults, conformance};

/// What the broker may use: buffers, caches and what one 100 MiB batch takes to be checked.
const MEMORY_BYTES: u64 = 640 << 20;

pub(super) fn run(faults: &mut Faults<'_, '_>, suite: &str) -> Result<(), Ended> {
    let group = Group::make()?;
    let mut plan = faults.run.plan(suite)?;
    // It joins the group and becomes the broker.
    let join = format!("echo $$ > {} && exec \"$@\"", group.0.join("cgroup.procs").display());
    plan.wrapped_in(&["sh", "-c", &join, "sh"]);
    let mut server = plan.start()?;
    let mut command = faults.python("tests/faults/limits.py");
    command.args(["--bootstrap", &server.bootstrap, "--pid", &server.pid().to_string()]);
    command.args(["--limit", &MEMORY_BYTES.to_string()]);
    faults.judge(suite, &mut command);
    if !server.alive() {
        return Err(Ended::Failed(format!("the broker died; {}", server.tail())));
    }
    conformance::stop(server, &mut faults.run.tally);
    Ok(())
}

/// A memory cgroup of ours, removed when dropped.
struct Group(PathBuf);

impl Group {
    fn make() -> Result<Group, Ended> {
        let name = format!("corelane-faults-{}", std::process::id());
        let one = PathBuf::from("/sys/fs/cgroup/memory");
        let (folder, limit) = if one.is_dir() {
            (one.join(name), "memory.limit_in_bytes")
        } else {
            (PathBuf::from("/sys/fs/cgroup").join(name), "memory.max")
        };
        let impossible = |error| Ended::Impossible(format!("{}: {error}", folder.display()));
        fs::create_dir(&folder).map_err(impossible)?;
        let group = Group(folder.clone());
        fs::write(folder.join(limit), MEMORY_BYTES.to_string()).map_err(impossible)?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
