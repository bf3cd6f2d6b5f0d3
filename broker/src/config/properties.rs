//! `server.properties` and `--override`: texts to a map of keys.
//!
//! Java's own format, read by the crate `java-properties`; the edge reads the file. A key given
//! twice
//! counts as it stands last, as in Java.

use std::io::Cursor;

use super::error::ConfigError;
use super::layers::Configs;

/// Reads a properties file's content. `origin` names the file in an error. The encoding is Java's
/// for
/// properties, ISO 8859-1: other characters are written `\uXXXX`.
pub fn parse_properties(origin: &str, content: &[u8]) -> Result<Configs, ConfigError> {
    let mut configs = Configs::new();
    for line in java_properties::PropertiesIter::new(Cursor::new(content)) {
        let line = line.map_err(|error| ConfigError::Syntax {
            origin: origin.into(),
            text: error.to_string(),
        })?;
        if let java_properties::LineContent::KVPair(key, value) = line.consume_content() {
            // Java keeps what follows a value; Kafka trims it when it parses the value.
            configs.insert(key, value);
        }
    }
    Ok(configs)
}

/// Adds one `--override key=value`.
pub fn apply_override(configs: &mut Configs, text: &str) -> Result<(), ConfigError> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            configs.insert(key.trim().to_string(), value.to_string());
            Ok(())
        }
        _ => Err(ConfigError::Syntax { origin: "--override".into(), text: text.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_as_java_reads_it() {
        let content = b"# comment\n! another\nnode.id = 4\nlog.dirs:/a,\\\n  /b\n\
            listeners PLAINTEXT://:1\nnum.partitions=1\nnum.partitions=2\nempty=\n";
        let configs = parse_properties("f", content).expect("a good file");
        let got: Vec<_> = configs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            got,
            [
                ("empty", ""),
                ("listeners", "PLAINTEXT://:1"),
                ("log.dirs", "/a,/b"),
                ("node.id", "4"),
                ("num.partitions", "2"),
            ]
        );
    }

    #[test]
    fn an_override_needs_a_key_and_an_equals_sign() {
        let mut configs = Configs::new();
        apply_override(&mut configs, "a=b=c").expect("a value may hold an equals sign");
        assert_eq!(configs.get("a").map(String::as_str), Some("b=c"));
        assert!(apply_override(&mut configs, "a").is_err());
        assert!(apply_override(&mut configs, "=1").is_err());
    }
}
