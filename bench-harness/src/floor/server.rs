//! The floor's server: one thread, one ring, plain receives and sends, nothing a broker adds.
//!
//! Not a broker and no event loop to build one on: it knows only the load's own requests (module
//! `answers`). A connection has one receive and one send under way; answers that come meanwhile go
//! out together with the next send.
#![expect(unsafe_code, reason = "entries of the ring carry addresses of this module's buffers")]

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use io_uring::{IoUring, opcode, squeue, types};

use super::answers::{self, Answers, Template};
use super::log::Log;
use crate::limits;

const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;
const WRITE: u64 = 3;
/// User data: what it was in the low bits, which connection above.
const KIND_BITS: u32 = 2;

const LENGTH_BYTES: usize = 4;
const RING_ENTRIES: u32 = 4096;

struct Connection {
    socket: OwnedFd,
    received: Vec<u8>,
    filled: usize,
    /// Waits to be sent.
    out: Vec<u8>,
    /// Being sent, from `sent` on.
    sending: Vec<u8>,
    sent: usize,
    is_receiving: bool,
    is_sending: bool,
    is_closing: bool,
    /// A request waits for room in the log; nothing is received meanwhile.
    is_held: bool,
    template: Option<Template>,
    /// Requests whose write is not over.
    unwritten: u32,
}

struct Server {
    ring: IoUring,
    /// Descriptor that takes connections.
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    answers: Answers,
    log: Option<Log>,
    held: Vec<u32>,
}

/// Serves forever; returns only what made that impossible. `folder` is where durable appends go;
/// without one nothing is stored.
pub fn serve(listener: TcpListener, folder: Option<&Path>) -> io::Result<()> {
    let address: SocketAddr = listener.local_addr()?;
    let log = folder.map(Log::create).transpose()?;
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_submit_all()
        .build(RING_ENTRIES)?;
    let (answers, connections) = (Answers::new(address), Vec::new());
    let mut server = Server { ring, listener, connections, answers, log, held: Vec::new() };
    server.accept()?;
    let mut completions = Vec::new();
    loop {
        server.write()?;
        match server.ring.submit_and_wait(1) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        completions
            .extend(server.ring.completion().map(|entry| (entry.user_data(), entry.result())));
        for (user_data, result) in completions.drain(..) {
            let index = (user_data >> KIND_BITS) as u32;
            match user_data & ((1 << KIND_BITS) - 1) {
                ACCEPT => server.accepted(result)?,
                RECEIVE => server.received(index, result)?,
                SEND => server.sent(index, result)?,
                _ => server.written(result)?,
            }
        }
    }
}

