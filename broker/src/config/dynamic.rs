//! What a running broker refuses of values that each key takes: how they relate, and how far they
//! are from what it has.
//!
//! Pure. `controller/alter_configs.rs` asks before anything is stored; a file is held to less, as
//! by Kafka. The texts are Kafka's. Source: Kafka 4.3.1's answers to the differential cases
//! `dynamic_keys`.

use super::layers::Layers;
use super::listener::Listener;
use super::registry;
use super::start;
use super::value::Value;

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
    start::check(after).map_err(|unfit| unfit.to_client())?;
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
    let found = start::retention_ms(layers).map_err(|unfit| unfit.to_client())?;
    Ok(found.map(|(_, ms)| ms))
}

fn number(layers: &Layers<'_>, name: &str) -> Result<Option<i64>, String> {
    start::number(layers, name).map_err(|unfit| unfit.to_client())
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
