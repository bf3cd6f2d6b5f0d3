//! Why a measurement did not come to a result. Each is one line that says what to do.

use std::io;

/// A measurement that gave no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The options do not fit together; exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The broker could not be reached or does not speak the protocol.
    #[error("{server}: {what}")]
    Broker {
        /// As given, or as the cluster names it.
        server: String,
        /// What went wrong there.
        what: String,
    },
    /// A connection of the load broke.
    #[error("a connection broke under load: {0}; look at the broker's log")]
    Connection(String),
    /// The output could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// The machine refused something.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// How it failed.
        error: io::Error,
    },
}

impl BenchError {
    /// [`BenchError::Broker`].
    pub fn at(server: impl ToString, what: impl ToString) -> Self {
        Self::Broker { server: server.to_string(), what: what.to_string() }
    }

    /// [`BenchError::System`].
    pub fn system(what: impl ToString, error: io::Error) -> Self {
        Self::System { what: what.to_string(), error }
    }
}
