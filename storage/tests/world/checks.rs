//! What holds after any crash, and after a clean stop.

use std::collections::BTreeMap;

use super::*;

impl World {
    /// What the disk holds, seen by an independent reader, is what was promised; the client forgets
    /// what did not survive.
    pub fn check(&mut self) {
        let config = RecoverConfig { life: 1, wall_ms: self.wall_ms() };
        let mut twin = self.disk.twin(1);
        let mut recovery = Recovery::open(&mut twin, config).expect("a recovered disk reads");
        let ids: Vec<PartitionId> = self.partitions.keys().copied().collect();
        for id in ids {
            if self.partitions[&id].removed {
                continue;
            }
            let mut found = Vec::new();
            recovery
                .read_partition(&mut twin as &mut dyn BlockingDisk, &id, &mut |bytes| {
                    found.push(bytes.to_vec());
                })
                .unwrap_or_else(|error| panic!("{id}: {error}"));
            let (store, log) = self.log(id);
            let start = store.log_start(log).expect("it is there");
            let end = store.log_end(log).expect("it is there");
            let producers: Vec<_> =
                store.producers(log).map(|(id, state)| (id, format!("{state:?}"))).collect();
            let known = self.partitions.get_mut(&id).expect("known");
            known.check(id, start, end, &found, &producers);
        }
    }

    /// Everything a client can fetch, read through the stores as one would, is what was sent.
    pub fn check_reads(&mut self) {
        let ids: Vec<PartitionId> = self.partitions.keys().copied().collect();
        for id in ids {
            if self.partitions[&id].removed {
                continue;
            }
            let (store, log) = self.log(id);
            let mut next = store.log_start(log).expect("it is there");
            let high = store.high_watermark(log).expect("it is there");
            let mut found: Vec<Vec<u8>> = Vec::new();
            while next < high {
                let (store, log) = self.log(id);
                let mut out = Vec::new();
                let read = store.read(log, next, 9_000, true, i64::MAX, &mut out);
                match read.unwrap_or_else(|error| panic!("{id} at {next}: {error}")) {
                    ReadOutcome::Done { .. } => {}
                    ReadOutcome::Pending(token) => out = self.await_read(token),
                }
                assert!(!out.is_empty(), "{id}: there is something at {next} below {high}");
                for bytes in &out {
                    found.push(bytes.as_slice().to_vec());
                    next = BatchMeta::read(bytes.as_slice()).expect("a batch").next_offset();
                }
            }
            let (store, log) = self.log(id);
            let start = store.log_start(log).expect("it is there");
            let sent = &self.partitions[&id].sent;
            let expected = sent
                .iter()
                .filter(|sent| sent.meta.last_offset() >= start && sent.meta.last_offset() < high);
            let expected: Vec<&Vec<u8>> = expected.map(|sent| &sent.bytes).collect();
            assert_eq!(found.len(), expected.len(), "{id}: batches read");
            assert!(found.iter().zip(expected).all(|(found, sent)| found == sent), "{id}");
        }
    }

    /// The first batch by time, found through the store, is the first one sent that is as young.
    pub fn check_find(&mut self, timestamp: i64) {
        let ids: Vec<PartitionId> = self.partitions.keys().copied().collect();
        for id in ids {
            if self.partitions[&id].removed {
                continue;
            }
            let (store, log) = self.log(id);
            let start = store.log_start(log).expect("it is there");
            let high = store.high_watermark(log).expect("it is there");
            let found = match store.find_offset_by_time(log, timestamp).expect("it searches") {
                FindOutcome::Pending(token) => self.await_find(token),
                found => found,
            };
            let found = match found {
                FindOutcome::None => None,
                FindOutcome::InBatch(batch) => {
                    Some(BatchMeta::read(batch.as_slice()).expect("a batch").base_offset)
                }
                FindOutcome::Pending(_) => panic!("an answer is not pending"),
            };
            let expected = self.partitions[&id].sent.iter().find(|sent| {
                sent.meta.max_timestamp >= timestamp
                    && sent.meta.last_offset() >= start
                    && sent.meta.last_offset() < high
            });
            assert_eq!(found, expected.map(|sent| sent.meta.base_offset), "{id} at {timestamp}");
        }
    }

