//! Whether a topic of a name may be created, as a refusal with Kafka's code.
//!
//! Pure. The rules of a name by itself are `image/topic_name.rs`.

use protocol::ErrorCode;

use super::Refusal;
use crate::image::Image;
use crate::image::topic_name::{self, CLUSTER_METADATA};

/// Checks a name by itself.
pub fn validate(name: &str) -> Result<(), Refusal> {
    topic_name::validate(name)
        .map_err(|error| Refusal::new(ErrorCode::InvalidTopicException, error.to_string()))
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
