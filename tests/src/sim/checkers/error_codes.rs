//! Every error code an API answers is one that its client's situation allows.
//!
//! A table per API of what a client that keeps the rules may meet at any time, because a broker
//! starts, stops or moves. What depends on the situation (a topic that may be gone, a log start
//! that moved) the client names itself. Storage errors need a disk that failed.

use std::collections::BTreeMap;

use protocol::api::ApiKey;
use protocol::error_code::ErrorCode;

use super::{Facts, Held};

/// Codes answered so far.
#[derive(Debug, Default)]
pub struct ErrorCodes {
    seen: BTreeMap<(ApiKey, i16), u64>,
}

/// What a client may meet at any time.
fn ordinary(api: ApiKey) -> &'static [ErrorCode] {
    match api {
        // A broker that stops sends producers and readers away; a full journal asks for patience.
        ApiKey::Produce => &[ErrorCode::NotLeaderOrFollower, ErrorCode::RequestTimedOut],
        ApiKey::Fetch => &[ErrorCode::NotLeaderOrFollower],
        ApiKey::DeleteRecords | ApiKey::ListOffsets => {
            &[ErrorCode::NotLeaderOrFollower, ErrorCode::RequestTimedOut]
        }
        // A coordinator that starts is loading, one that stops is not one any more.
        ApiKey::JoinGroup
        | ApiKey::SyncGroup
        | ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::OffsetCommit => &[
            ErrorCode::CoordinatorLoadInProgress,
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::NotCoordinator,
            ErrorCode::RequestTimedOut,
            ErrorCode::IllegalGeneration,
            ErrorCode::UnknownMemberId,
            ErrorCode::RebalanceInProgress,
        ],
        ApiKey::ConsumerGroupHeartbeat | ApiKey::StreamsGroupHeartbeat => &[
            ErrorCode::CoordinatorLoadInProgress,
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::NotCoordinator,
            ErrorCode::RequestTimedOut,
            ErrorCode::UnknownMemberId,
            ErrorCode::FencedMemberEpoch,
        ],
        ApiKey::OffsetFetch | ApiKey::FindCoordinator => &[
            ErrorCode::CoordinatorLoadInProgress,
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::NotCoordinator,
        ],
        ApiKey::InitProducerId => {
            &[ErrorCode::CoordinatorLoadInProgress, ErrorCode::RequestTimedOut]
        }
        // The same of a transaction's; another step of it may be on its way.
        ApiKey::AddPartitionsToTxn
        | ApiKey::AddOffsetsToTxn
        | ApiKey::TxnOffsetCommit
        | ApiKey::EndTxn => &[
            ErrorCode::CoordinatorLoadInProgress,
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::NotCoordinator,
            ErrorCode::ConcurrentTransactions,
            ErrorCode::RequestTimedOut,
        ],
        // A controller that stops is none any more.
        ApiKey::CreateTopics
        | ApiKey::DeleteTopics
        | ApiKey::CreatePartitions
        | ApiKey::AlterConfigs
        | ApiKey::IncrementalAlterConfigs => {
            &[ErrorCode::RequestTimedOut, ErrorCode::NotController]
        }
        _ => &[ErrorCode::RequestTimedOut],
    }
}

impl ErrorCodes {
    /// An answer carries `code`; `also` is what this client's situation allows beside the ordinary.
    pub fn check(&mut self, facts: &Facts, api: ApiKey, code: i16, also: &[ErrorCode]) -> Held {
        *self.seen.entry((api, code)).or_default() += 1;
        let known = ErrorCode::from_i16(code);
        let storage = match known {
            Some(ErrorCode::None) => return Ok(()),
            Some(ErrorCode::KafkaStorageError) => facts.disk_failed,
            // Of a partition whose data folder is lost.
            Some(ErrorCode::LeaderNotAvailable) => facts.disk_failed && api == ApiKey::Metadata,
            // What a coordinator makes of a failed append.
            Some(ErrorCode::UnknownServerError | ErrorCode::NotEnoughReplicas) => {
                facts.disk_failed && !matches!(api, ApiKey::Produce | ApiKey::Fetch)
            }
            Some(_) | None => false,
        };
        let allowed = known
            .is_some_and(|code| ordinary(api).contains(&code) || also.contains(&code) || storage);
        if allowed {
            return Ok(());
        }
        let name = known.map_or_else(|| code.to_string(), |code| format!("{code:?}"));
        Err(breach!(
            "error codes fit the situation",
            "{api} was answered with {name}, which nothing here allows"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_errors_need_a_disk_that_failed() {
        let mut checker = ErrorCodes::default();
        let code = ErrorCode::KafkaStorageError as i16;
        let sound = Facts::default();
        assert!(checker.check(&sound, ApiKey::Produce, code, &[]).is_err());
        let failed = Facts { disk_failed: true, ..sound };
        assert_eq!(checker.check(&failed, ApiKey::Produce, code, &[]), Ok(()));
    }

    #[test]
    fn what_no_situation_allows_is_seen() {
        let mut checker = ErrorCodes::default();
        let gone = ErrorCode::UnknownTopicOrPartition;
        let facts = Facts::default();
        assert!(checker.check(&facts, ApiKey::Produce, gone as i16, &[]).is_err());
        assert_eq!(checker.check(&facts, ApiKey::Produce, gone as i16, &[gone]), Ok(()));
        assert!(checker.check(&facts, ApiKey::Fetch, 9_999, &[]).is_err(), "no such code");
    }
}
