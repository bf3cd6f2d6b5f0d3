//! Whatever points a request passes, and in whatever order clocks were read, its stages sum to its
//! total.

use storage::prng::Prng;

use super::*;

fn passing(points: &[(Point, u64)]) -> Record {
    let mut record = Record::new(ApiKey::Produce, Arrival::at(1_000), 1_000, 10);
    for (point, ns) in points {
        record.pass(*point, *ns);
    }
    record
}

fn stage(record: &Record, point: Point) -> u64 {
    record.split().stages_ns[point as usize - 1]
}

#[test]
fn a_stage_is_the_time_since_the_last_point_that_was_passed() {
    let record = passing(&[(Point::Ordered, 1_500), (Point::Synced, 4_500), (Point::Sent, 5_000)]);
    assert_eq!(stage(&record, Point::Ordered), 500);
    assert_eq!(stage(&record, Point::Submitted), 0, "it was not passed");
    assert_eq!(stage(&record, Point::Synced), 3_000);
    assert_eq!(stage(&record, Point::Sent), 500);
    assert_eq!(record.split().total_ns, 4_000);
}

#[test]
fn stages_sum_to_the_total_whatever_the_times() {
    let mut prng = Prng::new(1);
    for _ in 0..1_000 {
        let arrival = Arrival { ready_ns: 500 + prng.below(1_000), framed_ns: prng.below(2_000) };
        let mut record = Record::new(ApiKey::Fetch, arrival, prng.below(3_000), 10);
        for point in Point::ALL.into_iter().skip(3) {
            if prng.one_in(2) {
                record.pass(point, prng.below(10_000));
            }
        }
        let split = record.split();
        assert_eq!(split.stages_ns.iter().sum::<u64>(), split.total_ns, "{record:?}");
    }
}

#[test]
fn what_a_long_poll_did_before_it_was_woken_is_part_of_its_wait() {
    let mut record = passing(&[(Point::HopOut, 2_000), (Point::Read, 3_000)]);
    record.pass(Point::HopIn, 4_000);
    record.wake(9_000);
    record.pass(Point::Sent, 9_100);
    assert_eq!(stage(&record, Point::Woken), 8_000);
    assert_eq!(record.split().busy_ns(), 100);
}

#[test]
fn a_member_waits_for_its_group_and_not_for_the_broker() {
    let mut record = Record::new(ApiKey::JoinGroup, Arrival::at(1_000), 1_100, 10);
    record.answer(5_000, 20);
    record.pass(Point::Sent, 5_100);
    assert_eq!(stage(&record, Point::Woken), 3_900);
    assert_eq!(record.split().busy_ns(), 200);
}

#[test]
fn every_stage_has_a_name_of_its_own() {
    let mut names = STAGES.to_vec();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), STAGES_COUNT);
    assert_eq!(STAGES[PARK], "park");
}
