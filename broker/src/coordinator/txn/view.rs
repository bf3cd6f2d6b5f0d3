//! DescribeTransactions and ListTransactions: what operators see.
//!
//! Reads only. Source: KIP-664, KIP-994 (duration), KIP-1152 (pattern) and Kafka 4.3.1's answers.

use std::collections::BTreeSet;

use protocol::error_code::ErrorCode;
use protocol::messages::describe_transactions::{TopicData, TransactionState};
use protocol::messages::list_transactions::{
    ListTransactionsResponse, TransactionState as ListedTransaction,
};
use regex::{Regex, RegexBuilder};

use super::api::ListFilter;
use super::{TxnCoordinator, limits};
use crate::time::Now;

/// Names of states that no transaction is ever seen in, and that Kafka knows.
const UNSEEN_STATES: [&str; 2] = ["Dead", "PrepareEpochFence"];

impl TxnCoordinator {
    pub(super) fn describe(&self, id: &str) -> TransactionState {
        let (_, transaction) = match self.find(id) {
            Ok(found) => found,
            Err(ErrorCode::InvalidProducerIdMapping) => {
                return undescribed(id, ErrorCode::TransactionalIdNotFound);
            }
            Err(error) => return undescribed(id, error),
        };
        let metadata = &transaction.metadata;
        let mut topics: Vec<TopicData> = Vec::new();
        for (topic, partition) in &metadata.partitions {
            match topics.last_mut() {
                Some(last) if last.topic == **topic => last.partitions.push(*partition),
                Some(_) | None => topics
                    .push(TopicData { topic: topic.to_string(), partitions: vec![*partition] }),
            }
        }
        TransactionState {
            error_code: ErrorCode::None.code(),
            transactional_id: id.to_owned(),
            transaction_state: metadata.state.name().to_owned(),
            transaction_timeout_ms: metadata.timeout_ms,
            transaction_start_time_ms: metadata.started_ms,
            producer_id: metadata.producer_id,
            producer_epoch: metadata.producer_epoch,
            topics,
        }
    }

    pub(super) fn list(&self, now: Now, filter: &ListFilter) -> ListTransactionsResponse {
        if self.partitions.values().any(|partition| partition.loading) {
            return unlisted(ErrorCode::CoordinatorLoadInProgress);
        }
        let Ok(pattern) = compile(&filter.pattern) else {
            return unlisted(ErrorCode::InvalidRegularExpression);
        };
        let producer_ids: BTreeSet<i64> = filter.producer_ids.iter().copied().collect();
        let listed = self
            .partitions
            .values()
            .flat_map(|partition| &partition.transactions)
            .filter(|(id, transaction)| {
                let metadata = &transaction.metadata;
                let ran_ms = now.wall_ms.saturating_sub(metadata.started_ms);
                let name = metadata.state.name();
                (producer_ids.is_empty() || producer_ids.contains(&metadata.producer_id))
                    && (filter.states.is_empty() || filter.states.iter().any(|one| one == name))
                    && (filter.duration_ms < 0 || ran_ms > filter.duration_ms)
                    && pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))
            })
            .map(|(id, transaction)| ListedTransaction {
                transactional_id: id.to_string(),
                producer_id: transaction.metadata.producer_id,
                transaction_state: transaction.metadata.state.name().to_owned(),
            });
        ListTransactionsResponse {
            unknown_state_filters: unknown_states(&filter.states),
            transaction_states: listed.collect(),
            ..ListTransactionsResponse::default()
        }
    }
}

/// The states of a filter that are none, each once.
fn unknown_states(states: &[String]) -> Vec<String> {
    let known = |name: &str| {
        UNSEEN_STATES.contains(&name)
            || (0..).map_while(super::TxnState::from_id).any(|state| state.name() == name)
    };
    let mut seen = BTreeSet::new();
    states.iter().filter(|name| !known(name) && seen.insert(*name)).cloned().collect()
}

/// `None`: everything matches.
fn compile(pattern: &str) -> Result<Option<Regex>, regex::Error> {
    if pattern.is_empty() {
        return Ok(None);
    }
    // The pattern alone must be one: a lone parenthesis must not pair with ours.
    let build = |text: &str| RegexBuilder::new(text).size_limit(limits::PATTERN_BYTES_MAX).build();
    build(pattern)?;
    build(&format!(r"\A(?:{pattern})\z")).map(Some)
}

/// An id that cannot be described.
pub(super) fn undescribed(id: &str, error: ErrorCode) -> TransactionState {
    TransactionState {
        error_code: error.code(),
        transactional_id: id.to_owned(),
        ..TransactionState::default()
    }
}

/// A list that cannot be given.
pub(super) fn unlisted(error: ErrorCode) -> ListTransactionsResponse {
    ListTransactionsResponse { error_code: error.code(), ..ListTransactionsResponse::default() }
}
