//! What a broker's process has used, read from `/proc`: its side of the bill.

use std::fs;

use crate::system;

/// A process's counters at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// CPU time of all its threads, in nanoseconds.
    pub cpu_ns: u64,
    /// The part of it spent in the kernel, in nanoseconds; exact to a hundredth of a second.
    pub kernel_ns: u64,
    /// Times a thread gave up its core by waiting.
    pub switches_voluntary: u64,
    /// Times a thread lost its core.
    pub switches_involuntary: u64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Highest resident memory so far.
    pub resident_bytes_max: u64,
    /// Bytes caused to be written to storage; 0 where it may not be read.
    pub disk_written_bytes: u64,
    /// Bytes caused to be read from storage; 0 where it may not be read.
    pub disk_read_bytes: u64,
    /// Threads.
    pub threads: u64,
}

/// Reads a process's counters; `None` when there is no such process.
pub fn usage(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything: fields are counted from its end.
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().collect();
    let field = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok());
    // Hundredths of a second on every Linux that reports them to programs.
    let (user, kernel) = (field(11)? * 10_000_000, field(12)? * 10_000_000);
    let mut usage = Usage {
        cpu_ns: system::process_cpu_ns(pid).unwrap_or(user + kernel),
        kernel_ns: kernel,
        resident_bytes: field(21)? * system::page_bytes(),
        threads: field(17)?,
        ..Usage::default()
    };
    if let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) {
        usage.resident_bytes_max = keyed(&status, "VmHWM:").unwrap_or(0) * 1024;
    }
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        usage.switches_voluntary += keyed(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        usage.switches_involuntary += keyed(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
    }
    if let Ok(io) = fs::read_to_string(format!("/proc/{pid}/io")) {
        usage.disk_written_bytes = keyed(&io, "write_bytes:").unwrap_or(0);
        usage.disk_read_bytes = keyed(&io, "read_bytes:").unwrap_or(0);
    }
    Some(usage)
}

/// CPU time of all cores together, in nanoseconds, counted in hundredths of a second.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine {
    /// Spent on any program or on the kernel.
    pub busy_ns: u64,
    /// Taken by the hypervisor.
    pub stolen_ns: u64,
}

/// What all cores did since the machine started.
pub fn machine() -> Machine {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    // user nice system idle iowait irq softirq steal
    let ticks: Vec<u64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
    let tick = |index: usize| ticks.get(index).copied().unwrap_or(0) * 10_000_000;
    Machine { busy_ns: tick(0) + tick(1) + tick(2) + tick(5) + tick(6), stolen_ns: tick(7) }
}

fn keyed(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read_and_a_missing_one_is_none() {
        let usage = usage(std::process::id()).expect("it runs");
        assert!(usage.cpu_ns > 0 && usage.resident_bytes > 0 && usage.threads > 0);
        assert!(super::usage(u32::MAX).is_none());
    }

    #[test]
    fn keys_are_matched_from_the_start_of_a_line() {
        let text = "nonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t5\nVmHWM: 12 kB\n";
        assert_eq!(keyed(text, "voluntary_ctxt_switches:"), Some(5));
        assert_eq!(keyed(text, "VmHWM:"), Some(12));
        assert_eq!(keyed(text, "absent:"), None);
    }
}
