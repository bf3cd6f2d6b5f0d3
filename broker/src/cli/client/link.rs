//! One TCP connection to a broker, blocking, with a bound on every wait.
//!
//! Drives `protocol::client`; knows nothing of topics or retries.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use protocol::Request;
use protocol::client::{ClientError, Connect as Handshake, Connection, PeerVersions, Response};
use protocol::message::Versions;

use super::super::clock;
use super::super::interrupt::Interrupt;
use super::super::options::Server;

/// What brokers see in their logs and in group descriptions.
const CLIENT_ID: &str = "corelane-cli";

/// How long a read waits before it looks for a signal.
const SLICE: Duration = Duration::from_millis(100);

/// Bytes asked of the socket at once.
const READ_BYTES: usize = 256 * 1024;

/// Why a connection is of no more use, or a request of none.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nobody there, or not reachable.
    #[error("{server}: {error}")]
    Connect { server: Server, error: io::Error },
    /// It broke.
    #[error("{server}: {error}")]
    Broken { server: Server, error: io::Error },
    /// The broker closed it.
    #[error("{server} closed the connection")]
    Closed { server: Server },
    /// No answer in time.
    #[error("{server} did not answer in time")]
    TimedOut { server: Server },
    /// What was said is not Kafka's protocol, or cannot be said.
    #[error("{server}: {error}")]
    Protocol { server: Server, error: ClientError },
    /// A signal arrived.
    #[error("interrupted")]
    Interrupted,
}

/// A connection past its handshake.
#[derive(Debug)]
pub struct Link {
    socket: Socket,
    connection: Connection,
}

#[derive(Debug)]
struct Socket {
    server: Server,
    stream: TcpStream,
    /// Encoded, not yet written.
    out: Vec<u8>,
    /// Where reads go.
    buffer: Vec<u8>,
}

impl Link {
    /// Connects, and agrees on versions.
    pub fn open(
        server: &Server,
        connect_timeout: Duration,
        deadline: Instant,
        interrupt: &mut Option<Interrupt>,
    ) -> Result<Self, LinkError> {
        let failed = |error| LinkError::Connect { server: server.clone(), error };
        let stream = connect(server, connect_timeout).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(SLICE)).map_err(failed)?;
        let mut socket =
            Socket { server: server.clone(), stream, out: Vec::new(), buffer: vec![0; READ_BYTES] };
        let wrong = |error| LinkError::Protocol { server: server.clone(), error };
        let connection = Connection::new(Some(CLIENT_ID.to_owned()));
        let mut handshake = Handshake::start(connection, None, &mut socket.out).map_err(wrong)?;
        loop {
            socket.flush(deadline)?;
            let count = socket.read(deadline, interrupt)?;
            let bytes = &socket.buffer[..count];
            if handshake.handle_bytes(bytes, &mut socket.out).map_err(wrong)? {
                break;
            }
        }
        let connection = handshake.finish().expect("the handshake said that it is over");
        Ok(Self { socket, connection })
    }

    /// What the broker speaks.
    pub fn peer(&self) -> &PeerVersions {
        self.connection.peer().expect("versions are agreed on when a link opens")
    }

    /// Whom it talks to.
    pub fn server(&self) -> &Server {
        &self.socket.server
    }

    /// Sends a request in the highest common version inside `wanted`.
    pub fn send<R: Request>(
        &mut self,
        body: &R,
        wanted: Versions,
        deadline: Instant,
    ) -> Result<(), LinkError> {
        let sent = self.connection.send_within(body, wanted, &mut self.socket.out);
        sent.map_err(|error| self.protocol(error))?;
        self.socket.flush(deadline)
    }

    /// Sends a request that gets no answer.
    pub fn send_unanswered<R: Request>(
        &mut self,
        body: &R,
        wanted: Versions,
        deadline: Instant,
    ) -> Result<(), LinkError> {
        let version =
            self.peer().choose_within(R::KEY, wanted).map_err(|error| self.protocol(error))?;
        let sent = self.connection.send_unanswered(body, version, &mut self.socket.out);
        sent.map_err(|error| self.protocol(error))?;
        self.socket.flush(deadline)
    }

    /// Waits for the next answer.
    pub fn receive(
        &mut self,
        deadline: Instant,
        interrupt: &mut Option<Interrupt>,
    ) -> Result<Response, LinkError> {
        loop {
            let polled = self.connection.poll_response();
            if let Some(response) = polled.map_err(|error| self.protocol(error))? {
                return Ok(response);
            }
            let count = self.socket.read(deadline, interrupt)?;
            self.connection.handle_bytes(&self.socket.buffer[..count]);
        }
    }

    fn protocol(&self, error: ClientError) -> LinkError {
        LinkError::Protocol { server: self.socket.server.clone(), error }
    }
}

impl Socket {
    fn flush(&mut self, deadline: Instant) -> Result<(), LinkError> {
        let broken = |error| LinkError::Broken { server: self.server.clone(), error };
        let left = deadline.saturating_duration_since(clock::now()).max(Duration::from_millis(1));
        self.stream.set_write_timeout(Some(left)).map_err(broken)?;
        let written = self.stream.write_all(&self.out);
        self.out.clear();
        written.map_err(|error| {
            if is_timeout(&error) {
                LinkError::TimedOut { server: self.server.clone() }
            } else {
                LinkError::Broken { server: self.server.clone(), error }
            }
        })
    }

    /// Bytes read into the buffer, at least one.
    fn read(
        &mut self,
        deadline: Instant,
        interrupt: &mut Option<Interrupt>,
    ) -> Result<usize, LinkError> {
        loop {
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return Err(LinkError::Closed { server: self.server.clone() }),
                Ok(count) => return Ok(count),
                Err(error) if is_timeout(&error) => {}
                Err(error) => {
                    return Err(LinkError::Broken { server: self.server.clone(), error });
                }
            }
            if interrupt.as_mut().is_some_and(Interrupt::arrived) {
                return Err(LinkError::Interrupted);
            }
            if clock::now() >= deadline {
                return Err(LinkError::TimedOut { server: self.server.clone() });
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// Tries each address of the name.
fn connect(server: &Server, timeout: Duration) -> io::Result<TcpStream> {
    let addresses = (server.host.as_str(), server.port).to_socket_addrs()?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses.collect::<Vec<SocketAddr>>() {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
