//! Positions become offsets: what `earliest`, `time:…` or `shift:…` means in each partition now.

use std::collections::BTreeMap;

use super::client::{Client, Special, TopicPartition};
use super::error::{CliError, Result};
use super::moment::Position;

/// The offset of a position in each partition, brought into the range the log has.
///
/// `shift:N` counts from `committed`, where that knows a partition, else from an end: a negative N
/// from the last record back, a positive one from the first record on. A time after the last record
/// is the end. An `offset:N` outside the log is its nearest end.
pub fn resolve(
    client: &mut Client,
    partitions: &[TopicPartition],
    position: Position,
    committed: Option<&BTreeMap<TopicPartition, i64>>,
    read_committed: bool,
) -> Result<BTreeMap<TopicPartition, i64>> {
    let starts = client.special_offsets(partitions, Special::Earliest, read_committed)?;
    let ends = client.special_offsets(partitions, Special::Latest, read_committed)?;
    let times = match position {
        Position::Time(timestamp_ms) => {
            let wanted = partitions.iter().map(|key| (key.clone(), timestamp_ms)).collect();
            client.list_offsets(&wanted, read_committed)?
        }
        Position::Earliest | Position::Latest | Position::Offset(_) | Position::Shift(_) => {
            BTreeMap::new()
        }
    };
    let mut found = BTreeMap::new();
    for key in partitions {
        let (start, end) = (starts[key], ends[key]);
        let offset = match position {
            Position::Earliest => start,
            Position::Latest => end,
            Position::Offset(offset) => offset,
            Position::Shift(shift) => {
                let base = committed.and_then(|committed| committed.get(key)).copied();
                base.unwrap_or(if shift < 0 { end } else { start }).saturating_add(shift)
            }
            Position::Time(_) => match &times[key] {
                // No record is that young.
                Ok(at) if at.offset < 0 => end,
                Ok(at) => at.offset,
                Err(why) => return Err(CliError::failed(format!("{key}: {why}"))),
            },
        };
        found.insert(key.clone(), offset.clamp(start, end.max(start)));
    }
    Ok(found)
}

impl Client {
    /// The partitions of a topic, or those of `only` (checked to exist), in order.
    pub fn partitions_of(
        &mut self,
        topic: &str,
        only: &[i32],
        create: bool,
    ) -> Result<Vec<TopicPartition>> {
        let found = self.topic(topic, create)?;
        let mut numbers: Vec<i32> = found.partitions.iter().map(|p| p.partition_index).collect();
        numbers.sort_unstable();
        if let Some(missing) = only.iter().find(|&number| !numbers.contains(number)) {
            let last = numbers.len().saturating_sub(1);
            return Err(CliError::failed(format!(
                "topic {topic} has no partition {missing}; it has 0 to {last}"
            )));
        }
        numbers.retain(|number| only.is_empty() || only.contains(number));
        let partition = |partition| TopicPartition { topic: topic.to_owned(), partition };
        Ok(numbers.into_iter().map(partition).collect())
    }
}
