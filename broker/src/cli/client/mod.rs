//! A small blocking client: finds brokers, leaders and coordinators, retries what can be retried.
//!
//! One thread, one request at a time per broker, except where a command sends to several brokers
//! before it receives. `link` is a connection, `routing` finds out who serves what. It speaks only
//! the wire, so that every command works against any Kafka broker.

mod link;
mod routing;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::client::PeerVersions;
use protocol::message::Versions;
use protocol::messages::MetadataResponse;
use protocol::{ApiKey, ErrorCode, Message, Request};

pub use link::LinkError;
pub use routing::{OffsetAt, PerPartition, Special, TopicPartition};

use self::link::Link;
use super::clock;
use super::error::{CliError, Result, refusal};
use super::interrupt::Interrupt;
use super::options::{Connect, Server};

/// Every version both sides know.
pub const ANY_VERSION: Versions = Versions { min: 0, max: i16::MAX };

/// First wait before a repetition; doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Who is to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Any broker that can be reached.
    Any,
    /// This broker.
    Node(i32),
    /// This broker as a group's coordinator, on a connection of its own: a fetch that waits for
    /// records must not hold up a heartbeat.
    Coordinator(i32),
}

/// The client of one command.
#[derive(Debug)]
pub struct Client {
    connect: Connect,
    /// Brokers as the cluster names them; empty before the first metadata.
    nodes: BTreeMap<i32, Server>,
    links: BTreeMap<Target, Link>,
    coordinators: BTreeMap<String, i32>,
    interrupt: Option<Interrupt>,
    /// Whether any broker has answered: before that, failing fast is kinder than trying on.
    reached: bool,
}

impl Client {
    /// Connects to nobody yet.
    pub fn new(connect: Connect) -> Self {
        Self {
            connect,
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            coordinators: BTreeMap::new(),
            interrupt: None,
            reached: false,
        }
    }

    /// Ends waits with [`CliError::Interrupted`] when a signal arrives.
    pub fn set_interrupt(&mut self, interrupt: Interrupt) {
        self.interrupt = Some(interrupt);
    }

    /// Whether a signal has arrived.
    pub fn interrupted(&mut self) -> bool {
        self.interrupt.as_mut().is_some_and(Interrupt::arrived)
    }

    /// From here on signals end nothing: what is left to do is short and has to be done. They stay
    /// blocked; the operation's timeout bounds the wait.
    pub fn ignore_interrupts(&mut self) {
        self.interrupt = None;
    }

    /// The options it was made with.
    pub fn connect_options(&self) -> &Connect {
        &self.connect
    }

    /// When an operation that starts now has to be over.
    pub fn deadline(&self) -> Instant {
        clock::now() + self.connect.timeout()
    }

    /// Brokers known from metadata.
    pub fn nodes(&self) -> &BTreeMap<i32, Server> {
        &self.nodes
    }

    fn learn_nodes(&mut self, metadata: &MetadataResponse) {
        for broker in &metadata.brokers {
            let Ok(port) = u16::try_from(broker.port) else { continue };
            let server = Server { host: broker.host.clone(), port };
            self.learn_node(broker.node_id, server);
        }
    }

    fn learn_node(&mut self, node: i32, server: Server) {
        let before = self.nodes.insert(node, server.clone());
        if before.is_some_and(|before| before != server) {
            self.links.remove(&Target::Node(node));
            self.links.remove(&Target::Coordinator(node));
        }
    }

    /// What a broker speaks.
    pub fn peer(&mut self, target: Target) -> Result<PeerVersions> {
        let deadline = self.deadline();
        let peer = self.link(target, deadline).map(|link| link.peer().clone());
        peer.map_err(|error| self.explain(&error))
    }

    /// Asks and waits for the answer; repeats over broken connections as long as that is safe and
    /// the operation's time is not over.
    pub fn call<R: Request>(&mut self, target: Target, body: &R) -> Result<R::Response> {
        self.call_within(target, body, ANY_VERSION)
    }

