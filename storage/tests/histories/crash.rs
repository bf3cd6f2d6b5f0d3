//! How a life ends: the power goes, the process is killed, or every shard stops cleanly; and what
//! the files of a log are then.

use std::collections::BTreeSet;

use storage::log_dump::{self, SegmentFiles};
use storage::op::DiskPath;
use storage::recovery;
use storage::segment::log_names::{LogFileKind, LogName};
use storage::sim_disk::SimMemory;

use super::world::World;

impl World {
    pub fn power_cut(&mut self) -> bool {
        self.last_look();
        let seed = self.cuts.next_u64();
        self.note(format!("power cut {seed}"));
        self.totals.power_cuts += 1;
        self.shards.clear();
        self.heal_disk();
        self.disk.power_cut(seed);
        self.disk.restart();
        false
    }

    pub fn kill(&mut self) -> bool {
        self.last_look();
        let seed = self.cuts.next_u64();
        self.note(format!("kill {seed}"));
        self.totals.kills += 1;
        self.heal_disk();
        self.disk.kill(seed);
        self.leave_memory();
        true
    }

    fn leave_memory(&mut self) {
        let memories: Vec<SimMemory> =
            std::mem::take(&mut self.shards).into_iter().map(|shard| shard.memory).collect();
        for (shard, memory) in memories.into_iter().enumerate() {
            self.disk.put_file(&recovery::memory_path(shard as u16), memory.file_bytes());
        }
    }

    pub fn stop(&mut self) -> bool {
        self.note("stop".to_owned());
        self.totals.stops += 1;
        if self.faulty {
            self.heal_disk();
        }
        for shard in 0..self.shards.len() {
            self.shards[shard].store.stop(self.mono_ns);
            self.end_turn(shard);
        }
        let mut rounds = 0;
        while self.disk.is_powered() && !self.shards.iter().all(|shard| shard.stopped) {
            self.pump(50);
            rounds += 1;
            assert!(rounds < 2_000, "a clean stop ends");
            if self.shards.iter().any(|shard| shard.journal_failed) {
                return self.kill();
            }
            if self.disk.in_flight() == 0 {
                self.pass_time();
            }
        }
        while self.disk.is_powered() && self.disk.in_flight() > 0 {
            self.pump(50);
        }
        if !self.disk.is_powered() {
            return self.power_cut();
        }
        self.last_look();
        let clean = !self.shards.iter().any(|shard| shard.gave_up);
        if clean {
            self.check_stopped();
        }
        self.disk.clear_faults();
        self.disk.close_all();
        self.leave_memory();
        // After a clean stop even a power cut takes nothing.
        if clean && self.cuts.one_in(3) {
            self.disk.power_cut(self.cuts.next_u64());
            self.disk.restart();
        }
        true
    }

    fn check_stopped(&mut self) {
        for (id, model) in self.logs.iter().filter(|(_, model)| !model.failed) {
            let (readable, end) = (model.high_watermark(), model.end());
            assert_eq!(readable, end, "a clean stop leaves nothing of {id:?}");
        }
        self.verify_files();
    }

    /// After a clean stop every file of a log is Kafka's: logs whole, indexes in step with them,
    /// one segment after the other from the log's start to its end.
    fn verify_files(&mut self) {
        let mut aborted = 0;
        for (id, model) in self.logs.iter().filter(|(_, model)| !model.failed) {
            let (shard, log) = self.homes[id];
            let folder = id.folder();
            let contents = |offset: i64, kind: LogFileKind| {
                let name = LogName::new(offset, kind);
                self.disk.contents(&DiskPath::data(format!("{folder}/{name}")))
            };
            let mut segments = BTreeSet::new();
            let mut names = Vec::new();
            for (path, _) in self.disk.files() {
                let name = path.path.strip_prefix(&folder).and_then(|rest| rest.strip_prefix('/'));
                let Some(name) = name.and_then(LogName::parse) else { continue };
                names.push(name);
                if name.kind == LogFileKind::Log {
                    segments.insert(name.offset);
                }
            }
            let start = self.shards[shard].store.log_start(log).expect("it exists");
            // What was deleted may wait for retention, and is the log's until then.
            let first = segments.range(..=start).next().copied().unwrap_or(start);
            let mut next = first;
            let mut bases = BTreeSet::new();
            while next < model.end() {
                let log = contents(next, LogFileKind::Log);
                let files = SegmentFiles {
                    base_offset: next,
                    log: log
                        .unwrap_or_else(|| panic!("{id:?}: no segment at {next}: {segments:?}")),
                    offset_index: contents(next, LogFileKind::OffsetIndex),
                    time_index: contents(next, LogFileKind::TimeIndex),
                    closed: true,
                };
                let both = files.offset_index.is_some() && files.time_index.is_some();
                assert!(both, "{id:?} {next}: an index is missing");
                assert_eq!(log_dump::verify_segment(files), [], "{id:?} {next}");
                let last = log_dump::batches(files.log).last().and_then(Result::ok);
                bases.insert(next);
                let base = next;
                next = last.expect("a segment of a log has a batch").meta.next_offset();
                let index = contents(base, LogFileKind::TxnIndex);
                aborted += model.check_txn_index(base, next, index);
            }
            assert_eq!(next, model.end(), "{id:?} ends within a segment");
            // An empty segment that retention began may have files too, and the end a snapshot.
            for name in names {
                let known = bases.contains(&name.offset) || name.offset == model.end();
                assert!(known && !name.deleted, "{id:?}: {name:?} belongs to no log: {bases:?}");
            }
        }
        self.totals.aborted_in_files += aborted;
    }
}
