//! A broker as a process: the ready line, the lock, signals, exit codes and a panic's last words,
//! with an echo core. The process is this test binary, started again.

#![expect(unsafe_code, reason = "system calls made in the broker's process before it starts")]

mod common;

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::sync::Arc;

use common::{Client, EchoCore, TestFolder};

/// Options of a broker, one per line: set, this test binary is one.
const OPTIONS: &str = "CORELANE_TEST_START";

/// Not a test of its own: the process the others start.
#[test]
fn broker_process() {
    let Ok(options) = std::env::var(OPTIONS) else { return };
    let args = ["corelane", "start"].into_iter().chain(options.lines()).map(OsString::from);
    let code = broker::cli::run(args, |context, _config| {
        let shards = usize::from(context.shards_count);
        Ok((0..shards).map(|_| EchoCore::new(Arc::default())).collect())
    });
    // Past the test harness, which has codes of its own.
    let code = if code == ExitCode::SUCCESS { 0 } else { 2 };
    std::process::exit(code);
}

struct Broker {
    child: Child,
    ready: String,
}

const FREE_PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

fn command(folder: &Path, more: &[&str]) -> Command {
    let folder = folder.to_str().expect("a path of letters");
    // Beside the data, so that it goes with the folder.
    let memory = format!("corelane.memory.dir={folder}");
    let own = ["--data-dir", folder, "--override", &memory];
    let options: Vec<&str> = own.iter().chain(more).copied().collect();
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command
        .args(["broker_process", "--exact", "--nocapture", "--test-threads=1"])
        .env(OPTIONS, options.join("\n"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // Before the harness of the child has threads.
    // SAFETY: only sets the mask of signals, which is allowed between fork and exec.
    unsafe { command.pre_exec(broker::edge::signals::block) };
    command
}

fn with_free_ports<'a>(more: &[&'a str]) -> Vec<&'a str> {
    FREE_PORTS.iter().chain(more).copied().collect()
}

/// Has the child make a system call before it becomes a broker.
fn before_exec(command: &mut Command, call: impl Fn() -> i32 + Send + Sync + 'static) {
    let checked = move || match call() {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    };
    // SAFETY: the callers only make system calls, which is allowed between fork and exec.
    unsafe { command.pre_exec(checked) };
}

fn start(folder: &Path, more: &[&str]) -> Broker {
    Broker::started(command(folder, &with_free_ports(more)))
}

fn run(folder: &Path, options: &[&str]) -> Output {
    command(folder, options).output().expect("it starts")
}

impl Broker {
    fn started(mut command: Command) -> Self {
        let mut child = command.spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.as_mut().expect("piped")).lines();
        let mut lines = lines.map(|line| line.expect("text"));
        // The harness writes a line of its own first, and its dots into ours.
        let ready = lines.find_map(|line| line.find("ready ").map(|at| line[at..].to_owned()));
        Self { ready: ready.expect("a ready line"), child }
    }

    fn field(&self, name: &str) -> &str {
        let fields = self.ready.trim_end().split(' ');
        let mut values = fields.filter_map(|field| field.split_once('='));
        values.find(|(key, _)| *key == name).expect("a field of the ready line").1
    }

    fn client(&self) -> Client {
        Client::connect(self.field("kafka").parse().expect("an address"))
    }

    fn signal(&self, signal: i32) {
        // SAFETY: the child is not reaped yet, so its id is its own.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
        (self.child.wait().expect("waited").code(), said)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Gone already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_says_ready_with_real_ports_serves_and_stops_with_code_0() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let folder = TestFolder::new();
        let broker = start(folder.path(), &["--cores", "0"]);
        assert!(broker.ready.starts_with("ready kafka=127.0.0.1:"), "{}", broker.ready);
        assert_eq!(broker.field("data"), folder.path().display().to_string());
        assert_eq!(broker.field("cores"), "0");
        let mut client = broker.client();
        client.send(b"hello");
        assert_eq!(client.receive(), b"hello");
        let mut admin = TcpStream::connect(broker.field("admin")).expect("it serves");
        admin
            .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .expect("sent");
        let mut answer = String::new();
        admin.read_to_string(&mut answer).expect("answered");
        assert!(answer.contains(r#""status":"ok""#), "{answer}");
        broker.signal(libc::SIGHUP);
        broker.signal(signal);
        let (code, said) = broker.end();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("SIGHUP") && said.contains("INFO  stopped"), "{said}");
        assert!(client.is_closed());
    }
}

#[test]
fn two_stop_signals_in_a_row_are_one_clean_stop() {
    let folder = TestFolder::new();
    let broker = start(folder.path(), &[]);
    broker.signal(libc::SIGTERM);
    broker.signal(libc::SIGINT);
    let (code, said) = broker.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("INFO  stopped"), "{said}");
}

