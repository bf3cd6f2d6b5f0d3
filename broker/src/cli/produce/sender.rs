//! Records become batches, and batches become acknowledged: in order, each once.
//!
//! One request per broker is in flight while the next batches fill. A batch's sequence is chosen
//! when it is sent, so a batch that was refused leaves no gap; one whose fate is unknown after the
//! time is over ends the command, because nothing may overtake it.
//! Source: KIP-98 for the sequences, Java's default partitioner for keys.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use protocol::ErrorCode;
use protocol::batch::header::sequence_add;
use protocol::batch::{BatchBuilder, BatchOptions, Header};
use protocol::compress::{Codecs, Compression};
use protocol::message::Versions;
use protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, TopicProduceData,
};
use protocol::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse};
use protocol::murmur2::partition_for_key;

use super::super::client::{ANY_VERSION, Backoff, Client, LinkError, Target};
use super::super::clock;
use super::super::error::{CliError, Result, complain, refusal};
use super::super::limits::ERROR_LINES_MAX;
use super::input::InputRecord;
use super::{Acks, Counts};

/// Versions that name topics.
const NAMED: Versions = Versions { min: 3, max: 12 };

/// Which partition a record goes to.
#[derive(Debug, Clone, Copy)]
pub enum Partitioning {
    /// This one.
    Always(i32),
    /// By the key's hash; without a key to one partition until its batch is full, then the next.
    ByKey { count: i32, sticky: i32 },
}

impl Partitioning {
    /// Among so many partitions.
    pub fn by_key(count: usize) -> Self {
        Self::ByKey { count: i32::try_from(count).unwrap_or(i32::MAX), sticky: 0 }
    }

    fn choose(self, record: &InputRecord) -> i32 {
        match (self, record.partition, &record.key) {
            (Self::Always(partition), _, _) => partition,
            (Self::ByKey { .. }, Some(partition), _) => partition,
            (Self::ByKey { count, .. }, None, Some(key)) => partition_for_key(key, count),
            (Self::ByKey { sticky, .. }, None, None) => sticky,
        }
    }

    /// A batch of `partition` was sent.
    fn batch_sent(&mut self, partition: i32) {
        if let Self::ByKey { count, sticky } = self
            && *sticky == partition
        {
            *sticky = (*sticky + 1) % *count;
        }
    }

    fn count(self) -> Option<i32> {
        match self {
            Self::Always(_) => None,
            Self::ByKey { count, .. } => Some(count),
        }
    }
}

/// How to send.
#[derive(Debug)]
pub struct SenderOptions {
    pub acks: Acks,
    pub idempotent: bool,
    pub compression: Compression,
    pub compression_level: Option<i32>,
    pub batch_bytes: usize,
    pub linger: Duration,
    pub headers: Vec<(String, String)>,
}

#[derive(Debug)]
struct Filling {
    builder: BatchBuilder,
    /// When its first record came.
    since: Instant,
    sequence_next: i32,
}

#[derive(Debug, Clone)]
struct Batch {
    partition: i32,
    bytes: bytes::Bytes,
    records_count: u32,
}

/// Batches, what is in flight, and what became of them.
#[derive(Debug)]
pub struct Sender {
    client: Client,
    topic: String,
    partitioning: Partitioning,
    options: SenderOptions,
    producer: Option<(i64, i16)>,
    filling: BTreeMap<i32, Filling>,
    in_flight: BTreeMap<i32, Vec<Batch>>,
    leaders: BTreeMap<i32, i32>,
    codecs: Codecs,
    counts: Counts,
    complaints: BTreeSet<String>,
}

impl Sender {
    /// Finds leaders and asks for a producer id.
    pub fn new(
        client: Client,
        topic: &str,
        partitioning: Partitioning,
        options: SenderOptions,
    ) -> Result<Self> {
        let mut sender = Self {
            client,
            topic: topic.to_owned(),
            partitioning,
            options,
            producer: None,
            filling: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            leaders: BTreeMap::new(),
            codecs: Codecs::new(),
            counts: Counts::default(),
            complaints: BTreeSet::new(),
        };
        sender.find_leaders()?;
        if sender.options.idempotent {
            sender.producer = Some(ask_producer_id(&mut sender.client)?);
        }
        Ok(sender)
    }

    /// Whether a signal has arrived.
    pub fn interrupted(&mut self) -> bool {
        self.client.interrupted()
    }

