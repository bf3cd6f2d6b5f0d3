//! An administrator who moves partitions between two data folders while everybody works.
//!
//! It asks for a folder at random, the present one included, which ends a move, and looks now and
//! then at where partitions are: each must be in one folder, and in the other at most as a copy to
//! come. That nothing is lost by it the other clients see.

use std::collections::BTreeSet;

use protocol::api::ApiKey;
use protocol::client::Response;
use protocol::error_code::ErrorCode;
use protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use protocol::messages::describe_log_dirs::DescribeLogDirsRequest;

use super::{Client, Cx, decode};
use crate::sim::checkers::{Checkers, Held};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Move,
    Look,
}

/// A mover.
#[derive(Debug)]
pub struct Mover {
    topics: Vec<(String, i32)>,
    asked: Option<Asked>,
    not_before_ns: u64,
    /// Replicas seen as copies to come.
    coming: BTreeSet<(String, String, i32)>,
}

impl Mover {
    /// One that moves partitions of these topics.
    pub fn new(topics: Vec<(String, i32)>) -> Self {
        Self { topics, asked: None, not_before_ns: 0, coming: BTreeSet::new() }
    }

    fn ask_to_move(&mut self, cx: &mut Cx<'_>) {
        let (topic, partitions) = &self.topics[cx.prng.below(self.topics.len() as u64) as usize];
        let partition = cx.prng.below(*partitions as u64) as i32;
        let path = format!("sim-{}", cx.prng.below(2));
        let topic = AlterReplicaLogDirTopic { name: topic.clone(), partitions: vec![partition] };
        let request = AlterReplicaLogDirsRequest {
            dirs: vec![AlterReplicaLogDir { path, topics: vec![topic] }],
        };
        cx.wire.send(cx.now_ns, 2, &request);
        self.asked = Some(Asked::Move);
    }

    fn look(&mut self, cx: &mut Cx<'_>) {
        cx.wire.send(cx.now_ns, 4, &DescribeLogDirsRequest { topics: None });
        self.asked = Some(Asked::Look);
    }

    fn take_look(&mut self, cx: &mut Cx<'_>, response: &Response) -> Held {
        let answer = decode::<DescribeLogDirsRequest>(response)?;
        let mut serving = BTreeSet::new();
        let mut coming = BTreeSet::new();
        let mut offline = false;
        for folder in &answer.results {
            let api = ApiKey::DescribeLogDirs;
            cx.checkers.error_codes.check(cx.facts, api, folder.error_code, &[])?;
            offline |= folder.error_code != 0;
            for topic in &folder.topics {
                for partition in &topic.partitions {
                    let (name, number) = (topic.name.clone(), partition.partition_index);
                    if partition.is_future_key {
                        coming.insert((folder.log_dir.clone(), name, number));
                    } else if !serving.insert((name, number)) {
                        return Err(format!("{}-{number} is in two folders", topic.name));
                    }
                }
            }
        }
        let there =
            |(_, name, number): &&(String, String, i32)| serving.contains(&(name.clone(), *number));
        // What a folder that is offline has is not listed.
        let lost = coming.iter().find(|copy| !offline && !there(copy));
        if let Some((_, name, number)) = lost {
            return Err(format!("{name}-{number} is nowhere but to come"));
        }
        if self.coming.iter().any(|copy| !coming.contains(copy)) {
            cx.checkers.marks.hit("move seen and over");
        }
        self.coming = coming;
        Ok(())
    }
}

impl Client for Mover {
    fn name(&self) -> String {
        "mover".to_owned()
    }

    fn wake(&mut self, cx: &mut Cx<'_>) -> Result<Option<u64>, String> {
        if self.asked.is_some() || cx.facts.calm {
            return Ok(None);
        }
        if cx.now_ns < self.not_before_ns {
            return Ok(Some(self.not_before_ns));
        }
        if cx.prng.one_in(2) {
            self.look(cx)
        } else {
            self.ask_to_move(cx)
        }
        Ok(None)
    }

    fn receive(&mut self, cx: &mut Cx<'_>, response: Response) -> Held {
        let asked = self.asked.take().ok_or("an answer without a request")?;
        self.not_before_ns = cx.think() + cx.prng.below(60) * super::MS_NS;
        if asked == Asked::Look {
            return self.take_look(cx, &response);
        }
        let answer = decode::<AlterReplicaLogDirsRequest>(&response)?;
        let partitions = answer.results.iter().flat_map(|topic| &topic.partitions);
        for partition in partitions {
            // A topic may not be there yet; a stop or a full queue asks for patience.
            let also = [
                ErrorCode::UnknownTopicOrPartition,
                ErrorCode::NotController,
                ErrorCode::RequestTimedOut,
            ];
            let code = partition.error_code;
            let api = ApiKey::AlterReplicaLogDirs;
            cx.checkers.error_codes.check(cx.facts, api, code, &also)?;
        }
        Ok(())
    }

    fn disconnected(&mut self, _: &mut Cx<'_>) {
        self.asked = None;
    }

    fn waits_for(&self, _: &Checkers) -> Option<String> {
        None
    }
}
