//! What clients pushed about themselves (KIP-714), in Prometheus' text format.
//!
//! A client's `org.apache.kafka.producer.record.send.total` becomes
//! `corelane_client_producer_record_send_total`, labelled with the client. Kinds are left open:
//! clients of two versions may call one name a gauge and a sum. Runs on the admin thread.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::handle::Process;
use crate::telemetry::metrics::{InstanceMetrics, push_escaped};

/// Appends every client's metrics.
pub fn expose(process: &Process, text: &mut String) {
    let shards: Vec<Vec<Arc<InstanceMetrics>>> =
        process.shards.iter().map(|shard| shard.client_metrics()).collect();
    let clients = || {
        let each = shards.iter().enumerate();
        each.flat_map(|(shard, clients)| clients.iter().map(move |client| (shard, client)))
    };
    if clients().next().is_none() {
        return;
    }
    let help = "The client instances whose metrics follow.";
    let _ = writeln!(text, "# HELP corelane_client_info {help}\n# TYPE corelane_client_info gauge");
    for (shard, client) in clients() {
        let labels = labels(shard, client);
        let (name, version) = (&client.software_name, &client.software_version);
        let _ = writeln!(
            text,
            "corelane_client_info{{{labels},software=\"{name}\",version=\"{version}\"}} 1"
        );
    }
    // All series of a name stand together, whoever pushed them.
    let mut names: BTreeMap<&str, Vec<(usize, &str, f64)>> = BTreeMap::new();
    let own: Vec<String> = clients().map(|(shard, client)| labels(shard, client)).collect();
    for (index, (_, client)) in clients().enumerate() {
        for (name, labels, value) in client.series() {
            // `info` is ours.
            if name != "info" {
                names.entry(name).or_default().push((index, labels, value));
            }
        }
    }
    for (name, series) in names {
        let _ = writeln!(text, "# TYPE corelane_client_{name} untyped");
        for (index, labels, value) in series {
            let own = &own[index];
            let comma = if labels.is_empty() { "" } else { "," };
            let _ = write!(text, "corelane_client_{name}{{{own}{comma}{labels}}} ");
            let _ = match value {
                f64::INFINITY => writeln!(text, "+Inf"),
                f64::NEG_INFINITY => writeln!(text, "-Inf"),
                value => writeln!(text, "{value}"),
            };
        }
    }
}

fn labels(shard: usize, client: &InstanceMetrics) -> String {
    let mut labels = format!("shard=\"{shard}\",client_instance_id=\"{}\"", client.instance);
    labels.push_str(",client_id=\"");
    push_escaped(&mut labels, &client.client_id);
    labels.push('"');
    labels
}
