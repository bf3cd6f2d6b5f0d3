//! Listening sockets: one per shard on the same port (SO_REUSEPORT), so that the kernel spreads
//! connections over the cores without a lock.
//!
//! Bound before recovery, so that a port in use is known at once; listening only when every shard
//! serves.
#![expect(unsafe_code, reason = "socket options before bind, and peers' addresses")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use io_uring::{opcode, types};
use storage::edge::ring::{Completion, Ring};

use super::config::SocketOptions;
use super::user_data::{self, Kind};

/// How long accepting rests when the process has no descriptor left.
const RETRY_NS: u64 = 100_000_000;

/// A bound socket that does not listen yet.
#[derive(Debug)]
pub struct Bound {
    socket: OwnedFd,
    address: SocketAddr,
    backlog: i32,
}

impl Bound {
    /// Binds `count` sockets to one address; with port 0 the first one picks it.
    pub fn bind_all(
        address: SocketAddr,
        count: usize,
        options: SocketOptions,
    ) -> io::Result<Vec<Self>> {
        let mut bound: Vec<Self> = Vec::with_capacity(count);
        for _ in 0..count {
            let address = bound.first().map_or(address, |first| first.address);
            bound.push(Self::bind(address, options)?);
        }
        Ok(bound)
    }

    fn bind(address: SocketAddr, options: SocketOptions) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => libc::AF_INET,
            SocketAddr::V6(_) => libc::AF_INET6,
        };
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and owned by nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        let buffers = [
            (libc::SO_SNDBUF, options.send_buffer_bytes),
            (libc::SO_RCVBUF, options.receive_buffer_bytes),
        ];
        for (option, bytes) in buffers {
            if let Some(bytes) = bytes {
                let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
                set_option(fd, libc::SOL_SOCKET, option, bytes)?;
            }
        }
        let (storage, bytes) = raw_address(address);
        // SAFETY: `storage` holds an address of `bytes` bytes of the socket's family.
        let result = unsafe { libc::bind(fd, (&raw const storage).cast(), bytes) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        // The standard library reads the port back; it does not own the socket here.
        let listener = std::mem::ManuallyDrop::new(
            // SAFETY: `socket` stays the owner, the listener is never dropped.
            unsafe { TcpListener::from_raw_fd(fd) },
        );
        let address = listener.local_addr()?;
        Ok(Self { socket, address, backlog: options.backlog })
    }

    /// Where it is bound, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets clients connect.
    pub fn listen(self) -> io::Result<Listener> {
        // SAFETY: no pointers are passed.
        if unsafe { libc::listen(self.socket.as_raw_fd(), self.backlog) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Listener { socket: self.socket, state: Accepting::Off, multishot: true })
    }
}