    /// After a clean stop every file of a partition is one of its log: segments one after the other
    /// up to the log's end, their indexes, snapshots of producers where a segment begins, and one
    /// at the end. Of removed partitions there is none.
    pub fn check_strays(&self) {
        let mut names: BTreeMap<&str, Vec<LogName>> = BTreeMap::new();
        for (path, _) in self.disk.files() {
            if let Some((folder, name)) = path.path.rsplit_once('/')
                && folder.starts_with("topics/")
                && let Some(name) = LogName::parse(name)
            {
                names.entry(folder).or_default().push(name);
            }
        }
        for (id, known) in &self.partitions {
            let names = names.remove(id.folder().as_str()).unwrap_or_default();
            assert!(!known.removed || names.is_empty(), "{id} was removed: {names:?}");
            let end = known.sent.last().map_or(0, |sent| sent.meta.next_offset());
            let mut bases: Vec<i64> = names
                .iter()
                .filter(|name| name.kind == LogFileKind::Log)
                .map(|name| name.offset)
                .collect();
            bases.sort_unstable();
            let mut next = bases.first().copied().unwrap_or(end);
            for base in &bases {
                assert_eq!(*base, next, "{id}: a segment that the log does not have: {bases:?}");
                let name = LogName::new(*base, LogFileKind::Log);
                let path = DiskPath::data(format!("{}/{name}", id.folder()));
                let bytes = self.disk.contents(&path).expect("it was listed");
                let mut scanner = BatchScanner::new(bytes, *base, CrcCheck::Skip);
                scanner.by_ref().for_each(drop);
                next = scanner.next_offset();
            }
            assert_eq!(next, end, "{id}: its segments end where it ends");
            for name in &names {
                let at_end = name.kind == LogFileKind::Snapshot && name.offset == end;
                assert!(at_end || bases.contains(&name.offset), "{id}: {name:?} is no log's");
            }
            if end > 0 && !bases.is_empty() {
                let name = LogName::new(end, LogFileKind::Snapshot);
                let path = DiskPath::data(format!("{}/{name}", id.folder()));
                let bytes = self.disk.contents(&path);
                let bytes = bytes.unwrap_or_else(|| panic!("{id}: no snapshot at its end {end}"));
                let mut states = ProducerStates::default();
                for sent in &known.sent {
                    states.record(&sent.meta, sent.meta.base_offset, 0);
                }
                assert_eq!(bytes, states.encode_snapshot(), "{id}: producers at its end");
            }
        }
        assert!(names.is_empty(), "folders of no partition: {names:?}");
    }

    /// Each index file is what its log file makes it, and no file is a stray.
    pub fn check_files(&self) {
        self.check_strays();
        self.check_indexes();
    }

    /// Each index file is what its log file makes it.
    pub fn check_indexes(&self) {
        let mut logs_count = 0;
        for (path, bytes) in self.disk.files() {
            let Some((folder, name)) = path.path.rsplit_once('/') else { continue };
            let Some(name) = LogName::parse(name) else { continue };
            if name.kind != LogFileKind::Log {
                continue;
            }
            logs_count += 1;
            let file = |kind| {
                let path = format!("{folder}/{}", LogName::new(name.offset, kind));
                self.disk.contents(&DiskPath::data(path)).unwrap_or_else(|| {
                    panic!("{folder}/{} has no {kind:?}", name.offset);
                })
            };
            let known = small_log();
            let mut indexes =
                SegmentIndexes::new(name.offset, known.index_interval_bytes, known.index_bytes_max);
            let mut position = 0;
            for found in BatchScanner::new(bytes, name.offset, CrcCheck::Verify) {
                let found = found.unwrap_or_else(|error| panic!("{path:?}: {error}"));
                indexes.record(&found.meta, position);
                position += found.meta.bytes;
            }
            indexes.close();
            assert_eq!(position as usize, bytes.len(), "{path:?} has its true length");
            let offsets = file(LogFileKind::OffsetIndex);
            assert_eq!(offsets, indexes.offsets.as_bytes(), "{path:?}: offset index");
            // A clean stop adds an entry that a log read in one go lacks: compare what both must
            // say.
            let times = file(LogFileKind::TimeIndex);
            let times = storage::segment::time_index::TimeIndex::decode(
                name.offset,
                known.index_bytes_max,
                times.to_vec(),
            )
            .unwrap_or_else(|error| panic!("{path:?}: time index: {error}"));
            assert_eq!(times.last(), indexes.times.last(), "{path:?}: time index");
        }
        assert!(logs_count > 0, "there are segments to check");
    }
}

impl Known {
    fn check(
        &mut self,
        id: PartitionId,
        start: i64,
        end: i64,
        found: &[Vec<u8>],
        producers: &[(i64, String)],
    ) {
        assert!(start >= self.start_promised, "{id}: the log start went back to {start}");
        let asked = self.starts.iter().map(|(start, _)| *start).max().unwrap_or(0);
        assert!(start <= asked, "{id}: nobody asked for the log start {start}");
        let survived = self.sent.iter().filter(|sent| sent.meta.next_offset() <= end).count();
        for (index, sent) in self.sent.iter().enumerate() {
            assert!(
                index < survived || !sent.acked,
                "{id}: an acked batch is lost: {:?}",
                sent.meta
            );
        }
        let visible = self.sent[..survived].iter().filter(|sent| sent.meta.last_offset() >= start);
        let visible: Vec<&Vec<u8>> = visible.map(|sent| &sent.bytes).collect();
        assert_eq!(visible.len(), found.len(), "{id}: as many batches as survived");
        for (sent, found) in visible.iter().zip(found) {
            assert!(*sent == found, "{id}: a batch is not the one that was sent");
        }
        let mut states = ProducerStates::default();
        for sent in &self.sent[..survived] {
            states.record(&sent.meta, sent.meta.base_offset, 0);
        }
        let expected: Vec<_> =
            states.iter().map(|(id, state)| (id, format!("{state:?}"))).collect();
        assert_eq!(producers, expected, "{id}: producers");
        self.sent.truncate(survived);
        self.start_promised = start;
        self.starts = vec![(start, CommitSeq(0))];
        self.sequences.clear();
        for sent in &self.sent {
            if sent.meta.has_producer_id() {
                self.sequences.insert(sent.meta.producer_id, sent.meta.last_sequence() + 1);
            }
        }
        // What survived is durable from here on, whatever was promised before.
        for sent in &mut self.sent {
            sent.acked = true;
            sent.durability = DurabilityClass::Persisted;
        }
    }
}
