//! What every connection begins with: agree on versions, then authenticate if asked to.
//!
//! KIP-511: ApiVersions goes out in our highest version; a peer that lacks it answers error 35 in
//! version 0 and names the range it has, and we ask again inside that. KIP-152: SaslHandshake names
//! the mechanism, SaslAuthenticate carries its messages.

use std::fmt;

use bytes::Bytes;

use super::{ClientError, Connection, PeerVersions, Response};
use crate::api::ApiKey;
use crate::error_code::ErrorCode;
use crate::messages::{
    ApiVersionsRequest, ApiVersionsResponse, SaslAuthenticateRequest, SaslHandshakeRequest,
};

/// A client's side of a SASL mechanism. PLAIN is here; others come from those who own their
/// randomness and hashes.
pub trait Mechanism: fmt::Debug {
    /// Its registered name.
    fn name(&self) -> &'static str;
    /// The next message, given the server's last (empty at first); `None` when it has all it needs.
    /// `Err` says why the server cannot be believed.
    fn step(&mut self, challenge: &[u8]) -> Result<Option<Bytes>, String>;
}

/// The PLAIN mechanism (RFC 4616): name and password in the clear.
pub struct Plain {
    username: String,
    password: String,
    sent: bool,
}

impl Plain {
    /// With these credentials.
    pub fn new(username: String, password: String) -> Self {
        Self { username, password, sent: false }
    }
}

// Credentials do not belong in a log.
impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Mechanism for Plain {
    fn name(&self) -> &'static str {
        "PLAIN"
    }

    fn step(&mut self, _: &[u8]) -> Result<Option<Bytes>, String> {
        if self.sent {
            return Ok(None);
        }
        self.sent = true;
        Ok(Some(format!("\0{}\0{}", self.username, self.password).into()))
    }
}

/// A connection on its way to being usable.
///
/// `start` appends the first request; `handle_bytes` takes what arrives, appends what is due and
/// says whether the sequence is over; `finish` gives the connection.
#[derive(Debug)]
pub struct Connect {
    connection: Connection,
    mechanism: Option<Box<dyn Mechanism>>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// ApiVersions sent; `again` if a version was refused before.
    Versions {
        again: bool,
    },
    /// SaslHandshake sent.
    Handshake,
    /// SaslAuthenticate sent.
    Authenticate,
    Ready,
}

impl Connect {
    /// Begins: appends ApiVersions in our highest version.
    pub fn start(
        connection: Connection,
        mechanism: Option<Box<dyn Mechanism>>,
        out: &mut Vec<u8>,
    ) -> Result<Self, ClientError> {
        let state = State::Versions { again: false };
        let mut connect = Self { connection, mechanism, state };
        connect.ask_versions(ApiKey::ApiVersions.versions().max, out)?;
        Ok(connect)
    }

    /// Takes what the socket gave and appends what has to be sent. True when it is over.
    pub fn handle_bytes(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<bool, ClientError> {
        self.connection.handle_bytes(bytes);
        while self.state != State::Ready {
            let Some(response) = self.connection.poll_response()? else { return Ok(false) };
            match self.state {
                State::Versions { again } => self.handle_versions(&response, again, out)?,
                State::Handshake => self.handle_handshake(&response, out)?,
                State::Authenticate => self.handle_authenticate(&response, out)?,
                State::Ready => {}
            }
        }
        Ok(true)
    }

    /// The connection; `None` before the sequence is over.
    pub fn finish(self) -> Option<Connection> {
        (self.state == State::Ready).then_some(self.connection)
    }

    fn ask_versions(&mut self, version: i16, out: &mut Vec<u8>) -> Result<(), ClientError> {
        let (name, software) = match version {
            // Versions without these fields would refuse them.
            0..=2 => (String::new(), String::new()),
            _ => ("corelane".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        };
        let request =
            ApiVersionsRequest { client_software_name: name, client_software_version: software };
        self.connection.send_at(&request, version, out).map(|_| ())
    }

    fn handle_versions(
        &mut self,
        response: &Response,
        again: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        let answer = response.decode_api_versions()?;
        let code = answer.error_code;
        if code == ErrorCode::UnsupportedVersion.code() && !again {
            self.state = State::Versions { again: true };
            return self.ask_versions(fallback_version(answer), out);
        }
        if code != ErrorCode::None.code() {
            return Err(ClientError::VersionsRefused { code });
        }
        self.connection.set_peer(answer.into());
        let Some(mechanism) = &self.mechanism else {
            self.state = State::Ready;
            return Ok(());
        };
        self.state = State::Handshake;
        let handshake = SaslHandshakeRequest { mechanism: mechanism.name().to_owned() };
        self.connection.send(&handshake, out).map(|_| ())
    }

    fn handle_handshake(
        &mut self,
        response: &Response,
        out: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        let answer = response.decode::<SaslHandshakeRequest>()?;
        if answer.error_code != ErrorCode::None.code() {
            let message = format!("the peer offers {}", answer.mechanisms.join(", "));
            return Err(ClientError::AuthenticationFailed { code: answer.error_code, message });
        }
        self.state = State::Authenticate;
        self.step(&[], out)
    }

    fn handle_authenticate(
        &mut self,
        response: &Response,
        out: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        let answer = response.decode::<SaslAuthenticateRequest>()?;
        if answer.error_code != ErrorCode::None.code() {
            let message = answer.error_message.unwrap_or_default();
            return Err(ClientError::AuthenticationFailed { code: answer.error_code, message });
        }
        self.step(&answer.auth_bytes, out)
    }

    fn step(&mut self, challenge: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
        let next = match &mut self.mechanism {
            Some(mechanism) => mechanism.step(challenge).map_err(|message| {
                let code = ErrorCode::SaslAuthenticationFailed.code();
                ClientError::AuthenticationFailed { code, message }
            })?,
            None => None,
        };
        let Some(auth_bytes) = next else {
            self.state = State::Ready;
            return Ok(());
        };
        self.connection.send(&SaslAuthenticateRequest { auth_bytes }, out).map(|_| ())
    }
}

/// The version to ask in after the peer refused ours: the highest common one if it says, else 0.
fn fallback_version(refused: ApiVersionsResponse) -> i16 {
    PeerVersions::from(refused).choose(ApiKey::ApiVersions).unwrap_or(0)
}
