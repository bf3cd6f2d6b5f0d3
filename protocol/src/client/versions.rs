//! Which version of each API to speak with one peer.
//!
//! The highest both know; what the peer offers comes from its ApiVersions response (KIP-35).

use std::collections::BTreeMap;

use super::ClientError;
use crate::api::ApiKey;
use crate::message::Versions;
use crate::messages::ApiVersionsResponse;

/// What a peer said it speaks.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PeerVersions {
    /// Keys this crate does not know are left out; at most one entry per [`ApiKey`].
    offered: BTreeMap<ApiKey, Versions>,
    response: ApiVersionsResponse,
}

// An ApiVersions response may list a key twice; the last one counts, as in Kafka's client.
impl From<ApiVersionsResponse> for PeerVersions {
    fn from(response: ApiVersionsResponse) -> Self {
        let known = response.api_keys.iter().filter_map(|api| {
            let versions = Versions { min: api.min_version, max: api.max_version };
            ApiKey::from_i16(api.api_key).map(|key| (key, versions))
        });
        Self { offered: known.collect(), response }
    }
}

impl PeerVersions {
    /// What the peer offers of an API.
    pub fn offered(&self, key: ApiKey) -> Option<Versions> {
        self.offered.get(&key).copied()
    }

    /// The highest version both sides know.
    pub fn choose(&self, key: ApiKey) -> Result<i16, ClientError> {
        self.choose_within(key, Versions { min: 0, max: i16::MAX })
    }

    /// The highest version both sides know inside `wanted`; for a caller that needs, say, topic
    /// names in a request whose newest versions have only ids.
    pub fn choose_within(&self, key: ApiKey, wanted: Versions) -> Result<i16, ClientError> {
        let theirs = self.offered(key).ok_or(ClientError::NotOffered { key })?;
        let ours = key.versions().intersect(wanted);
        let common = ours.intersect(theirs);
        if common.is_empty() {
            return Err(ClientError::NoCommonVersion { key, ours, theirs });
        }
        Ok(common.max)
    }

    /// Level at which the cluster has finalized a feature, `transaction.version` and the like.
    /// `None` if it has not, or if the peer says that its features are not known.
    pub fn finalized_level(&self, feature: &str) -> Option<i16> {
        let known = self.response.finalized_features_epoch >= 0;
        let features = &self.response.finalized_features;
        let found = features.iter().find(|key| known && key.name == feature)?;
        Some(found.max_version_level)
    }

    /// The response itself.
    pub fn response(&self) -> &ApiVersionsResponse {
        &self.response
    }
}