impl Server {
    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: what an entry points to belongs to a connection or the log of this server,
            // and neither moves nor goes before its completion: see `close_if_quiet` and `Log`.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.ring.submit()?;
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let listener = types::Fd(self.listener.as_raw_fd());
        let entry = opcode::Accept::new(listener, std::ptr::null_mut(), std::ptr::null_mut());
        self.push(&entry.build().user_data(ACCEPT))
    }

    fn accepted(&mut self, result: i32) -> io::Result<()> {
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        // SAFETY: the kernel just made this descriptor for us; nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(result) };
        let one: libc::c_int = 1;
        // SAFETY: reads an int that lives through the call. That it fails costs only delay.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_NODELAY,
                (&raw const one).cast(),
                size_of_val(&one) as libc::socklen_t,
            );
        }
        let connection = Connection {
            socket,
            received: vec![0; limits::RECEIVE_BUFFER_BYTES],
            filled: 0,
            out: Vec::new(),
            sending: Vec::new(),
            sent: 0,
            is_receiving: false,
            is_sending: false,
            is_closing: false,
            is_held: false,
            template: None,
            unwritten: 0,
        };
        let free = self.connections.iter().position(Option::is_none);
        let index = free.unwrap_or(self.connections.len());
        match free {
            Some(index) => self.connections[index] = Some(connection),
            None => self.connections.push(Some(connection)),
        }
        self.receive(index as u32)?;
        self.accept()
    }

    fn connection(&mut self, index: u32) -> &mut Connection {
        self.connections[index as usize].as_mut().expect("it has not been quiet yet")
    }

    fn receive(&mut self, index: u32) -> io::Result<()> {
        let connection = self.connection(index);
        let room = &mut connection.received[connection.filled..];
        let socket = types::Fd(connection.socket.as_raw_fd());
        let entry = opcode::Recv::new(socket, room.as_mut_ptr(), room.len() as u32).build();
        connection.is_receiving = true;
        self.push(&entry.user_data(u64::from(index) << KIND_BITS | RECEIVE))
    }

    fn received(&mut self, index: u32, result: i32) -> io::Result<()> {
        let connection = self.connection(index);
        connection.is_receiving = false;
        match usize::try_from(result) {
            Ok(count) if count > 0 => connection.filled += count,
            Ok(_) | Err(_) => connection.is_closing = true,
        }
        self.handle(index)
    }

    /// Takes the whole frames that a connection has, then lets it go on.
    fn handle(&mut self, index: u32) -> io::Result<()> {
        let mut at = 0;
        loop {
            let connection = self.connections[index as usize].as_mut().expect("it is open");
            if connection.is_closing {
                break;
            }
            let rest = &connection.received[at..connection.filled];
            let Some(length) = rest.first_chunk::<LENGTH_BYTES>() else { break };
            let length = u32::from_be_bytes(*length) as usize;
            if length > limits::BATCH_BYTES_MAX {
                connection.is_closing = true;
                break;
            }
            let Some(frame) = rest.get(LENGTH_BYTES..LENGTH_BYTES + length) else {
                let whole = LENGTH_BYTES + length;
                connection.received.copy_within(at..connection.filled, 0);
                connection.filled -= at;
                at = 0;
                if connection.received.len() < whole {
                    connection.received.resize(whole, 0);
                }
                break;
            };
            let to = (&mut connection.out, &mut connection.template);
            match take(frame, index, to, &mut self.answers, self.log.as_mut()) {
                Taken::Answered => at += LENGTH_BYTES + length,
                Taken::Logged => {
                    at += LENGTH_BYTES + length;
                    connection.unwritten += 1;
                }
                Taken::Held => {
                    connection.is_held = true;
                    self.held.push(index);
                    break;
                }
                Taken::Refused => connection.is_closing = true,
            }
        }
        let connection = self.connection(index);
        if at > 0 {
            connection.received.copy_within(at..connection.filled, 0);
            connection.filled -= at;
        }
        self.send(index)?;
        let connection = self.connection(index);
        if connection.is_closing {
            self.close_if_quiet(index);
            return Ok(());
        }
        match connection.is_held || connection.is_receiving {
            true => Ok(()),
            false => self.receive(index),
        }
    }

    fn send(&mut self, index: u32) -> io::Result<()> {
        let connection = self.connection(index);
        if connection.is_sending {
            return Ok(());
        }
        if connection.sent == connection.sending.len() {
            connection.sending.clear();
            connection.sent = 0;
            std::mem::swap(&mut connection.sending, &mut connection.out);
        }
        if connection.sending.is_empty() {
            return Ok(());
        }
        let rest = &connection.sending[connection.sent..];
        let socket = types::Fd(connection.socket.as_raw_fd());
        let entry = opcode::Send::new(socket, rest.as_ptr(), rest.len() as u32).build();
        connection.is_sending = true;
        self.push(&entry.user_data(u64::from(index) << KIND_BITS | SEND))
    }

    fn sent(&mut self, index: u32, result: i32) -> io::Result<()> {
        let connection = self.connection(index);
        connection.is_sending = false;
        match usize::try_from(result) {
            Ok(count) => connection.sent += count,
            Err(_) => {
                connection.is_closing = true;
                connection.out.clear();
                connection.sent = connection.sending.len();
            }
        }
        self.send(index)?;
        self.close_if_quiet(index);
        Ok(())
    }

    /// Frees a closing connection once the kernel and the log have nothing of it.
    fn close_if_quiet(&mut self, index: u32) {
        let connection = self.connection(index);
        let quiet = !connection.is_receiving && !connection.is_sending && connection.unwritten == 0;
        if connection.is_closing && quiet && !connection.is_held {
            self.connections[index as usize] = None;
        }
    }

    /// Starts the next write of the log.
    fn write(&mut self) -> io::Result<()> {
        let Some(log) = &mut self.log else { return Ok(()) };
        let Some(write) = log.poll_write() else { return Ok(()) };
        let file = types::Fd(log.descriptor());
        let entry = opcode::Write::new(file, write.address, write.length)
            .offset(write.offset)
            .rw_flags(libc::RWF_DSYNC)
            .build();
        self.push(&entry.user_data(WRITE))
    }

    fn written(&mut self, result: i32) -> io::Result<()> {
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        let log = self.log.as_mut().expect("only a log is written");
        let mut touched = Vec::new();
        for (index, correlation_id) in log.written() {
            let connection = self.connections[index as usize].as_mut().expect("it waits for this");
            connection.unwritten -= 1;
            if let Some(template) = &connection.template {
                template.put(correlation_id, &mut connection.out);
            }
            if touched.last() != Some(&index) {
                touched.push(index);
            }
        }
        for index in touched {
            if self.connections[index as usize].is_some() {
                self.send(index)?;
                self.close_if_quiet(index);
            }
        }
        for index in std::mem::take(&mut self.held) {
            self.connection(index).is_held = false;
            self.handle(index)?;
        }
        Ok(())
    }
}

/// What became of a frame.
enum Taken {
    Answered,
    /// Its answer follows the write.
    Logged,
    /// No room in the log.
    Held,
    Refused,
}

fn take(
    frame: &[u8],
    index: u32,
    (out, template): (&mut Vec<u8>, &mut Option<Template>),
    answers: &mut Answers,
    log: Option<&mut Log>,
) -> Taken {
    let Some(version) = answers::produce_version_of(frame) else {
        return answers.answer(frame, out).map_or(Taken::Refused, |()| Taken::Answered);
    };
    let Some(correlation_id) = answers::correlation_of(frame) else { return Taken::Refused };
    if !template.as_ref().is_some_and(|template| template.is_of(version)) {
        match Template::new(answers, frame) {
            Ok(made) => *template = Some(made),
            Err(answers::NotServed) => return Taken::Refused,
        }
    }
    match (log, template) {
        (Some(log), _) if frame.len() > log.room_max() => Taken::Refused,
        (Some(log), _) => match log.append(frame, (index, correlation_id)) {
            true => Taken::Logged,
            false => Taken::Held,
        },
        (None, Some(template)) => {
            template.put(correlation_id, out);
            Taken::Answered
        }
        (None, None) => Taken::Refused,
    }
}
