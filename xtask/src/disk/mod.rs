//! A small disk under the broker that loses power, fails, is slow or full when it is told to.
//!
//! A program of ours (`cargo xtask fault-disk`) keeps the disk's contents and serves them as a
//! file; a loop device makes it a block device, ext4 makes it a file system, and the broker's data
//! folder is there. Needs root, /dev/fuse and loop devices. Everything is mounted in a mount
//! namespace of this process alone, so that nothing is left when it dies.
#![expect(unsafe_code, reason = "unshare and mount, for the namespace")]

pub mod cache;
pub mod fuse;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{self, Service};

const SECONDS_10: Duration = Duration::from_secs(10);

/// A mounted disk. Unmounts when dropped.
#[derive(Debug)]
pub struct Disk {
    /// Where its file system is.
    pub mounted: PathBuf,
    /// Where it takes commands.
    pub control: PathBuf,
    folder: PathBuf,
    device: Option<String>,
    _server: Service,
}

/// Why there is no disk.
#[derive(Debug)]
pub enum NoDisk {
    /// This machine cannot have one.
    Impossible(String),
    Failed(String),
}

impl Disk {
    /// An empty ext4 of so many bytes, mounted at `mounted`; `folder` is for its own files.
    pub fn make(folder: &Path, mounted: &Path, bytes: u64) -> Result<Disk, NoDisk> {
        let missing = |what: &str| Err(NoDisk::Impossible(what.to_string()));
        if !process::is_root() {
            return missing("mounting needs root");
        }
        for needed in ["/dev/fuse", "/dev/loop-control"] {
            if !Path::new(needed).exists() {
                return missing(&format!("there is no {needed}"));
            }
        }
        for program in ["losetup", "mkfs.ext4", "mount", "umount"] {
            if process::find(program).is_none() {
                return missing(&format!("{program} is not on the PATH"));
            }
        }
        own_namespace().map_err(|error| {
            NoDisk::Impossible(format!("no mount namespace of our own: {error}"))
        })?;
        Self::mount_all(folder, mounted, bytes).map_err(NoDisk::Failed)
    }

    fn mount_all(folder: &Path, mounted: &Path, bytes: u64) -> Result<Disk, String> {
        let fuse = folder.join("fuse");
        for path in [&fuse, mounted] {
            fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let control = folder.join("control");
        let ourselves = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = process::command(ourselves);
        command.arg("fault-disk").args([&fuse, &control]).arg(bytes.to_string());
        let server = Service::start(&mut command, &folder.join("disk.log"))
            .map_err(|error| error.to_string())?;
        server.wait_line(SECONDS_10, |line| (line == "ready").then_some(()))?;
        let mut disk = Disk {
            mounted: mounted.to_path_buf(),
            control,
            folder: folder.to_path_buf(),
            device: None,
            _server: server,
        };
        let device = disk.attach()?;
        run(process::command("mkfs.ext4").args(["-q", "-F", "-E", EXT4]).arg(&device))?;
        disk.mount()?;
        Ok(disk)
    }

    /// Tells the disk something; returns the words after `ok`.
    pub fn tell(&self, command: &str) -> Result<String, String> {
        let ask = || -> io::Result<String> {
            let mut stream = UnixStream::connect(&self.control)?;
            stream.set_read_timeout(Some(SECONDS_10))?;
            stream.write_all(format!("{command}\n").as_bytes())?;
            let mut said = String::new();
            stream.read_to_string(&mut said)?;
            Ok(said)
        };
        let said = ask().map_err(|error| format!("{command}: {error}"))?;
        match said.trim_end().strip_prefix("ok") {
            Some(words) => Ok(words.trim_start().to_string()),
            None => Err(format!("{command}: {said}")),
        }
    }

    /// After the broker has gone: what a machine does whose power comes back.
    pub fn restart(&mut self) -> Result<(), String> {
        self.unmount()?;
        self.tell("on")?;
        self.attach()?;
        self.mount()
    }

    /// The block device, as in `loop3`.
    pub fn device_name(&self) -> &str {
        self.device.as_deref().unwrap_or_default().trim_start_matches("/dev/")
    }

    fn attach(&mut self) -> Result<String, String> {
        let file = self.folder.join("fuse").join(fuse::DISK_NAME);
        let said = run(process::command("losetup")
            .args(["--find", "--show", "--direct-io=on"])
            .arg(file))?;
        let device = said.trim().to_string();
        self.device = Some(device.clone());
        Ok(device)
    }

    fn mount(&mut self) -> Result<(), String> {
        let device = self.device.clone().ok_or("no device is attached")?;
        // As the broker's documentation asks: an error of the device makes the file system
        // read-only.
        run(process::command("mount")
            .args(["-t", "ext4", "-o", "errors=remount-ro", &device])
            .arg(&self.mounted))?;
        Ok(())
    }

    fn unmount(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + SECONDS_10;
        // The kernel finishes what a killed process had under way.
        while let Err(reason) = run(process::command("umount").arg(&self.mounted)) {
            if Instant::now() > deadline {
                return Err(reason);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.detach()
    }

    fn detach(&mut self) -> Result<(), String> {
        let Some(device) = self.device.take() else { return Ok(()) };
        run(process::command("losetup").args(["--detach", &device])).map(|_| ())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run(process::command("umount").arg("-l").arg(&self.mounted));
        let _ = self.detach();
        let _ = run(process::command("umount").arg("-l").arg(self.folder.join("fuse")));
    }
}

/// Nothing of the inode tables is written later: what goes to the disk is the broker's.
const EXT4: &str = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";

/// Mounts of this process and its children are theirs alone from here on.
fn own_namespace() -> io::Result<()> {
    use std::sync::atomic::{AtomicBool, Ordering};
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.load(Ordering::Relaxed) {
        return Ok(());
    }
    // SAFETY: plain system calls; the paths are literals.
    let done = unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(
                c"none".as_ptr(),
                c"/".as_ptr(),
                std::ptr::null(),
                libc::MS_REC | libc::MS_PRIVATE,
                std::ptr::null(),
            ) == 0
    };
    if !done {
        return Err(io::Error::last_os_error());
    }
    DONE.store(true, Ordering::Relaxed);
    Ok(())
}

fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = process::run(command, Duration::from_secs(60), |_| {})
        .map_err(|error| format!("{name}: {error}"))?;
    if done.success() { Ok(done.output) } else { Err(format!("{name}: {}", done.reason())) }
}
