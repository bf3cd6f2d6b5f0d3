//! Parsing: what Kafka accepts, what it refuses, and with which words.

use super::super::registry;
use super::*;

fn topic(name: &str, text: &str) -> Result<String, String> {
    let key = registry::topic_key(name).expect("known");
    key.parse(text).map(|value| value.to_string()).map_err(|error| error.to_string())
}

#[test]
fn every_default_fits_its_own_key() {
    let all = registry::broker_keys().chain(registry::topic_keys()).chain(registry::group_keys());
    let mut count = 0;
    for key in all {
        count += usize::from(key.default_value().is_some());
    }
    assert!(count > 250, "{count}");
}

#[test]
fn spaces_signs_and_case_are_forgiven_as_kafka_does() {
    assert_eq!(topic("retention.ms", " 5 "), Ok("5".into()));
    assert_eq!(topic("retention.ms", "+5"), Ok("5".into()));
    assert_eq!(topic("preallocate", "TRUE"), Ok("true".into()));
    assert_eq!(topic("cleanup.policy", " compact , delete "), Ok("compact,delete".into()));
    assert_eq!(topic("cleanup.policy", ""), Ok("".into()));
}

#[test]
fn a_list_with_an_empty_member_is_refused() {
    assert_eq!(
        topic("cleanup.policy", "delete,"),
        Err("Configuration 'cleanup.policy' values must not be empty.".into())
    );
}

#[test]
fn a_wrong_word_is_named_and_not_the_whole_list() {
    assert_eq!(
        topic("cleanup.policy", "delete,keep"),
        Err("Invalid value keep for configuration cleanup.policy: \
             String must be one of: compact, delete"
            .into())
    );
}

#[test]
fn durations_are_iso_8601() {
    for good in ["PT1H", "P1D", "P2DT3H4M5.5S", "PT0.5S"] {
        assert!(is_duration(good), "{good}");
    }
    for bad in ["", "P", "PT", "1H", "PT1D", "P1H", "PT1M1H", "PT.S", "P1.5D", "PT1"] {
        assert!(!is_duration(bad), "{bad}");
    }
}

#[test]
fn doubles_print_as_java_prints_them() {
    assert_eq!(java_double(0.5), "0.5");
    assert_eq!(java_double(1.0), "1.0");
    assert_eq!(java_double(f64::MAX), "1.7976931348623157E308");
    assert_eq!(java_double(1e7), "1.0E7");
}
