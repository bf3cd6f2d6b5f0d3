//! Which names a topic may have.
//!
//! Pure. The controller refuses others when a topic is created or altered; answers about topics
//! that are not there say whether they could be. Source: Kafka 4.3.1's answers.

use crate::controller::limits::TOPIC_NAME_BYTES_MAX;

/// The topic of committed offsets.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// The topic of transactions.
pub const TRANSACTION_STATE: &str = "__transaction_state";
/// The metadata log's name in Kafka: nobody creates it.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Whether the broker keeps this topic for itself. Source: Kafka 4.3.1 marks exactly these.
pub fn is_internal(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | TRANSACTION_STATE | "__share_group_state")
}

/// What is wrong with a name: INVALID_TOPIC_EXCEPTION (17), in Kafka's words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TopicNameError {
    #[error("Topic name is invalid: the empty string is not allowed")]
    Empty,
    #[error("Topic name is invalid: '{0}' is not allowed")]
    Dots(String),
    #[error(
        "Topic name is invalid: the length of '{0}' is longer than the max allowed length \
         {TOPIC_NAME_BYTES_MAX}"
    )]
    TooLong(String),
    #[error(
        "Topic name is invalid: '{0}' contains one or more characters other than ASCII \
         alphanumerics, '.', '_' and '-'"
    )]
    Characters(String),
}

/// Checks a name by itself.
pub fn validate(name: &str) -> Result<(), TopicNameError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() {
        Err(TopicNameError::Empty)
    } else if name == "." || name == ".." {
        Err(TopicNameError::Dots(name.to_string()))
    } else if name.len() > TOPIC_NAME_BYTES_MAX {
        Err(TopicNameError::TooLong(name.to_string()))
    } else if !name.bytes().all(legal) {
        Err(TopicNameError::Characters(name.to_string()))
    } else {
        Ok(())
    }
}
