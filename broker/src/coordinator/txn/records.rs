//! The records of `__transaction_state`, in Kafka's own bytes.
//!
//! A key begins with two bytes that say what kind of record it is, a value with two bytes that say
//! its version. Written in value version 1, as Kafka 4.3 writes at `transaction.version` 1 and 2;
//! read in both. Source: `TransactionLog{Key,Value}` of Kafka 4.3.1; the golden bytes in
//! `tests/golden.rs` come from Kafka's own classes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use protocol::message::Message;
use protocol::primitive::{DecodeError, Reader};

use super::state::{Metadata, TxnState, TxnVersion};
use crate::coordinator::CoordinatorRecord;

/// The one kind of record of the topic.
const KIND_TRANSACTION: i16 = 0;
/// Version of every value that is written.
const VALUE: i16 = 1;

protocol::message! {
    /// Key: which transactional id.
    pub struct TransactionLogKey[protocol::message::versions(0, 0)] {
        transactional_id: String, protocol::message::since(0);
    }

    /// Value: its producer and its transaction.
    pub struct TransactionLogValue[protocol::message::versions(0, 1).flexible(1)] {
        producer_id: i64, protocol::message::since(0);
        /// The producer id before this record; −1 when the version cannot say.
        previous_producer_id: i64 = -1, protocol::message::since(1).tag(0).ignorable();
        /// The producer id that the end of the transaction gives; −1: it stays.
        next_producer_id: i64 = -1, protocol::message::since(1).tag(1).ignorable();
        producer_epoch: i16, protocol::message::since(0);
        transaction_timeout_ms: i32, protocol::message::since(0);
        /// The number of a [`TxnState`].
        transaction_status: i8, protocol::message::since(0);
        /// Null exactly in the state `Empty`.
        transaction_partitions: Option<Vec<PartitionsSchema>> = Some(Vec::new()),
            protocol::message::since(0).nullable(0);
        /// Milliseconds since the Unix epoch.
        transaction_last_update_timestamp_ms: i64, protocol::message::since(0);
        /// Milliseconds since the Unix epoch; −1: no transaction yet.
        transaction_start_timestamp_ms: i64, protocol::message::since(0);
        client_transaction_version: i16, protocol::message::since(1).tag(2).ignorable();
        /// Known to Kafka 4.3 and not written by it.
        next_producer_epoch: i16 = -1, protocol::message::since(1).tag(3).ignorable();
    }

    /// Part of [`TransactionLogValue`].
    pub struct PartitionsSchema {
        topic: String, protocol::message::since(0);
        partition_ids: Vec<i32>, protocol::message::since(0);
    }
}

/// One change of a coordinator's durable state.
#[derive(Clone, PartialEq, Debug)]
pub struct TxnRecord {
    /// The transactional id.
    pub id: Arc<str>,
    /// `None` is a tombstone.
    pub metadata: Option<Metadata>,
}

impl TxnRecord {
    /// The bytes for the log.
    ///
    /// # Panics
    /// When a string is longer than 32,767 bytes: the coordinator refuses those where they come in.
    pub fn encode(&self, timestamp_ms: i64) -> CoordinatorRecord {
        let key = TransactionLogKey { transactional_id: self.id.to_string() };
        CoordinatorRecord {
            key: prefixed(&key, KIND_TRANSACTION, 0),
            value: self.metadata.as_ref().map(|m| prefixed(&value_of(m), VALUE, VALUE)),
            timestamp_ms,
        }
    }
}

fn value_of(metadata: &Metadata) -> TransactionLogValue {
    let partitions = (metadata.state != TxnState::Empty).then(|| {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in &metadata.partitions {
            topics.entry(topic).or_default().push(*partition);
        }
        let schema = topics.into_iter().map(|(topic, partition_ids)| PartitionsSchema {
            topic: topic.to_owned(),
            partition_ids,
        });
        schema.collect()
    });
    TransactionLogValue {
        producer_id: metadata.producer_id,
        previous_producer_id: metadata.previous_producer_id,
        next_producer_id: metadata.next_producer_id,
        producer_epoch: metadata.producer_epoch,
        transaction_timeout_ms: metadata.timeout_ms,
        transaction_status: metadata.state.id(),
        transaction_partitions: partitions,
        transaction_last_update_timestamp_ms: metadata.updated_ms,
        transaction_start_timestamp_ms: metadata.started_ms,
        client_transaction_version: metadata.version.level(),
        next_producer_epoch: -1,
    }
}

