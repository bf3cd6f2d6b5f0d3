//! `corelane tune`: the settings of the host, from the crate `tuning`, which knows nothing of us.
//!
//! Options in, tables out; `tune measure` is in `tune/measure.rs`. The bench that it runs is a
//! command line, ours by default, so that neither crate needs the other. What the settings mean is
//! in docs/tuning.md.

mod measure;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use tuning::change::{self, Wrote};
use tuning::cores::CoreSet;
use tuning::files::{Below, Files};
use tuning::host::{Aims, Host};
use tuning::journal::Journal;
use tuning::setting::{Finding, Kind, Place, Status};
use tuning::settings;
use tuning::undo::{self, Back, How};
use tuning::unit::{self, Service};

use super::error::{CliError, Outcome, Result, complain};
use super::output::{Cell, Format, FormatOption, Report, Table, print_report, print_table};
use measure::Measure;

/// Where the journal of changes is: a folder that only root writes to.
const JOURNAL: &str = "/var/lib/corelane-tune.journal";

/// Widest value in a table; JSON has all of it.
const VALUE_COLUMNS: usize = 40;

/// What to do with the host.
#[derive(Debug, Subcommand)]
pub enum TuneCommand {
    /// Say of each setting what it is, what it should be and why; exit code 1 if apply would change
    /// something
    Check(Check),
    /// Write what check calls `change`, every old value in a journal first
    Apply(Apply),
    /// Run a bench with and without each change, keep what pays, undo the rest
    Measure(Box<Measure>),
    /// Restore what apply and measure changed
    Undo(Undo),
    /// Print a systemd service or a tuned profile for this host
    Unit(Unit),
}

/// Which host, and for which broker.
#[derive(Debug, Args)]
#[command(next_help_heading = "Host")]
struct Look {
    /// Cores that run a shard, as given to `corelane start` [default: all]
    #[arg(long, value_name = "LIST")]
    cores: Option<CoreSet>,
    /// Folders the broker writes to, with commas between: its data, its journals [default: ./data]
    #[arg(long, value_name = "DIR", value_delimiter = ',')]
    data_dir: Vec<String>,
    /// The broker runs with --busy-poll
    #[arg(long)]
    busy_poll: bool,
    /// Only these settings or groups of settings, as in cpu,irq.disk
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Read and write below this folder, a copy of a host's /sys and /proc
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// Where changes are noted.
#[derive(Debug, Args)]
struct JournalOption {
    /// File with the old values [default: /var/lib/corelane-tune.journal below --root]
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

/// `tune check`.
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    format: FormatOption,
}

/// `tune apply`.
#[derive(Debug, Args)]
pub struct Apply {
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    journal: JournalOption,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    format: FormatOption,
}

/// `tune undo`.
#[derive(Debug, Args)]
pub struct Undo {
    #[command(flatten)]
    journal: JournalOption,
    /// Restore also what somebody else changed meanwhile
    #[arg(long)]
    force: bool,
    /// Say what would be restored, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Read and write below this folder, a copy of a host's /sys and /proc
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    #[command(flatten)]
    format: FormatOption,
}

/// `tune unit`.
#[derive(Debug, Args)]
pub struct Unit {
    /// What to print
    #[arg(value_enum, default_value = "systemd")]
    what: UnitKind,
    /// Configuration file the service gives to the broker
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// User and group the service runs as
    #[arg(long, default_value = "corelane", value_name = "NAME")]
    user: String,
    #[command(flatten)]
    look: Look,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UnitKind {
    /// A service for systemd
    Systemd,
    /// A profile for tuned
    Tuned,
}

impl TuneCommand {
    /// Does it.
    pub fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        match self {
            Self::Check(check) => check.run(out),
            Self::Apply(apply) => apply.run(out),
            Self::Measure(measure) => measure.run(out),
            Self::Undo(undo) => undo.run(out),
            Self::Unit(unit) => unit.run(out),
        }
    }
}

fn below(root: &Path) -> Result<Below> {
    Below::new(root).map_err(|error| CliError::usage(format!("--root {}: {error}", root.display())))
}

impl JournalOption {
    fn path(&self, files: &Below) -> PathBuf {
        self.journal.clone().unwrap_or_else(|| files.place(JOURNAL))
    }
}

impl Look {
    fn survey(&self, files: &Below, data_dir: &str) -> Result<(Host, Vec<Finding>)> {
        let mut only = Vec::new();
        for word in &self.only {
            let named = settings::named(word);
            if named.is_empty() {
                return Err(CliError::usage(format!(
                    "--only {word}: no such setting; `corelane tune check` lists them"
                )));
            }
            only.extend(named.into_iter().map(|about| about.name));
        }
        let host = Host::look(files, &self.aims(files, data_dir)?);
        if let Some(cores) = self.cores.as_ref().filter(|_| !host.online.is_empty()) {
            let missing = cores.without(&host.online);
            if !missing.is_empty() {
                let online = &host.online;
                return Err(CliError::usage(format!(
                    "--cores: this host has no core {missing}; it has {online}"
                )));
            }
        }
        let mut findings = settings::survey(files, &host);
        findings.retain(|finding| only.is_empty() || only.contains(&finding.about.name));
        Ok((host, findings))
    }

