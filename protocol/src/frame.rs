//! Frames: a four-byte length and that many bytes, one per request and per response.
//!
//! Sans-IO: given the bytes accumulated so far it says what they are. The bound is checked on the
//! length alone, before anybody allocates or waits for the content: eight connections that declare
//! 50 MiB each must cost eight lengths.

use crate::api::{RequestHeader, ResponseHeader};
use crate::limits;
use crate::message::{Message, Request};
use crate::primitive::{EncodeError, EncodeErrorKind};

/// Bytes of the length before a frame's content.
pub const PREFIX_BYTES: usize = 4;

/// What the accumulated bytes begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Not a whole frame. `bytes` is how many there must be in all before asking again makes sense.
    Need { bytes: usize },
    /// A whole frame: its content is `PREFIX_BYTES..end`, the next frame begins at `end`.
    Complete { end: usize },
}

/// A length that ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Above the bound.
    #[error("frame of {length} bytes exceeds {limit}")]
    Oversize { length: usize, limit: usize },
    /// Below zero.
    #[error("frame length {length} is negative")]
    Negative { length: i32 },
}

/// Looks for a frame at the start of `bytes`; `limit` bounds its content.
pub fn split(bytes: &[u8], limit: usize) -> Result<Frame, FrameError> {
    let Some(&prefix) = bytes.first_chunk::<PREFIX_BYTES>() else {
        return Ok(Frame::Need { bytes: PREFIX_BYTES });
    };
    let length = i32::from_be_bytes(prefix);
    let Ok(length) = usize::try_from(length) else {
        return Err(FrameError::Negative { length });
    };
    if length > limit {
        return Err(FrameError::Oversize { length, limit });
    }
    let end = PREFIX_BYTES + length;
    Ok(if bytes.len() < end { Frame::Need { bytes: end } } else { Frame::Complete { end } })
}

/// Appends a whole request: length, header, body. On error `out` is as it was.
pub fn encode_request<R: Request>(
    out: &mut Vec<u8>,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    body: &R,
) -> Result<(), EncodeError> {
    let header = RequestHeader {
        api_key: R::KEY,
        api_version: version,
        correlation_id,
        client_id: client_id.map(str::to_owned),
    };
    out.reserve(PREFIX_BYTES + header.size() + body.size(version));
    with_length(out, |out| {
        header.encode(out)?;
        body.encode(out, version)
    })
}

/// Appends a whole response to a request `R`: length, header, body. On error `out` is as it was.
pub fn encode_response<R: Request>(
    out: &mut Vec<u8>,
    version: i16,
    correlation_id: i32,
    body: &R::Response,
) -> Result<(), EncodeError> {
    out.reserve(PREFIX_BYTES + ResponseHeader::size(R::KEY, version) + body.size(version));
    with_length(out, |out| {
        ResponseHeader { correlation_id }.encode(out, R::KEY, version);
        body.encode(out, version)
    })
}

/// Appends what `content` appends, preceded by its length.
pub fn with_length(
    out: &mut Vec<u8>,
    content: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    let written = content(out).and_then(|()| {
        let length = out.len() - start - PREFIX_BYTES;
        match i32::try_from(length) {
            Ok(prefix) if length <= limits::FRAME_BYTES_MAX => Ok(prefix),
            Ok(_) | Err(_) => {
                Err(EncodeError { field: "frame", kind: EncodeErrorKind::TooLong { length } })
            }
        }
    });
    match written {
        Ok(prefix) => {
            out[start..start + PREFIX_BYTES].copy_from_slice(&prefix.to_be_bytes());
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_known_only_when_whole() {
        let bytes = [0, 0, 0, 3, 7, 8, 9, 0];
        assert_eq!(split(&bytes[..0], 10), Ok(Frame::Need { bytes: 4 }));
        assert_eq!(split(&bytes[..3], 10), Ok(Frame::Need { bytes: 4 }));
        assert_eq!(split(&bytes[..4], 10), Ok(Frame::Need { bytes: 7 }));
        assert_eq!(split(&bytes[..6], 10), Ok(Frame::Need { bytes: 7 }));
        assert_eq!(split(&bytes, 10), Ok(Frame::Complete { end: 7 }));
        assert_eq!(split(&[0; 4], 10), Ok(Frame::Complete { end: 4 }));
    }

    #[test]
    fn the_bound_is_checked_on_the_length_alone() {
        let length = [0, 0, 0, 11];
        assert_eq!(split(&length, 10), Err(FrameError::Oversize { length: 11, limit: 10 }));
        assert_eq!(split(&[0xff; 4], 10), Err(FrameError::Negative { length: -1 }));
    }

    #[test]
    fn a_failed_body_leaves_nothing_behind() {
        let mut out = vec![1];
        let error = EncodeError { field: "x", kind: EncodeErrorKind::TooLong { length: 1 } };
        assert_eq!(with_length(&mut out, |_| Err(error.clone())), Err(error));
        assert_eq!(out, [1]);
    }
}
