//! The load of `tests/durability/load.py` beside a broker that is stopped and started again.

use std::path::PathBuf;
use std::time::Duration;

use super::super::durability;
use super::{Ended, Faults};
use crate::process::Service;
use crate::server::Server;

/// Producers that write down what was acknowledged, and how long restarts took.
pub struct Load {
    pub acks: PathBuf,
    service: Service,
    recoveries: Vec<Duration>,
}

impl Load {
    pub fn start(faults: &Faults<'_, '_>, suite: &str, server: &Server) -> Result<Load, Ended> {
        let folder = faults.run.workspace.scratch().join(suite);
        let acks = folder.join("acks.log");
        let mut command = faults.python("tests/durability/load.py");
        command.args(["produce", "--bootstrap", &server.bootstrap, "--acks"]).arg(&acks);
        let service = Service::start(&mut command, &folder.join("load.log"))
            .map_err(|error| format!("the load did not start: {error}"))?;
        Ok(Load { acks, service, recoveries: Vec::new() })
    }

    /// Waits until one more record was acknowledged.
    pub fn wait_for_acks(&mut self, server: &mut Server) -> Result<(), Ended> {
        Ok(durability::wait_for_acks(&self.acks, &mut self.service, server)?)
    }

    /// Records acknowledged so far.
    pub fn acked(&self) -> usize {
        durability::lines(&self.acks)
    }

    /// Notes how long a start took.
    pub fn recovered(&mut self, server: &Server) {
        self.recoveries.push(server.ready_after);
    }

    /// p50 and max of the starts, as a phrase.
    pub fn recovery(&mut self) -> String {
        self.recoveries.sort();
        match self.recoveries.last() {
            None => "no start".to_string(),
            Some(max) => {
                let p50 = self.recoveries[self.recoveries.len() / 2];
                format!("recovery p50 {p50:.0?}, max {max:.0?}")
            }
        }
    }

    /// Has everything acknowledged and ends.
    pub fn finish(self) -> Result<PathBuf, Ended> {
        let tail = self.service.tail();
        match self.service.stop(libc::SIGTERM, durability::DRAIN) {
            Some(status) if status.success() => Ok(self.acks),
            status => Err(Ended::Failed(format!("the load ended with {status:?}; {tail}"))),
        }
    }
}