fn set_option(fd: RawFd, level: i32, option: i32, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the value is an int that outlives the call.
    let result = unsafe {
        libc::setsockopt(fd, level, option, (&raw const value).cast(), size_of_val(&value) as u32)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn raw_address(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: an address of zeros is a valid value of this plain structure.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let bytes = match address {
        SocketAddr::V4(v4) => {
            // SAFETY: `sockaddr_storage` is large and aligned enough for every family.
            let raw = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in>() };
            raw.sin_family = libc::AF_INET as libc::sa_family_t;
            raw.sin_port = v4.port().to_be();
            raw.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            // SAFETY: as above.
            let raw = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in6>() };
            raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            raw.sin6_port = v6.port().to_be();
            raw.sin6_addr.s6_addr = v6.ip().octets();
            raw.sin6_scope_id = v6.scope_id();
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, bytes as libc::socklen_t)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Accepting {
    Off,
    Armed,
    /// Out of descriptors until then.
    RestingUntil(u64),
}

/// A listening socket on a shard's ring.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    state: Accepting,
    /// The kernel knows multishot accepts.
    multishot: bool,
}

impl Drop for Listener {
    fn drop(&mut self) {
        // An accept on the ring keeps the socket open: this ends it, and the listening.
        // SAFETY: a descriptor this listener owns.
        unsafe { libc::shutdown(self.socket.as_raw_fd(), libc::SHUT_RDWR) };
    }
}

/// Closes what an accept brought after its listener was gone.
pub fn discard(completion: Completion) {
    if completion.result >= 0 {
        // SAFETY: a new descriptor the kernel made for us.
        drop(unsafe { OwnedFd::from_raw_fd(completion.result) });
    }
}

/// What an accept brought.
#[derive(Debug)]
pub enum Accepted {
    Connection {
        socket: OwnedFd,
        peer: IpAddr,
        port: u16,
    },
    /// The peer was gone before it was accepted.
    Nothing,
    /// No descriptor is left; accepting rests a moment.
    OutOfDescriptors {
        errno: i32,
    },
}

impl Listener {
    /// Starts to accept unless it does already or rests.
    ///
    /// `index` names it among the shard's listeners.
    pub fn arm(&mut self, index: u32, ring: &mut Ring, now_ns: u64) {
        match self.state {
            Accepting::Armed => return,
            Accepting::RestingUntil(until) if now_ns < until => return,
            Accepting::Off | Accepting::RestingUntil(_) => {}
        }
        self.state = Accepting::Armed;
        let fd = types::Fd(self.socket.as_raw_fd());
        let entry = if self.multishot {
            opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build()
        } else {
            opcode::Accept::new(fd, std::ptr::null_mut(), std::ptr::null_mut())
                .flags(libc::SOCK_CLOEXEC)
                .build()
        };
        // SAFETY: the entry carries no address.
        unsafe { ring.push(entry.user_data(user_data::of(Kind::Accept, index))) };
    }

    /// When `arm` should be called again, in monotonic nanoseconds.
    pub fn retry_at(&self) -> Option<u64> {
        match self.state {
            Accepting::RestingUntil(until) => Some(until),
            Accepting::Off | Accepting::Armed => None,
        }
    }

    /// Takes a completed accept. The caller arms again afterwards.
    pub fn handle(&mut self, completion: Completion, now_ns: u64) -> Accepted {
        if !completion.has_more() {
            self.state = Accepting::Off;
        }
        if completion.result >= 0 {
            // SAFETY: a new descriptor the kernel made for us.
            let socket = unsafe { OwnedFd::from_raw_fd(completion.result) };
            // Without the option answers would wait for acknowledgements; a socket that refuses is
            // gone.
            let _ = set_option(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
            return match peer_of(&socket) {
                Some((peer, port)) => Accepted::Connection { socket, peer, port },
                None => Accepted::Nothing,
            };
        }
        match -completion.result {
            errno @ (libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                self.state = Accepting::RestingUntil(now_ns + RETRY_NS);
                Accepted::OutOfDescriptors { errno }
            }
            libc::EINVAL if self.multishot => {
                self.multishot = false;
                Accepted::Nothing
            }
            _ => Accepted::Nothing,
        }
    }
}

/// The peer's address and port; `None` when it is gone already.
fn peer_of(socket: &OwnedFd) -> Option<(IpAddr, u16)> {
    // SAFETY: an address of zeros is a valid value of this plain structure.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut bytes = size_of_val(&storage) as libc::socklen_t;
    // SAFETY: the kernel writes at most `bytes` bytes into `storage`.
    let result =
        unsafe { libc::getpeername(socket.as_raw_fd(), (&raw mut storage).cast(), &raw mut bytes) };
    if result < 0 {
        return None;
    }
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says what the storage holds.
            let raw = unsafe { &*(&raw const storage).cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
            Some((IpAddr::V4(address), u16::from_be(raw.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let raw = unsafe { &*(&raw const storage).cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(raw.sin6_addr.s6_addr);
            Some((address.to_canonical(), u16::from_be(raw.sin6_port)))
        }
        _ => None,
    }
}
