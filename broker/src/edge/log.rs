//! Lines for the operator: standard error, one line each, UTC time and level first.
//!
//! A shard never waits for a slow terminal or a full pipe: lines go by a bounded channel to one
//! thread, and what does not fit is counted and reported as such.
#![expect(clippy::disallowed_methods, reason = "the log carries the wall clock's time")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::shard::event::{LogLevel, LogLine};

/// Lines that may wait for the writing thread; one more is dropped and counted.
const LINES_MAX: usize = 1024;

/// What the writing thread takes.
#[derive(Debug)]
enum Message {
    Line(LogLine),
    /// Answer when everything before it is written.
    Flush(SyncSender<()>),
}

/// Where lines go. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Logger {
    lines: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Logger {
    /// Starts the writing thread, which ends with the last logger.
    pub fn start() -> std::io::Result<Self> {
        let (lines, inbox) = sync_channel::<Message>(LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        std::thread::Builder::new().name("log".into()).spawn(move || {
            for message in inbox {
                match message {
                    Message::Line(line) => print(&line),
                    Message::Flush(done) => drop(done),
                }
                let count = lost.swap(0, Ordering::Relaxed);
                if count > 0 {
                    let text = format!("{count} log lines were dropped: too many at once");
                    print(&LogLine { level: LogLevel::Warn, text });
                }
            }
        })?;
        Ok(Self { lines, dropped })
    }

    /// Waits until every line before it is written. Not for a shard's thread.
    pub fn flush(&self) {
        let (done, written) = sync_channel(0);
        if self.lines.send(Message::Flush(done)).is_ok() {
            // The thread drops its end: that is the answer.
            let _ = written.recv();
        }
    }

    /// Adds a line.
    pub fn line(&self, line: LogLine) {
        if self.lines.try_send(Message::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Adds an informational line.
    pub fn info(&self, text: impl Into<String>) {
        self.line(LogLine { level: LogLevel::Info, text: text.into() });
    }

    /// Adds a warning.
    pub fn warn(&self, text: impl Into<String>) {
        self.line(LogLine { level: LogLevel::Warn, text: text.into() });
    }

    /// Adds an error.
    pub fn error(&self, text: impl Into<String>) {
        self.line(LogLine { level: LogLevel::Error, text: text.into() });
    }
}

/// Prints a line at once, on the calling thread. For a process's last words and before threads
/// exist.
pub fn print(line: &LogLine) {
    let text = format_line(SystemTime::now(), line);
    // Nobody can be told that standard error is gone.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn format_line(time: SystemTime, line: &LogLine) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs(), since.subsec_millis());
    let (year, month, day) = civil_date((seconds / 86_400) as i64);
    let level = match line.level {
        LogLevel::Info => "INFO ",
        LogLevel::Warn => "WARN ",
        LogLevel::Error => "ERROR",
    };
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let mut text = String::with_capacity(line.text.len() + 32);
    let _ = write!(
        text,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z {level} "
    );
    // A line stays one line, whatever a peer put into it.
    text.extend(line.text.chars().map(|c| if c.is_control() { ' ' } else { c }));
    text.push('\n');
    text
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
fn civil_date(days: i64) -> (i64, u32, u32) {
    // Days from 0000-03-01, so that a leap day is the last of its year; 146,097 days are 400 years.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u32, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_starts_with_its_utc_time_and_stays_one_line() {
        let line = LogLine { level: LogLevel::Warn, text: "two\nlines".into() };
        let time = UNIX_EPOCH + Duration::from_millis(1_709_210_096_007);
        assert_eq!(format_line(time, &line), "2024-02-29T12:34:56.007Z WARN  two lines\n");
    }

    #[test]
    fn dates_match_known_days() {
        assert_eq!(civil_date(0), (1970, 1, 1));
        assert_eq!(civil_date(11_016), (2000, 2, 29));
        assert_eq!(civil_date(20_778), (2026, 11, 21));
    }
}
