//! Starting again after a crash or a stop, with cuts in it, and the checks of what survived.

use std::collections::BTreeMap;
use std::fmt::Write;

use storage::Store;
use storage::producer_state::Producer;
use storage::recovery::{self, Placement, RecoverConfig, Recovered, Recovery};
use storage::segment::format::BatchMeta;
use storage::sim_disk::{Effect, Fault, Ops, SimMemory};
use storage::types::PartitionId;

use super::world::{SHARDS_MAX, Shard, World};

impl World {
    pub fn restart(&mut self, mut machine_lives: bool) {
        let mut attempts = 0;
        let stores = loop {
            self.life += 1;
            let shards_count = self.work.between(1, SHARDS_MAX) as u16;
            if attempts < 3 && self.cuts.one_in(4) {
                let ops = self.cuts.pick(&[Ops::Any, Ops::Change, Ops::Write]);
                let skip = self.cuts.between(0, 40);
                self.disk.inject(Fault::once(ops, skip, Effect::PowerCut));
            }
            let recovered = self.recover(shards_count);
            self.disk.clear_faults();
            if self.disk.is_powered() {
                break recovered.expect("the disk did nothing wrong");
            }
            attempts += 1;
            drop(recovered);
            let seed = self.cuts.next_u64();
            self.note(format!("power cut {seed} in recovery"));
            self.totals.cuts_in_recovery += 1;
            self.disk.power_cut(seed);
            self.disk.restart();
            machine_lives = false;
        };
        let (slot_bytes, slots_count) = self.memory_slots;
        for (shard, mut store) in stores.into_iter().enumerate() {
            let file = self.disk.contents(&recovery::memory_path(shard as u16)).unwrap_or(&[]);
            let memory = SimMemory::new(slot_bytes, slots_count, file);
            store.set_region_source(Box::new(memory.clone()));
            self.shards.push(Shard {
                store,
                memory,
                pending: BTreeMap::new(),
                stopped: false,
                journal_failed: false,
                gave_up: false,
            });
        }
        self.check_recovered(machine_lives);
    }

    fn recover(&mut self, shards_count: u16) -> Result<Vec<Store>, String> {
        let config = RecoverConfig { life: self.life, wall_ms: self.wall_ms };
        self.note(format!("recover into {shards_count} shards, life {}", self.life));
        let mut recovery = Recovery::open(&mut self.disk, config).map_err(|e| e.to_string())?;
        let known: Vec<PartitionId> = recovery.partitions().collect();
        if self.cuts.one_in(2) {
            self.read_before_placement(&mut recovery, &known)?;
        }
        self.homes.clear();
        let mut places = BTreeMap::new();
        for (id, model) in &self.logs {
            places.insert(*id, (self.work.below(u64::from(shards_count)) as u16, model.config));
        }
        let finished =
            recovery.finish(&mut self.disk, shards_count, self.store_config, &mut |id| {
                let place = places.get(id).copied();
                place.map_or(Placement::Nowhere, |(shard, config)| Placement::Here(shard, config))
            });
        let Recovered { stores, report, .. } = finished.map_err(|error| error.to_string())?;
        self.note(format!("recovered {} partitions: {report:?}", known.len()));
        assert_eq!(report.quarantined, [], "nothing was damaged");
        assert_eq!(stores.len(), usize::from(shards_count));
        for (id, (shard, _)) in places {
            if let Some(log) = stores[usize::from(shard)].find(&id) {
                self.homes.insert(id, (usize::from(shard), log));
            }
        }
        let found: usize = stores.iter().map(|store| store.partitions().count()).sum();
        assert_eq!(found, self.homes.len(), "no partition that was removed, none twice");
        Ok(stores)
    }

