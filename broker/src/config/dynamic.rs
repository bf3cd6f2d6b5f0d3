//! What a running broker refuses of values that each key takes: how they relate, and how far they
//! are from what it has.
//!
//! Pure. `controller/alter_configs.rs` asks before anything is stored; a file is held to less, as
//! by Kafka. The texts are Kafka's. Source: Kafka 4.3.1's answers to the differential cases
//! `dynamic_keys`.

use super::layers::Layers;
use super::listener::Listener;
use super::registry;
use super::value::{InvalidValue, Value};

/// Pools of threads: a new size is at most twice and at least half of the present one. None has an
/// effect here; a tool that alters them sees the bounds it knows.
const POOLS: [&str; 5] = [
    "background.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
];

/// Checks what would count against what does; `listeners` are the names of the broker's. `Err` is
/// what is wrong, for the client.
///
/// Values must have been parsed by their keys before; those of one listener are here.
pub fn check(
    before: &Layers<'_>,
    after: &Layers<'_>,
    listeners: &[Listener],
) -> Result<(), String> {
    as_at_start(after)?;
    connections(after, listeners)?;
    pools(before, after)?;
    cleaner_threads(before, after)?;
    for (unit, name) in [("ms", "log.local.retention.ms"), ("bytes", "log.local.retention.bytes")] {
        let local = |layers| Ok::<_, String>((retention(layers, unit)?, number(layers, name)?));
        let (whole, here) = local(after)?;
        if local(before)? != (whole, here) {
            local_retention(name, unit, whole.unwrap_or(-1), here.unwrap_or(-2))?;
        }
    }
    Ok(())
}

/// What Kafka does not start with, either.
fn as_at_start(after: &Layers<'_>) -> Result<(), String> {
    let fails = |why: &str| Err(format!("requirement failed: {why}"));
    if number(after, "log.roll.ms")?.is_some_and(|ms| ms < 1) {
        return fails("log.roll.ms must be greater than or equal to 1");
    }
    if number(after, "log.roll.jitter.ms")?.is_some_and(|ms| ms < 0) {
        return fails("log.roll.jitter.ms must be greater than or equal to 0");
    }
    if retention(after, "ms")? == Some(0) {
        return fails("log.retention.ms must be unlimited (-1) or, greater than or equal to 1");
    }
    let threads = number(after, "log.cleaner.threads")?.unwrap_or(1);
    if threads < 1 {
        // Kafka says "/ by zero".
        return Err("Log cleaner threads should be at least 1".to_owned());
    }
    let map_bytes = number(after, "log.cleaner.dedupe.buffer.size")?.unwrap_or(i64::MAX);
    if map_bytes / threads <= 1 << 20 {
        return fails("log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.");
    }
    let overrides = "max.connections.per.ip.overrides";
    let nobody_else = after.text(overrides).is_none_or(|(text, _)| text.trim().is_empty());
    if number(after, "max.connections.per.ip")? == Some(0) && nobody_else {
        let why = format!("max.connections.per.ip can be set to zero only if {overrides} property");
        return fails(&(why + " is set."));
    }
    Ok(())
}

