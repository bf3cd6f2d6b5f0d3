//! One connection: correlation ids, what is in flight, responses cut from the bytes that arrive.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{ClientError, PeerVersions};
use crate::api::{ApiKey, RequestHeader, ResponseHeader};
use crate::error_code::ErrorCode;
use crate::frame::{self, Frame, PREFIX_BYTES};
use crate::limits;
use crate::message::{Message, Request, Versions};
use crate::messages::{ApiVersionsRequest, ApiVersionsResponse};
use crate::primitive::{DecodeError, Reader};

/// The client's state of one connection.
///
/// Call `send*` to append requests to a vector that goes to the socket, `handle_bytes` with what
/// socket gave, and `poll_response` until it says `None`. A server answers in request order.
#[derive(Debug)]
pub struct Connection {
    client_id: Option<String>,
    correlation_next: i32,
    /// At most `limits::CLIENT_IN_FLIGHT_MAX`.
    in_flight: VecDeque<InFlight>,
    /// Grows with the bytes that arrive, to at most one frame plus what one read gave.
    received: BytesMut,
    frame_bytes_max: usize,
    peer: Option<PeerVersions>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct InFlight {
    correlation_id: i32,
    key: ApiKey,
    version: i16,
}

/// A whole response whose body is not decoded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The request's.
    pub correlation_id: i32,
    /// The request's.
    pub key: ApiKey,
    /// The request's.
    pub version: i16,
    /// Everything after the header.
    pub body: Bytes,
}

impl Response {
    /// Decodes the body as the response to an `R`; its byte fields are slices of it.
    ///
    /// Asking for another API's response is the caller's bug and panics.
    pub fn decode<R: Request>(&self) -> Result<R::Response, ClientError> {
        assert!(self.key == R::KEY, "a {} response is not one to {}", self.key, R::KEY);
        R::Response::from_bytes(&self.body, self.version).map_err(|error| self.malformed(error))
    }

    fn malformed(&self, error: DecodeError) -> ClientError {
        ClientError::Decode { key: self.key, version: self.version, error }
    }

    /// Decodes an ApiVersions response, whichever version the peer chose to answer in.
    ///
    /// KIP-511: a peer that lacks the version asked for answers error 35 in version 0.
    pub fn decode_api_versions(&self) -> Result<ApiVersionsResponse, ClientError> {
        let unsupported = ErrorCode::UnsupportedVersion.code().to_be_bytes();
        if self.body.starts_with(&unsupported) {
            let refused = ApiVersionsResponse::from_bytes(&self.body, 0);
            return refused.map_err(|error| self.malformed(error));
        }
        self.decode::<ApiVersionsRequest>()
    }
}

impl Connection {
    /// A fresh connection. Refuses frames above [`limits::FRAME_BYTES_MAX`].
    pub fn new(client_id: Option<String>) -> Self {
        Self {
            client_id,
            correlation_next: 0,
            in_flight: VecDeque::new(),
            received: BytesMut::new(),
            frame_bytes_max: limits::FRAME_BYTES_MAX,
            peer: None,
        }
    }

    /// Refuses responses above this many bytes instead of the default.
    pub fn with_frame_bytes_max(self, frame_bytes_max: usize) -> Self {
        Self { frame_bytes_max, ..self }
    }

    /// What the peer speaks, once known.
    pub fn peer(&self) -> Option<&PeerVersions> {
        self.peer.as_ref()
    }

    /// Says what the peer speaks: from its response, or from knowing it already.
    pub fn set_peer(&mut self, peer: PeerVersions) {
        self.peer = Some(peer);
    }

    /// Requests whose responses have not come.
    pub fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    /// The version [`Connection::send`] uses for an API.
    pub fn version_of(&self, key: ApiKey) -> Result<i16, ClientError> {
        self.peer.as_ref().ok_or(ClientError::NotNegotiated { key })?.choose(key)
    }

