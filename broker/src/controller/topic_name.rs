//! Which names a topic may have.
//!
//! Pure. Called before a topic is created, altered or described. Source: Kafka 4.3.1's answers.

use protocol::ErrorCode;

use super::Refusal;
use super::limits::TOPIC_NAME_BYTES_MAX;
use crate::image::Image;

/// The metadata log's name in Kafka: nobody creates it.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Checks a name by itself: INVALID_TOPIC_EXCEPTION (17) says what is wrong.
pub fn validate(name: &str) -> Result<(), Refusal> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let why = if name.is_empty() {
        "the empty string is not allowed".to_string()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.len() > TOPIC_NAME_BYTES_MAX {
        format!(
            "the length of '{name}' is longer than the max allowed length {TOPIC_NAME_BYTES_MAX}"
        )
    } else if !name.bytes().all(legal) {
        format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, \
             '.', '_' and '-'"
        )
    } else {
        return Ok(());
    };
    Err(Refusal::new(ErrorCode::InvalidTopicException, format!("Topic name is invalid: {why}")))
}

/// Checks whether a topic of this name may be created beside those that exist.
pub fn validate_new(image: &Image, name: &str) -> Result<(), Refusal> {
    validate(name)?;
    if name == CLUSTER_METADATA {
        return Err(Refusal::new(
            ErrorCode::InvalidRequest,
            format!("Creation of internal topic {CLUSTER_METADATA} is prohibited."),
        ));
    }
    if image.topic(name).is_some() {
        return Err(Refusal::new(
            ErrorCode::TopicAlreadyExists,
            format!("Topic '{name}' already exists."),
        ));
    }
    if let Some(existing) = image.colliding_topic(name) {
        return Err(Refusal::new(
            ErrorCode::InvalidTopicException,
            format!("Topic '{name}' collides with existing topic: {existing}"),
        ));
    }
    Ok(())
}
