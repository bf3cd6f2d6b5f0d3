//! Decisions about metadata and the journal they are written to.

use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use protocol::messages::produce::ProduceRequest;

use super::produce::{only, produce};
use super::{Rig, batch};

#[test]
fn a_decision_waits_for_a_journal_that_is_nearly_full() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    rig.disk_runs = false;
    let value = "x".repeat(500_000);
    let mut sent = 0;
    while rig.paused.is_empty() {
        assert!(sent < 200, "reading stops before the backlog is full");
        rig.send(0, 9, &produce("t", 0, batch(&[&value])));
        sent += 1;
    }
    let topic = CreatableTopic {
        name: "u".to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
    rig.send(0, 7, &request);
    assert!(rig.shards[0].topics.find_name("u").is_none(), "it is not decided yet");
    rig.disk_runs = true;
    rig.settle();
    assert!(rig.closed.is_empty(), "{:?}", rig.closed);
    for offset in 0..sent {
        let response = rig.take::<ProduceRequest>(9).expect("answered");
        assert_eq!(only(&response), (0, offset));
    }
    let response = rig.take::<CreateTopicsRequest>(7).expect("answered");
    assert_eq!(response.topics[0].error_code, 0, "{response:?}");
}
