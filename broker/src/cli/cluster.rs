//! `corelane cluster`: who is in it, what it speaks, and whether it is well.

use std::io::Write;
use std::time::Duration;

use clap::{Args, Subcommand};
use protocol::messages::{DescribeClusterRequest, MetadataRequest};
use protocol::{ApiKey, ErrorCode};

use super::admin::AdminUrl;
use super::client::{ANY_VERSION, Client, Target};
use super::clock;
use super::error::{CliError, Outcome, Result, refusal};
use super::limits::CORE_STUCK_NS;
use super::options::Connect;
use super::output::{Cell, FormatOption, Report, Table, print_report};
use crate::edge::ledger_page::LedgerPage;

/// Round trips measured per broker.
const ROUND_TRIPS: usize = 10;

/// What to ask of the cluster.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Show the cluster's id, brokers, features and APIs
    Info(Info),
    /// Check that brokers answer and partitions have leaders; exit code 1 if not
    Health(Health),
}

/// `cluster info`.
#[derive(Debug, Args)]
pub struct Info {
    /// Show the versions of every API
    #[arg(long)]
    apis: bool,
    #[command(flatten)]
    format: FormatOption,
    #[command(flatten)]
    connect: Connect,
}

/// `cluster health`.
#[derive(Debug, Args)]
pub struct Health {
    /// Also ask a broker's admin endpoint whether its cores turn and its disk works
    #[arg(long, env = "CORELANE_ADMIN_URL", value_name = "URL")]
    admin_url: Option<AdminUrl>,
    #[command(flatten)]
    format: FormatOption,
    #[command(flatten)]
    connect: Connect,
}

impl ClusterCommand {
    /// Does it.
    pub fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        match self {
            Self::Info(info) => info.run(out),
            Self::Health(health) => health.run(out),
        }
    }
}

impl Info {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let mut client = Client::new(self.connect.clone());
        let cluster = client.call(Target::Any, &DescribeClusterRequest::default())?;
        if cluster.error_code != ErrorCode::None.code() {
            let why = refusal(cluster.error_code, cluster.error_message.as_deref());
            return Err(CliError::failed(format!("cluster: {why}")));
        }
        let mut brokers = Table::new(&["broker", "host", "port", "rack", "controller"]);
        for broker in &cluster.brokers {
            brokers.push(vec![
                broker.broker_id.into(),
                broker.host.as_str().into(),
                broker.port.into(),
                broker.rack.clone().into(),
                (broker.broker_id == cluster.controller_id).into(),
            ]);
        }
        let peer = client.peer(Target::Any)?;
        let response = peer.response();
        let mut features = Table::new(&["feature", "finalized", "supported_min", "supported_max"]);
        for feature in &response.supported_features {
            features.push(vec![
                feature.name.as_str().into(),
                peer.finalized_level(&feature.name).map(i32::from).into(),
                i32::from(feature.min_version).into(),
                i32::from(feature.max_version).into(),
            ]);
        }
        let mut apis = Table::new(&["api", "key", "min", "max", "used"]);
        for api in response.api_keys.iter().filter(|_| self.apis) {
            let known = ApiKey::from_i16(api.api_key);
            apis.push(vec![
                known.map(|key| key.to_string()).into(),
                i32::from(api.api_key).into(),
                i32::from(api.min_version).into(),
                i32::from(api.max_version).into(),
                known.and_then(|key| peer.choose(key).ok()).map(i32::from).into(),
            ]);
        }
        let mut report = Report::new();
        report.field("cluster_id", cluster.cluster_id);
        report.field("controller", (cluster.controller_id >= 0).then_some(cluster.controller_id));
        report.field("brokers_count", cluster.brokers.len());
        report.field("apis_count", response.api_keys.len());
        report.table("brokers", brokers);
        report.table("features", features);
        report.table("apis", apis);
        print_report(out, self.format.format, &report)?;
        Ok(Outcome::Done)
    }
}

