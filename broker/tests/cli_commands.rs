//! The command line against a scripted broker: what it does when a real one misbehaves.
//!
//! A thread answers on a free port, request by request; each test scripts the answers that matter
//! and looks at exit code, output and what was asked. Behaviour with a real broker is the
//! conformance suite `cli`.

mod fake;

use std::process::{Command, Output, Stdio};

use fake::{Answer, Fake};
use protocol::ErrorCode;
use protocol::batch::header::BatchHeader;
use protocol::batch::{BatchBuilder, BatchOptions};
use protocol::compress::{Codecs, Compression};
use protocol::messages::fetch::{FetchableTopicResponse, PartitionData};
use protocol::messages::produce::{PartitionProduceResponse, TopicProduceResponse};
use protocol::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, FetchRequest, FetchResponse, MetadataRequest,
    ProduceRequest, ProduceResponse,
};

/// Runs a command against the fake; nothing may take longer than its `--timeout-ms`.
fn corelane(fake: &Fake, arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_corelane"))
        .args(arguments)
        .args(["--bootstrap", &fake.bootstrap(), "--timeout-ms", "3000"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut input = child.stdin.take().expect("piped");
    std::io::Write::write_all(&mut input, stdin.as_bytes()).expect("it reads its input");
    drop(input);
    child.wait_with_output().expect("it ends")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An answer to a produce request: one code for each of its partitions.
fn produced(request: &ProduceRequest, code: impl Fn(i32) -> ErrorCode) -> ProduceResponse {
    let topic = |topic: &protocol::messages::produce::TopicProduceData| TopicProduceResponse {
        name: topic.name.clone(),
        partition_responses: topic
            .partition_data
            .iter()
            .map(|data| PartitionProduceResponse {
                index: data.index,
                error_code: code(data.index).code(),
                ..PartitionProduceResponse::default()
            })
            .collect(),
        ..TopicProduceResponse::default()
    };
    ProduceResponse {
        responses: request.topic_data.iter().map(topic).collect(),
        ..ProduceResponse::default()
    }
}

/// The header of the first batch of a produce request.
fn first_batch(request: &ProduceRequest) -> BatchHeader {
    let records = request.topic_data[0].partition_data[0].records.as_ref().expect("records");
    BatchHeader::parse(records).expect("a batch")
}

#[test]
fn a_batch_without_an_answer_is_sent_again_with_its_sequence() {
    let mut attempt = 0;
    let fake = Fake::start(1, move |asked| match asked.as_request::<ProduceRequest>() {
        Some(request) => {
            attempt += 1;
            match attempt {
                1 => Answer::close(),
                2 => asked.answer::<ProduceRequest>(&produced(&request, |_| {
                    ErrorCode::NotLeaderOrFollower
                })),
                // The first attempt had been written after all.
                _ => asked.answer::<ProduceRequest>(&produced(&request, |_| {
                    ErrorCode::DuplicateSequenceNumber
                })),
            }
        }
        None => Answer::usual(),
    });
    let output = corelane(&fake, &["produce", "t"], "a\nb\n");
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("2 records written, 0 failed"), "{}", said(&output));
    let sent: Vec<BatchHeader> =
        fake.requests::<ProduceRequest>().iter().map(first_batch).collect();
    assert_eq!(sent.len(), 3);
    assert_eq!((sent[0].base_sequence, sent[0].records_count), (0, 2));
    assert_eq!(sent[0], sent[1], "the same bytes, so that the broker sees a duplicate");
    assert_eq!(sent[0], sent[2]);
}

#[test]
fn refused_records_are_counted_and_the_sequence_goes_on_without_them() {
    let mut attempt = 0;
    let fake = Fake::start(1, move |asked| match asked.as_request::<ProduceRequest>() {
        Some(request) => {
            attempt += 1;
            let refused = attempt == 1;
            asked.answer::<ProduceRequest>(&produced(&request, |_| {
                if refused { ErrorCode::MessageTooLarge } else { ErrorCode::None }
            }))
        }
        None => Answer::usual(),
    });
    // So small that every record is a batch.
    let output = corelane(&fake, &["produce", "t", "--batch-bytes", "1"], "a\nb\nc\n");
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("t-0: MESSAGE_TOO_LARGE"), "{said}");
    assert!(said.contains("2 records written, 1 failed"), "{said}");
    let sequences: Vec<i32> = fake
        .requests::<ProduceRequest>()
        .iter()
        .map(|request| first_batch(request).base_sequence)
        .collect();
    assert_eq!(sequences, [0, 0, 1]);
}

#[test]
fn a_broker_that_never_acknowledges_ends_the_command_in_time() {
    let fake = Fake::start(1, |asked| match asked.as_request::<ProduceRequest>() {
        Some(request) => {
            asked.answer::<ProduceRequest>(&produced(&request, |_| ErrorCode::NotEnoughReplicas))
        }
        None => Answer::usual(),
    });
    let output = corelane(&fake, &["produce", "t"], "a\n");
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("0 records written, 1 failed"), "{said}");
    assert!(said.contains("corelane cluster health"), "says what to do: {said}");
}

