//! Other programs: run with a timeout, or kept as a child that cannot outlive this one.
//!
//! Every child leads its own process group, gets SIGKILL when this process dies by whatever cause,
//! and is killed as a group when its guard drops. Nothing is ever stopped by name.
#![expect(unsafe_code, reason = "prctl between fork and exec, and kill of a process group")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How a program that ran to its end, or to its timeout, ended.
#[derive(Debug)]
pub struct Finished {
    /// `None` when it was killed at its timeout.
    pub status: Option<ExitStatus>,
    /// Standard output and standard error, as they came.
    pub output: String,
    /// How long it ran.
    pub took: Duration,
}

impl Finished {
    /// Whether it ended by itself with exit code 0.
    pub fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// One phrase on how it ended, with the last lines it printed.
    pub fn reason(&self) -> String {
        let how = match self.status {
            None => format!("still ran after {} s and was killed", self.took.as_secs()),
            Some(status) => status.to_string(),
        };
        let lines: Vec<&str> = self.output.lines().filter(|line| !line.is_empty()).collect();
        let tail = lines[lines.len().saturating_sub(4)..].join(" | ");
        format!("{how}; last said: {tail}")
    }
}

/// A command with this project's habits: no stdin, own group, dies with this process.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).process_group(0);
    // SAFETY: prctl is async-signal-safe and touches nothing but the child between fork and exec.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == -1 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command
}

/// Whether a program is on the PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether this process may install packages.
pub fn is_root() -> bool {
    // SAFETY: geteuid has no precondition.
    unsafe { libc::geteuid() == 0 }
}

/// Raises the limit of open files to the hardest one allowed, of this process and of those it
/// starts; says what it is then.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is writable.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the limit is readable.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

/// Sends a signal to a process group this program started.
fn signal_group(pid: u32, signal: i32) {
    let Ok(group) = i32::try_from(pid) else { return };
    // SAFETY: a plain system call; the group is led by a child that has not been waited for.
    unsafe {
        libc::kill(-group, signal);
    }
}

/// Runs a program to its end; `each_line` sees its output as it comes.
///
/// Must be called on the main thread: the death signal follows the thread that started the child.
pub fn run(
    command: &mut Command,
    timeout: Duration,
    mut each_line: impl FnMut(&str),
) -> io::Result<Finished> {
    let started = Instant::now();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut guard = Guard { child: command.spawn()? };
    let lines = lines_of(&mut guard.child);
    let mut output = String::new();
    loop {
        let left = timeout.saturating_sub(started.elapsed());
        match lines.recv_timeout(left) {
            Ok(line) => {
                each_line(&line);
                output.push_str(&line);
                output.push('\n');
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                return Ok(Finished { status: None, output, took: started.elapsed() });
            }
        }
    }
    // The pipes are closed; a program may still take a moment to end.
    let status = guard.wait_until(started + timeout + Duration::from_secs(1))?;
    Ok(Finished { status, output, took: started.elapsed() })
}

/// Both outputs of a child, line by line, interleaved.
fn lines_of(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(1024);
    let outputs: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
    ];
    for output in outputs.into_iter().flatten() {
        let sender = sender.clone();
        thread::spawn(move || {
            let mut reader = BufReader::new(output);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_string();
                if sender.send(text).is_err() {
                    return;
                }
                line.clear();
            }
        });
    }
    receiver
}

/// A child that is killed with its group when this drops.
#[derive(Debug)]
struct Guard {
    child: Child,
}

impl Guard {
    fn wait_until(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        signal_group(self.child.id(), libc::SIGKILL);
        let _ = self.child.wait();
    }
}

/// A program that runs beside the suites: a broker or a load.
#[derive(Debug)]
pub struct Service {
    guard: Guard,
    lines: Receiver<String>,
    log: PathBuf,
    spawned: Instant,
}

impl Service {
    /// Starts it; standard error goes to the file `log`, standard output is read line by line.
    pub fn start(command: &mut Command, log: &Path) -> io::Result<Service> {
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = File::options().create(true).append(true).open(log)?;
        command.stdout(Stdio::piped()).stderr(file);
        let spawned = Instant::now();
        let mut guard = Guard { child: command.spawn()? };
        let lines = lines_of(&mut guard.child);
        Ok(Service { guard, lines, log: log.to_path_buf(), spawned })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.guard.child.id()
    }

    /// When it was started.
    pub fn spawned(&self) -> Instant {
        self.spawned
    }

    /// Waits for a line of standard output that `wanted` turns into a value.
    pub fn wait_line<T>(
        &self,
        timeout: Duration,
        wanted: impl Fn(&str) -> Option<T>,
    ) -> Result<T, String> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.note(&line);
                    if let Some(value) = wanted(&line) {
                        return Ok(value);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!(
                        "not ready after {} s; {}",
                        timeout.as_secs(),
                        self.tail()
                    ));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("ended before it was ready; {}", self.tail()));
                }
            }
        }
    }

    /// Waits until it ends by itself: what it printed, however it ended.
    pub fn output(mut self, timeout: Duration) -> Result<String, String> {
        let deadline = Instant::now() + timeout;
        let mut output = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    output.push_str(&line);
                    output.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!(
                        "still ran after {} s; {}",
                        timeout.as_secs(),
                        self.tail()
                    ));
                }
            }
        }
        match self.guard.wait_until(deadline) {
            Ok(Some(_)) => Ok(output),
            Ok(None) => Err(format!("still ran after {} s; {}", timeout.as_secs(), self.tail())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.guard.child.try_wait(), Ok(None))
    }

    /// Asks it to end and waits; `None` if it did not in time (it is killed then).
    pub fn stop(mut self, signal: i32, timeout: Duration) -> Option<ExitStatus> {
        signal_group(self.guard.child.id(), signal);
        let status = self.guard.wait_until(Instant::now() + timeout).ok().flatten();
        while let Ok(line) = self.lines.try_recv() {
            self.note(&line);
        }
        status
    }

    /// `kill -9`, at once.
    pub fn kill(self) {
        drop(self);
    }

    /// The last lines of its log.
    pub fn tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(3)..].join(" | ");
        format!("log {} ends: {tail}", self.log.display())
    }

    fn note(&self, line: &str) {
        if let Ok(mut file) = File::options().append(true).open(&self.log) {
            let _ = writeln!(file, "{line}");
        }
    }
}