fn prefixed<M: Message>(message: &M, prefix: i16, version: i16) -> Bytes {
    let mut out = Vec::with_capacity(2 + message.size(version));
    out.extend_from_slice(&prefix.to_be_bytes());
    message.encode(&mut out, version).expect("strings were bounded where they came in");
    out.into()
}

/// What a record of the topic says.
#[derive(Clone, PartialEq, Debug)]
pub enum Parsed {
    /// A transactional id.
    Record(TxnRecord),
    /// A kind of a later Kafka: passed over, as Kafka does.
    Other { kind: i16 },
}

/// A record of `__transaction_state` that is not readable. Without it the partition's state is not
/// what its log says, so whoever loads decides what that means for the partition.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// The key does not decode.
    #[error("key: {0}")]
    Key(DecodeError),
    /// The key has no kind.
    #[error("key of {bytes} bytes has no kind")]
    NoKind { bytes: usize },
    /// The value does not decode.
    #[error("value: {0}")]
    Value(DecodeError),
    /// The value has a state that no transaction can have in the log.
    #[error("state {0} is none that a log holds")]
    State(i8),
    /// The value has a version of the transaction protocol that is not known.
    #[error("transaction version {0} is not known")]
    Version(i16),
    /// A record was loaded twice or out of order.
    #[error("offset {offset} after offset {last}")]
    Order { offset: i64, last: i64 },
    /// The partition is not being loaded.
    #[error("partition {partition} is not being loaded")]
    NotLoading { partition: i32 },
}

/// Reads a record.
pub fn parse(key: &[u8], value: Option<&[u8]>) -> Result<Parsed, RecordError> {
    let mut reader = Reader::new(key);
    let kind = reader.i16().map_err(|_| RecordError::NoKind { bytes: key.len() })?;
    if kind != KIND_TRANSACTION {
        return Ok(Parsed::Other { kind });
    }
    let key = TransactionLogKey::decode(&mut reader, 0).map_err(RecordError::Key)?;
    let metadata = value.map(parse_value).transpose()?;
    Ok(Parsed::Record(TxnRecord { id: key.transactional_id.into(), metadata }))
}

fn parse_value(bytes: &[u8]) -> Result<Metadata, RecordError> {
    let mut reader = Reader::new(bytes);
    let value = reader
        .i16()
        .and_then(|version| TransactionLogValue::decode(&mut reader, version))
        .map_err(RecordError::Value)?;
    let state = TxnState::from_id(value.transaction_status)
        .ok_or(RecordError::State(value.transaction_status))?;
    let version = TxnVersion::from_level(value.client_transaction_version)
        .ok_or(RecordError::Version(value.client_transaction_version))?;
    let mut partitions = BTreeSet::new();
    if state != TxnState::Empty {
        for topic in value.transaction_partitions.unwrap_or_default() {
            let name: Arc<str> = topic.topic.into();
            partitions.extend(topic.partition_ids.into_iter().map(|id| (Arc::clone(&name), id)));
        }
    }
    Ok(Metadata {
        producer_id: value.producer_id,
        previous_producer_id: value.previous_producer_id,
        next_producer_id: value.next_producer_id,
        producer_epoch: value.producer_epoch,
        // Kafka does not write it: a retry of InitProducerId across a restart is fenced.
        last_producer_epoch: -1,
        timeout_ms: value.transaction_timeout_ms,
        state,
        partitions,
        started_ms: value.transaction_start_timestamp_ms,
        updated_ms: value.transaction_last_update_timestamp_ms,
        version,
    })
}