    /// The metadata log is read before anybody knows where partitions belong.
    fn read_before_placement(
        &mut self,
        recovery: &mut Recovery,
        known: &[PartitionId],
    ) -> Result<(), String> {
        for id in known {
            let Some(model) = self.logs.get(id) else { continue };
            let mut batches: Vec<Vec<u8>> = Vec::new();
            let mut take = |batch: &[u8]| batches.push(batch.to_vec());
            recovery.read_partition(&mut self.disk, id, &mut take).map_err(|e| e.to_string())?;
            let Some(first) = batches.first() else { continue };
            let base = BatchMeta::read(first).expect("a batch is whole").base_offset;
            let first = model.batches.partition_point(|batch| batch.base < base);
            for (batch, expected) in batches.iter().zip(&model.batches[first..]) {
                assert!(batch[..] == expected.stored[..], "{id:?}: the batch at {}", expected.base);
            }
            assert!(first + batches.len() <= model.batches.len(), "{id:?}: batches were invented");
        }
        Ok(())
    }

    fn check_recovered(&mut self, machine_lives: bool) {
        let ids: Vec<PartitionId> = self.logs.keys().copied().collect();
        for id in ids {
            let must = self.logs[&id].must_survive(machine_lives);
            let Some((shard, log)) = self.homes.get(&id).copied() else {
                assert_eq!(must, 0, "{id:?} is gone with acknowledged batches");
                self.lost(&id, 0, 0);
                let shard = self.work.below(self.shards.len() as u64) as usize;
                self.place(id, shard);
                continue;
            };
            let store = &self.shards[shard].store;
            let end = store.log_end(log).expect("it was found");
            let start = store.log_start(log).expect("it was found");
            let model = &self.logs[&id];
            let count = model.batches.partition_point(|batch| batch.next <= end);
            let whole = count.checked_sub(1).map_or(0, |last| model.batches[last].next);
            assert_eq!(whole, end, "{id:?} ends within a batch or beyond everything appended");
            assert!(
                count >= must,
                "{id:?} ends at {end}: {count} batches, {must} were acknowledged"
            );
            let starts = model.start_min..=model.start_max;
            assert!(starts.contains(&start), "{id:?} starts at {start}, not within {starts:?}");
            assert_eq!(store.high_watermark(log), Some(end), "what was recovered is committed");
            self.lost(&id, count, start);
            self.check_state(&id);
            self.check_transactions(&id);
            self.read_whole(&id);
        }
        self.note("recovered".to_owned());
    }

    fn lost(&mut self, id: &PartitionId, count: usize, start: i64) {
        let model = self.logs.get_mut(id).expect("it exists");
        self.totals.unacked_lost += (model.batches.len() - count) as u64;
        model.restarted(count, start);
    }

    /// Producers and epochs are those that replaying the log gives.
    fn check_state(&self, id: &PartitionId) {
        let (shard, log) = self.homes[id];
        let store = &self.shards[shard].store;
        let model = &self.logs[id];
        let ours: Vec<(i64, Producer)> = store.producers(log).map(|(id, p)| (id, *p)).collect();
        let theirs: Vec<(i64, Producer)> = model.producers.iter().map(|(id, p)| (id, *p)).collect();
        assert_eq!(ours, theirs, "producers of {id:?}");
        let start = store.log_start(log).expect("it exists");
        if let Some(last) = model.batches.last().filter(|last| last.next > start) {
            let meta = BatchMeta::read(&last.stored).expect("the driver makes good batches");
            assert_eq!(store.latest_epoch(log), Some(meta.leader_epoch), "last epoch of {id:?}");
        }
        let mut text = String::new();
        for epoch in 0..=model.leader_epoch {
            let Some(end) = store.epoch_end(log, epoch) else { continue };
            let later = model.batches.iter().find(|batch| {
                let meta = BatchMeta::read(&batch.stored).expect("the driver makes good batches");
                meta.leader_epoch > epoch && batch.next > start
            });
            let expected = later.map_or(model.end(), |batch| batch.base.max(start));
            if end.end_offset != expected {
                writeln!(text, "epoch {epoch} ends at {}, not {expected}", end.end_offset)
                    .expect("a string takes all");
            }
        }
        assert!(text.is_empty(), "{id:?}: {text}");
    }
}
