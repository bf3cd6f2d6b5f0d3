//! One connection of the load on a glommio executor: connect, write, read, cut frames.
//!
//! Two tasks use it, one that writes and one that reads; both are on one core, so a cell is enough.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use futures_lite::io::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use protocol::Request;
use protocol::client::{Connect, Connection};
use protocol::frame::{self, Frame};

use crate::admin::CLIENT_ID;
use crate::error::BenchError;
use crate::limits;

/// A connected socket that a reading and a writing task share.
#[derive(Clone)]
pub struct Wire(Rc<RefCell<TcpStream>>);

impl Wire {
    /// Connects and agrees on versions, as every client does.
    pub async fn connect(address: SocketAddr) -> Result<(Self, Connection), BenchError> {
        let failed = |error: &dyn std::fmt::Display| BenchError::at(address, error.to_string());
        let stream = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        let wire = Self(Rc::new(RefCell::new(stream)));
        let mut out = Vec::new();
        let connection = Connection::new(Some(CLIENT_ID.to_owned()));
        let mut connect =
            Connect::start(connection, None, &mut out).map_err(|error| failed(&error))?;
        let mut buffer = vec![0; 16 * 1024];
        loop {
            wire.write_all(&out).await.map_err(|error| failed(&error))?;
            out.clear();
            let count = wire.read(&mut buffer).await.map_err(|error| failed(&error))?;
            if count == 0 {
                return Err(failed(&"the broker closed the connection"));
            }
            let ready = connect.handle_bytes(&buffer[..count], &mut out);
            if ready.map_err(|error| failed(&error))? {
                return Ok((wire, connect.finish().expect("the sequence is over")));
            }
        }
    }

    /// Asks and waits for the answer; for what comes before the load.
    pub async fn call<R: Request>(
        &self,
        connection: &mut Connection,
        request: &R,
        address: SocketAddr,
    ) -> Result<R::Response, BenchError> {
        let failed = |error: &dyn std::fmt::Display| BenchError::at(address, error.to_string());
        let mut out = Vec::new();
        connection.send(request, &mut out).map_err(|error| failed(&error))?;
        self.write_all(&out).await.map_err(|error| failed(&error))?;
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let polled = connection.poll_response();
            if let Some(response) = polled.map_err(|error| failed(&error))? {
                return response.decode::<R>().map_err(|error| failed(&error));
            }
            match self.read(&mut buffer).await.map_err(|error| failed(&error))? {
                0 => return Err(failed(&"the broker closed the connection")),
                count => connection.handle_bytes(&buffer[..count]),
            }
        }
    }

    /// Writes all of it; waits while the peer does not read.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = poll_fn(|cx| {
                let mut stream = self.0.borrow_mut();
                Pin::new(&mut *stream).poll_write(cx, bytes)
            })
            .await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Reads what there is, waits for something; 0 at the end.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| {
            let mut stream = self.0.borrow_mut();
            Pin::new(&mut *stream).poll_read(cx, buffer)
        })
        .await
    }

    /// Says that nothing more will be written: the peer closes, and the task that reads sees it.
    pub async fn shutdown(&self) {
        // Only a connection that broke refuses, and that one has ended already.
        let _ = poll_fn(|cx| {
            let mut stream = self.0.borrow_mut();
            Pin::new(&mut *stream).poll_close(cx)
        })
        .await;
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

/// Bytes as they arrive, and the whole frames in them.
#[derive(Debug)]
pub struct Inbox {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    /// Nothing has arrived.
    pub fn empty() -> Self {
        Self { buffer: vec![0; limits::RECEIVE_BUFFER_BYTES], start: 0, end: 0 }
    }

    /// Reads once. False when the peer has closed.
    pub async fn fill(&mut self, wire: &Wire) -> io::Result<bool> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            let grown = (self.buffer.len() * 2).min(limits::RESPONSE_BYTES_MAX + 4);
            self.buffer.resize(grown, 0);
        }
        let count = wire.read(&mut self.buffer[self.end..]).await?;
        self.end += count;
        Ok(count > 0)
    }

    /// The next whole frame with its length, as a place in [`Inbox::bytes`].
    pub fn next_frame(&mut self) -> io::Result<Option<std::ops::Range<usize>>> {
        let rest = &self.buffer[self.start..self.end];
        match frame::split(rest, limits::RESPONSE_BYTES_MAX).map_err(io::Error::other)? {
            Frame::Need { bytes: _ } => Ok(None),
            Frame::Complete { end } => {
                let at = self.start;
                self.start += end;
                Ok(Some(at..at + end))
            }
        }
    }

    /// The bytes of a frame that was found since the last fill.
    pub fn bytes(&self, place: std::ops::Range<usize>) -> &[u8] {
        &self.buffer[place]
    }
}

/// The correlation id of a whole response frame; `None` if it is too short to have one.
pub fn correlation_id(frame: &[u8]) -> Option<i32> {
    frame.get(4..)?.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes))
}
