//! Resolution: precedence of units and layers, defaults without a file, one-line errors.

use super::*;

fn fixed(pairs: &[(&str, &str)]) -> Configs {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

fn resolve(pairs: &[(&str, &str)]) -> Result<BrokerConfig, ConfigError> {
    BrokerConfig::from_fixed(fixed(pairs)).map(|(config, _)| config)
}

fn error(pairs: &[(&str, &str)]) -> String {
    let text = resolve(pairs).expect_err("refused").to_string();
    assert!(!text.contains('\n'), "one line: {text}");
    text
}

#[test]
fn a_broker_without_a_file_serves_on_loopback() {
    let config = BrokerConfig::default();
    assert_eq!(config.socket.listeners[0].to_string(), "PLAINTEXT://127.0.0.1:9092");
    assert_eq!(config.storage.data_dirs, ["./data"]);
    assert_eq!(config.node_id, 1);
    assert_eq!(config.topic_defaults, TopicConfig::default());
    assert_eq!(config.topic_defaults.retention_ms, 604_800_000);
    assert_eq!(config.topic_defaults.segment_ms, 604_800_000);
    assert_eq!(config.topic_defaults.segment_bytes, 1 << 30);
    assert_eq!(
        config.groups.offsets_topic_replication,
        ReplicationFactor { value: 3, explicit: false }
    );
}

#[test]
fn finer_retention_units_win() {
    let all =
        [("log.retention.hours", "1"), ("log.retention.minutes", "2"), ("log.retention.ms", "3")];
    assert_eq!(resolve(&all).unwrap().topic_defaults.retention_ms, 3);
    assert_eq!(resolve(&all[..2]).unwrap().topic_defaults.retention_ms, 120_000);
    assert_eq!(resolve(&all[..1]).unwrap().topic_defaults.retention_ms, 3_600_000);
    assert_eq!(resolve(&[("log.retention.hours", "-1")]).unwrap().topic_defaults.retention_ms, -1);
    assert!(error(&[("log.retention.ms", "0")]).starts_with("log.retention.ms=0:"));
}

#[test]
fn log_dirs_wins_over_log_dir() {
    let config = resolve(&[("log.dir", "/a"), ("log.dirs", "/b,/c")]).unwrap();
    assert_eq!(config.storage.data_dirs, ["/b", "/c"]);
}

#[test]
fn what_was_altered_wins_over_the_file() {
    let config = resolve(&[("message.max.bytes", "1000")]).unwrap();
    let cluster = fixed(&[("message.max.bytes", "2000"), ("log.retention.ms", "7")]);
    let broker = fixed(&[("message.max.bytes", "3000")]);
    let altered = config.with_altered(&broker, &cluster).unwrap();
    assert_eq!(altered.topic_defaults.max_message_bytes, 3000);
    assert_eq!(altered.topic_defaults.retention_ms, 7);
    assert_eq!(config.with_altered(&Configs::new(), &Configs::new()).unwrap(), config);
}

#[test]
fn reading_again_changes_what_may_change_and_names_the_rest() {
    let before = resolve(&[("message.max.bytes", "1000"), ("log.dirs", "/a")]).unwrap();
    let fresh = fixed(&[("log.retention.ms", "7"), ("log.dirs", "/b")]);
    let (after, reread) = before.reread(&fresh).unwrap();
    assert_eq!(after.topic_defaults.retention_ms, 7);
    let default = BrokerConfig::default().topic_defaults.max_message_bytes;
    assert_eq!(after.topic_defaults.max_message_bytes, default);
    assert_eq!(after.storage.data_dirs, ["/a"]);
    assert_eq!(reread.applied, ["log.retention.ms", "message.max.bytes"]);
    assert_eq!(reread.at_next_start, ["log.dirs"]);
    assert!(before.reread(&fixed(&[("num.partitions", "0")])).is_err());
}

#[test]
fn a_bad_value_is_one_line_with_key_value_and_range() {
    assert_eq!(
        error(&[("num.partitions", "0")]),
        "num.partitions=0: not a value this key takes; give at least 1"
    );
    assert_eq!(
        error(&[("compression.type", "brotli")]),
        "compression.type=brotli: not a value this key takes; \
         give one of uncompressed, zstd, lz4, snappy, gzip, producer"
    );
    assert!(error(&[("listeners", "9092")]).contains("NAME://host:port"));
    assert!(
        error(&[("listeners", "SSL://:9093")]).contains("only listeners of protocol PLAINTEXT")
    );
    assert!(error(&[("listeners", "PLAINTEXT://0.0.0.0:1")]).contains("advertised.listeners"));
    assert!(error(&[("corelane.cores", "3-1")]).contains("corelane.cores=3-1"));
    assert!(error(&[("default.replication.factor", "0")]).contains("give 1 to"));
}

#[test]
fn a_wrong_password_value_is_not_printed() {
    // A password takes any text, so a secret can only leak through another key's error.
    assert!(resolve(&[("ssl.key.password", " secret ")]).is_ok());
}

#[test]
fn controller_listeners_are_left_out() {
    let config = resolve(&[
        ("listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"),
        ("advertised.listeners", "PLAINTEXT://broker.example:1234,CONTROLLER://x:1"),
        ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"),
        ("controller.listener.names", "CONTROLLER"),
    ])
    .unwrap();
    assert_eq!(config.socket.listeners.len(), 1);
    assert_eq!(config.socket.advertised[0].to_string(), "PLAINTEXT://broker.example:1234");
}

#[test]
fn an_address_with_colons_stands_in_brackets() {
    let listener = Listener::parse("PLAINTEXT://[::1]:9092").unwrap();
    assert_eq!((listener.host.as_str(), listener.port), ("::1", 9092));
    assert_eq!(listener.to_string(), "PLAINTEXT://[::1]:9092");
}

#[test]
fn keys_without_effect_are_named_with_the_reason() {
    let (_, warnings) = BrokerConfig::from_fixed(fixed(&[
        ("num.io.threads", "4"),
        ("zookeeper.connect", "z:2181"),
        ("log.message.format.version", "3.0"),
        ("my.plugin.key", "1"),
        ("num.partitions", "3"),
        ("listener.name.plaintext.ssl.keystore.location", "/k"),
    ]))
    .unwrap();
    let lines: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines.contains(&"my.plugin.key has no effect: the key is not known".to_string()));
    assert!(lines.contains(&"zookeeper.connect has no effect: there is no ZooKeeper".to_string()));
}

