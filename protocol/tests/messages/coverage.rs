//! `docs/protocol.md`, generated from the rows. `UPDATE_GOLDEN=1` rewrites it; a stale one is red.

use std::fmt::Write as _;
use std::path::PathBuf;

use protocol::ApiKey;

fn page() -> String {
    let mut page = String::from(
        "# The APIs this wire speaks\n\n\
         Generated from the message rows of `protocol/src/messages` by\n\
         `UPDATE_GOLDEN=1 cargo test -p protocol --test messages`; do not edit.\n\n\
         The versions the `protocol` crate decodes and encodes, requests and responses alike:\n\
         those that Apache Kafka 4.3.1 accepts. What a broker advertises is its own list.\n\n\
         | key | API | versions | flexible from |\n|---:|---|---|---|\n",
    );
    let mut absent = Vec::new();
    for key in ApiKey::ALL {
        let Some(schema) = key.schema() else {
            absent.push(format!("{key} ({})", key.code()));
            continue;
        };
        let flexible = schema.flexible.intersect(schema.versions);
        let flexible =
            if flexible.is_empty() { "never".to_owned() } else { flexible.min.to_string() };
        writeln!(page, "| {} | {key} | {} | {flexible} |", key.code(), schema.versions)
            .expect("writing to a string");
    }
    page.push_str(
        "\nKeys without messages here, because only Kafka's own brokers and controllers use them \
         between\neach other, or because Kafka 4 removed them:\n\n",
    );
    for name in &absent {
        writeln!(page, "- {name}").expect("writing to a string");
    }
    page
}

#[test]
fn the_coverage_table_is_fresh() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    let page = page();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("docs folder");
        std::fs::write(&path, &page).expect("docs/protocol.md is writable");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "docs/protocol.md is stale: run with UPDATE_GOLDEN=1");
}
