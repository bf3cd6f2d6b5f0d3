//! Prints an outcome: a page for people or the JSON for programs.

use std::io::Write;

use crate::args::Format;
use crate::error::BenchError;
use crate::outcome::{Latency, Outcome};

/// Prints a result.
pub fn print(outcome: &Outcome, format: Format, out: &mut dyn Write) -> Result<(), BenchError> {
    match format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, outcome)
                .map_err(|error| BenchError::Output(error.into()))?;
            writeln!(out)?;
        }
        Format::Table => page(outcome, out)?,
    }
    Ok(())
}

fn page(outcome: &Outcome, out: &mut dyn Write) -> std::io::Result<()> {
    let settings = &outcome.settings;
    let load = &outcome.load;
    write!(
        out,
        "{} ({}), {} connections, {} partitions",
        settings.mode, settings.discipline, settings.connections, settings.partitions,
    )?;
    if settings.records_per_request > 0 {
        write!(
            out,
            ", {} × {} B per request, acks {}, {}",
            settings.records_per_request, settings.record_bytes, settings.acks, settings.codec,
        )?;
    }
    writeln!(out)?;
    writeln!(out, "{}", outcome.host.line())?;
    writeln!(out)?;
    let asked = settings.rate.map(|rate| format!(" of {rate:.0} asked for")).unwrap_or_default();
    writeln!(out, "requests    {:>12.0}/s{asked}", load.requests_per_second)?;
    writeln!(out, "data        {:>12.2} MB/s", load.megabytes_per_second)?;
    writeln!(out)?;
    writeln!(
        out,
        "µs          {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "p50", "p90", "p99", "p99.9", "p99.99", "max"
    )?;
    row("latency", &outcome.latency, out)?;
    if outcome.client.lateness.count > 0 {
        row("lateness", &outcome.client.lateness, out)?;
    }
    if let Some(acknowledged) = &outcome.acknowledged {
        row("acked", acknowledged, out)?;
    }
    if outcome.client.written.count > 0 {
        row("written", &outcome.client.written, out)?;
    }
    writeln!(out)?;
    if let Some(server) = &outcome.server {
        let value =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
        writeln!(
            out,
            "broker      {:.2} cores; {} CPU-s per GB, {} CPU-s per million requests; {:.0} MiB \
             resident; {:.1} MB to disk; {} + {} switches",
            server.busy,
            value(server.cpu_seconds_per_gigabyte),
            value(server.cpu_seconds_per_million_requests),
            server.resident_bytes as f64 / f64::from(1 << 20),
            server.disk_written_bytes as f64 / 1e6,
            server.switches_voluntary,
            server.switches_involuntary,
        )?;
    }
    let spins = if settings.wait == "spin" { " (it spins)" } else { "" };
    writeln!(
        out,
        "client      {:.2} of {} cores{spins}",
        outcome.client.busy * outcome.client.cores as f64,
        outcome.client.cores
    )?;
    if let Some(busy) = outcome.neighbours.busy {
        writeln!(out, "others      {busy:.2} cores, {:.2} stolen", outcome.neighbours.stolen)?;
    }
    for doubt in &outcome.doubts {
        writeln!(out, "DOUBT       {doubt}")?;
    }
    Ok(())
}

fn row(name: &str, values: &Latency, out: &mut dyn Write) -> std::io::Result<()> {
    write!(out, "{name:<11} ")?;
    for ns in [
        values.p50_ns,
        values.p90_ns,
        values.p99_ns,
        values.p99_9_ns,
        values.p99_99_ns,
        values.max_ns,
    ] {
        write!(out, "{:>10.1} ", ns as f64 / 1000.0)?;
    }
    writeln!(out)
}
