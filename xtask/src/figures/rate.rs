//! The highest rate at which a broker keeps its tail: lone records of 256 B, open loop.
//!
//! The search doubles the rate while the broker holds it, then halves the gap on a logarithmic
//! scale. A rate is held if one of two runs holds it: a machine that stands still for a moment is
//! not the broker's fault, one that does so always is.

use super::both::Both;
use super::rows::{Bound, Metric, Row};
use super::table::{Line, line, number, rounded};
use crate::server::Server;

const LOAD: [&str; 3] = ["produce", "--record-bytes", "256"];
const FIRST_RATE: f64 = 1_000.0;
/// Below it a broker is said to hold nothing.
const LEAST_RATE: f64 = 125.0;
/// The load's core cannot send more.
const MOST_RATE: f64 = 256_000.0;
/// Three halvings of a factor of two: known to 9 %.
const HALVINGS: u32 = 3;
const TRIES: u32 = 2;
/// p99.9 that has to be kept, in milliseconds.
const CORELANE_MS: f64 = 1.0;
const KAFKA_MS: f64 = 25.0;

pub const NAME: &str = "rate-held";
pub const WHAT: &str = "256 B lone records, open loop: p99.9 ≤ 1 ms, of Kafka ≤ 25 ms";

/// What both hold, and the ratio.
pub fn lines(both: &Both<'_>) -> Result<Vec<Line>, String> {
    println!("{NAME}: {WHAT}");
    let held = |who: &str, server: &Server, limit_ms: f64| {
        highest(|rate| holds(both, who, server, rate, limit_ms))
    };
    let ours = held("corelane", &both.corelane, CORELANE_MS)?;
    let like_kafka = held("corelane", &both.corelane, KAFKA_MS)?;
    let theirs = held("kafka", &both.kafka, KAFKA_MS)?;
    let row = Row { name: NAME, what: WHAT, ..Row::EMPTY };
    let metric = |label, bound| Metric { label, at: &[], scale: 1.0, bound };
    Ok(vec![
        line(&row, &metric("requests/s", Bound::AtLeast(10.0)), ours, theirs),
        line(&row, &metric("requests/s, both ≤ 25 ms", Bound::None), like_kafka, theirs),
    ])
}

fn holds(
    both: &Both<'_>,
    who: &str,
    server: &Server,
    rate: f64,
    limit_ms: f64,
) -> Result<bool, String> {
    let (asked, seconds) = (format!("{rate:.0}"), both.ground.seconds());
    for _ in 0..TRIES {
        let more = ["--rate", &asked, "--duration", &seconds, "--warm-up", "1s"];
        let result = both.ground.load(server, &LOAD, &more)?;
        let value = |at: &[&str]| number(&result, at);
        let tail_ms = value(&["latency", "p99_9_ns"]).map(|ns| ns / 1e6);
        let lost = value(&["load", "missed"]).unwrap_or(1.0)
            + value(&["load", "unanswered"]).unwrap_or(1.0);
        let sent = value(&["load", "requests_per_second"]).unwrap_or(0.0);
        let late_ms = value(&["client", "lateness", "p99_9_ns"]).map(|ns| ns / 1e6);
        let (tail, late) = (rounded(tail_ms), rounded(late_ms));
        println!("  {who:<8} {asked}/s: p99.9 {tail} ms, of it the client's at most {late}");
        if lost == 0.0 && sent >= 0.99 * rate && tail_ms.is_some_and(|ms| ms <= limit_ms) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The highest rate that is held; `None` when not even the least is.
fn highest(mut holds: impl FnMut(f64) -> Result<bool, String>) -> Result<Option<f64>, String> {
    let mut good = FIRST_RATE;
    while !holds(good)? {
        good /= 2.0;
        if good < LEAST_RATE {
            return Ok(None);
        }
    }
    let mut bad = good * 2.0;
    // What failed on the way down is known.
    if good >= FIRST_RATE {
        while bad <= MOST_RATE && holds(bad)? {
            (good, bad) = (bad, bad * 2.0);
        }
        if bad > MOST_RATE {
            return Ok(Some(good));
        }
    }
    for _ in 0..HALVINGS {
        let middle = (good * bad).sqrt();
        if holds(middle)? { good = middle } else { bad = middle }
    }
    Ok(Some(good))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_finds_the_limit_to_a_tenth_in_few_runs() {
        for limit in [130.0, 900.0, 1_100.0, 3_000.0, 40_000.0, 250_000.0] {
            let mut runs = 0;
            let found = highest(|rate| {
                runs += 1;
                Ok(rate <= limit)
            });
            let found = found.expect("no run fails").expect("the least rate is held");
            assert!(found <= limit && found >= limit / 1.1, "{found} of {limit}");
            assert!(runs <= 12, "{runs} runs for {limit}");
        }
    }

    #[test]
    fn a_broker_that_holds_nothing_has_no_rate_and_one_that_holds_all_has_the_most() {
        assert_eq!(highest(|_| Ok(false)), Ok(None));
        assert_eq!(highest(|_| Ok(true)), Ok(Some(MOST_RATE)));
        assert!(highest(|_| Err("no broker".to_owned())).is_err());
    }
}
