//! What there is on this host: cores, memory, what the data folder lies on, network cards, and
//! whether somebody else (a hypervisor, a container) has the last word.
//!
//! Only looks; `settings/` judges. What cannot be read is left empty, because a machine without it
//! is as possible as one that hides it.

use crate::cores::CoreSet;
use crate::files::Files;
use crate::limits::{DISKS_MAX, LAYERS_MAX};

/// What the operator wants of the host.
#[derive(Clone, Debug, Default)]
pub struct Aims {
    /// Cores that run a shard; all of them when unset, as the broker does.
    pub cores: Option<CoreSet>,
    /// Folders the broker writes to (its data, its journals), absolute.
    pub data_folders: Vec<String>,
    /// The broker runs with `--busy-poll`.
    pub busy_poll: bool,
}

/// A host, as seen once.
#[derive(Clone, Debug)]
pub struct Host {
    pub kernel: String,
    pub cmdline: String,
    /// Changes with every boot. `None` where it cannot be read.
    pub boot: Option<String>,
    pub online: CoreSet,
    /// Online cores that run a shard.
    pub shards: CoreSet,
    /// Online cores that do not.
    pub others: CoreSet,
    /// Which hypervisor, if one is seen.
    pub virtual_machine: Option<String>,
    /// Which kind of container, if one is seen.
    pub container: Option<String>,
    pub memory_bytes: u64,
    pub has_swap: bool,
    /// Memory nodes and their cores.
    pub nodes: Vec<(u32, CoreSet)>,
    pub folders: Vec<Folder>,
    pub cards: Vec<Device>,
    pub busy_poll: bool,
}

/// What a data folder lies on.
#[derive(Clone, Debug)]
pub struct Folder {
    /// As asked.
    pub path: String,
    pub mount_point: String,
    pub file_system: String,
    pub source: String,
    pub options: Vec<String>,
    /// Physical (or virtual) disks below it, through partitions and layers. Empty: none found.
    pub disks: Vec<Device>,
}

/// A disk or a network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    /// Its folder in /sys.
    pub path: String,
    /// Memory node it is attached to, if the machine says.
    pub node: Option<u32>,
    pub interrupts: Vec<Interrupt>,
}

/// An interrupt of a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interrupt {
    pub number: u32,
    /// What its handler is called, empty if it has none.
    pub name: String,
}

impl Host {
    /// Looks around.
    pub fn look(files: &dyn Files, aims: &Aims) -> Self {
        let online = list(files, "/sys/devices/system/cpu/online");
        let shards = aims.cores.as_ref().map_or_else(|| online.clone(), |cores| cores.and(&online));
        let interrupts = interrupts(files);
        let nodes = files
            .names("/sys/devices/system/node")
            .iter()
            .filter_map(|name| name.strip_prefix("node")?.parse::<u32>().ok())
            .map(|node| {
                (node, list(files, &format!("/sys/devices/system/node/node{node}/cpulist")))
            })
            .collect();
        let mounts = files.text("/proc/self/mountinfo").unwrap_or_default();
        let mounts: Vec<Mount> = mounts.lines().filter_map(Mount::parse).collect();
        let folders = aims.data_folders.iter();
        Self {
            kernel: files.text("/proc/sys/kernel/osrelease").unwrap_or_default(),
            cmdline: files.text("/proc/cmdline").unwrap_or_default(),
            boot: files.text("/proc/sys/kernel/random/boot_id"),
            others: online.without(&shards),
            online,
            shards,
            virtual_machine: virtual_machine(files),
            container: container(files),
            memory_bytes: memory_bytes(files),
            has_swap: files.text("/proc/swaps").is_some_and(|swaps| swaps.lines().count() > 1),
            nodes,
            folders: folders
                .filter_map(|path| Folder::find(files, &mounts, path, &interrupts))
                .collect(),
            cards: cards(files, &interrupts),
            busy_poll: aims.busy_poll,
        }
    }

    /// The node of a core.
    pub fn node_of(&self, core: u32) -> Option<u32> {
        self.nodes.iter().find(|(_, cores)| cores.contains(core)).map(|(node, _)| *node)
    }

    /// Disks of all folders, each once.
    pub fn disks(&self) -> Vec<&Device> {
        let mut disks: Vec<&Device> = self.folders.iter().flat_map(|f| &f.disks).collect();
        disks.sort_by(|a, b| a.name.cmp(&b.name));
        disks.dedup_by(|a, b| a.name == b.name);
        disks
    }
}

