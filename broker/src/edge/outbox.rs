//! The responses a connection still has to send, and the one send under way.
//!
//! Responses go out in order; as many as fit are joined into one vectored send, so that a
//! pipelining client costs one operation for many answers. The memory a send points to stays in the
//! queue until the kernel has taken its last byte; then the response goes back to the shard.
#![expect(unsafe_code, reason = "message headers carry addresses of queued responses")]

use std::collections::VecDeque;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use crate::shard::response::Response;

/// Pieces of one vectored send.
const PIECES_MAX: usize = 64;

/// Bytes of one send: enough to be cheap per byte, small enough that a slow reader's progress is
/// seen. An ordinary fetch's answer goes in one: in halves it cost half as much again per byte.
const SEND_BYTES_MAX: usize = 1024 * 1024;

/// From so many bytes on a send takes longer to copy than to hand over: those of one turn are
/// bounded.
const BULK_BYTES_MIN: usize = 64 * 1024;

/// Message headers kept for sends to come.
const SPARE_MAX: usize = 1024;

/// The kernel's view of one vectored send. Boxed, because it must not move while the send is under
/// way.
pub struct SendMessage {
    header: libc::msghdr,
    pieces: [libc::iovec; PIECES_MAX],
}

impl std::fmt::Debug for SendMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendMessage").finish_non_exhaustive()
    }
}

/// Message headers to use again.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "a message keeps its address when it is taken and given back")]
pub struct SpareMessages(Vec<Box<SendMessage>>);

impl SpareMessages {
    fn take(&mut self) -> Box<SendMessage> {
        self.0.pop().unwrap_or_else(|| {
            let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
            // SAFETY: a message header of zeros is a valid one: null pointers and zero lengths.
            let header = unsafe { std::mem::zeroed() };
            Box::new(SendMessage { header, pieces: [empty; PIECES_MAX] })
        })
    }

    fn give_back(&mut self, message: Box<SendMessage>) {
        if self.0.len() < SPARE_MAX {
            self.0.push(message);
        }
    }
}

/// What a completed send leaves to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// So many bytes of the queue are gone.
    Bytes(u64),
    /// The peer is gone.
    Failed,
}

/// One connection's responses on their way out.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Response>,
    /// Bytes of the first response already sent.
    first_sent: usize,
    sending: bool,
    message: Option<Box<SendMessage>>,
}

impl Outbox {
    /// Adds a response behind all others.
    pub fn push(&mut self, response: Response) {
        self.queue.push_back(response);
    }

    /// Whether nothing is queued or under way.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.sending
    }

    /// Whether a send is under way.
    pub fn is_sending(&self) -> bool {
        self.sending
    }

    /// The next response that is out whole, after `handle_sent` or when it has no bytes at all.
    pub fn pop_sent(&mut self) -> Option<Response> {
        if self.sending {
            return None;
        }
        let first = self.queue.front()?;
        let bytes = first.len();
        if self.first_sent < bytes {
            return None;
        }
        self.first_sent -= bytes;
        self.queue.pop_front()
    }

    /// Drops what is queued; only without a send under way.
    pub fn clear(&mut self) {
        assert!(!self.sending, "memory of a send under way stays");
        self.queue.clear();
        self.first_sent = 0;
    }

    /// Bytes of the next send if others should not wait for too many such, else 0.
    pub fn bulk_bytes(&self) -> usize {
        if self.sending {
            return 0;
        }
        let queued = self.queue.iter().map(Response::len);
        let mut bytes = 0;
        for response in queued.take(PIECES_MAX) {
            bytes += response;
            if bytes - self.first_sent.min(bytes) >= SEND_BYTES_MAX {
                break;
            }
        }
        let bytes = bytes.saturating_sub(self.first_sent).min(SEND_BYTES_MAX);
        if bytes < BULK_BYTES_MIN { 0 } else { bytes }
    }

    /// The next send, if there is something to send and none is under way. The entry must be
    /// pushed.
    pub fn next_send(&mut self, fd: RawFd, spare: &mut SpareMessages) -> Option<squeue::Entry> {
        if self.sending {
            return None;
        }
        let mut message = spare.take();
        let (mut count, mut bytes, mut skip) = (0, 0, self.first_sent);
        'pieces: for response in &self.queue {
            for piece in response.chunks() {
                if skip >= piece.len() {
                    skip -= piece.len();
                    continue;
                }
                let piece = &piece[skip..];
                skip = 0;
                let taken = piece.len().min(SEND_BYTES_MAX - bytes);
                message.pieces[count] =
                    libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: taken };
                count += 1;
                bytes += taken;
                if count == PIECES_MAX || bytes == SEND_BYTES_MAX {
                    break 'pieces;
                }
            }
        }
        if count == 0 {
            spare.give_back(message);
            return None;
        }
        self.sending = true;
        let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let entry = if count == 1 {
            let only = message.pieces[0];
            spare.give_back(message);
            opcode::Send::new(types::Fd(fd), only.iov_base.cast_const().cast(), only.iov_len as u32)
                .flags(flags)
                .build()
        } else {
            let message = self.message.insert(message);
            message.header.msg_iov = message.pieces.as_mut_ptr();
            message.header.msg_iovlen = count as _;
            opcode::SendMsg::new(types::Fd(fd), &raw const message.header)
                .flags(flags as u32)
                .build()
        };
        Some(entry)
    }

    /// Takes the completion of the send under way.
    pub fn handle_sent(&mut self, result: i32, spare: &mut SpareMessages) -> Sent {
        assert!(self.sending, "only a send under way completes");
        self.sending = false;
        if let Some(message) = self.message.take() {
            spare.give_back(message);
        }
        match u64::try_from(result) {
            Ok(bytes) => {
                self.first_sent += bytes as usize;
                Sent::Bytes(bytes)
            }
            Err(_) if matches!(-result, libc::EINTR | libc::EAGAIN) => Sent::Bytes(0),
            Err(_) => Sent::Failed,
        }
    }
}