/// A listener that takes no connection at all could not be told otherwise.
fn connections(after: &Layers<'_>, listeners: &[Listener]) -> Result<(), String> {
    for listener in listeners {
        let prefix = format!("listener.name.{}.", listener.name.to_lowercase());
        for name in ["max.connections", "max.connection.creation.rate"] {
            let key = registry::broker_key(name).expect("it is in the table of the server's");
            let own = after.text(&format!("{prefix}{name}"));
            let Some((text, _)) = own.or_else(|| after.text(name)) else { continue };
            match key.parse(text) {
                Ok(Value::Integer(bound)) if bound <= 0 => {
                    return Err(format!("Invalid {name} {bound}"));
                }
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
    Ok(())
}

fn pools(before: &Layers<'_>, after: &Layers<'_>) -> Result<(), String> {
    for name in POOLS {
        let (Some(has), Some(wants)) = (number(before, name)?, number(after, name)?) else {
            continue;
        };
        let refused = |why: &str| {
            Err(format!("Dynamic thread count update validation failed for {name}={wants}, {why}"))
        };
        if wants < has / 2 {
            return refused(&format!("value should be at least half the current value {has}"));
        }
        if wants > has * 2 {
            let why = format!("value should not be greater than double the current value {has}");
            return refused(&why);
        }
    }
    Ok(())
}

fn cleaner_threads(before: &Layers<'_>, after: &Layers<'_>) -> Result<(), String> {
    let name = "log.cleaner.threads";
    let (has, wants) = (number(before, name)?.unwrap_or(1), number(after, name)?.unwrap_or(1));
    let refused = |how: &str| Err(format!("Log cleaner threads cannot be {how} value {has}"));
    if wants < has / 2 {
        return refused("reduced to less than half the current");
    }
    if wants > has * 2 {
        return refused("increased to more than double the current");
    }
    Ok(())
}

/// What stays here of a tiered log is not more than the whole: -1 is without end, -2 as the whole.
fn local_retention(name: &str, unit: &str, whole: i64, here: i64) -> Result<(), String> {
    if whole < 0 || here == -2 {
        return Ok(());
    }
    let invalid = |why| Err(format!("Invalid value {here} for configuration {name}: {why}"));
    if here == -1 {
        let why = format!("Value must not be -1 as log.retention.{unit} value is set as {whole}.");
        return invalid(why);
    }
    if here > whole {
        let why =
            format!("Value must not be more than log.retention.{unit} property value: {whole}");
        return invalid(why);
    }
    Ok(())
}

/// `log.retention.ms` or `.bytes`; the time in whichever unit it is set.
fn retention(layers: &Layers<'_>, unit: &str) -> Result<Option<i64>, String> {
    if unit == "bytes" {
        return number(layers, "log.retention.bytes");
    }
    for (name, ms) in [
        ("log.retention.ms", 1),
        ("log.retention.minutes", 60_000),
        ("log.retention.hours", 3_600_000),
    ] {
        if let Some(number) = number(layers, name)? {
            return Ok(Some(number.saturating_mul(ms)));
        }
    }
    Ok(None)
}

fn number(layers: &Layers<'_>, name: &str) -> Result<Option<i64>, String> {
    let key = registry::broker_key(name).unwrap_or_else(|| panic!("{name} is in no table"));
    match layers.value(key).map_err(|error: InvalidValue| error.to_string())? {
        Some(Value::Integer(number)) => Ok(Some(number)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::layers::Configs;
    use super::*;

    /// What a broker says to `wanted` that has `has` in its file.
    fn altered(has: &[(&str, &str)], wanted: &[(&str, &str)]) -> Result<(), String> {
        let configs = |pairs: &[(&str, &str)]| -> Configs {
            pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
        };
        let (fixed, wanted, none) = (configs(has), configs(wanted), Configs::new());
        let before = Layers { broker: &none, cluster: &none, fixed: &fixed };
        let listeners = crate::config::BrokerConfig::default().socket.listeners;
        check(&before, &Layers { cluster: &wanted, ..before }, &listeners)
    }

    #[test]
    fn nobody_may_connect_only_where_overrides_let_somebody_in() {
        let nobody = ("max.connections.per.ip", "0");
        assert!(altered(&[], &[nobody]).is_err());
        let somebody = ("max.connections.per.ip.overrides", "127.0.0.1:5");
        assert_eq!(altered(&[], &[nobody, somebody]), Ok(()));
        assert_eq!(altered(&[somebody], &[nobody]), Ok(()));
        let not_him = ("max.connections.per.ip.overrides", "192.0.2.1:0");
        assert_eq!(altered(&[], &[not_him]), Ok(()));
    }

    #[test]
    fn a_listener_without_connections_is_refused_by_whichever_name() {
        let bound = |name, value| altered(&[], &[(name, value)]).is_ok();
        assert!(!bound("max.connections", "0"));
        assert!(!bound("listener.name.plaintext.max.connections", "0"));
        assert!(!bound("listener.name.plaintext.max.connections", "x"));
        // There is no such listener.
        assert!(bound("listener.name.other.max.connections", "0"));
        assert!(bound("listener.name.plaintext.max.connections", "1"));
    }

    #[test]
    fn a_pool_at_most_doubles_and_at_least_halves() {
        let threads =
            |has, wants| altered(&[("num.io.threads", has)], &[("num.io.threads", wants)]).is_ok();
        assert!(threads("5", "10") && threads("5", "2") && threads("5", "5"));
        assert!(!threads("5", "11") && !threads("5", "1"));
    }

    #[test]
    fn what_stays_here_is_not_more_than_the_whole_in_any_unit() {
        let hour = [("log.retention.hours", "1")];
        let local = |ms| altered(&hour, &[("log.local.retention.ms", ms)]).is_ok();
        assert!(local("3600000") && local("-2"));
        assert!(!local("3600001") && !local("-1"));
        let for_ever = [("log.retention.ms", "-1")];
        assert_eq!(altered(&for_ever, &[("log.local.retention.ms", "-1")]), Ok(()));
    }

    #[test]
    fn a_file_that_says_more_does_not_stop_other_keys() {
        let file = [("log.retention.ms", "5"), ("log.local.retention.ms", "6")];
        assert_eq!(altered(&file, &[("max.connections", "9")]), Ok(()));
        assert!(altered(&file, &[("log.retention.ms", "4")]).is_err());
    }
}
