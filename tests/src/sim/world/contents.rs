//! What a node serves of its logs, read to their ends by a client of its own: what came up from two
//! copies of a disk is compared by it, batch by batch.

use std::collections::BTreeMap;

use broker::shard::event::ConnId;
use broker::shard::topics::topic_uuid;
use broker::time::Now;
use protocol::api::{ApiKey, ResponseHeader};
use protocol::frame::{PREFIX_BYTES, encode_request};
use protocol::message::Message;
use protocol::messages::FetchResponse;
use protocol::primitive::Reader;
use storage::segment::format::{BatchScanner, CrcCheck};
use storage::types::PartitionId;

use super::node::{Heard, Inbound, Node};
use crate::sim::clients::fetching;

/// A connection that nobody else has: the world counts from 0.
const CONN: ConnId = ConnId(u64::MAX);

/// What a reader of one log is given.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Contents {
    /// By their first offsets, byte for byte.
    pub batches: BTreeMap<i64, Vec<u8>>,
    /// What it was answered where it could not go on; 0 at the log's end.
    pub error_code: i16,
}

impl Node {
    /// Reads these logs from the offsets given, as far as they are served.
    pub fn contents(
        &mut self,
        now: Now,
        logs: &BTreeMap<PartitionId, i64>,
        heard: &mut Heard,
    ) -> Result<BTreeMap<PartitionId, Contents>, String> {
        self.inbox[0].push_back(Inbound::Connected(CONN));
        let mut all = BTreeMap::new();
        for (id, start) in logs {
            let (mut contents, mut next) = (Contents::default(), *start);
            loop {
                let (code, bytes) = self.fetch(now, *id, next, heard)?;
                contents.error_code = code;
                let scanner = BatchScanner::new(&bytes, 0, CrcCheck::Verify);
                let before = next;
                for batch in scanner {
                    let batch = batch.map_err(|error| format!("{id}: served {error:?}"))?;
                    next = batch.meta.next_offset();
                    contents.batches.insert(batch.meta.base_offset, batch.bytes.to_vec());
                }
                if code != 0 || next == before {
                    break;
                }
            }
            all.insert(*id, contents);
        }
        Ok(all)
    }

    /// One answer: its code and its records.
    fn fetch(
        &mut self,
        now: Now,
        id: PartitionId,
        from: i64,
        heard: &mut Heard,
    ) -> Result<(i16, Vec<u8>), String> {
        let request = fetching::fetch_from(topic_uuid(id), id.partition, from, false);
        let mut frame = Vec::new();
        encode_request(&mut frame, fetching::VERSION, 1, Some("contents"), &request)
            .map_err(|error| format!("{error:?}"))?;
        self.inbox[0].push_back(Inbound::Frame(CONN, frame[PREFIX_BYTES..].to_vec()));
        heard.answers.clear();
        self.run_until_idle(now, heard)?;
        let answer = heard.answers.pop().ok_or_else(|| format!("{id}: a fetch has no answer"))?;
        let mut reader = Reader::new(&answer[PREFIX_BYTES..]);
        ResponseHeader::decode(&mut reader, ApiKey::Fetch, fetching::VERSION)
            .map_err(|error| format!("{error:?}"))?;
        let response = FetchResponse::decode(&mut reader, fetching::VERSION)
            .map_err(|error| format!("{error:?}"))?;
        let part = response.responses.into_iter().flat_map(|topic| topic.partitions).next();
        let Some(part) = part else { return Ok((response.error_code, Vec::new())) };
        Ok((part.error_code, part.records.map(|bytes| bytes.to_vec()).unwrap_or_default()))
    }
}