    /// What became of the records so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Records acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.counts.acknowledged
    }

    /// Until the next batch has to go; `None` while nothing waits.
    pub fn due_in(&self) -> Option<Duration> {
        let open = self.filling.values().filter(|filling| !filling.builder.is_empty());
        let now = clock::now();
        open.map(|f| (f.since + self.options.linger).saturating_duration_since(now)).min()
    }

    /// Puts a record into its batch, which is sent when it is full.
    pub fn add(&mut self, record: &InputRecord) -> Result<()> {
        let mut partition = self.partitioning.choose(record);
        if self.partitioning.count().is_some_and(|count| partition >= count) {
            self.fail(1, format!("topic {} has no partition {partition}", self.topic));
            return Ok(());
        }
        while self.has_no_room(partition, record_bytes(record)) {
            self.send_full(partition)?;
            // Without a key the next batch is another partition's.
            partition = self.partitioning.choose(record);
        }
        let options = &self.options;
        let filling = self.filling.entry(partition).or_insert_with(|| Filling {
            builder: BatchBuilder::new(BatchOptions {
                compression: options.compression,
                compression_level: options.compression_level,
                ..BatchOptions::default()
            }),
            since: clock::now(),
            sequence_next: 0,
        });
        if filling.builder.is_empty() {
            filling.since = clock::now();
        }
        let fixed = options
            .headers
            .iter()
            .map(|(key, value)| Header { key: key.as_bytes(), value: Some(value.as_bytes()) });
        let own = record.headers.iter();
        let own = own.map(|(key, value)| Header { key, value: value.as_deref() });
        let headers: Vec<Header<'_>> = fixed.chain(own).collect();
        let timestamp = record.timestamp_ms.unwrap_or_else(clock::wall_ms);
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        filling.builder.append(timestamp, key, value, &headers);
        Ok(())
    }

    fn has_no_room(&self, partition: i32, bytes: usize) -> bool {
        self.filling.get(&partition).is_some_and(|filling| {
            let after = filling.builder.uncompressed_bytes() + bytes;
            !filling.builder.is_empty() && after > self.options.batch_bytes
        })
    }

    /// Sends the batch of `partition`, and with it those that are half full or have waited.
    fn send_full(&mut self, partition: i32) -> Result<()> {
        let now = clock::now();
        let half = self.options.batch_bytes / 2;
        let linger = self.options.linger;
        self.send_where(|number, filling| {
            let waited = now >= filling.since + linger;
            number == partition || waited || filling.builder.uncompressed_bytes() >= half
        })
    }

    /// Sends the batches that have waited.
    pub fn send_due(&mut self) -> Result<()> {
        if self.due_in() != Some(Duration::ZERO) {
            return Ok(());
        }
        let (now, linger) = (clock::now(), self.options.linger);
        self.send_where(|_, filling| now >= filling.since + linger)
    }

    /// Sends everything and waits for every answer.
    pub fn finish(&mut self) -> Result<()> {
        self.client.ignore_interrupts();
        let sent = self.send_where(|_, _| true);
        let collected = self.collect_all();
        // What was never sent did not arrive.
        let left: i32 = self.filling.values().map(|filling| filling.builder.records_count()).sum();
        self.counts.failed += u64::from(left.unsigned_abs());
        sent.and(collected)
    }

    fn send_where(&mut self, ready: impl Fn(i32, &Filling) -> bool) -> Result<()> {
        let open = self.filling.iter().filter(|(_, filling)| !filling.builder.is_empty());
        let chosen: Vec<i32> =
            open.filter(|(number, f)| ready(**number, f)).map(|(number, _)| *number).collect();
        let mut by_node: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for partition in chosen {
            let node = self.leaders.get(&partition).copied().unwrap_or(-1);
            by_node.entry(node).or_default().push(partition);
        }
        for (node, partitions) in by_node {
            // In order: a partition's batch goes out when the one before it has its answer. A
            // leader
            // may have moved, so its answers are not enough.
            let involved: Vec<i32> = self
                .in_flight
                .iter()
                .filter(|(other, batches)| {
                    **other == node || batches.iter().any(|b| partitions.contains(&b.partition))
                })
                .map(|(other, _)| *other)
                .collect();
            for other in involved {
                self.collect(other)?;
            }
            let batches: Vec<Batch> = partitions.iter().map(|&p| self.build(p)).collect();
            self.send(node, batches)?;
        }
        Ok(())
    }

    fn build(&mut self, partition: i32) -> Batch {
        let filling = self.filling.get_mut(&partition).expect("only filled batches are sent");
        if let Some((producer_id, producer_epoch)) = self.producer {
            let options = filling.builder.options_mut();
            options.producer_id = producer_id;
            options.producer_epoch = producer_epoch;
            options.base_sequence = filling.sequence_next;
        }
        let mut bytes = Vec::new();
        let header = filling.builder.build(&mut self.codecs, &mut bytes);
        filling.sequence_next = sequence_add(filling.sequence_next, header.records_count);
        self.partitioning.batch_sent(partition);
        let records_count = header.records_count.unsigned_abs();
        Batch { partition, bytes: bytes.into(), records_count }
    }

    fn request(&self, batches: &[Batch]) -> ProduceRequest {
        let data = |batch: &Batch| PartitionProduceData {
            index: batch.partition,
            records: Some(batch.bytes.clone()),
        };
        ProduceRequest {
            transactional_id: None,
            acks: self.options.acks.number(),
            timeout_ms: self.client.connect_options().request_timeout_ms(),
            topic_data: vec![TopicProduceData {
                name: self.topic.clone(),
                partition_data: batches.iter().map(data).collect(),
                ..TopicProduceData::default()
            }],
        }
    }

    fn send(&mut self, node: i32, batches: Vec<Batch>) -> Result<()> {
        let request = self.request(&batches);
        let deadline = self.client.deadline();
        let target = Target::Node(node);
        if self.options.acks == Acks::None {
            let sent = self.client.send_unanswered(target, &request, NAMED, deadline);
            return match sent {
                Ok(()) => {
                    self.counts.acknowledged += records_of(&batches);
                    Ok(())
                }
                Err(error) => self.lost(&batches, self.client.explain(&error)),
            };
        }
        match self.client.send(target, &request, NAMED, deadline) {
            Ok(()) => {
                self.in_flight.insert(node, batches);
                Ok(())
            }
            Err(error) => self.insist(batches, Some(error)),
        }
    }

    fn collect_all(&mut self) -> Result<()> {
        let nodes: Vec<i32> = self.in_flight.keys().copied().collect();
        let mut result = Ok(());
        for node in nodes {
            let collected = self.collect(node);
            result = result.and(collected);
        }
        result
    }

    /// Takes the answer of a broker; batches that may yet succeed are sent again.
    fn collect(&mut self, node: i32) -> Result<()> {
        let Some(batches) = self.in_flight.remove(&node) else { return Ok(()) };
        let deadline = self.client.deadline();
        match self.client.receive::<ProduceRequest>(Target::Node(node), deadline) {
            Ok(response) => {
                let again = self.take_answers(batches, &response)?;
                if again.is_empty() { Ok(()) } else { self.insist(again, None) }
            }
            Err(error) => self.insist(batches, Some(error)),
        }
    }

    /// Counts what a response says; gives back the batches that are worth another try.
    fn take_answers(
        &mut self,
        batches: Vec<Batch>,
        response: &ProduceResponse,
    ) -> Result<Vec<Batch>> {
        let answers: BTreeMap<i32, &PartitionProduceResponse> = response
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses)
            .map(|partition| (partition.index, partition))
            .collect();
        let mut again = Vec::new();
        let mut fatal = None;
        for batch in batches {
            let records_count = u64::from(batch.records_count);
            let Some(answer) = answers.get(&batch.partition) else {
                self.counts.failed += records_count;
                fatal = Some(CliError::failed("the broker's answer leaves a partition out"));
                continue;
            };
            let why = || {
                let why = refusal(answer.error_code, answer.error_message.as_deref());
                format!("{}-{}: {why}", self.topic, batch.partition)
            };
            match ErrorCode::from_i16(answer.error_code) {
                // A duplicate was acknowledged before its answer was lost.
                Some(ErrorCode::None | ErrorCode::DuplicateSequenceNumber) => {
                    self.counts.acknowledged += records_count;
                }
                Some(
                    ErrorCode::OutOfOrderSequenceNumber
                    | ErrorCode::UnknownProducerId
                    | ErrorCode::InvalidProducerEpoch,
                ) => {
                    // The broker's memory of us and ours differ: whatever follows would be refused.
                    fatal = Some(CliError::failed(format!("{}; run the command again", why())));
                    self.counts.failed += records_count;
                }
                Some(error) if error.retriable() && error != ErrorCode::CorruptMessage => {
                    again.push(batch);
                }
                Some(_) | None => {
                    let why = why();
                    self.take_sequences_back(&batch);
                    self.fail(records_count, why);
                }
            }
        }
        match fatal {
            Some(error) => self.lost(&again, error).map(|()| Vec::new()),
            None => Ok(again),
        }
    }

    /// A broker does not use the sequences of a batch it refuses; the next batch does. There is
    /// none yet: one batch of a partition is under way at a time.
    fn take_sequences_back(&mut self, batch: &Batch) {
        if let Some(filling) = self.filling.get_mut(&batch.partition) {
            let ring = i64::from(i32::MAX) + 1;
            let before = i64::from(filling.sequence_next) - i64::from(batch.records_count);
            filling.sequence_next =
                i32::try_from(before.rem_euclid(ring)).expect("within the ring");
        }
    }

    /// Sends batches again, to whoever leads by then, until they have an answer or time is over.
    ///
    /// Without a producer id a batch whose answer was lost may be written twice: at least once is
    /// what `--no-idempotence` asks for.
    fn insist(&mut self, mut batches: Vec<Batch>, mut error: Option<LinkError>) -> Result<()> {
        // What else is in flight first, so that connections have no other answers on their way.
        if let Err(error) = self.collect_all() {
            return self.lost(&batches, error);
        }
        let deadline = self.client.deadline();
        let mut backoff = Backoff::new(deadline);
        loop {
            if let Some(LinkError::Protocol { .. } | LinkError::Interrupted) = &error {
                let why = error.map_or(CliError::Interrupted, |error| self.client.explain(&error));
                return self.lost(&batches, why);
            }
            if self.client.interrupted() || !backoff.wait() {
                let why = match error {
                    Some(error) => self.client.explain(&error),
                    None => CliError::failed(format!(
                        "topic {}: not acknowledged in time; `corelane cluster health` shows why",
                        self.topic
                    )),
                };
                return self.lost(&batches, why);
            }
            error = None;
            if let Err(CliError::Interrupted) = self.find_leaders() {
                return self.lost(&batches, CliError::Interrupted);
            }
            let mut by_node: BTreeMap<i32, Vec<Batch>> = BTreeMap::new();
            let mut left = Vec::new();
            for batch in batches {
                match self.leaders.get(&batch.partition) {
                    Some(&node) => by_node.entry(node).or_default().push(batch),
                    None => left.push(batch),
                }
            }
            let mut fatal = None;
            for (node, batches) in by_node {
                if fatal.is_some() {
                    left.extend(batches);
                    continue;
                }
                let request = self.request(&batches);
                let target = Target::Node(node);
                let sent = self.client.send(target, &request, NAMED, deadline);
                match sent.and_then(|()| self.client.receive::<ProduceRequest>(target, deadline)) {
                    Ok(response) => match self.take_answers(batches, &response) {
                        Ok(again) => left.extend(again),
                        Err(why) => fatal = Some(why),
                    },
                    Err(why) => {
                        error = Some(why);
                        left.extend(batches);
                    }
                }
            }
            if let Some(fatal) = fatal {
                return self.lost(&left, fatal);
            }
            if left.is_empty() {
                return Ok(());
            }
            batches = left;
        }
    }

    /// Nobody knows what became of these batches, so nothing may follow them.
    fn lost(&mut self, batches: &[Batch], why: CliError) -> Result<()> {
        self.counts.failed += records_of(batches);
        Err(why)
    }

    fn fail(&mut self, records_count: u64, why: String) {
        self.counts.failed += records_count;
        if self.complaints.len() < ERROR_LINES_MAX && self.complaints.insert(why.clone()) {
            complain(&why);
        }
    }

    fn find_leaders(&mut self) -> Result<()> {
        let leaders = self.client.leaders(std::slice::from_ref(&self.topic))?;
        self.leaders = leaders.into_iter().map(|(key, node)| (key.partition, node)).collect();
        Ok(())
    }
}

