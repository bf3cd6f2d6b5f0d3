//! A made-up machine: a folder with the files of a kernel, and a kernel that reacts to writes.
//!
//! [`Tree`] is the folder. [`Kernel`] writes into it as Linux would (a change of the I/O scheduler
//! resets the queue, the energy preference is locked under the governor `performance`), refuses
//! what it is told to refuse, and can die at a chosen write, as a killed process does.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tuning::change;
use tuning::files::{Below, Files, Trouble};
use tuning::host::{Aims, Host};
use tuning::setting::{Change, Finding};
use tuning::settings;

static TREES: AtomicU32 = AtomicU32::new(0);

/// A folder that goes when dropped.
pub struct Tree {
    pub root: PathBuf,
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

impl Tree {
    pub fn empty() -> Self {
        let number = TREES.fetch_add(1, Ordering::Relaxed);
        let name = format!("corelane-host-{}-{number}", std::process::id());
        // In memory if there is some: hundreds of journals are synced.
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let root = parent.join(name);
        fs::create_dir_all(&root).expect("a folder for the tree");
        Self { root }
    }

    /// Where a path of the host is.
    pub fn place(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Makes or replaces a file.
    pub fn file(&self, path: &str, text: &str) {
        let place = self.place(path);
        fs::create_dir_all(place.parent().expect("below the root")).expect("folders");
        fs::write(place, text).expect("a file");
    }

    /// A file nobody may write.
    pub fn fixed(&self, path: &str, text: &str) {
        self.file(path, text);
        let mode = fs::Permissions::from_mode(0o444);
        fs::set_permissions(self.place(path), mode).expect("its mode");
    }

    pub fn link(&self, path: &str, target: &str) {
        let place = self.place(path);
        fs::create_dir_all(place.parent().expect("below the root")).expect("folders");
        symlink(target, place).expect("a link");
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.place(path)).expect("it was there");
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.place(path)).expect(path)
    }

    /// Outside of what a snapshot sees, as a journal is outside of /sys.
    pub fn journal(&self) -> PathBuf {
        self.root.join("var/lib/corelane-tune.journal")
    }