#[test]
fn several_folders_are_each_named_once_and_are_not_too_many() {
    let dirs = |text: &str| resolve(&[("log.dirs", text)]).map(|config| config.storage.data_dirs);
    assert_eq!(dirs("/a, /b,").unwrap(), ["/a", "/b"]);
    assert!(error(&[("log.dirs", "/a,/b,/a/")]).contains("name each folder once"));
    let many: Vec<String> = (0..16).map(|number| format!("/{number}")).collect();
    assert!(error(&[("log.dirs", &many.join(","))]).contains("name at most 15 folders"));
}

#[test]
fn several_folders_leave_no_choice_of_a_journal_folder() {
    let both = [("log.dirs", "/a,/b"), ("corelane.journal.dir", "/j")];
    assert!(error(&both).contains("each of several log.dirs has its own journal"));
    assert!(resolve(&[("log.dirs", "/a"), ("corelane.journal.dir", "/j")]).is_ok());
}

#[test]
fn flush_messages_of_one_means_persisted() {
    let memory = resolve(&[("corelane.default.durability", "memory")]).unwrap().topic_defaults;
    assert_eq!(memory.durability, Durability::Memory);
    let own =
        |pairs: &[(&str, &str)]| TopicConfig::resolve(&memory, &fixed(pairs)).unwrap().durability;
    assert_eq!(own(&[]), Durability::Memory);
    assert_eq!(own(&[("flush.messages", "1")]), Durability::Persisted);
    assert_eq!(own(&[("flush.messages", "2")]), Durability::Memory);
    assert_eq!(
        own(&[("flush.messages", "1"), ("corelane.durability", "memory")]),
        Durability::Memory
    );
    assert_eq!(own(&[("corelane.durability", "persisted")]), Durability::Persisted);
    let by_broker = resolve(&[("log.flush.interval.messages", "1")]).unwrap().topic_defaults;
    assert_eq!(by_broker.durability, Durability::Persisted);
}

#[test]
fn cores_are_listed_as_numbers_and_ranges() {
    assert_eq!(parse_cores("0,2-5").unwrap(), [0, 2, 3, 4, 5]);
    for wrong in ["", "a", "1-", "5-2", "1,1", "70000", "9000"] {
        assert!(parse_cores(wrong).is_err(), "{wrong}");
    }
}
