//! Reads partitions from their leaders, batch by batch, and hands out records.
//!
//! Every round asks all leaders first and then takes their answers, so that one round waits no
//! longer than the slowest of them. Sessions (KIP-227) are not used: a command reads few
//! partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::ErrorCode;
use protocol::batch::control::{ControlType, read_control_key};
use protocol::batch::{BatchHeader, TimestampType, header, open_records};
use protocol::compress::Codecs;
use protocol::message::Versions;
use protocol::messages::FetchRequest;
use protocol::messages::fetch::{AbortedTransaction, FetchPartition, FetchTopic, PartitionData};

use super::super::client::{Client, Special, Target, TopicPartition};
use super::super::error::{CliError, Result, refusal};
use super::super::limits::{BATCH_BYTES_MAX, FETCH_BYTES_MAX, FETCH_PARTITION_BYTES_MAX};
use super::super::record_format::Shown;
use super::super::{client::LinkError, clock};

/// Versions that name topics.
const NAMED: Versions = Versions { min: 4, max: 12 };

/// How long a broker keeps an empty answer back; also how late Ctrl-C may be noticed by a round.
const WAIT_MS_MAX: i32 = 500;

/// Pause after a round in which no broker could be asked.
const PAUSE: Duration = Duration::from_millis(200);

/// What a reader sees of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Isolation {
    /// Everything that is in the log
    ReadUncommitted,
    /// Only what is not, or no longer, part of an open or aborted transaction
    ReadCommitted,
}

/// Whether the taker of records wants more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    More,
    Enough,
}

/// What a round of fetches came to.
#[derive(Debug, Default)]
pub struct Round {
    /// The taker has enough.
    pub enough: bool,
    /// Partitions given up, and why.
    pub failed: Vec<(TopicPartition, String)>,
}

#[derive(Debug, Clone, Copy)]
struct Range {
    next: i64,
    /// Exclusive.
    end: i64,
}

/// The partitions read, and how far.
#[derive(Debug)]
pub struct Fetcher {
    isolation: Isolation,
    ranges: BTreeMap<TopicPartition, Range>,
    leaders: BTreeMap<TopicPartition, i32>,
    codecs: Codecs,
    /// When brokers were last heard of; bounds how long a lost leader is looked for.
    silent_rounds_until: Option<std::time::Instant>,
}

impl Fetcher {
    /// Reads nothing yet.
    pub fn new(isolation: Isolation) -> Self {
        Self {
            isolation,
            ranges: BTreeMap::new(),
            leaders: BTreeMap::new(),
            codecs: Codecs::new(),
            silent_rounds_until: None,
        }
    }

    /// Reads a partition from `next` to `end` (exclusive). Nothing to read is nothing assigned.
    pub fn assign(&mut self, key: TopicPartition, next: i64, end: i64) {
        if next < end {
            self.ranges.insert(key, Range { next, end });
        }
    }

