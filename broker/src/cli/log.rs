//! `corelane log`: dump and verify the files of a broker that is not running.
//!
//! Reads only. What the bytes mean is `storage::log_dump`; this file finds and names files. Lines
//! are those of Kafka's DumpLogSegments, so that scripts made for it work here.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use protocol::Uuid;
use protocol::batch::control::{ControlType, read_control_key, read_end_txn_value};
use protocol::batch::{BatchHeader, Record, TimestampType, open_records};
use protocol::compress::Codecs;
use storage::log_dump::{BatchSummary, SegmentFiles, batches, is_damage, verify_segment};
use storage::segment::log_names::{LogFileKind, LogName};
use storage::segment::offset_index::OffsetIndex;
use storage::segment::time_index::TimeIndex;
use storage::segment::txn_index;

use super::error::{CliError, Outcome, Result, complain};
use super::limits::{BATCH_BYTES_MAX, LOG_FILE_BYTES_MAX};
use super::output::{FormatOption, Table, print_table, printable};

/// What to do with files.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Print what stands in logs and their indexes
    Dump(Dump),
    /// Check CRCs, offsets and indexes; exit code 1 if anything is wrong
    Verify(Verify),
}

/// Which files.
#[derive(Debug, Args)]
pub struct Which {
    /// The data folder of a broker that is not running
    #[arg(long, default_value = "./data", value_name = "DIR")]
    data_dir: PathBuf,
    /// Only the topic with this id, as `corelane topic list` shows it or in 32 hexadecimal digits
    #[arg(long, value_name = "ID")]
    topic_id: Option<String>,
    /// Only this partition
    #[arg(long, value_name = "NUMBER")]
    partition: Option<i32>,
}

/// `log dump`.
#[derive(Debug, Args)]
pub struct Dump {
    /// Files or partition folders; all of the data folder if none is named
    paths: Vec<PathBuf>,
    /// Print every record, not only batches
    #[arg(long, short = 'r')]
    records: bool,
    /// Print keys and values of records, too
    #[arg(long, short = 'd')]
    data: bool,
    #[command(flatten)]
    which: Which,
}

/// `log verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Files or partition folders; all of the data folder if none is named
    paths: Vec<PathBuf>,
    /// Indexes that disagree with their log are errors, too; a broker builds them again
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    format: FormatOption,
    #[command(flatten)]
    which: Which,
}

impl LogCommand {
    /// Does it.
    pub fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        match self {
            Self::Dump(dump) => dump.run(out),
            Self::Verify(verify) => verify.run(out),
        }
    }
}

/// The files to look at, and the lock that keeps a broker from changing them meanwhile.
struct Found {
    files: Vec<(PathBuf, LogName)>,
    _locks: Vec<File>,
}

impl Which {
    fn find(&self, paths: &[PathBuf]) -> Result<Found> {
        let mut locks = Vec::new();
        let mut files = Vec::new();
        if paths.is_empty() {
            locks.extend(lock(&self.data_dir)?);
            for folder in self.partition_folders()? {
                files.extend(log_files(&folder)?);
            }
        }
        for path in paths {
            // A file in a data folder is DATA/topics/ID/PARTITION/NAME.
            let whole = fs::canonicalize(path).map_err(|error| unreadable(path, &error))?;
            for folder in whole.ancestors().skip(1) {
                locks.extend(lock(folder)?);
            }
            if whole.is_dir() {
                files.extend(log_files(path)?);
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str()).and_then(LogName::parse);
            let Some(name) = name else {
                return Err(CliError::usage(format!(
                    "{}: no log file; their names are 20 digits and .log, .index, .timeindex or \
                     .txnindex",
                    path.display()
                )));
            };
            files.push((path.clone(), name));
        }
        Ok(Found { files, _locks: locks })
    }

    fn partition_folders(&self) -> Result<Vec<PathBuf>> {
        let topics = self.data_dir.join("topics");
        let topic = self.topic_id.as_deref().map(topic_folder).transpose()?;
        let partition = self.partition.map(|number| number.to_string());
        let wanted = |entry: &Path, only: &Option<String>| {
            let name = entry.file_name().and_then(|name| name.to_str());
            only.as_deref().is_none_or(|only| name == Some(only))
        };
        let mut found = Vec::new();
        for folder in entries(&topics)?.iter().filter(|folder| wanted(folder, &topic)) {
            let all = if folder.is_dir() { entries(folder)? } else { Vec::new() };
            found.extend(
                all.into_iter().filter(|folder| folder.is_dir() && wanted(folder, &partition)),
            );
        }
        if found.is_empty() {
            return Err(CliError::failed(format!(
                "{}: no partition's folder there; a partition has one from its first flush on",
                topics.display()
            )));
        }
        Ok(found)
    }
}

