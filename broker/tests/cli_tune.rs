//! `corelane tune` as a process, on a made-up host below `--root`.
//!
//! What is judged, written and restored is tested in the crate `tuning`; here it is exit codes,
//! JSON, and a process that is really killed between two writes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A folder that goes when dropped.
struct Host(PathBuf);

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const GOVERNOR: &str = "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor";

impl Host {
    /// Two cores, a governor, a few switches of the kernel.
    fn new(test: &str) -> Self {
        let host = Self(std::env::temp_dir().join(format!("tune-{test}-{}", std::process::id())));
        for (path, text) in [
            ("sys/devices/system/cpu/online", "0-1\n"),
            (GOVERNOR, "powersave\n"),
            ("sys/devices/system/cpu/cpu1/cpufreq/scaling_available_governors", "performance\n"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n"),
            ("proc/sys/net/core/busy_poll", "50\n"),
            ("proc/sys/net/core/somaxconn", "128\n"),
            ("proc/sys/kernel/random/boot_id", "boot\n"),
            ("var/lib/.keep", ""),
        ] {
            let place = host.0.join(path);
            fs::create_dir_all(place.parent().expect("below the root")).expect("folders");
            fs::write(place, text).expect("a file");
        }
        host
    }

    fn tune(&self, arguments: &[&str]) -> Output {
        let verb = &arguments[..1];
        let cores: &[&str] = if verb == ["undo"] { &[] } else { &["--cores", "1"] };
        Command::new(env!("CARGO_BIN_EXE_corelane"))
            .arg("tune")
            .args(arguments)
            .args(cores)
            .args(["--root".as_ref(), self.0.as_os_str()])
            .output()
            .expect("the binary starts")
    }

    fn json(&self, arguments: &[&str], exit_code: i32) -> Value {
        let output = self.tune(&[arguments, &["--format", "json"]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit_code), "{arguments:?}: {said}");
        serde_json::from_slice(&output.stdout).expect("a JSON document")
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).expect(path)
    }

    fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = BTreeMap::new();
        collect(&self.0, &mut all);
        all
    }
}

fn collect(folder: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, all);
        } else {
            all.insert(path.clone(), fs::read(path).expect("a file"));
        }
    }
}

/// A column of a list.
fn column<'a>(rows: &'a Value, name: &str) -> Vec<&'a str> {
    let rows = rows.as_array().expect("an array");
    rows.iter().map(|row| row[name].as_str().unwrap_or("null")).collect()
}

#[test]
fn check_exits_with_1_while_apply_would_change_something() {
    let host = Host::new("check");
    let before = host.snapshot();
    let report = host.json(&["check"], 1);
    assert_eq!(report["shard_cores"], "1");
    assert_eq!(report["change"], 4);
    let settings = &report["settings"];
    let is_governor = |row: &&Value| row["setting"] == "cpu.governor";
    let governor = settings.as_array().expect("rows").iter().find(is_governor).expect("a row");
    assert_eq!(governor["status"], "change");
    assert_eq!(governor["path"], format!("/{GOVERNOR}"));
    assert_eq!(
        (&governor["current"], &governor["wanted"]),
        (&"powersave".into(), &"performance".into())
    );
    assert_eq!(host.snapshot(), before);
    assert!(host.tune(&["apply"]).status.success());
    host.json(&["check"], 0);
}

#[test]
fn apply_then_undo_leaves_no_difference() {
    let host = Host::new("apply");
    let before = host.snapshot();
    let planned = host.json(&["apply", "--dry-run"], 0);
    assert_eq!(column(&planned, "result"), ["would_write"; 4]);
    assert_eq!(host.snapshot(), before);
    let written = host.json(&["apply"], 0);
    assert_eq!(column(&written, "result"), ["written"; 4]);
    assert_eq!(column(&written, "path"), column(&planned, "path"));
    assert_eq!(host.read(GOVERNOR), "performance\n");
    assert_eq!(host.read("sys/kernel/mm/transparent_hugepage/enabled"), "always [madvise] never\n");
    let planned = host.json(&["undo", "--dry-run"], 0);
    assert_eq!(column(&planned, "result"), ["would_restore"; 4]);
    let undone = host.json(&["undo"], 0);
    assert_eq!(column(&undone, "result"), ["restored"; 4]);
    assert_eq!(host.snapshot(), before, "the journal is gone as well");
    assert_eq!(host.json(&["undo"], 0), Value::Array(Vec::new()), "nothing is left");
}