fn list(files: &dyn Files, path: &str) -> CoreSet {
    files.text(path).and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn memory_bytes(files: &dyn Files) -> u64 {
    let info = files.text("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

fn virtual_machine(files: &dyn Files) -> Option<String> {
    let vendor = files.text("/sys/class/dmi/id/sys_vendor").filter(|vendor| !vendor.is_empty());
    let xen = files.text("/sys/hypervisor/type").filter(|name| !name.is_empty());
    let cpu = files.text("/proc/cpuinfo").unwrap_or_default();
    let flags = cpu.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let flagged = flags.split_whitespace().any(|flag| flag == "hypervisor");
    let known =
        ["QEMU", "KVM", "VMware", "Xen", "Amazon EC2", "Microsoft", "innotek", "Firecracker"];
    let by_vendor = vendor.clone().filter(|vendor| known.iter().any(|word| vendor.contains(word)));
    match (flagged, by_vendor, xen) {
        (true, _, _) => Some(vendor.unwrap_or_else(|| "hypervisor".to_owned())),
        (false, _, Some(xen)) => Some(xen),
        // A bare-metal instance carries its cloud's name as well: only processors without a
        // hypervisor flag at all (not x86) are judged by it.
        (false, Some(vendor), None) if flags.is_empty() => Some(vendor),
        (false, _, None) => None,
    }
}

fn container(files: &dyn Files) -> Option<String> {
    let first = files.read("/proc/1/environ").unwrap_or_default();
    let named = first.split('\0').find_map(|entry| entry.strip_prefix("container="));
    if let Some(name) = named.filter(|name| !name.is_empty()) {
        return Some(name.to_owned());
    }
    let marks = [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")];
    marks.iter().find(|(mark, _)| files.read(mark).is_ok()).map(|(_, name)| (*name).to_owned())
}

/// Every interrupt the kernel shows, with its handler's name.
fn interrupts(files: &dyn Files) -> Vec<Interrupt> {
    let numbers = files.names("/proc/irq").into_iter().filter_map(|name| name.parse::<u32>().ok());
    let named = numbers.map(|number| {
        let folder = format!("/proc/irq/{number}");
        // The handlers are folders, everything else is a file: only a folder has a `.`.
        let is_folder = |name: &String| files.resolve(&format!("{folder}/{name}/.")).is_some();
        let name = files.names(&folder).into_iter().find(is_folder).unwrap_or_default();
        Interrupt { number, name }
    });
    let mut all: Vec<Interrupt> = named.collect();
    all.sort();
    all
}

/// The interrupts of a device: those of the first bus device above it that has any, and those whose
/// handler is named after it.
fn of_device(files: &dyn Files, path: &str, name: &str, all: &[Interrupt]) -> Vec<Interrupt> {
    let mut numbers: Vec<u32> = Vec::new();
    for folder in ancestors(path) {
        let messages = files.names(&format!("{folder}/msi_irqs"));
        numbers.extend(messages.iter().filter_map(|name| name.parse::<u32>().ok()));
        let line = files.text(&format!("{folder}/irq"));
        if numbers.is_empty() {
            let line = line.as_ref().and_then(|text| text.parse::<u32>().ok());
            numbers.extend(line.filter(|number| *number > 0));
        }
        // A device of the bus was reached: what is above it is a bridge with interrupts of its own.
        if line.is_some() || !numbers.is_empty() {
            break;
        }
    }
    // nvme0n1 is served by nvme0q1, also where several paths lead to it; eth0 by eth0-TxRx-0.
    let controller = name.strip_prefix("nvme").and_then(|rest| rest.split('n').next());
    let prefixes = match controller {
        Some(number) => vec![format!("nvme{number}q")],
        None => vec![format!("{name}-"), format!("{name}:")],
    };
    let named = |irq: &&Interrupt| {
        numbers.contains(&irq.number)
            || irq.name == name
            || prefixes.iter().any(|prefix| irq.name.starts_with(prefix))
    };
    // One that only says that the device was reconfigured does not matter where it arrives.
    let matters = |irq: &&Interrupt| !irq.name.is_empty() && !irq.name.ends_with("-config");
    all.iter().filter(named).filter(matters).cloned().collect()
}

/// The folder, then the folders above it, within the devices.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let folders = std::iter::successors(Some(path), |path| Some(path.rsplit_once('/')?.0));
    folders.take_while(|path| path.starts_with("/sys/devices/"))
}

fn node(files: &dyn Files, path: &str) -> Option<u32> {
    // -1 stands for a device that is equally near to all.
    ancestors(path).find_map(|folder| files.text(&format!("{folder}/numa_node"))?.parse().ok())
}

fn cards(files: &dyn Files, all: &[Interrupt]) -> Vec<Device> {
    let mut cards = Vec::new();
    for name in files.names("/sys/class/net") {
        let folder = format!("/sys/class/net/{name}");
        let Some(device) = files.resolve(&format!("{folder}/device")) else { continue };
        if files.text(&format!("{folder}/operstate")).as_deref() == Some("down") {
            continue;
        }
        let interrupts = of_device(files, &device, &name, all);
        cards.push(Device { node: node(files, &device), name, path: folder, interrupts });
    }
    cards
}

/// A line of the mount table.
struct Mount {
    device: String,
    point: String,
    options: Vec<String>,
    file_system: String,
    source: String,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mount: Vec<&str> = mount.split(' ').collect();
        let system: Vec<&str> = system.split(' ').collect();
        let options = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let mut all = options(mount.get(5)?);
        all.extend(system.get(2).map(|text| options(text)).unwrap_or_default());
        Some(Self {
            device: (*mount.get(2)?).to_owned(),
            point: unescape(mount.get(4)?),
            options: all,
            file_system: (*system.first()?).to_owned(),
            source: unescape(system.get(1)?),
        })
    }

    fn holds(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.point.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The mount table writes spaces and the like as `\040`.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

impl Folder {
    fn find(
        files: &dyn Files,
        mounts: &[Mount],
        path: &str,
        interrupts: &[Interrupt],
    ) -> Option<Self> {
        // A folder that will be made lies where its nearest existing parent does.
        let above = |path: &String| path.rsplit_once('/').map(|(above, _)| above.to_owned());
        let mut folders = std::iter::successors(Some(path.to_owned()), above);
        let real = folders.find_map(|folder| files.resolve(&folder));
        let real = real.unwrap_or_else(|| path.to_owned());
        // Of several mounts on one point the last one is seen.
        let holding = mounts.iter().filter(|mount| mount.holds(&real));
        let mount = holding.max_by_key(|mount| mount.point.len())?;
        let mut disks = Vec::new();
        let by_number = format!("/sys/dev/block/{}", mount.device);
        let by_name = mount.source.strip_prefix("/dev/").and_then(|name| name.rsplit('/').next());
        let by_name = by_name.map(|name| format!("/sys/class/block/{name}"));
        let device =
            files.resolve(&by_number).or_else(|| by_name.and_then(|path| files.resolve(&path)));
        if let Some(device) = device {
            below(files, &device, interrupts, LAYERS_MAX, &mut disks);
        }
        Some(Self {
            path: path.to_owned(),
            mount_point: mount.point.clone(),
            file_system: mount.file_system.clone(),
            source: mount.source.clone(),
            options: mount.options.clone(),
            disks,
        })
    }
}

/// The disks below a block device: itself, its disk if it is a partition, what it is stacked on.
fn below(
    files: &dyn Files,
    device: &str,
    interrupts: &[Interrupt],
    layers: usize,
    disks: &mut Vec<Device>,
) {
    let device = match files.read(&format!("{device}/partition")) {
        Ok(_) => device.rsplit_once('/').map_or(device, |(disk, _)| disk),
        Err(_) => device,
    };
    let under = files.names(&format!("{device}/slaves"));
    if !under.is_empty() && layers > 0 {
        for name in under {
            if let Some(lower) = files.resolve(&format!("{device}/slaves/{name}")) {
                below(files, &lower, interrupts, layers - 1, disks);
            }
        }
        return;
    }
    let name = device.rsplit('/').next().unwrap_or(device).to_owned();
    if disks.len() < DISKS_MAX && disks.iter().all(|disk| disk.name != name) {
        let interrupts = of_device(files, device, &name, interrupts);
        let node = node(files, device);
        disks.push(Device { name, path: device.to_owned(), node, interrupts });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_read_with_its_escapes() {
        let line = "36 35 98:0 /mnt1 /mnt\\040two rw,noatime master:1 - ext4 /dev/vda1 rw,discard";
        let mount = Mount::parse(line).expect("a line of the table");
        assert_eq!(mount.point, "/mnt two");
        assert_eq!(mount.options, ["rw", "noatime", "rw", "discard"]);
        assert_eq!((mount.device.as_str(), mount.source.as_str()), ("98:0", "/dev/vda1"));
        assert!(mount.holds("/mnt two/data") && mount.holds("/mnt two"));
        assert!(!mount.holds("/mnt two2") && !mount.holds("/mnt"));
    }
}