    /// Whether every partition has been read to its end.
    pub fn is_finished(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The next offset of each partition that is read.
    pub fn positions(&self) -> impl Iterator<Item = (&TopicPartition, i64)> {
        self.ranges.iter().map(|(key, range)| (key, range.next))
    }

    /// Asks every leader once and hands out what they answer.
    pub fn round(
        &mut self,
        client: &mut Client,
        take: &mut dyn FnMut(&Shown<'_>) -> Result<Seen>,
    ) -> Result<Round> {
        let mut round = Round::default();
        if client.interrupted() {
            return Err(CliError::Interrupted);
        }
        let deadline = client.deadline();
        let patience = *self.silent_rounds_until.get_or_insert(deadline);
        let requests = self.requests(client)?;
        if requests.is_empty() {
            // A member without partitions, or leaders that are being elected.
            if !self.ranges.is_empty() && clock::now() > patience {
                return Err(CliError::failed(
                    "no leader for any partition; `corelane cluster health` shows what is wrong",
                ));
            }
            clock::sleep(PAUSE);
            return Ok(round);
        }
        let mut asked = Vec::new();
        let mut lost = None;
        for (node, request) in &requests {
            match client.send(Target::Node(*node), request, NAMED, deadline) {
                Ok(()) => asked.push(*node),
                Err(error) => lost = Some(error),
            }
        }
        let mut answered = false;
        for node in asked {
            let response = match client.receive::<FetchRequest>(Target::Node(node), deadline) {
                Ok(response) => response,
                Err(LinkError::Interrupted) => return Err(CliError::Interrupted),
                Err(error) => {
                    lost = Some(error);
                    continue;
                }
            };
            if response.error_code != ErrorCode::None.code() {
                return Err(CliError::failed(format!(
                    "broker {node}: {}",
                    refusal(response.error_code, None)
                )));
            }
            answered = true;
            for topic in response.responses {
                for partition in topic.partitions {
                    let key = TopicPartition {
                        topic: topic.topic.clone(),
                        partition: partition.partition_index,
                    };
                    if round.enough {
                        continue;
                    }
                    self.take_partition(client, key, &partition, take, &mut round)?;
                }
            }
        }
        if let Some(error) = lost {
            self.leaders.clear();
            if matches!(error, LinkError::Protocol { .. }) || clock::now() > patience {
                return Err(client.explain(&error));
            }
            clock::sleep(PAUSE);
        }
        if answered {
            self.silent_rounds_until = None;
        }
        Ok(round)
    }

    /// One request per leader.
    fn requests(&mut self, client: &mut Client) -> Result<BTreeMap<i32, FetchRequest>> {
        if self.ranges.keys().any(|key| !self.leaders.contains_key(key)) {
            let topics: BTreeSet<String> =
                self.ranges.keys().map(|key| key.topic.clone()).collect();
            let topics: Vec<String> = topics.into_iter().collect();
            self.leaders = client.leaders(&topics)?;
        }
        let mut requests: BTreeMap<i32, FetchRequest> = BTreeMap::new();
        for (key, range) in &self.ranges {
            let Some(&node) = self.leaders.get(key) else { continue };
            let request = requests.entry(node).or_insert_with(|| FetchRequest {
                max_wait_ms: WAIT_MS_MAX,
                min_bytes: 1,
                max_bytes: FETCH_BYTES_MAX,
                isolation_level: i8::from(self.isolation == Isolation::ReadCommitted),
                ..FetchRequest::default()
            });
            let partition = FetchPartition {
                partition: key.partition,
                fetch_offset: range.next,
                partition_max_bytes: FETCH_PARTITION_BYTES_MAX,
                ..FetchPartition::default()
            };
            match request.topics.last_mut().filter(|topic| topic.topic == key.topic) {
                Some(topic) => topic.partitions.push(partition),
                None => request.topics.push(FetchTopic {
                    topic: key.topic.clone(),
                    partitions: vec![partition],
                    ..FetchTopic::default()
                }),
            }
        }
        Ok(requests)
    }

    fn take_partition(
        &mut self,
        client: &mut Client,
        key: TopicPartition,
        data: &PartitionData,
        take: &mut dyn FnMut(&Shown<'_>) -> Result<Seen>,
        round: &mut Round,
    ) -> Result<()> {
        let Some(range) = self.ranges.get_mut(&key) else { return Ok(()) };
        match ErrorCode::from_i16(data.error_code) {
            Some(ErrorCode::None) => {}
            Some(ErrorCode::OffsetOutOfRange) => {
                let at = range.next;
                self.ranges.remove(&key);
                let why = out_of_range(client, &key, at);
                round.failed.push((key, why));
                return Ok(());
            }
            // Leadership moved, or the topic is being created: ask again who leads.
            Some(error) if error.retriable() => {
                self.leaders.clear();
                clock::sleep(PAUSE);
                return Ok(());
            }
            Some(_) | None => {
                self.ranges.remove(&key);
                round.failed.push((key, refusal(data.error_code, None)));
                return Ok(());
            }
        }
        let mut aborted = Aborted::new(self.isolation, data.aborted_transactions.as_deref());
        let mut rest: &[u8] = data.records.as_deref().unwrap_or(&[]);
        // A broker may cut the last batch off; it comes whole with the next round.
        while let Some(bytes) = header::total_bytes(rest).filter(|&bytes| bytes <= rest.len()) {
            let (batch, after) = rest.split_at(bytes);
            rest = after;
            let done = match take_batch(&key, batch, *range, &mut aborted, &mut self.codecs, take) {
                Ok(done) => done,
                Err(TakeError::Command(error)) => return Err(error),
                Err(TakeError::Batch(why)) => {
                    round.failed.push((key.clone(), why));
                    self.ranges.remove(&key);
                    return Ok(());
                }
            };
            range.next = range.next.max(done.next);
            if done.enough {
                round.enough = true;
                return Ok(());
            }
        }
        if range.next >= range.end {
            self.ranges.remove(&key);
        }
        Ok(())
    }
}

enum TakeError {
    Command(CliError),
    Batch(String),
}

struct Taken {
    next: i64,
    enough: bool,
}

/// Hands out the records of a batch that lie in the range.
fn take_batch(
    key: &TopicPartition,
    batch: &[u8],
    range: Range,
    aborted: &mut Aborted,
    codecs: &mut Codecs,
    take: &mut dyn FnMut(&Shown<'_>) -> Result<Seen>,
) -> std::result::Result<Taken, TakeError> {
    let damaged = |error: protocol::batch::BatchError| {
        let offset = header::base_offset(batch).unwrap_or(range.next);
        TakeError::Batch(format!(
            "the batch at offset {offset} cannot be read: {error}; \
             skip it with --from offset:N"
        ))
    };
    header::check_crc(batch).map_err(damaged)?;
    let (header, records) = open_records(batch, codecs, BATCH_BYTES_MAX).map_err(damaged)?;
    let mut taken = Taken { next: header.next_offset(), enough: false };
    if aborted.hides(&header) {
        return Ok(taken);
    }
    let timestamp_type = match header.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    };
    for record in records {
        let record = record.map_err(damaged)?;
        let offset = record.offset(&header);
        if header.is_control() {
            let kind = read_control_key(record.key);
            if kind == Ok(ControlType::Abort) || kind == Ok(ControlType::Commit) {
                aborted.ends(header.producer_id);
            }
            continue;
        }
        if offset < range.next {
            continue;
        }
        if offset >= range.end {
            taken.next = range.end;
            break;
        }
        let shown = Shown {
            topic: &key.topic,
            partition: key.partition,
            offset,
            timestamp_ms: record.timestamp_ms(&header),
            timestamp_type,
            record,
        };
        if take(&shown).map_err(TakeError::Command)? == Seen::Enough {
            return Ok(Taken { next: offset + 1, enough: true });
        }
    }
    Ok(taken)
}

/// Which producers' records are part of an aborted transaction at this point of the log.
///
/// KIP-98: a response under read_committed lists aborted transactions by producer and first offset;
/// each ends at the producer's marker.
#[derive(Debug)]
struct Aborted {
    /// By first offset, the next one last.
    to_come: Vec<AbortedTransaction>,
    open: BTreeSet<i64>,
}

impl Aborted {
    fn new(isolation: Isolation, listed: Option<&[AbortedTransaction]>) -> Self {
        let mut to_come = match isolation {
            Isolation::ReadCommitted => listed.unwrap_or(&[]).to_vec(),
            Isolation::ReadUncommitted => Vec::new(),
        };
        to_come.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self { to_come, open: BTreeSet::new() }
    }

    fn hides(&mut self, header: &BatchHeader) -> bool {
        while let Some(next) = self.to_come.last()
            && next.first_offset <= header.last_offset()
        {
            self.open.insert(next.producer_id);
            self.to_come.pop();
        }
        header.is_transactional() && !header.is_control() && self.open.contains(&header.producer_id)
    }

    fn ends(&mut self, producer_id: i64) {
        self.open.remove(&producer_id);
    }
}

/// Says which offsets there are.
fn out_of_range(client: &mut Client, key: &TopicPartition, at: i64) -> String {
    let keys = [key.clone()];
    let start = client.special_offsets(&keys, Special::Earliest, false).map(|found| found[key]);
    let end = client.special_offsets(&keys, Special::Latest, false).map(|found| found[key]);
    match (start, end) {
        (Ok(start), Ok(end)) => format!("offset {at} is not in the log, which is {start} to {end}"),
        _ => format!("offset {at} is not in the log"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::batch::control::{EndTxnMarker, write_end_txn_marker};
    use protocol::batch::{BatchBuilder, BatchOptions};

    fn batch(base_offset: i64, producer_id: i64, values: &[&str]) -> Vec<u8> {
        let options = BatchOptions {
            base_offset,
            producer_id,
            producer_epoch: 0,
            transactional: producer_id >= 0,
            ..BatchOptions::default()
        };
        let mut builder = BatchBuilder::new(options);
        for value in values {
            builder.append(1, None, Some(value.as_bytes()), &[]);
        }
        let mut out = Vec::new();
        builder.build(&mut Codecs::new(), &mut out);
        out
    }

    fn marker(base_offset: i64, producer_id: i64) -> Vec<u8> {
        let marker = EndTxnMarker {
            committed: false,
            producer_id,
            producer_epoch: 0,
            coordinator_epoch: 0,
            timestamp_ms: 1,
            base_offset,
            partition_leader_epoch: 0,
        };
        let mut out = Vec::new();
        write_end_txn_marker(&marker, &mut Codecs::new(), &mut out);
        out
    }

    fn taken(batches: &[Vec<u8>], range: Range, mut aborted: Aborted) -> Vec<String> {
        let key = TopicPartition { topic: "t".to_owned(), partition: 0 };
        let mut found = Vec::new();
        for batch in batches {
            let done =
                take_batch(&key, batch, range, &mut aborted, &mut Codecs::new(), &mut |shown| {
                    found.push(
                        String::from_utf8_lossy(shown.record.value.unwrap_or(&[])).into_owned(),
                    );
                    Ok(Seen::More)
                });
            assert!(done.is_ok());
        }
        found
    }

    #[test]
    fn records_outside_the_range_are_not_handed_out() {
        let all = Range { next: 11, end: 13 };
        let aborted = Aborted::new(Isolation::ReadUncommitted, None);
        assert_eq!(taken(&[batch(10, -1, &["a", "b", "c", "d"])], all, aborted), ["b", "c"]);
    }

    #[test]
    fn an_aborted_transaction_hides_its_producer_until_the_marker() {
        let log =
            [batch(0, 7, &["gone"]), batch(1, 8, &["kept"]), marker(2, 7), batch(3, 7, &["new"])];
        let all = Range { next: 0, end: i64::MAX };
        let listed = [AbortedTransaction { producer_id: 7, first_offset: 0 }];
        let aborted = Aborted::new(Isolation::ReadCommitted, Some(&listed));
        assert_eq!(taken(&log, all, aborted), ["kept", "new"]);
        let aborted = Aborted::new(Isolation::ReadUncommitted, Some(&listed));
        assert_eq!(taken(&log, all, aborted), ["gone", "kept", "new"]);
    }

    #[test]
    fn a_damaged_batch_names_its_offset() {
        let mut bytes = batch(5, -1, &["a"]);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let key = TopicPartition { topic: "t".to_owned(), partition: 0 };
        let mut aborted = Aborted::new(Isolation::ReadUncommitted, None);
        let range = Range { next: 5, end: i64::MAX };
        let result = take_batch(&key, &bytes, range, &mut aborted, &mut Codecs::new(), &mut |_| {
            Ok(Seen::More)
        });
        assert!(matches!(result, Err(TakeError::Batch(why)) if why.contains("offset 5")));
    }
}