#[test]
fn what_somebody_else_changed_is_left_with_exit_code_1() {
    let host = Host::new("foreign");
    let before = host.snapshot();
    host.json(&["apply"], 0);
    fs::write(host.0.join(GOVERNOR), "schedutil\n").expect("somebody else");
    let undone = host.json(&["undo"], 1);
    assert_eq!(column(&undone, "result").iter().filter(|result| **result == "left").count(), 1);
    assert_eq!(host.read(GOVERNOR), "schedutil\n");
    host.json(&["undo", "--force"], 0);
    assert_eq!(host.snapshot(), before);
}

#[test]
fn killed_between_two_writes_it_is_undone() {
    let host = Host::new("killed");
    let before = host.snapshot();
    // The second run of the bench, with the change made, kills the process that started it.
    let mark = host.0.with_extension("mark");
    let bench =
        format!("if [ -e {0} ]; then kill -s KILL $PPID; fi; touch {0}; echo 1", mark.display());
    let killed = host.tune(&["measure", "--bench", &bench]);
    fs::remove_file(&mark).expect("the bench ran");
    assert_eq!(killed.status.code(), None, "it was killed: {killed:?}");
    assert_ne!(host.snapshot(), before, "in the middle of a change");
    assert_eq!(host.read(GOVERNOR), "performance\n");
    let undone = host.json(&["undo"], 0);
    assert_eq!(column(&undone, "result"), ["restored"]);
    assert_eq!(host.snapshot(), before);
}

#[test]
fn measure_keeps_what_pays_and_says_what_it_was_worth() {
    let host = Host::new("measure");
    let bench = format!(
        "if grep -q performance {}; then echo '{{\"latency\": {{\"p99\": 80}}}}'; \
         else echo '{{\"latency\": {{\"p99\": 100}}}}'; fi",
        host.0.join(GOVERNOR).display()
    );
    let arguments = ["measure", "--rounds", "2", "--field", "latency.p99", "--bench", &bench];
    let rows = host.json(&arguments, 0);
    let skipped = ["net.somaxconn", "mem.thp"];
    assert_eq!(column(&rows, "setting")[..2], ["cpu.governor", "net.busy_poll"]);
    assert_eq!(column(&rows, "setting")[2..], skipped);
    assert_eq!(column(&rows, "verdict"), ["kept", "reverted", "skipped", "skipped"]);
    assert_eq!((&rows[0]["before"], &rows[0]["after"]), (&100.0.into(), &80.0.into()));
    assert_eq!(rows[0]["gain_percent"], 20.0);
    assert_eq!(host.read(GOVERNOR), "performance\n");
    assert_eq!(host.read("proc/sys/net/core/busy_poll"), "50\n");
    assert_eq!(host.read("proc/sys/net/core/somaxconn"), "128\n");
}

#[test]
fn wrong_options_are_one_line_and_exit_code_2() {
    let host = Host::new("options");
    for (arguments, says) in [
        (&["check", "--only", "cpu.speed"][..], "cpu.speed"),
        (&["apply", "--only", "cp"], "cp"),
        (&["measure", "--rounds", "1"], "--rounds"),
        (&["measure", "--gain-min=-1"], "--gain-min"),
    ] {
        let output = host.tune(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(says) && said.lines().count() == 1, "{said}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_corelane"))
        .args(["tune", "check", "--cores", "5", "--root"])
        .arg(&host.0)
        .output()
        .expect("the binary starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no core 5"));
}

#[test]
fn a_unit_names_the_brokers_options_and_a_profile_what_apply_would_write() {
    let host = Host::new("unit");
    let printed = |arguments: &[&str]| {
        let output = host.tune(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let unit = printed(&["unit", "--busy-poll", "--config", "/etc/corelane/server.properties"]);
    assert!(unit.contains(
        " start --config /etc/corelane/server.properties --data-dir /var/lib/corelane --cores 1 \
         --busy-poll\n"
    ), "{unit}");
    assert!(unit.contains("\nStateDirectory=corelane\n") && unit.contains("\nLimitNOFILE="));
    assert!(!unit.contains("\nCPUAffinity="), "the broker pins its threads");
    fs::write(host.0.join("sys/devices/system/cpu/isolated"), "1\n").expect("a file");
    let unit = printed(&["unit"]);
    assert!(unit.contains("\nCPUAffinity=0-1\n"), "isolated cores are not in the default mask");
    let profile = printed(&["unit", "tuned"]);
    for line in ["governor=performance", "net.core.somaxconn=4096", "net.core.busy_poll=0"] {
        assert!(profile.lines().any(|it| it == line), "{profile}");
    }
}