fn records_of(batches: &[Batch]) -> u64 {
    batches.iter().map(|batch| u64::from(batch.records_count)).sum()
}

/// About what a record takes in a batch.
fn record_bytes(record: &InputRecord) -> usize {
    let field = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len) + 5;
    let headers = record.headers.iter().map(|(key, value)| key.len() + 5 + field(value));
    field(&record.key) + field(&record.value) + headers.sum::<usize>() + 16
}

/// A producer id without a transactional id.
fn ask_producer_id(client: &mut Client) -> Result<(i64, i16)> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    };
    let response = client.until_healed("producer id", |client| {
        let response = client.call_within(Target::Any, &request, ANY_VERSION)?;
        let code = response.error_code;
        Ok((response, code))
    })?;
    Ok((response.producer_id, response.producer_epoch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: Option<&str>, partition: Option<i32>) -> InputRecord {
        let key = key.map(|key| key.as_bytes().to_vec());
        InputRecord { key, partition, ..InputRecord::default() }
    }

    #[test]
    fn keys_go_where_javas_producer_puts_them() {
        let partitioning = Partitioning::by_key(7);
        assert_eq!(partitioning.choose(&record(Some("21"), None)), partition_for_key(b"21", 7));
        assert_eq!(partitioning.choose(&record(Some("21"), Some(5))), 5);
        assert_eq!(Partitioning::Always(3).choose(&record(Some("21"), Some(5))), 3);
    }

    #[test]
    fn records_without_a_key_stay_together_until_the_batch_is_sent() {
        let mut partitioning = Partitioning::by_key(2);
        assert_eq!(partitioning.choose(&record(None, None)), 0);
        assert_eq!(partitioning.choose(&record(None, None)), 0);
        partitioning.batch_sent(1);
        assert_eq!(partitioning.choose(&record(None, None)), 0);
        partitioning.batch_sent(0);
        assert_eq!(partitioning.choose(&record(None, None)), 1);
        partitioning.batch_sent(1);
        assert_eq!(partitioning.choose(&record(None, None)), 0);
    }
}
