//! The client's half of the wire, sans-IO: requests out, responses in, versions agreed.
//!
//! Bytes go in by `handle_bytes` and come out into the caller's vector; no socket, no clock, no
//! retry. One [`Connection`] is one TCP connection. The command line, the simulator's clients and
//! the load generator drive it; they know about brokers, topics and time.
//!
//! `connection` keeps correlation ids and what is in flight, `versions` chooses a version per API,
//! `connect` is the sequence every connection begins with (KIP-511, SASL).

mod connect;
mod connection;
mod versions;

#[cfg(test)]
mod tests;

pub use connect::{Connect, Mechanism, Plain};
pub use connection::{Connection, Response};
pub use versions::PeerVersions;

use crate::api::ApiKey;
use crate::frame::FrameError;
use crate::message::Versions;
use crate::primitive::{DecodeError, EncodeError};

/// Why a request could not be sent or a response not be read.
///
/// After `Frame`, `UnexpectedResponse` and `WrongCorrelation` the connection is out of step and has
/// to be closed; after the others it goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// A version was to be chosen before the peer said which it speaks.
    #[error("{key}: the peer's versions are not known yet")]
    NotNegotiated { key: ApiKey },
    /// The peer does not serve this API.
    #[error("the peer does not offer {key}")]
    NotOffered { key: ApiKey },
    /// Both sides know the API, in no common version.
    #[error("{key}: versions {ours} here and {theirs} there have none in common")]
    NoCommonVersion { key: ApiKey, ours: Versions, theirs: Versions },
    /// As many requests as [`crate::limits::CLIENT_IN_FLIGHT_MAX`] wait for their responses.
    #[error("{count} requests are in flight, no more are allowed")]
    InFlightFull { count: usize },
    /// The request cannot be said in the version chosen.
    #[error("{key} v{version}: {error}")]
    Encode { key: ApiKey, version: i16, error: EncodeError },
    /// The response is malformed.
    #[error("{key} v{version}: {error}")]
    Decode { key: ApiKey, version: i16, error: DecodeError },
    /// What arrives is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A response arrived though nothing waits for one.
    #[error("response {found} to no request")]
    UnexpectedResponse { found: i32 },
    /// Responses come in the order of their requests; this one does not.
    #[error("response {found} where {expected} is due")]
    WrongCorrelation { expected: i32, found: i32 },
    /// The peer refused to name its versions.
    #[error("the peer answers ApiVersions with error {code}")]
    VersionsRefused { code: i16 },
    /// The peer refused the mechanism or the credentials.
    #[error("authentication failed with error {code}: {message}")]
    AuthenticationFailed { code: i16, message: String },
}
