//! `corelane top`: what a broker's cores do and where its requests' time goes, live.
//!
//! Reads the admin endpoint's ledger twice and shows the difference, so that the figures are those
//! of the last interval. On a terminal it redraws; elsewhere each picture follows the last. The
//! arithmetic is in `view.rs`.

mod view;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;

use super::admin::AdminUrl;
use super::clock;
use super::error::{CliError, Outcome, Result};
use super::interrupt::Interrupt;
use super::options::milliseconds;
use super::output::{Format, FormatOption, print_report};
use crate::edge::ledger_page::LedgerPage;

/// Upper left corner, and everything below it erased.
const REDRAW: &str = "\x1b[H\x1b[J";
/// A screen of its own, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// A wait is cut into these, so that Ctrl-C is heard soon.
const NAP: Duration = Duration::from_millis(50);

/// `corelane top`.
#[derive(Debug, Args)]
pub struct Top {
    /// The broker's admin endpoint
    #[arg(
        long,
        env = "CORELANE_ADMIN_URL",
        default_value = "http://127.0.0.1:9644",
        value_name = "URL"
    )]
    admin_url: AdminUrl,
    /// How long one picture counts
    #[arg(long, default_value_t = 1_000, value_name = "MS", value_parser = milliseconds)]
    interval_ms: u32,
    /// Print one picture and end
    #[arg(long)]
    once: bool,
    /// Count from the broker's start and not from the last picture
    #[arg(long)]
    since_start: bool,
    /// How many of the slowest requests to show
    #[arg(long, default_value_t = 8, value_name = "COUNT")]
    slowest: usize,
    /// How long the broker may take to answer
    #[arg(long, default_value_t = 5_000, value_name = "MS", value_parser = milliseconds)]
    timeout_ms: u32,
    #[command(flatten)]
    format: FormatOption,
}

impl Top {
    /// Shows pictures until it is interrupted, or one.
    pub fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let mut interrupt = Interrupt::install()?;
        let mut before = match self.since_start {
            true => None,
            false => Some(self.read()?),
        };
        let live =
            !self.once && self.format.format == Format::Table && std::io::stdout().is_terminal();
        if live {
            write!(out, "{ENTER}")?;
        }
        let shown = self.show(out, &mut interrupt, &mut before, live);
        if live {
            write!(out, "{LEAVE}")?;
            out.flush()?;
        }
        shown
    }

    fn show(
        &self,
        out: &mut dyn Write,
        interrupt: &mut Interrupt,
        before: &mut Option<LedgerPage>,
        live: bool,
    ) -> Result<Outcome> {
        loop {
            if before.is_some() && !self.rest(interrupt) {
                return self.interrupted();
            }
            let page = self.read()?;
            let report = view::report(before.as_ref(), &page, self.slowest);
            if live {
                write!(out, "{REDRAW}")?;
            }
            print_report(out, self.format.format, &report)?;
            if self.once {
                return Ok(Outcome::Done);
            }
            if !live && self.format.format == Format::Table {
                writeln!(out)?;
            }
            out.flush()?;
            if self.since_start {
                if !self.rest(interrupt) {
                    return self.interrupted();
                }
            } else {
                *before = Some(page);
            }
        }
    }

    fn interrupted(&self) -> Result<Outcome> {
        // Ctrl-C is how a live view ends; of `--once` it leaves nothing.
        if self.once { Err(CliError::Interrupted) } else { Ok(Outcome::Done) }
    }

    /// `false` when a signal came.
    fn rest(&self, interrupt: &mut Interrupt) -> bool {
        let until = clock::now() + Duration::from_millis(self.interval_ms.into());
        loop {
            if interrupt.arrived() {
                return false;
            }
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return true;
            }
            clock::sleep(left.min(NAP));
        }
    }

    fn read(&self) -> Result<LedgerPage> {
        self.admin_url.ledger(Duration::from_millis(self.timeout_ms.into()))
    }
}
