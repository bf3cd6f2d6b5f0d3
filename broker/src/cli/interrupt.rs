//! Ctrl-C, SIGTERM and SIGHUP for commands that have something to finish: leave a group, flush
//! records.
//!
//! Commands that do not use it are ended by the signal itself. Nothing runs in a signal handler:
//! the
//! signals are blocked and asked for wherever the client waits.

use std::time::Duration;

use crate::edge::signals;

use super::error::{CliError, Result};

/// Whether to stop, asked for between and inside waits.
#[derive(Debug)]
pub struct Interrupt {
    arrived: bool,
}

impl Interrupt {
    /// Takes the signals over. Called before any other thread starts, which then inherits it.
    pub fn install() -> Result<Self> {
        signals::block().map_err(|error| {
            CliError::failed(format!("cannot take over signals: {error}; try again"))
        })?;
        Ok(Self { arrived: false })
    }

    /// Whether a signal has arrived since the start.
    pub fn arrived(&mut self) -> bool {
        self.arrived = self.arrived || signals::wait(Some(Duration::ZERO)).is_some();
        self.arrived
    }
}