    /// The same in the highest common version inside `wanted`.
    pub fn call_within<R: Request>(
        &mut self,
        target: Target,
        body: &R,
        wanted: Versions,
    ) -> Result<R::Response> {
        let deadline = self.deadline();
        self.call_until(target, body, wanted, deadline)
    }

    /// The same with a deadline of its own.
    pub fn call_until<R: Request>(
        &mut self,
        target: Target,
        body: &R,
        wanted: Versions,
        deadline: Instant,
    ) -> Result<R::Response> {
        let mut backoff = Backoff::new(deadline);
        loop {
            let sent = self.send(target, body, wanted, deadline);
            let was_sent = sent.is_ok();
            let error = match sent.and_then(|()| self.receive::<R>(target, deadline)) {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let again = self.reached && is_transport(&error) && (!was_sent || repeatable(R::KEY));
            if !again || !backoff.wait() {
                return Err(self.explain(&error));
            }
        }
    }

    /// Sends without waiting. [`Client::receive`] has to follow, in the order of the requests.
    pub fn send<R: Request>(
        &mut self,
        target: Target,
        body: &R,
        wanted: Versions,
        deadline: Instant,
    ) -> std::result::Result<(), LinkError> {
        let link = self.link(target, deadline)?;
        let sent = link.send(body, wanted, deadline);
        self.drop_if_broken(target, sent)
    }

    /// Sends what gets no answer.
    pub fn send_unanswered<R: Request>(
        &mut self,
        target: Target,
        body: &R,
        wanted: Versions,
        deadline: Instant,
    ) -> std::result::Result<(), LinkError> {
        let link = self.link(target, deadline)?;
        let sent = link.send_unanswered(body, wanted, deadline);
        self.drop_if_broken(target, sent)
    }

    /// The answer to the oldest unanswered request, which was an `R`.
    pub fn receive<R: Request>(
        &mut self,
        target: Target,
        deadline: Instant,
    ) -> std::result::Result<R::Response, LinkError> {
        let Some(link) = self.links.get_mut(&target) else {
            let server = self.server_of(target);
            return Err(LinkError::Closed { server });
        };
        let received = link.receive(deadline, &mut self.interrupt);
        let decoded = received.and_then(|response| {
            response
                .decode::<R>()
                .map_err(|error| LinkError::Protocol { server: link.server().clone(), error })
        });
        self.drop_if_broken(target, decoded)
    }

    /// A connection after an error is out of step with its requests.
    fn drop_if_broken<T>(
        &mut self,
        target: Target,
        result: std::result::Result<T, LinkError>,
    ) -> std::result::Result<T, LinkError> {
        if result.is_err() {
            self.links.remove(&target);
        }
        result
    }

    /// The connection to a target, opened if need be.
    fn link(
        &mut self,
        target: Target,
        deadline: Instant,
    ) -> std::result::Result<&mut Link, LinkError> {
        if !self.links.contains_key(&target) {
            let link = self.open(target, deadline)?;
            self.reached = true;
            self.links.insert(target, link);
        }
        Ok(self.links.get_mut(&target).expect("it is there, or was put there above"))
    }

    fn open(&mut self, target: Target, deadline: Instant) -> std::result::Result<Link, LinkError> {
        let servers: Vec<Server> = match target {
            Target::Node(node) | Target::Coordinator(node) => {
                self.nodes.get(&node).cloned().into_iter().collect()
            }
            // The brokers named by the user first: they may be reachable where others are not.
            Target::Any => {
                self.connect.bootstrap.iter().chain(self.nodes.values()).cloned().collect()
            }
        };
        let timeout = self.connect.connect_timeout();
        let mut last = LinkError::Closed { server: self.server_of(target) };
        for server in &servers {
            match Link::open(server, timeout, deadline, &mut self.interrupt) {
                Ok(link) => return Ok(link),
                Err(LinkError::Interrupted) => return Err(LinkError::Interrupted),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn server_of(&self, target: Target) -> Server {
        let known = match target {
            Target::Any => None,
            Target::Node(node) | Target::Coordinator(node) => self.nodes.get(&node),
        };
        known.unwrap_or(&self.connect.bootstrap[0]).clone()
    }

    /// A connection's error in words, with what to do.
    pub fn explain(&self, error: &LinkError) -> CliError {
        match error {
            LinkError::Interrupted => CliError::Interrupted,
            LinkError::Connect { .. } if !self.reached => CliError::failed(format!(
                "no broker can be reached: {error}; start one, or name one with \
                 --bootstrap HOST:PORT"
            )),
            LinkError::Connect { .. } | LinkError::Broken { .. } | LinkError::Closed { .. } => {
                CliError::failed(format!("{error}; is the broker running? look at its log"))
            }
            LinkError::TimedOut { .. } => {
                CliError::failed(format!("{error}; give it more time with --timeout-ms"))
            }
            LinkError::Protocol { .. } => CliError::failed(format!(
                "{error}; check that a Kafka broker listens there without TLS or SASL"
            )),
        }
    }

    /// Repeats `attempt` while it gives a code that may heal, until the operation's time is over.
    ///
    /// The attempt returns the response and its code; `what` begins the error's line.
    pub fn until_healed<T>(
        &mut self,
        what: &str,
        mut attempt: impl FnMut(&mut Self) -> Result<(T, i16)>,
    ) -> Result<T> {
        let mut backoff = Backoff::new(self.deadline());
        loop {
            let (value, code) = attempt(self)?;
            if code == ErrorCode::None.code() {
                return Ok(value);
            }
            let heals = ErrorCode::from_i16(code).is_some_and(ErrorCode::retriable);
            if !heals || self.interrupted() || !backoff.wait() {
                return Err(CliError::failed(format!("{what}: {}", refusal(code, None))));
            }
        }
    }
}

/// Waits that double, until a deadline.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    deadline: Instant,
}

impl Backoff {
    /// The first wait is short.
    pub fn new(deadline: Instant) -> Self {
        Self { next: BACKOFF_MIN, deadline }
    }

    /// Waits; false, at once, when the deadline would pass.
    pub fn wait(&mut self) -> bool {
        if clock::now() + self.next >= self.deadline {
            return false;
        }
        clock::sleep(self.next);
        self.next = (self.next * 2).min(BACKOFF_MAX);
        true
    }
}

fn is_transport(error: &LinkError) -> bool {
    match error {
        LinkError::Connect { .. } | LinkError::Broken { .. } | LinkError::Closed { .. } => true,
        LinkError::TimedOut { .. } | LinkError::Protocol { .. } | LinkError::Interrupted => false,
    }
}

/// Whether asking twice does what asking once does. After a request that changes something was
/// sent and its answer lost, saying so is better than a misleading "already exists".
fn repeatable(key: ApiKey) -> bool {
    !matches!(
        key,
        ApiKey::CreateTopics
            | ApiKey::DeleteTopics
            | ApiKey::CreatePartitions
            | ApiKey::DeleteGroups
            | ApiKey::IncrementalAlterConfigs
            | ApiKey::JoinGroup
            | ApiKey::Produce
    )
}

/// The bytes of a message with its two-byte version in front, as the consumer protocol has it.
pub fn versioned<M: Message>(message: &M, version: i16) -> bytes::Bytes {
    let mut bytes = version.to_be_bytes().to_vec();
    message.encode(&mut bytes, version).expect("the message fits the version we chose");
    bytes.into()
}

/// Reads such a message; a version above ours is read as our highest, as Kafka's clients do.
pub fn read_versioned<M: Message>(bytes: &bytes::Bytes) -> Option<M> {
    let version = i16::from_be_bytes(*bytes.first_chunk()?);
    let version = version.min(M::SCHEMA.versions.max);
    M::from_bytes(&bytes.slice(2..), version).ok()
}