    /// Every file of /sys and /proc with its content.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = BTreeMap::new();
        for top in ["sys", "proc"] {
            collect(&self.root.join(top), &mut all);
        }
        all
    }

    pub fn files(&self) -> Below {
        Below::new(&self.root).expect("the root is there")
    }

    /// A machine of four cores out of the box: bare metal, one NVMe disk, one card.
    pub fn machine() -> Self {
        let tree = Self::empty();
        fs::create_dir_all(tree.root.join("var/lib")).expect("a folder for the journal");
        tree.processor();
        tree.interrupts();
        tree.network();
        tree.memory();
        tree.disk();
        tree.file("/proc/self/limits", LIMITS);
        tree.file("/proc/sys/fs/nr_open", "1048576\n");
        tree.file("/proc/sys/fs/aio-max-nr", "65536\n");
        tree.file("/proc/sys/kernel/io_uring_disabled", "0\n");
        tree.file("/proc/sys/kernel/random/boot_id", "first-boot\n");
        tree
    }

    fn processor(&self) {
        let cpus = "/sys/devices/system/cpu";
        self.file(&format!("{cpus}/online"), "0-3\n");
        self.file(&format!("{cpus}/isolated"), "\n");
        self.file("/proc/cmdline", "root=/dev/nvme0n1p1\n");
        self.file("/proc/cpuinfo", "flags\t\t: fpu tsc\n");
        self.file("/proc/sys/kernel/osrelease", "6.18.0\n");
        for core in 0..4 {
            let cpu = format!("{cpus}/cpu{core}");
            self.file(&format!("{cpu}/topology/thread_siblings_list"), &format!("{core}\n"));
            let freq = format!("{cpu}/cpufreq");
            self.file(&format!("{freq}/scaling_governor"), "powersave\n");
            self.fixed(&format!("{freq}/scaling_available_governors"), "performance powersave\n");
            self.file(&format!("{freq}/energy_performance_preference"), "balance_performance\n");
            let offers = format!("{freq}/energy_performance_available_preferences");
            self.fixed(&offers, "default performance balance_performance power\n");
            for (state, name, latency) in [(0, "POLL", 0), (1, "C1", 2), (2, "C6", 133)] {
                let folder = format!("{cpu}/cpuidle/state{state}");
                self.fixed(&format!("{folder}/name"), &format!("{name}\n"));
                self.fixed(&format!("{folder}/latency"), &format!("{latency}\n"));
                self.file(&format!("{folder}/disable"), "0\n");
            }
        }
        self.file(&format!("{cpus}/cpuidle/current_governor"), "menu\n");
        let clocks = "/sys/devices/system/clocksource/clocksource0";
        self.fixed(&format!("{clocks}/available_clocksource"), "tsc hpet acpi_pm \n");
        self.file(&format!("{clocks}/current_clocksource"), "hpet\n");
        let flaws = format!("{cpus}/vulnerabilities");
        self.fixed(&format!("{flaws}/meltdown"), "Not affected\n");
        self.fixed(&format!("{flaws}/spectre_v2"), "Mitigation: Retpolines\n");
    }

    fn interrupts(&self) {
        self.file("/proc/irq/default_smp_affinity", "f\n");
        // The kernel places nvme0q2 itself.
        for (number, name, cores) in [(40, "nvme0q1", "0-3"), (42, "eth0-TxRx-0", "2")] {
            let folder = format!("/proc/irq/{number}");
            self.file(&format!("{folder}/smp_affinity_list"), &format!("{cores}\n"));
            self.file(&format!("{folder}/effective_affinity_list"), "2\n");
            self.file(&format!("{folder}/{name}/.keep"), "");
        }
        self.fixed("/proc/irq/41/smp_affinity_list", "1\n");
        self.fixed("/proc/irq/41/effective_affinity_list", "1\n");
        self.file("/proc/irq/41/nvme0q2/.keep", "");
        // Nobody's: must not be touched.
        self.file("/proc/irq/9/smp_affinity_list", "0-3\n");
        self.file("/proc/irq/9/acpi/.keep", "");
        self.file("/sys/devices/virtual/workqueue/cpumask", "f\n");
    }

    fn network(&self) {
        let device = "/sys/devices/pci0000:00/0000:00:03.0";
        self.file(&format!("{device}/msi_irqs/42"), "msix\n");
        self.file(&format!("{device}/numa_node"), "0\n");
        let card = format!("{device}/net/eth0");
        self.link("/sys/class/net/eth0", "../../devices/pci0000:00/0000:00:03.0/net/eth0");
        self.link(&format!("{card}/device"), "../../../0000:00:03.0");
        self.file(&format!("{card}/operstate"), "up\n");
        for queue in 0..2 {
            self.file(&format!("{card}/queues/rx-{queue}/rps_cpus"), "0\n");
            self.file(&format!("{card}/queues/tx-{queue}/xps_cpus"), "0\n");
        }
        self.file(&format!("{card}/queues/rx-1/rps_cpus"), "0000000f\n");
        self.link("/sys/class/net/lo", "../../devices/virtual/net/lo");
        self.file("/sys/devices/virtual/net/lo/operstate", "unknown\n");
        for (name, value) in [
            ("core/busy_read", "0"),
            ("core/busy_poll", "50"),
            ("core/somaxconn", "128"),
            ("core/netdev_max_backlog", "1000"),
            ("core/rmem_max", "212992"),
            ("core/wmem_max", "33554432"),
            ("ipv4/tcp_rmem", "4096\t131072\t6291456"),
            ("ipv4/tcp_wmem", "4096\t16384\t4194304"),
            ("ipv4/tcp_slow_start_after_idle", "1"),
        ] {
            self.file(&format!("/proc/sys/net/{name}"), &format!("{value}\n"));
        }
    }

    fn memory(&self) {
        let huge = "/sys/kernel/mm/transparent_hugepage";
        self.file(&format!("{huge}/enabled"), "[always] madvise never\n");
        self.file(&format!("{huge}/defrag"), "always defer defer+madvise [madvise] never\n");
        self.file("/proc/meminfo", "MemTotal:       67108864 kB\nMemFree: 1 kB\n");
        self.file("/proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n");
        for (name, value) in [
            ("swappiness", "60"),
            ("dirty_background_ratio", "10"),
            ("dirty_background_bytes", "0"),
            ("dirty_ratio", "0"),
            ("dirty_bytes", "8589934592"),
            ("zone_reclaim_mode", "0"),
        ] {
            self.file(&format!("/proc/sys/vm/{name}"), &format!("{value}\n"));
        }
        self.file("/proc/sys/kernel/numa_balancing", "1\n");
        for (node, cores) in [(0, "0-1"), (1, "2-3")] {
            let path = format!("/sys/devices/system/node/node{node}/cpulist");
            self.file(&path, &format!("{cores}\n"));
        }
    }

    fn disk(&self) {
        let mounts = "24 1 259:1 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p1 rw,discard\n\
                      25 24 0:5 / /proc rw - proc proc rw\n";
        self.file("/proc/self/mountinfo", mounts);
        let controller = "/sys/devices/pci0000:00/0000:00:04.0";
        for irq in ["40", "41"] {
            self.file(&format!("{controller}/msi_irqs/{irq}"), "msix\n");
        }
        self.file(&format!("{controller}/numa_node"), "1\n");
        let disk = format!("{controller}/nvme/nvme0/nvme0n1");
        let partition = "../../devices/pci0000:00/0000:00:04.0/nvme/nvme0/nvme0n1/nvme0n1p1";
        self.link("/sys/dev/block/259:1", partition);
        self.file(&format!("{disk}/nvme0n1p1/partition"), "1\n");
        let queue = format!("{disk}/queue");
        self.file(&format!("{queue}/scheduler"), "none [mq-deadline] kyber \n");
        self.file(&format!("{queue}/rotational"), "0\n");
        self.file(&format!("{queue}/write_cache"), "write back\n");
        self.file(&format!("{queue}/nr_requests"), "777\n");
        self.file(&format!("{queue}/wbt_lat_usec"), "2000\n");
        self.file(&format!("{queue}/iosched/read_expire"), "123\n");
    }
}