#[test]
fn a_second_start_on_a_folder_is_refused_with_the_owners_pid() {
    let folder = TestFolder::new();
    let broker = start(folder.path(), &[]);
    let second = run(folder.path(), &FREE_PORTS);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("in use by process {}", broker.child.id())), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    broker.signal(libc::SIGKILL);
    broker.end();
    let third = start(folder.path(), &[]);
    assert!(third.ready.starts_with("ready "), "a killed owner's lock is gone");
    third.signal(libc::SIGTERM);
    assert_eq!(third.end().0, Some(0));
}

#[test]
fn a_port_in_use_is_one_line_and_code_2() {
    let folders = [TestFolder::new(), TestFolder::new()];
    let broker = start(folders[0].path(), &[]);
    let options = ["--listen", broker.field("kafka"), "--admin-listen", "127.0.0.1:0"];
    let second = run(folders[1].path(), &options);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains("cannot listen on 127.0.0.1:"), "{said}");
    broker.signal(libc::SIGTERM);
    broker.end();
}

#[test]
fn wrong_options_are_one_line_and_code_2() {
    let folder = TestFolder::new();
    let wrong: [&[&str]; 5] = [
        &["--cores", "4000"],
        &["--cores", "x"],
        &["--override", "num.partitions=none"],
        &["--listen", "nowhere"],
        &["--no-such-option"],
    ];
    for options in wrong {
        let output = run(folder.path(), options);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{options:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{options:?}: {said}");
    }
}

#[test]
fn a_panic_in_a_shard_ends_the_process_and_says_what_it_did() {
    let folder = TestFolder::new();
    let broker = start(folder.path(), &["--cores", "0"]);
    broker.client().send(b"explode");
    let (code, said) = broker.end();
    assert_eq!(code, None, "killed by its own abort");
    assert!(said.contains("thread shard-0 panicked while handling Frame"), "{said}");
    assert!(said.contains("asked to panic"), "{said}");
}

#[test]
fn an_idle_broker_costs_next_to_nothing() {
    let folder = TestFolder::new();
    let broker = start(folder.path(), &[]);
    let mut client = broker.client();
    client.send(b"hello");
    client.receive();
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", broker.child.id()));
        let stat = stat.expect("it runs");
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split(' ').collect();
        let number = |field: usize| fields[field].parse::<u64>().expect("a number");
        // User and system time, the 14th and 15th field of the whole line.
        number(12) + number(13)
    };
    let before = ticks();
    common::pause(1_000);
    // A tick is 10 ms: at most one of a hundred.
    assert!(ticks() - before <= 1, "idle ticks: {}", ticks() - before);
    broker.signal(libc::SIGTERM);
    assert_eq!(broker.end().0, Some(0));
}

#[test]
fn without_a_descriptor_left_it_serves_on_and_accepts_again_later() {
    let folder = TestFolder::new();
    let mut command = command(folder.path(), &with_free_ports(&["--cores", "0"]));
    before_exec(&mut command, || {
        let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
        // SAFETY: the limit is readable.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }
    });
    let broker = Broker::started(command);
    let mut first = broker.client();
    first.send(b"efirst");
    assert_eq!(first.receive(), b"efirst");
    // The kernel accepts them into its queue, the broker takes what it can.
    let mut crowd: Vec<Client> = (0..100).map(|_| broker.client()).collect();
    for client in &mut crowd[..20] {
        client.send(b"ecrowd");
        assert_eq!(client.receive(), b"ecrowd");
    }
    let mut last = broker.client();
    last.send(b"elast");
    first.send(b"estill");
    assert_eq!(first.receive(), b"estill");
    drop(crowd);
    assert_eq!(last.receive(), b"elast");
    broker.signal(libc::SIGTERM);
    let (code, said) = broker.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("no connection can be accepted for a moment"), "{said}");
}

#[test]
fn a_kernel_without_io_uring_is_one_line_and_code_2() {
    let folder = TestFolder::new();
    let mut command = command(folder.path(), &with_free_ports(&[]));
    before_exec(&mut command, || {
        let statement = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
        // Load the number of the call; io_uring_setup fails with ENOSYS, all others are allowed.
        let mut program = [
            statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            statement(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                0,
                1,
                libc::SYS_io_uring_setup as u32,
            ),
            statement(libc::BPF_RET, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
            statement(libc::BPF_RET, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let filter = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
        // SAFETY: the program and its description outlive the call, which copies them.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                | libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter)
        }
    });
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("io_uring is not available"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}