#[test]
fn records_are_printed_in_order_and_a_cut_batch_comes_with_the_next_answer() {
    let mut log = Vec::new();
    let mut second_at = 0;
    for (base_offset, codec) in [(0, Compression::Zstd), (2, Compression::Lz4)] {
        second_at = log.len();
        let options = BatchOptions { base_offset, compression: codec, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        builder.append(1_000, Some(b"k"), Some(format!("v{base_offset}").as_bytes()), &[]);
        builder.append(1_000, None, None, &[]);
        builder.build(&mut Codecs::new(), &mut log);
    }
    let fake = Fake::with_end(1, 4, move |asked| match asked.as_request::<FetchRequest>() {
        Some(request) => {
            let from = request.topics[0].partitions[0].fetch_offset;
            let bytes = if from == 0 { &log[..second_at + 30] } else { &log[second_at..] };
            let partition = PartitionData {
                high_watermark: 4,
                records: Some(bytes.to_vec().into()),
                ..PartitionData::default()
            };
            let topic = FetchableTopicResponse {
                topic: "t".to_owned(),
                partitions: vec![partition],
                ..FetchableTopicResponse::default()
            };
            let response = FetchResponse { responses: vec![topic], ..FetchResponse::default() };
            asked.answer::<FetchRequest>(&response)
        }
        None => Answer::usual(),
    });
    let output = corelane(&fake, &["consume", "t", "-s", "%o %k=%v"], "");
    assert!(output.status.success(), "{}", said(&output));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(printed, "0 k=v0\n1 null=null\n2 k=v2\n3 null=null\n");
    let from: Vec<i64> = fake
        .requests::<FetchRequest>()
        .iter()
        .map(|request| request.topics[0].partitions[0].fetch_offset)
        .collect();
    assert_eq!(from, [0, 2]);
}

#[test]
fn seeking_a_group_with_members_is_refused_before_anything_is_asked_of_its_offsets() {
    let fake = Fake::start(1, |asked| match asked.as_request::<DescribeGroupsRequest>() {
        Some(_) => {
            let group = protocol::messages::describe_groups::DescribedGroup {
                group_id: "g".to_owned(),
                group_state: "Stable".to_owned(),
                members: vec![Default::default(), Default::default()],
                ..Default::default()
            };
            let response =
                DescribeGroupsResponse { groups: vec![group], ..DescribeGroupsResponse::default() };
            asked.answer::<DescribeGroupsRequest>(&response)
        }
        None => Answer::usual(),
    });
    let arguments = ["group", "seek", "g", "--to", "earliest", "--topic", "t", "--yes"];
    let output = corelane(&fake, &arguments, "");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("Stable with 2 members; stop them first"), "{}", said(&output));
    assert!(fake.requests::<protocol::messages::OffsetCommitRequest>().is_empty());
}

#[test]
fn a_broken_connection_before_an_answer_is_asked_again() {
    let mut attempt = 0;
    let fake = Fake::start(1, move |asked| match asked.as_request::<MetadataRequest>() {
        Some(_) => {
            attempt += 1;
            if attempt == 1 { Answer::close() } else { Answer::usual() }
        }
        None => Answer::usual(),
    });
    let output = corelane(&fake, &["topic", "list", "--format", "json"], "");
    assert!(output.status.success(), "{}", said(&output));
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(rows[0]["topic"], "t");
    assert_eq!(fake.requests::<MetadataRequest>().len(), 2);
}

#[test]
fn what_cannot_be_understood_is_one_line_and_exit_code_2() {
    let fake = Fake::start(1, |_| Answer::usual());
    for arguments in [
        &["topic", "create"][..],
        &["topic", "frobnicate"],
        &["consume", "t", "--from", "yesterday"],
        &["consume", "t", "--format-string", "%q"],
        &["config", "set", "--topic", "t", "nonsense"],
        &["config", "list"],
        &["produce", "t", "--acks", "2"],
    ] {
        let output = corelane(&fake, arguments, "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert_eq!(said(&output).lines().count(), 1, "{arguments:?}: {}", said(&output));
    }
}
