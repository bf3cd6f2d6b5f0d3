//! Records that make state when they are replayed: the cluster's metadata, groups, transactions;
//! and what clients push about themselves.
//!
//! A partition that cannot be read in full is refused by its loader with an error; what can be read
//! must leave a coordinator that goes on.

use broker::coordinator::group::{GroupConfig, GroupCoordinator};
use broker::coordinator::txn::{TxnConfig, TxnCoordinator};
use broker::image::{Image, MetadataRecord};
use broker::shard::snapshot;
use broker::telemetry::otlp;
use broker::time::Now;

/// When the loads happen.
const NOW: Now = Now { mono_ns: 1_000_000_000, wall_ms: 1_700_000_000_000 };

/// Takes a piece off the front whose length the first two bytes say.
fn piece<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (piece, rest) = rest.split_at(length);
    *bytes = rest;
    Some(piece)
}

/// Metadata records one after the other, each with its length; then the same bytes as a snapshot
/// whose checksum is right.
pub fn metadata(data: &[u8]) {
    let mut image = Image::new();
    let mut rest = data;
    while let Some(bytes) = piece(&mut rest) {
        if let Ok(record) = MetadataRecord::decode(bytes) {
            assert!(!format!("{record:?}").is_empty());
            let before = image.fingerprint();
            if image.replay(&record).is_err() {
                assert_eq!(image.fingerprint(), before, "what is refused changes nothing");
            }
        }
    }
    image.fingerprint();
    let mut mended = data.to_vec();
    mended.extend_from_slice(&crc32c::crc32c(data).to_be_bytes());
    if let Ok((offset, records)) = snapshot::decode(&mended) {
        let again = snapshot::decode(&snapshot::encode(offset, &records));
        assert_eq!(
            again.map(|(offset, records)| (offset, records.len())),
            Ok((offset, records.len()))
        );
    }
}

/// A record of a log: a byte that says whether it has a value, its key and its value.
fn record<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let (&has_value, rest) = bytes.split_first()?;
    *bytes = rest;
    let key = piece(bytes)?;
    let value = piece(bytes)?;
    Some((key, (has_value & 1 == 1).then_some(value)))
}

/// A partition of `__consumer_offsets`.
pub fn group(data: &[u8]) {
    let config = GroupConfig { offsets_partitions_count: 1, ..GroupConfig::default() };
    let mut coordinator = GroupCoordinator::new(config, 7);
    coordinator.begin_load(0);
    let (mut rest, mut offset) = (data, 0);
    while let Some((key, value)) = record(&mut rest) {
        // A producer whose transaction is open, for every fourth.
        let producer_id = (offset % 4 == 3).then_some(9);
        if let Err(error) = coordinator.load_record_of(0, key, value, offset, producer_id) {
            assert!(!error.to_string().is_empty());
        }
        if offset % 8 == 7 {
            coordinator.load_transaction_end(0, 9, offset % 16 == 7);
        }
        offset += 1;
    }
    coordinator.finish_load(NOW, 0);
    coordinator.state_image();
    while coordinator.poll_action().is_some() {}
    coordinator.unload(0);
}

/// A partition of `__transaction_state`.
pub fn txn(data: &[u8]) {
    let mut coordinator = TxnCoordinator::new(TxnConfig::default());
    coordinator.set_partitions_count(1);
    coordinator.begin_load(0, 0);
    let (mut rest, mut offset) = (data, 0);
    while let Some((key, value)) = record(&mut rest) {
        if let Err(error) = coordinator.load_record(0, key, value, offset) {
            assert!(!error.to_string().is_empty());
        }
        offset += 1;
    }
    coordinator.finish_load(NOW, 0);
    coordinator.state_image();
    while coordinator.poll_action().is_some() {}
    coordinator.unload(0);
}

/// Metrics of a client. The first byte is the most labels that are kept.
pub fn telemetry(data: &[u8]) {
    let Some((&labels_max, message)) = data.split_first() else { return };
    let mut points = 0_usize;
    let read = otlp::read(message, usize::from(labels_max), &mut |point| {
        points += 1;
        assert!(point.labels.len() <= usize::from(labels_max));
        if points < 1_000 { otlp::Flow::Continue } else { otlp::Flow::Stop }
    });
    assert!(points <= message.len(), "a point has bytes of its own");
    if let Err(error) = read {
        assert!(!error.to_string().is_empty());
    }
}
