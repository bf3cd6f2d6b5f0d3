//! How a command ends: done, partly done, or an error that is one line and says what to do.
//!
//! Every module of the command line returns these; `commands.rs` prints them and turns them into
//! the
//! exit code. A broker's error codes become text here and nowhere else.

use std::fmt;
use std::io;
use std::process::ExitCode;

use protocol::ErrorCode;

/// What a command returns.
pub type Result<T> = std::result::Result<T, CliError>;

/// A command that went through to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it.
    Done,
    /// Something of it failed, or what was checked is not well; the details are printed already.
    Partial,
}

impl Outcome {
    /// `Partial` if anything failed.
    pub fn of(failures_count: usize) -> Self {
        if failures_count == 0 { Self::Done } else { Self::Partial }
    }
}

/// A command that did not go through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CliError {
    /// The options do not fit together; exit code 2.
    #[error("{0}")]
    Usage(String),
    /// It could not be done; exit code 1.
    #[error("{0}")]
    Failed(String),
    /// Who read our output has gone (`corelane consume | head`): no error, the work is over.
    #[error("the reader of the output has gone")]
    OutputClosed,
    /// SIGINT or SIGTERM arrived while waiting.
    #[error("interrupted")]
    Interrupted,
}

impl CliError {
    /// [`CliError::Failed`] from anything printable.
    pub fn failed(what: impl fmt::Display) -> Self {
        Self::Failed(what.to_string())
    }

    /// [`CliError::Usage`] from anything printable.
    pub fn usage(what: impl fmt::Display) -> Self {
        Self::Usage(what.to_string())
    }
}

/// Errors of writing to standard output.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Failed(format!("cannot write the output: {error}; check where it goes")),
        }
    }
}

/// Exit code of a finished command; prints the error line to standard error.
pub fn exit_code(result: Result<Outcome>) -> ExitCode {
    match result {
        Ok(Outcome::Done) | Err(CliError::OutputClosed) => ExitCode::SUCCESS,
        Ok(Outcome::Partial) => ExitCode::FAILURE,
        Err(CliError::Usage(what)) => {
            complain(&what);
            ExitCode::from(2)
        }
        Err(CliError::Failed(what)) => {
            complain(&what);
            ExitCode::FAILURE
        }
        Err(CliError::Interrupted) => {
            complain("interrupted");
            ExitCode::FAILURE
        }
    }
}

/// One line on standard error. That nobody can read it is no reason to fail.
pub fn complain(what: &str) {
    use io::Write;
    let line: String = what.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let _ = writeln!(io::stderr().lock(), "corelane: {line}");
}

/// A broker's refusal in words: name of the code, the broker's message or ours, what to do.
pub fn refusal(code: i16, message: Option<&str>) -> String {
    let Some(error) = ErrorCode::from_i16(code) else {
        return format!("the broker answers error {code}, which Kafka 4.3 does not know");
    };
    let said = match message {
        Some(message) if !message.is_empty() => message.trim_end_matches('.'),
        _ => error.message(),
    };
    match hint(error) {
        Some(hint) => format!("{error}: {said}; {hint}"),
        None => format!("{error}: {said}"),
    }
}

/// What to do about the codes a user of the command line meets.
fn hint(error: ErrorCode) -> Option<&'static str> {
    Some(match error {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => {
            "`corelane topic list` shows what there is"
        }
        ErrorCode::TopicAlreadyExists => "choose another name or use --if-not-exists",
        ErrorCode::InvalidTopicException => {
            "use at most 249 letters, digits, dots, dashes and underscores"
        }
        ErrorCode::InvalidReplicationFactor => "ask for at most as many replicas as brokers",
        ErrorCode::NonEmptyGroup | ErrorCode::RebalanceInProgress => {
            "stop the group's members first"
        }
        ErrorCode::GroupIdNotFound => "`corelane group list` shows what there is",
        ErrorCode::MessageTooLarge => "lower --batch-bytes or raise the topic's max.message.bytes",
        ErrorCode::InvalidConfig => "`corelane config list --topic-keys` shows keys and ranges",
        ErrorCode::OffsetOutOfRange => "`corelane topic describe` shows the offsets there are",
        ErrorCode::KafkaStorageError => "look at the broker's log for the disk's error",
        ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => {
            "`corelane cluster health` shows which brokers are missing"
        }
        ErrorCode::RequestTimedOut => "try again, or give it more time with --timeout-ms",
        ErrorCode::TopicAuthorizationFailed
        | ErrorCode::GroupAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed => "ask for the permission",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_code_and_says_what_to_do() {
        assert_eq!(
            refusal(3, None),
            "UNKNOWN_TOPIC_OR_PARTITION: this broker has no such topic or partition; \
             `corelane topic list` shows what there is"
        );
        assert_eq!(
            refusal(36, Some("Topic 'a' already exists.")),
            "TOPIC_ALREADY_EXISTS: Topic 'a' already exists; choose another name or use \
             --if-not-exists"
        );
        assert!(refusal(999, None).contains("999"));
    }

    #[test]
    fn a_closed_pipe_is_not_a_failure() {
        let error = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(error, CliError::OutputClosed);
        assert_eq!(exit_code(Err(error)), ExitCode::SUCCESS);
    }
}