impl Health {
    fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let mut client = Client::new(self.connect.clone());
        let metadata = client.metadata(None, false)?;
        let mut problems = Table::new(&["topic", "partition", "problem"]);
        let mut partitions = 0_usize;
        for topic in &metadata.topics {
            let name = topic.name.as_deref().unwrap_or("-");
            if topic.error_code != ErrorCode::None.code() {
                let why = refusal(topic.error_code, None);
                problems.push(vec![name.into(), Cell::Absent, why.into()]);
            }
            partitions += topic.partitions.len();
            for partition in &topic.partitions {
                let problem = if partition.leader_id < 0 {
                    "no leader: no record can be written or read".to_owned()
                } else if partition.isr_nodes.len() < partition.replica_nodes.len() {
                    let (isr, all) = (partition.isr_nodes.len(), partition.replica_nodes.len());
                    format!("under-replicated: {isr} of {all} replicas are in sync")
                } else {
                    continue;
                };
                problems.push(vec![name.into(), partition.partition_index.into(), problem.into()]);
            }
        }
        let mut brokers = Table::new(&[
            "broker",
            "address",
            "answers",
            "round_trip_p50_ms",
            "round_trip_max_ms",
            "error",
        ]);
        let mut silent = 0_usize;
        for (node, server) in client.nodes().clone() {
            let mut row = vec![Cell::from(node), server.to_string().into()];
            match round_trips(&mut client, node) {
                Ok(mut times) => {
                    times.sort_unstable();
                    let ms = |time: Duration| Cell::Decimal(time.as_secs_f64() * 1000.0);
                    let last = times[times.len() - 1];
                    row.extend([true.into(), ms(times[times.len() / 2]), ms(last), Cell::Absent]);
                }
                Err(why) => {
                    silent += 1;
                    row.extend([false.into(), Cell::Absent, Cell::Absent, why.to_string().into()]);
                }
            }
            brokers.push(row);
        }
        let has_controller = metadata.controller_id >= 0;
        let mut cores = Table::new(&["core", "problem"]);
        if let Some(admin) = &self.admin_url {
            match admin.ledger(self.connect.connect_timeout()) {
                Ok(page) => check_cores(&page, &mut cores),
                Err(why) => cores.push(vec![Cell::Absent, why.to_string().into()]),
            }
        }
        let healthy = problems.is_empty() && cores.is_empty() && silent == 0 && has_controller;
        let mut report = Report::new();
        report.field("healthy", healthy);
        report.field("cluster_id", metadata.cluster_id);
        report.field("controller", has_controller.then_some(metadata.controller_id));
        report.field("topics_count", metadata.topics.len());
        report.field("partitions_count", partitions);
        report.table("brokers", brokers);
        report.table("problems", problems);
        report.table("core_problems", cores);
        print_report(out, self.format.format, &report)?;
        Ok(if healthy { Outcome::Done } else { Outcome::Partial })
    }
}

/// What the ledger says against a broker.
fn check_cores(page: &LedgerPage, problems: &mut Table) {
    if page.status != "ok" {
        problems.push(vec![Cell::Absent, format!("the broker is {}", page.status).into()]);
    }
    for shard in &page.shards {
        let ago_ns = shard.core.turned_ago_ns;
        if ago_ns > CORE_STUCK_NS {
            let problem = format!(
                "stuck: its event loop last turned {:.1} s ago; its log says more",
                ago_ns as f64 / 1e9
            );
            problems.push(vec![shard.shard.into(), problem.into()]);
        }
        let count = |name: &str| shard.counters.get(name).copied().unwrap_or(0);
        if count("journal_failed") > 0 {
            let problem = "its journal failed: it refuses produces until a restart".to_owned();
            problems.push(vec![shard.shard.into(), problem.into()]);
        }
        if count("partitions_failed") > 0 {
            let failed = count("partitions_failed");
            let problem = format!("{failed} partitions went offline; its log names them");
            problems.push(vec![shard.shard.into(), problem.into()]);
        }
    }
}

/// Times of Metadata requests without topics, on a connection that is open already.
fn round_trips(client: &mut Client, node: i32) -> Result<Vec<Duration>> {
    let request = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
    let mut times = Vec::new();
    // Not repeated over broken connections: that a broker needs it is what health is about.
    let target = Target::Node(node);
    client.peer(target)?;
    for _ in 0..ROUND_TRIPS {
        let deadline = client.deadline();
        let started = clock::now();
        let answered = client
            .send(target, &request, ANY_VERSION, deadline)
            .and_then(|()| client.receive::<MetadataRequest>(target, deadline));
        answered.map_err(|error| client.explain(&error))?;
        times.push(started.elapsed());
    }
    Ok(times)
}