/// The folder of a topic's id in either of its text forms.
fn topic_folder(id: &str) -> Result<String> {
    if id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Ok(id.to_lowercase());
    }
    match id.parse::<Uuid>() {
        Ok(id) => Ok(id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()),
        Err(error) => Err(CliError::usage(format!("--topic-id {id}: {error}"))),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::failed(format!("{}: {error}; name what can be read", path.display()))
}

/// What a folder holds, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut all: Vec<PathBuf> =
        read.map_err(|error| unreadable(folder, &error))?.iter().map(|e| e.path()).collect();
    all.sort();
    Ok(all)
}

/// The live log and index files of a partition's folder.
fn log_files(folder: &Path) -> Result<Vec<(PathBuf, LogName)>> {
    let name_of = |path: &PathBuf| LogName::parse(path.file_name()?.to_str()?);
    let named = entries(folder)?.into_iter().filter_map(|path| name_of(&path).map(|n| (path, n)));
    Ok(named.filter(|(_, name)| !name.deleted).collect())
}

/// Refuses a data folder that a broker uses; keeps brokers out while the lock lives. A folder that
/// never had a broker has no lock.
fn lock(folder: &Path) -> Result<Option<File>> {
    let path = folder.join(".lock");
    let Ok(mut file) = File::open(&path) else { return Ok(None) };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::Error(error)) => Err(unreadable(&path, &error)),
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = match pid.trim() {
                "" => "unknown",
                pid => pid,
            };
            Err(CliError::failed(format!(
                "the data folder {} is in use by process {pid}; stop it first",
                folder.display()
            )))
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let length = fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
    if length > LOG_FILE_BYTES_MAX {
        return Err(CliError::failed(format!(
            "{}: {length} bytes; no segment is larger than 2 GiB",
            path.display()
        )));
    }
    fs::read(path).map_err(|error| unreadable(path, &error))
}

impl Dump {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let found = self.which.find(&self.paths)?;
        let mut failures = 0;
        for (path, name) in &found.files {
            let bytes = read(path)?;
            let shown = path.display();
            match name.kind {
                LogFileKind::Log => {
                    writeln!(out, "Dumping {shown}\nLog starting offset: {}", name.offset)?;
                    failures += self.dump_log(&bytes, out)?;
                }
                LogFileKind::OffsetIndex => {
                    writeln!(out, "Dumping {shown}")?;
                    match OffsetIndex::decode(name.offset, u32::MAX, bytes) {
                        Ok(index) => {
                            for slot in 0..index.len() {
                                let entry = index.entry(slot);
                                let (offset, position) = (entry.offset, entry.position);
                                writeln!(out, "offset: {offset} position: {position}")?;
                            }
                        }
                        Err(error) => failures += unread(path, &error),
                    }
                }
                LogFileKind::TimeIndex => {
                    writeln!(out, "Dumping {shown}")?;
                    match TimeIndex::decode(name.offset, u32::MAX, bytes) {
                        Ok(index) => {
                            for slot in 0..index.len() {
                                let entry = index.entry(slot);
                                let (timestamp, offset) = (entry.timestamp, entry.offset);
                                writeln!(out, "timestamp: {timestamp} offset: {offset}")?;
                            }
                        }
                        Err(error) => failures += unread(path, &error),
                    }
                }
                LogFileKind::TxnIndex => {
                    writeln!(out, "Dumping {shown}")?;
                    match txn_index::decode(&bytes) {
                        Ok(aborted) => {
                            for ended in aborted {
                                writeln!(
                                    out,
                                    "version: 0 producerId: {} firstOffset: {} lastOffset: {} \
                                     lastStableOffset: {}",
                                    ended.producer_id,
                                    ended.first_offset,
                                    ended.last_offset,
                                    ended.last_stable_offset,
                                )?;
                            }
                        }
                        Err(error) => failures += unread(path, &error),
                    }
                }
                LogFileKind::Snapshot => {
                    writeln!(out, "Skipping {shown}: {} bytes", bytes.len())?;
                }
            }
        }
        Ok(Outcome::of(failures))
    }

    fn dump_log(&self, log: &[u8], out: &mut dyn Write) -> Result<usize> {
        let mut codecs = Codecs::new();
        let mut failures = 0;
        for batch in batches(log) {
            match batch {
                Ok(batch) => {
                    failures += usize::from(!batch.is_valid);
                    writeln!(out, "{batch}")?;
                    if self.records || self.data {
                        let bytes = &log[batch.position..];
                        failures += self.dump_records(&batch, bytes, &mut codecs, out)?;
                    }
                }
                Err(error) => {
                    let left = log.len() - error.position;
                    // Space at the end that was never written is what a killed broker leaves.
                    let zeros = log[error.position..].iter().all(|&byte| byte == 0);
                    failures += usize::from(!zeros);
                    writeln!(out, "Found {left} bytes at the end that are no batch: {error}")?;
                }
            }
        }
        Ok(failures)
    }

    fn dump_records(
        &self,
        batch: &BatchSummary,
        bytes: &[u8],
        codecs: &mut Codecs,
        out: &mut dyn Write,
    ) -> Result<usize> {
        let offset = batch.meta.base_offset;
        let (header, records) = match open_records(bytes, codecs, BATCH_BYTES_MAX) {
            Ok(opened) => opened,
            Err(error) => {
                complain(&format!("the batch at offset {offset} cannot be read: {error}"));
                return Ok(1);
            }
        };
        for record in records {
            match record {
                Ok(record) => writeln!(out, "{}", self.record_line(&header, &record))?,
                Err(error) => {
                    complain(&format!("the batch at offset {offset} cannot be read: {error}"));
                    return Ok(1);
                }
            }
        }
        Ok(0)
    }

    /// Kafka's line of a record.
    fn record_line(&self, header: &BatchHeader, record: &Record<'_>) -> String {
        let clock = match header.timestamp_type() {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        };
        let size = |field: Option<&[u8]>| field.map_or(-1, |bytes| bytes.len() as i64);
        let sequence = if header.base_sequence >= 0 {
            protocol::batch::header::sequence_add(header.base_sequence, record.offset_delta)
        } else {
            -1
        };
        let keys: Vec<String> = record.headers.map(|header| text(header.key)).collect();
        let mut line = format!(
            "| offset: {} {clock}: {} keySize: {} valueSize: {} sequence: {sequence} \
             headerKeys: [{}]",
            record.offset(header),
            record.timestamp_ms(header),
            size(record.key),
            size(record.value),
            keys.join(","),
        );
        if header.is_control() {
            match read_control_key(record.key) {
                Ok(kind @ (ControlType::Commit | ControlType::Abort)) => {
                    let name = if kind == ControlType::Commit { "COMMIT" } else { "ABORT" };
                    let epoch = read_end_txn_value(record.value).unwrap_or(-1);
                    line.push_str(&format!(" endTxnMarker: {name} coordinatorEpoch: {epoch}"));
                }
                Ok(kind) => line.push_str(&format!(" controlType: {kind:?}")),
                Err(error) => line.push_str(&format!(" controlType: unreadable ({error})")),
            }
        } else if self.data {
            if let Some(key) = record.key {
                line.push_str(&format!(" key: {}", text(key)));
            }
            if let Some(value) = record.value {
                line.push_str(&format!(" payload: {}", text(value)));
            }
        }
        line
    }
}

