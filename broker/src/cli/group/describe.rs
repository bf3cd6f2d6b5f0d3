//! `corelane group describe`, and the question whether a group is active.
//!
//! Classic groups and those of KIP-848 look the same here: members, what they own, and how far
//! the group has read.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerProtocolAssignment, DescribeGroupsRequest,
};
use protocol::{ApiKey, ErrorCode};

use super::super::client::{ANY_VERSION, Client, Special, Target, TopicPartition, read_versioned};
use super::super::error::{CliError, Outcome, Result, complain, refusal};
use super::super::options::Connect;
use super::super::output::{Cell, FormatOption, Report, Table, print_reports};
use super::offsets::fetch_offsets;

/// `group describe`.
#[derive(Debug, Args)]
pub struct Describe {
    /// Names of the groups
    #[arg(required = true)]
    groups: Vec<String>,
    #[command(flatten)]
    format: FormatOption,
    #[command(flatten)]
    connect: Connect,
}

/// A member as either protocol tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub host: String,
    pub owned: Vec<TopicPartition>,
}

/// A group as either protocol tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// In Kafka's words: Stable, Empty, Dead, PreparingRebalance and so on.
    pub state: String,
    /// "classic" or "consumer".
    pub kind: &'static str,
    pub assignor: String,
    pub members: Vec<MemberView>,
}

impl GroupView {
    /// Whether the group has no members, or does not exist.
    pub fn is_idle(&self) -> bool {
        self.members.is_empty() && matches!(self.state.as_str(), "Empty" | "Dead")
    }
}

/// What a group's coordinator says of it. A group that does not exist is "Dead", as in Kafka.
pub fn view(client: &mut Client, group: &str) -> Result<GroupView> {
    if let Some(found) = consumer_view(client, group)? {
        return Ok(found);
    }
    let request = DescribeGroupsRequest {
        groups: vec![group.to_owned()],
        ..DescribeGroupsRequest::default()
    };
    let missing = ErrorCode::GroupIdNotFound.code();
    let code_of = |response: &protocol::messages::DescribeGroupsResponse| {
        let code = response.groups.first().map_or(0, |group| group.error_code);
        if code == missing { 0 } else { code }
    };
    let response = client.ask_coordinator(group, &request, ANY_VERSION, code_of)?;
    let Some(found) = response.groups.into_iter().next() else {
        return Err(CliError::failed(format!("group {group}: its coordinator says nothing of it")));
    };
    let member = |member: protocol::messages::describe_groups::DescribedGroupMember| {
        let assignment = read_versioned::<ConsumerProtocolAssignment>(&member.member_assignment);
        let topics = assignment.map(|assignment| assignment.assigned_partitions);
        let owned = topics.unwrap_or_default().into_iter();
        MemberView {
            member_id: member.member_id,
            instance_id: member.group_instance_id,
            client_id: member.client_id,
            host: member.client_host,
            owned: owned.flat_map(|t| partitions(&t.topic, &t.partitions)).collect(),
        }
    };
    Ok(GroupView {
        state: found.group_state,
        kind: "classic",
        assignor: found.protocol_data,
        members: found.members.into_iter().map(member).collect(),
    })
}

/// A group of KIP-848; `None` for others, and for brokers that have none.
fn consumer_view(client: &mut Client, group: &str) -> Result<Option<GroupView>> {
    let node = client.coordinator(group)?;
    let peer = client.peer(Target::Coordinator(node))?;
    if peer.choose(ApiKey::ConsumerGroupDescribe).is_err() {
        return Ok(None);
    }
    let request = ConsumerGroupDescribeRequest {
        group_ids: vec![group.to_owned()],
        include_authorized_operations: false,
    };
    let code_of = |response: &protocol::messages::ConsumerGroupDescribeResponse| {
        let code = response.groups.first().map_or(0, |group| group.error_code);
        let heals = ErrorCode::from_i16(code).is_some_and(ErrorCode::retriable);
        if heals { code } else { 0 }
    };
    let response = client.ask_coordinator(group, &request, ANY_VERSION, code_of)?;
    let found = response.groups.into_iter().next();
    let Some(found) = found.filter(|found| found.error_code == ErrorCode::None.code()) else {
        return Ok(None);
    };
    let members = found.members.into_iter().map(|member| MemberView {
        member_id: member.member_id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        host: member.client_host,
        owned: member
            .assignment
            .topic_partitions
            .iter()
            .flat_map(|t| partitions(&t.topic_name, &t.partitions))
            .collect(),
    });
    Ok(Some(GroupView {
        state: found.group_state,
        kind: "consumer",
        assignor: found.assignor_name,
        members: members.collect(),
    }))
}

fn partitions(topic: &str, numbers: &[i32]) -> Vec<TopicPartition> {
    let partition = |&partition: &i32| TopicPartition { topic: topic.to_owned(), partition };
    numbers.iter().map(partition).collect()
}

impl Describe {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let mut client = Client::new(self.connect.clone());
        let mut reports = Vec::new();
        let mut failures = 0;
        for group in &self.groups {
            match report(&mut client, group) {
                Ok((report, wrong)) => {
                    failures += wrong;
                    reports.push(report);
                }
                Err(CliError::Failed(why)) => {
                    failures += 1;
                    complain(&why);
                }
                Err(other) => return Err(other),
            }
        }
        print_reports(out, self.format.format, &reports)?;
        Ok(Outcome::of(failures))
    }
}

fn report(client: &mut Client, group: &str) -> Result<(Report, usize)> {
    let view = view(client, group)?;
    let committed = fetch_offsets(client, group)?;
    if view.state == "Dead" && committed.is_empty() {
        let why = refusal(ErrorCode::GroupIdNotFound.code(), Some("there is no such group"));
        return Err(CliError::failed(format!("group {group}: {why}")));
    }
    let mut owners = BTreeMap::new();
    for member in &view.members {
        owners.extend(member.owned.iter().map(|key| (key.clone(), member.member_id.clone())));
    }
    let mut all: Vec<&TopicPartition> = committed.keys().chain(owners.keys()).collect();
    all.sort_unstable();
    all.dedup();
    let wanted = all.iter().map(|&key| (key.clone(), Special::Latest.timestamp())).collect();
    let ends = client.list_offsets(&wanted, false)?;
    let mut failures = 0;
    let mut offsets =
        Table::new(&["topic", "partition", "committed", "high_watermark", "lag", "member"]);
    for key in all {
        let at = committed.get(key).copied();
        let end = match &ends[key] {
            Ok(end) => Some(end.offset),
            Err(why) => {
                failures += 1;
                complain(&format!("group {group}: {key}: {why}"));
                None
            }
        };
        offsets.push(vec![
            key.topic.as_str().into(),
            key.partition.into(),
            at.into(),
            end.into(),
            end.zip(at).map(|(end, at)| (end - at).max(0)).into(),
            owners.get(key).cloned().into(),
        ]);
    }
    let mut members = Table::new(&["member", "instance", "client_id", "host", "partitions"]);
    for member in &view.members {
        members.push(vec![
            member.member_id.as_str().into(),
            member.instance_id.clone().into(),
            member.client_id.as_str().into(),
            member.host.as_str().into(),
            Cell::Texts(member.owned.iter().map(TopicPartition::to_string).collect()),
        ]);
    }
    let mut report = Report::new();
    report.field("group", group);
    report.field("state", view.state);
    report.field("type", view.kind);
    report.field("assignor", (!view.assignor.is_empty()).then_some(view.assignor));
    report.field("coordinator", client.coordinator(group)?);
    report.table("offsets", offsets);
    report.table("members", members);
    Ok((report, failures))
}