/// The queue of the machine's disk.
pub const QUEUE: &str = "/sys/devices/pci0000:00/0000:00:04.0/nvme/nvme0/nvme0n1/queue";

const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units\n\
Max open files            1024                 4096                 files\n\
Max locked memory         65536                65536                bytes\n";

fn collect(folder: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let kind = entry.file_type().expect("its kind");
        if kind.is_dir() {
            collect(&entry.path(), all);
        } else if kind.is_file() {
            all.insert(entry.path(), fs::read(entry.path()).expect("a file"));
        }
    }
}

/// Shards on all cores but the first.
pub fn aims() -> Aims {
    Aims {
        cores: Some("1-3".parse().expect("a list")),
        data_folders: vec!["/var/lib/corelane".to_owned()],
        busy_poll: false,
    }
}

pub fn survey(files: &dyn Files) -> Vec<Finding> {
    settings::survey(files, &Host::look(files, &aims()))
}

pub fn changes(files: &dyn Files) -> Vec<Change> {
    change::changes(&survey(files))
}

/// Where a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    Before(usize),
    After(usize),
}

/// The kernel over a tree.
pub struct Kernel {
    pub below: Below,
    pub writes: Vec<String>,
    pub death: Option<Death>,
    /// Paths ending in one of these are refused.
    pub refused: Vec<&'static str>,
    /// Why nothing may be written, if so: a container, a user who is not root.
    pub barred: Option<Trouble>,
}

impl Kernel {
    pub fn of(tree: &Tree) -> Self {
        let (writes, refused) = (Vec::new(), Vec::new());
        Self { below: tree.files(), writes, death: None, refused, barred: None }
    }

    fn die(&self, at: Death) {
        if self.death == Some(at) {
            std::panic::resume_unwind(Box::new("killed"));
        }
    }

    fn react(&mut self, path: &str) -> Result<(), Trouble> {
        if let Some(queue) = path.strip_suffix("/scheduler") {
            self.below.write(&format!("{queue}/nr_requests"), "256\n")?;
            self.below.write(&format!("{queue}/wbt_lat_usec"), "75000\n")?;
            self.below.write(&format!("{queue}/iosched/read_expire"), "500\n")?;
        }
        Ok(())
    }
}

impl Files for Kernel {
    fn read_bytes(&self, path: &str) -> Result<Vec<u8>, Trouble> {
        self.below.read_bytes(path)
    }

    fn may_write(&self, path: &str) -> Result<(), Trouble> {
        match &self.barred {
            Some(trouble) => self.below.may_write(path).and(Err(trouble.clone())),
            None => self.below.may_write(path),
        }
    }

    fn write(&mut self, path: &str, text: &str) -> Result<(), Trouble> {
        self.die(Death::Before(self.writes.len()));
        if self.refused.iter().any(|end| path.ends_with(end)) {
            return Err(Trouble::Refused("Input/output error".to_owned()));
        }
        if let Some(folder) = path.strip_suffix("/energy_performance_preference")
            && self.below.text(&format!("{folder}/scaling_governor")).as_deref()
                == Some("performance")
        {
            return Err(Trouble::Refused("Device or resource busy".to_owned()));
        }
        self.below.write(path, text)?;
        self.react(path)?;
        self.writes.push(path.to_owned());
        self.die(Death::After(self.writes.len() - 1));
        Ok(())
    }

    fn names(&self, path: &str) -> Vec<String> {
        self.below.names(path)
    }

    fn resolve(&self, path: &str) -> Option<String> {
        self.below.resolve(path)
    }

    fn is_live(&self) -> bool {
        false
    }
}