fn text(bytes: &[u8]) -> String {
    printable(&String::from_utf8_lossy(bytes))
}

fn unread(path: &Path, error: &dyn std::fmt::Display) -> usize {
    complain(&format!("{}: {error}; a broker builds it again", path.display()));
    1
}

impl Verify {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let found = self.which.find(&self.paths)?;
        let mut table = Table::new(&["file", "batches", "records", "bytes", "finding", "damage"]);
        let mut failures = 0;
        let logs: Vec<&(PathBuf, LogName)> =
            found.files.iter().filter(|(_, name)| name.kind == LogFileKind::Log).collect();
        if logs.is_empty() {
            return Err(CliError::usage("no .log file there; name one or a partition's folder"));
        }
        for (at, (path, name)) in logs.iter().enumerate() {
            let log = read(path)?;
            let index = |kind: LogFileKind| {
                let path = path.with_file_name(LogName::new(name.offset, kind).to_string());
                path.exists().then(|| read(&path)).transpose()
            };
            let (offset_index, time_index) =
                (index(LogFileKind::OffsetIndex)?, index(LogFileKind::TimeIndex)?);
            // Every segment but the last of its folder was rolled, which closes its indexes.
            let closed = logs.get(at + 1).is_some_and(|(next, _)| next.parent() == path.parent());
            let findings = verify_segment(SegmentFiles {
                base_offset: name.offset,
                log: &log,
                offset_index: offset_index.as_deref(),
                time_index: time_index.as_deref(),
                closed,
            });
            let good: Vec<BatchSummary> = batches(&log).flatten().collect();
            let records: i64 = good.iter().map(|batch| i64::from(batch.meta.records_count)).sum();
            let row = |finding: Option<String>, damage: bool| {
                let shown = path.display().to_string();
                let counts = (good.len().into(), records.into(), log.len().into());
                vec![shown.into(), counts.0, counts.1, counts.2, finding.into(), damage.into()]
            };
            for finding in &findings {
                let damage = is_damage(finding);
                failures += usize::from(damage || self.strict);
                table.push(row(Some(finding.to_string()), damage));
            }
            if findings.is_empty() {
                table.push(row(None, false));
            }
        }
        print_table(out, self.format.format, &table)?;
        Ok(Outcome::of(failures))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_topics_id_name_its_folder() {
        let folder = "0123456789abcdeffedcba9876543210";
        assert_eq!(topic_folder("ASNFZ4mrze_-3LqYdlQyEA"), Ok(folder.to_owned()));
        assert_eq!(topic_folder(&folder.to_uppercase()), Ok(folder.to_owned()));
        assert!(matches!(topic_folder("orders"), Err(CliError::Usage(_))));
    }
}
