//! Memory of answers and fetches, used again.

use super::op::FetchOp;
use super::response::Response;
use crate::limits;

/// Free responses and fetch operations of one shard.
#[derive(Debug, Default)]
pub struct Pool {
    responses: Vec<Response>,
    #[expect(
        clippy::vec_box,
        reason = "the boxes are what is used again: operations move by pointer"
    )]
    fetches: Vec<Box<FetchOp>>,
}

impl Pool {
    /// An empty response.
    pub fn response(&mut self) -> Response {
        self.responses.pop().unwrap_or_default()
    }

    /// Keeps a response's memory, within bounds.
    pub fn give_response(&mut self, mut response: Response) {
        let keep = self.responses.len() < limits::RESPONSE_POOL_COUNT_MAX
            && response.head.capacity() <= limits::RESPONSE_POOL_BYTES_MAX;
        if keep {
            response.clear();
            self.responses.push(response);
        }
    }

    /// An empty fetch.
    pub fn fetch(&mut self) -> Box<FetchOp> {
        self.fetches.pop().unwrap_or_default()
    }

    /// Keeps a fetch's memory, within bounds.
    pub fn give_fetch(&mut self, mut fetch: Box<FetchOp>) {
        if self.fetches.len() < limits::RESPONSE_POOL_COUNT_MAX {
            fetch.clear();
            self.fetches.push(fetch);
        }
    }
}
