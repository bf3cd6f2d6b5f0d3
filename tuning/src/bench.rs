//! The yardstick: a command whose output ends in a number, or in JSON with one.
//!
//! Any command will do; this file knows nothing of what it measures. It runs in a process group of
//! its own, so that one that takes too long ends with everything it started.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

use crate::limits::BENCH_OUTPUT_BYTES_MAX;

/// How often a waiting measurement looks whether it should stop.
const LOOK: Duration = Duration::from_millis(50);

/// Characters of a failed bench's output that are shown, from its end: where it says why.
const END_SHOWN: usize = 300;

/// Names shown when a field is not found.
const NAMES_SHOWN: usize = 12;

/// Why there is no figure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BenchError {
    #[error("the bench cannot be started: {0}")]
    Start(String),
    #[error("the bench ended with {status}; its output ends `{end}`")]
    Status { status: String, end: String },
    #[error("the bench took longer than {0} s and was ended; see --bench-timeout-s")]
    TooLong(u64),
    #[error("the bench's output holds no figure: {0}")]
    Output(String),
    #[error("interrupted")]
    Interrupted,
}

/// A command and what to read from it.
#[derive(Clone, Debug)]
pub struct Bench {
    /// For `sh -c`.
    pub command: String,
    /// Names of the figure in a JSON document, outermost first, with dots between.
    pub field: Option<String>,
    pub timeout: Duration,
}

impl Bench {
    /// Runs it once. `stop` is asked while waiting.
    pub fn run(&self, stop: &mut dyn FnMut() -> bool) -> Result<f64, BenchError> {
        let start = |error: io::Error| BenchError::Start(error.to_string());
        let mut child = Command::new("sh")
            .args(["-c", &self.command])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(start)?;
        let mut output = child.stdout.take().expect("it was asked for");
        let (send, receive) = channel();
        let reader = std::thread::spawn(move || {
            let mut kept = Vec::new();
            // What cannot be read is not there to be judged; the status tells why.
            let _ = output.by_ref().take(BENCH_OUTPUT_BYTES_MAX).read_to_end(&mut kept);
            let _ = io::copy(&mut output, &mut io::sink());
            // Nobody waits any more once the bench was given up.
            let _ = send.send(kept);
        });
        let mut waited = Duration::ZERO;
        let mut kept = None;
        let ended = loop {
            match receive.recv_timeout(LOOK) {
                Ok(all) => kept = Some(all),
                Err(RecvTimeoutError::Timeout) => {}
                // The output is complete and the process has not ended yet.
                Err(RecvTimeoutError::Disconnected) => std::thread::park_timeout(LOOK),
            }
            if kept.is_some()
                && let Some(status) = child.try_wait().map_err(start)?
            {
                break status;
            }
            waited += LOOK;
            if stop() {
                end(&mut child);
                return Err(BenchError::Interrupted);
            }
            if waited >= self.timeout {
                end(&mut child);
                return Err(BenchError::TooLong(self.timeout.as_secs()));
            }
        };
        // It has sent its result: it is at its end.
        let _ = reader.join();
        let kept = kept.unwrap_or_default();
        let output = String::from_utf8_lossy(&kept);
        if !ended.success() {
            let status = ended.to_string();
            return Err(BenchError::Status { status, end: end_of(&output) });
        }
        figure(&output, self.field.as_deref())
    }
}

/// The end of an output in one line.
fn end_of(output: &str) -> String {
    let words: Vec<&str> = output.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().rev().nth(END_SHOWN) {
        Some((at, _)) => format!("…{}", &line[at..]),
        None => line,
    }
}

/// Ends the whole group: the shell's own `kill` reaches what the shell started.
fn end(child: &mut Child) {
    let group = format!("kill -s KILL -- -{}", child.id());
    let ended = Command::new("sh").args(["-c", &group]).stderr(Stdio::null()).status();
    if !ended.is_ok_and(|status| status.success()) {
        // At least the shell itself.
        let _ = child.kill();
    }
    let _ = child.wait();
}