    fn aims(&self, files: &Below, data_dir: &str) -> Result<Aims> {
        let mut folders = self.data_dir.clone();
        if folders.is_empty() {
            folders.push(data_dir.to_owned());
        }
        let absolute = |folder: &String| {
            if !files.is_live() {
                // In a copy there is no folder we are in.
                return Ok(format!("/{}", folder.trim_start_matches(['.', '/'])));
            }
            let path = std::path::absolute(folder)
                .map_err(|error| CliError::usage(format!("--data-dir {folder}: {error}")))?;
            Ok(path.display().to_string())
        };
        let data_folders = folders.iter().map(absolute).collect::<Result<Vec<String>>>()?;
        Ok(Aims { cores: self.cores.clone(), data_folders, busy_poll: self.busy_poll })
    }
}

impl Check {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let files = below(&self.look.root)?;
        let (host, findings) = self.look.survey(&files, "./data")?;
        let count = |name: &str| findings.iter().filter(|f| f.status.name() == name).count();
        let mut report = Report::new();
        report.field("kernel", host.kernel.as_str());
        report.field("virtual_machine", host.virtual_machine.clone());
        report.field("container", host.container.clone());
        report.field("cores", host.online.to_string());
        report.field("shard_cores", host.shards.to_string());
        report.field("memory_mib", usize::try_from(host.memory_bytes >> 20).unwrap_or(usize::MAX));
        report.field("memory_nodes_count", host.nodes.len());
        for name in ["ok", "change", "advice", "info", "untouchable", "absent"] {
            report.field(name, count(name));
        }
        report.table("folders", folders(&host));
        report.table(
            "settings",
            match self.format.format {
                Format::Json => every(&findings),
                Format::Table => merged(&findings),
            },
        );
        print_report(out, self.format.format, &report)?;
        Ok(Outcome::of(count("change")))
    }
}

fn folders(host: &Host) -> Table {
    let mut table = Table::new(&["folder", "mount_point", "file_system", "source", "disks"]);
    for folder in &host.folders {
        let disks = folder.disks.iter().map(|disk| disk.name.clone()).collect();
        table.push(vec![
            folder.path.as_str().into(),
            folder.mount_point.as_str().into(),
            folder.file_system.as_str().into(),
            folder.source.as_str().into(),
            Cell::Texts(disks),
        ]);
    }
    table
}

/// A row per file, with everything.
fn every(findings: &[Finding]) -> Table {
    let mut table = Table::new(&[
        "setting", "kind", "status", "place", "path", "current", "wanted", "note", "why",
    ]);
    for finding in findings {
        let kind = match finding.about.kind {
            Kind::Speed => "speed",
            Kind::Insurance => "insurance",
            Kind::Report => "report",
        };
        table.push(vec![
            finding.about.name.into(),
            kind.into(),
            finding.status.name().into(),
            Place::summary(std::slice::from_ref(&finding.place)).into(),
            finding.path.clone().into(),
            finding.current.clone().into(),
            finding.wanted.clone().into(),
            finding.note.clone().into(),
            finding.about.why.into(),
        ]);
    }
    table
}

/// A row per setting and state: a hundred cores with the same governor are one.
fn merged(findings: &[Finding]) -> Table {
    let mut table = Table::new(&["setting", "status", "where", "current", "wanted", "why"]);
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    for finding in findings {
        let same = |group: &&mut Vec<&Finding>| {
            let first = group[0];
            let key = |f: &Finding| (f.status.name(), f.current.clone(), f.wanted.clone());
            first.about == finding.about && key(first) == key(finding) && first.note == finding.note
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(finding),
            None => groups.push(vec![finding]),
        }
    }
    for group in groups {
        let first = group[0];
        let places: Vec<Place> = group.iter().map(|finding| finding.place.clone()).collect();
        let why = match &first.note {
            Some(note) => format!("{note}. {}", first.about.why),
            None => first.about.why.to_owned(),
        };
        table.push(vec![
            first.about.name.into(),
            first.status.name().into(),
            Place::summary(&places).into(),
            first.current.as_deref().map(short).into(),
            first.wanted.as_deref().map(short).into(),
            why.into(),
        ]);
    }
    table
}