    /// Appends a request in the highest version both sides know. Returns its correlation id.
    pub fn send<R: Request>(&mut self, body: &R, out: &mut Vec<u8>) -> Result<i32, ClientError> {
        let version = self.version_of(R::KEY)?;
        self.send_at(body, version, out)
    }

    /// Appends a request in the highest common version inside `wanted`.
    pub fn send_within<R: Request>(
        &mut self,
        body: &R,
        wanted: Versions,
        out: &mut Vec<u8>,
    ) -> Result<i32, ClientError> {
        let peer = self.peer.as_ref().ok_or(ClientError::NotNegotiated { key: R::KEY })?;
        let version = peer.choose_within(R::KEY, wanted)?;
        self.send_at(body, version, out)
    }

    /// Appends a request in a given version, whatever the peer said.
    pub fn send_at<R: Request>(
        &mut self,
        body: &R,
        version: i16,
        out: &mut Vec<u8>,
    ) -> Result<i32, ClientError> {
        self.check_room()?;
        let correlation_id = self.send_unanswered(body, version, out)?;
        self.in_flight.push_back(InFlight { correlation_id, key: R::KEY, version });
        Ok(correlation_id)
    }

    /// Appends a request that gets no response: Produce with acks 0.
    pub fn send_unanswered<R: Request>(
        &mut self,
        body: &R,
        version: i16,
        out: &mut Vec<u8>,
    ) -> Result<i32, ClientError> {
        let correlation_id = self.correlation_next;
        frame::encode_request(out, version, correlation_id, self.client_id.as_deref(), body)
            .map_err(|error| ClientError::Encode { key: R::KEY, version, error })?;
        self.correlation_next = correlation_id.wrapping_add(1);
        Ok(correlation_id)
    }

    /// Appends a request whose bytes after the header the caller has; for prepared load.
    pub fn send_body(
        &mut self,
        key: ApiKey,
        version: i16,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<i32, ClientError> {
        self.check_room()?;
        let correlation_id = self.correlation_next;
        let header = RequestHeader {
            api_key: key,
            api_version: version,
            correlation_id,
            client_id: self.client_id.clone(),
        };
        frame::with_length(out, |out| {
            header.encode(out)?;
            out.extend_from_slice(body);
            Ok(())
        })
        .map_err(|error| ClientError::Encode { key, version, error })?;
        self.correlation_next = correlation_id.wrapping_add(1);
        self.in_flight.push_back(InFlight { correlation_id, key, version });
        Ok(correlation_id)
    }

    fn check_room(&self) -> Result<(), ClientError> {
        let count = self.in_flight.len();
        if count >= limits::CLIENT_IN_FLIGHT_MAX {
            return Err(ClientError::InFlightFull { count });
        }
        Ok(())
    }

    /// Takes what the socket gave.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// The next whole response; `None` until more bytes arrive.
    pub fn poll_response(&mut self) -> Result<Option<Response>, ClientError> {
        let end = match frame::split(&self.received, self.frame_bytes_max)? {
            Frame::Need { bytes: _ } => return Ok(None),
            Frame::Complete { end } => end,
        };
        let content = self.received.split_to(end).freeze().slice(PREFIX_BYTES..);
        let found = correlation_of(&content);
        let Some(due) = self.in_flight.pop_front() else {
            return Err(ClientError::UnexpectedResponse { found });
        };
        let InFlight { correlation_id, key, version } = due;
        if found != correlation_id {
            return Err(ClientError::WrongCorrelation { expected: correlation_id, found });
        }
        let mut reader = Reader::shared(&content);
        ResponseHeader::decode(&mut reader, key, version).map_err(|error| ClientError::Decode {
            key,
            version,
            error,
        })?;
        let body = content.slice(reader.position()..);
        Ok(Some(Response { correlation_id, key, version, body }))
    }
}

/// The correlation id that begins a response; −1 when it is too short to have one.
fn correlation_of(content: &[u8]) -> i32 {
    content.first_chunk().map_or(-1, |bytes| i32::from_be_bytes(*bytes))
}