/// The figure at the end of an output.
pub fn figure(output: &str, field: Option<&str>) -> Result<f64, BenchError> {
    let last = output.lines().rev().find(|line| !line.trim().is_empty());
    let last = last.ok_or_else(|| BenchError::Output("it is empty".to_owned()))?;
    let value = serde_json::from_str(last.trim()).ok().or_else(|| document(output));
    let value: Value = value.ok_or_else(|| {
        BenchError::Output(format!("`{last}` is neither a number nor the end of a JSON document"))
    })?;
    let value = match field {
        None => &value,
        Some(field) => find(&value, field)?,
    };
    match value.as_f64() {
        Some(figure) if figure.is_finite() => Ok(figure),
        Some(_) | None if value.is_object() => Err(BenchError::Output(format!(
            "it is a JSON document; name the figure with --field, one of {}",
            names(value)
        ))),
        Some(_) | None => Err(BenchError::Output(format!("`{value}` is no number"))),
    }
}

/// A document over several lines: the last one that begins at a line's start.
fn document(output: &str) -> Option<Value> {
    let starts = output.match_indices(['{', '[']).map(|(at, _)| at);
    let mut starts: Vec<usize> =
        starts.filter(|at| *at == 0 || output.as_bytes()[at - 1] == b'\n').collect();
    starts.reverse();
    starts.into_iter().find_map(|at| serde_json::from_str(&output[at..]).ok())
}

fn find<'a>(document: &'a Value, field: &str) -> Result<&'a Value, BenchError> {
    let mut value = document;
    for name in field.split('.') {
        let inner = match value {
            Value::Array(values) => name.parse::<usize>().ok().and_then(|at| values.get(at)),
            other => other.get(name),
        };
        value = inner.ok_or_else(|| {
            BenchError::Output(format!("no `{name}` of `{field}`; there is {}", names(value)))
        })?;
    }
    Ok(value)
}

fn names(value: &Value) -> String {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let mut names: Vec<&str> =
                fields.keys().take(NAMES_SHOWN).map(String::as_str).collect();
            if fields.len() > NAMES_SHOWN {
                names.push("…");
            }
            names.join(", ")
        }
        Value::Array(values) if !values.is_empty() => format!("0 to {}", values.len() - 1),
        _ => "nothing in it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench(command: &str, timeout_ms: u64) -> Bench {
        let timeout = Duration::from_millis(timeout_ms);
        Bench { command: command.to_owned(), field: None, timeout }
    }

    #[test]
    fn the_figure_is_the_last_line_or_a_field_of_the_document() {
        assert_eq!(figure("warming up\n12.5\n\n", None), Ok(12.5));
        assert_eq!(figure("x\n{\"p99_us\": 7}\n", Some("p99_us")), Ok(7.0));
        let pretty = "hello\n{\n  \"runs\": [\n    {\"p99\": 3}\n  ]\n}\n";
        assert_eq!(figure(pretty, Some("runs.0.p99")), Ok(3.0));
        for (output, field, says) in [
            ("", None, "empty"),
            ("done\n", None, "done"),
            ("{\"p50\": 1}", None, "--field, one of p50"),
            ("{\"p50\": 1}", Some("p99"), "there is p50"),
            ("{\"p50\": \"fast\"}", Some("p50"), "no number"),
        ] {
            let why = figure(output, field).expect_err(output).to_string();
            assert!(why.contains(says), "{why}");
        }
    }

    #[test]
    fn a_command_is_run_and_its_failure_is_told() {
        let run = |command: &str| bench(command, 60_000).run(&mut || false);
        assert_eq!(run("echo noise; echo 42"), Ok(42.0));
        let failed = run("echo warm; echo too slow; exit 3").expect_err("it failed").to_string();
        assert!(failed.contains("status: 3") && failed.contains("warm too slow"), "{failed}");
    }

    #[test]
    fn one_that_takes_too_long_ends_with_what_it_started() {
        let mark = std::env::temp_dir().join(format!("corelane-tune-{}", std::process::id()));
        let command = format!("(sleep 1; touch {}) & sleep 60; echo 1", mark.display());
        assert_eq!(bench(&command, 100).run(&mut || false), Err(BenchError::TooLong(0)));
        let mut asked = 0;
        let stop = &mut || {
            asked += 1;
            asked > 1
        };
        assert_eq!(bench(&command, 60_000).run(stop), Err(BenchError::Interrupted));
        // Longer than what it started would have taken.
        std::thread::park_timeout(Duration::from_millis(1_300));
        assert!(!mark.exists(), "what the bench started went on");
    }
}
