//! The machine's fingerprint: what a figure depends on and a reader would otherwise have to guess.
//!
//! Read from `/proc` and `/sys`; what a machine does not tell is `null`. Nothing here identifies
//! the machine's owner: no host name, no address, no path.

use std::fs;

use serde::Serialize;

/// A machine as far as it matters to a measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Host {
    /// Model of the first core.
    pub cpu: Option<String>,
    /// Cores that are online.
    pub cores: usize,
    /// Whether a hypervisor is below.
    pub virtual_machine: bool,
    /// Memory.
    pub memory_bytes: Option<u64>,
    /// Version of the kernel.
    pub kernel: Option<String>,
    /// Preemption model and build flags the kernel names.
    pub kernel_build: Option<String>,
    /// Frequency governor of the first core.
    pub governor: Option<String>,
    /// Where time comes from.
    pub clocksource: Option<String>,
    /// Weaknesses of the CPU the kernel works around, each with how.
    pub mitigations: Vec<String>,
    /// Transparent huge pages: the choice in brackets.
    pub huge_pages: Option<String>,
    /// The broker's cores, of `--server-pid`.
    pub server_cores: Option<String>,
    /// File system and its options under the files the broker writes, of `--server-pid`.
    pub server_file_system: Option<String>,
    /// The block device below, with model and write cache where known.
    pub server_device: Option<String>,
}

impl Host {
    /// Reads this machine.
    pub fn read(server_pid: Option<u32>) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |key: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let mount = server_pid.and_then(mount_of);
        Self {
            cpu: field("model name"),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            virtual_machine: field("flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            memory_bytes: memory_bytes(),
            kernel: line("/proc/sys/kernel/osrelease"),
            kernel_build: line("/proc/sys/kernel/version"),
            governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            clocksource: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            mitigations: mitigations(),
            huge_pages: line("/sys/kernel/mm/transparent_hugepage/enabled"),
            server_cores: server_pid.and_then(|pid| {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
                let line = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:"))?;
                Some(line.trim().to_owned())
            }),
            server_file_system: mount.as_ref().map(|mount| mount.file_system.clone()),
            server_device: mount.map(|mount| mount.device),
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "?".to_owned());
        let machine = if self.virtual_machine { ", virtual" } else { "" };
        let mut text = format!(
            "{} × {}{machine}, Linux {}, governor {}, clock {}",
            self.cores,
            known(&self.cpu),
            known(&self.kernel),
            known(&self.governor),
            known(&self.clocksource),
        );
        if let (Some(file_system), Some(device)) = (&self.server_file_system, &self.server_device) {
            text.push_str(&format!(", {file_system} on {device}"));
        }
        text
    }
}

fn line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

fn mitigations() -> Vec<String> {
    let folder = "/sys/devices/system/cpu/vulnerabilities";
    let mut found: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let state = line(entry.path().to_str()?)?;
            let name = entry.file_name().into_string().ok()?;
            (state != "Not affected").then(|| format!("{name}: {state}"))
        })
        .collect();
    found.sort();
    found
}

struct Mount {
    file_system: String,
    device: String,
}

/// The file system that holds most of the files a process has open for writing.
fn mount_of(pid: u32) -> Option<Mount> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    // Mount point, type, options, major:minor; the fields are described in proc(5).
    let mounts: Vec<(&str, &str, &str, &str)> = mounts
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let left: Vec<&str> = left.split(' ').collect();
            Some((*left.get(4)?, right.split(' ').next()?, *left.get(5)?, *left.get(2)?))
        })
        .collect();
    let mut votes: Vec<(usize, usize)> = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let fd = entry.file_name();
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", fd.to_string_lossy()));
        let flags = info.ok().and_then(|info| {
            let flags =
                info.lines().find_map(|line| line.strip_prefix("flags:"))?.trim().to_owned();
            u32::from_str_radix(&flags, 8).ok()
        });
        // Read-only files are libraries and jars.
        let writes = flags.is_some_and(|flags| flags & 3 != 0);
        let path = target.to_string_lossy();
        if !writes || !path.starts_with('/') || path.starts_with("/dev/") {
            continue;
        }
        let best = mounts
            .iter()
            .enumerate()
            .filter(|(_, (point, ..))| target.starts_with(point))
            .max_by_key(|(_, (point, ..))| point.len());
        if let Some((index, (_, kind, ..))) = best
            && !matches!(*kind, "proc" | "sysfs" | "tmpfs" | "devtmpfs")
        {
            match votes.iter_mut().find(|(mount, _)| *mount == index) {
                Some((_, count)) => *count += 1,
                None => votes.push((index, 1)),
            }
        }
    }
    let (index, _) = votes.into_iter().max_by_key(|(_, count)| *count)?;
    let (_, kind, options, number) = mounts[index];
    Some(Mount { file_system: format!("{kind} ({options})"), device: device(number) })
}

/// A block device by its number: name, model, scheduler, write cache.
fn device(number: &str) -> String {
    let folder = format!("/sys/dev/block/{number}");
    let name = fs::read_link(&folder)
        .ok()
        .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
        .unwrap_or_else(|| format!("device {number}"));
    // A partition's queue is its disk's.
    let disk = |file: &str| {
        line(&format!("{folder}/{file}")).or_else(|| line(&format!("{folder}/../{file}")))
    };
    let mut text = name;
    for (label, file) in [("", "device/model"), ("cache ", "queue/write_cache")] {
        if let Some(value) = disk(file) {
            text.push_str(&format!(", {label}{value}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_says_at_least_its_kernel_and_cores() {
        let host = Host::read(Some(std::process::id()));
        assert!(host.cores > 0 && host.kernel.is_some() && host.server_cores.is_some());
        assert!(host.line().contains("Linux"));
    }
}
