//! `docs/configuration.md` and `corelane config list`: the registry for people.
//!
//! Pure text. A test compares the committed page with this; `UPDATE_GOLDEN=1` refreshes it.

use super::key::{Key, Update};
use super::registry;

/// The whole page.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Generated from the registry in `broker/src/config`; a test fails when it is stale\n\
         (`UPDATE_GOLDEN=1` refreshes it).\n\n\
         `corelane start --config FILE` takes a `server.properties` of Kafka 4.3, and\n\
         `--override key=value` counts more than the file. A key that changes nothing here is\n\
         accepted and named once at start, with the reason that stands below under *no effect*.\n\
         A value that its key does not take, or that Kafka does not start with beside the\n\
         others, ends the start with one line and exit code 2.\n\n\
         Defaults are Kafka 4.3.1's, except where a broker must start without a file:\n\
         `listeners` (127.0.0.1 only), `log.dir` (`./data`), `node.id`, `process.roles`,\n\
         `controller.listener.names`. *Changes* says when a broker takes another value: `start`\n\
         (at the next start), `broker` (while running, per broker), `cluster` (while running,\n\
         per broker or for all at once).\n",
    );
    section(&mut page, "Broker keys", registry::sorted(registry::broker_keys()), true);
    section(&mut page, "Topic keys", registry::sorted(registry::topic_keys()), false);
    section(&mut page, "Group keys", registry::sorted(registry::group_keys()), false);
    page
}

fn section(page: &mut String, title: &str, keys: Vec<&'static Key>, of_broker: bool) {
    let last = if of_broker { "changes" } else { "broker key behind it" };
    page.push_str(&format!("\n## {title}\n\n| key | default | takes | {last} | what it does |\n"));
    page.push_str("|---|---|---|---|---|\n");
    for key in keys {
        let default = match key.default {
            None => "–".to_string(),
            Some("") => "(empty)".to_string(),
            Some(text) => format!("`{text}`"),
        };
        let last = if of_broker {
            changes(key).to_string()
        } else {
            let names: Vec<_> = key.synonyms.iter().map(|(name, _)| format!("`{name}`")).collect();
            names.join(", ")
        };
        let what = match key.ignored {
            None => key.doc.to_string(),
            Some(reason) => format!("{} *No effect: {reason}.*", key.doc),
        };
        page.push_str(&format!(
            "| `{}` | {default} | {} | {last} | {what} |\n",
            key.name,
            key.range()
        ));
    }
}

/// How a running broker takes another value.
pub fn changes(key: &Key) -> &'static str {
    match key.update {
        Update::ReadOnly => "start",
        Update::PerBroker => "broker",
        Update::ClusterWide => "cluster",
    }
}

#[cfg(test)]
mod tests {
    //! The page is committed; this test is what keeps it fresh.

    use std::path::Path;

    #[test]
    fn the_committed_page_is_the_registry() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        let page = super::markdown();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &page).expect("docs/ is writable");
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == page, "docs/configuration.md is stale: run with UPDATE_GOLDEN=1");
    }
}