fn short(text: &str) -> String {
    match text.char_indices().nth(VALUE_COLUMNS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

impl Apply {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let mut files = below(&self.look.root)?;
        let (host, findings) = self.look.survey(&files, "./data")?;
        let changes = change::changes(&findings);
        let mut table = Table::new(&["setting", "place", "path", "old", "new", "result", "note"]);
        let mut row = |finding: &Finding, old: &str, result: &str, note: Option<String>| {
            table.push(vec![
                finding.about.name.into(),
                Place::summary(std::slice::from_ref(&finding.place)).into(),
                finding.path.clone().into(),
                short(old).into(),
                finding.wanted.clone().into(),
                result.into(),
                note.into(),
            ]);
        };
        let mut failures = 0;
        let mut applied = Vec::new();
        if !self.dry_run && !changes.is_empty() {
            let path = self.journal.path(&files);
            let mut journal =
                Journal::open(&path, host.boot.as_deref()).map_err(CliError::failed)?;
            applied =
                change::apply(&mut files, &changes, &mut journal).map_err(CliError::failed)?;
            // Refusals alone leave nothing to undo.
            if !journal.finish().map_err(CliError::failed)? {
                complain(&format!(
                    "the old values are in {}; `corelane tune undo` restores them",
                    path.display()
                ));
            }
        }
        let mut applied = applied.into_iter();
        for finding in &findings {
            let old = finding.current.as_deref().unwrap_or_default();
            match &finding.status {
                Status::Change(_) if self.dry_run => row(finding, old, "would_write", None),
                Status::Change(_) => {
                    let applied = applied.next().expect("one per change, in their order");
                    let (result, note) = match applied.result {
                        Ok(Wrote::Value) => ("written", None),
                        Ok(Wrote::Nothing) => ("unchanged", Some("it reads that already".into())),
                        Ok(Wrote::Otherwise(reads)) => {
                            ("written", Some(format!("the kernel made it `{reads}`")))
                        }
                        Err(trouble) => {
                            failures += 1;
                            ("refused", Some(trouble.to_string()))
                        }
                    };
                    row(finding, &applied.old, result, note);
                }
                Status::Untouchable => row(finding, old, "untouchable", finding.note.clone()),
                Status::Good | Status::Advice | Status::Info | Status::Absent => {}
            }
        }
        if changes.is_empty() {
            complain("nothing to change: every setting that may be written is as it should be");
        }
        print_table(out, self.format.format, &table)?;
        Ok(Outcome::of(failures))
    }
}

impl Undo {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let mut files = below(&self.root)?;
        let path = self.journal.path(&files);
        let mut table = Table::new(&["setting", "path", "found", "old", "result", "note"]);
        let Some(mut journal) = Journal::find(&path).map_err(CliError::failed)? else {
            complain(&format!("nothing to undo: there is no journal {}", path.display()));
            print_table(out, self.format.format, &table)?;
            return Ok(Outcome::Done);
        };
        let boot = Host::look(&files, &Aims::default()).boot;
        let how = How { force: self.force, dry_run: self.dry_run, from_entry: 0 };
        let all = undo::undo(&mut files, &mut journal, boot.as_deref(), how);
        let all = all.map_err(CliError::failed)?;
        let mut failures = 0;
        for undone in &all {
            failures += usize::from(!undone.result.is_done());
            let (result, note) = match &undone.result {
                Back::Restored if self.dry_run => ("would_restore", None),
                Back::Restored => ("restored", None),
                Back::Already => ("already", Some("it reads its old value".to_owned())),
                Back::Left => (
                    "left",
                    Some("somebody else changed it meanwhile; --force restores it".to_owned()),
                ),
                Back::Booted => ("gone", Some("the machine was booted since".to_owned())),
                Back::Gone => ("gone", Some("there is no such file any more".to_owned())),
                Back::Failed(trouble) => ("failed", Some(trouble.to_string())),
            };
            table.push(vec![
                undone.setting.as_str().into(),
                undone.path.as_str().into(),
                short(&undone.found).into(),
                short(&undone.old).into(),
                result.into(),
                note.into(),
            ]);
        }
        if !self.dry_run {
            journal.finish().map_err(CliError::failed)?;
        }
        print_table(out, self.format.format, &table)?;
        Ok(Outcome::of(failures))
    }
}

impl Unit {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let files = below(&self.look.root)?;
        let (host, findings) = self.look.survey(&files, "/var/lib/corelane")?;
        let text = match self.what {
            UnitKind::Tuned => unit::profile(&findings),
            UnitKind::Systemd => {
                let binary = std::env::current_exe().map_err(|error| {
                    CliError::failed(format!("cannot find this binary: {error}"))
                })?;
                let isolated = files.text("/sys/devices/system/cpu/isolated");
                let isolated = isolated.and_then(|text| text.parse().ok()).unwrap_or_default();
                let service = Service {
                    binary: binary.display().to_string(),
                    config: self.config,
                    data_dir: host
                        .folders
                        .first()
                        .map_or_else(|| "/var/lib/corelane".to_owned(), |f| f.path.clone()),
                    cores: self.look.cores.clone(),
                    busy_poll: self.look.busy_poll,
                    user: self.user,
                };
                unit::service(&host, &isolated, &service)
            }
        };
        out.write_all(text.as_bytes())?;
        Ok(Outcome::Done)
    }
}
