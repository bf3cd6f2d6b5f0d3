//! How much a turn hands to the kernel.

use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;

use storage::edge::ring::RingOptions;

use super::*;

/// So many connections; nothing of theirs is entered into the kernel.
fn connections(count: usize, ring: &mut Ring) -> (Connections, Vec<ConnId>, Vec<UnixStream>) {
    let mut connections =
        Connections::new(ConnectionLimits { frame_bytes_max: 1 << 20, idle_ms: 60_000 });
    let (mut ids, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        peers.push(theirs);
        let peer = (IpAddr::from(Ipv4Addr::LOCALHOST), 1);
        connections.open(ours.into(), peer, 1, ring, &mut |event| match event {
            Event::Connected { conn, .. } => ids.push(conn),
            other => panic!("{other:?}"),
        });
    }
    (connections, ids, peers)
}

fn answer(bytes: usize) -> Response {
    Response { head: vec![0; bytes], ..Response::default() }
}

#[test]
fn a_turn_hands_over_all_small_answers_and_only_so_much_of_large_ones() {
    let mut ring = Ring::new(RingOptions::default()).expect("a ring");
    let counters = Counters::default();
    let (mut all, ids, _peers) = connections(6, &mut ring);
    for conn in &ids[..4] {
        all.send(*conn, answer(TURN_BULK_BYTES_MAX + 1));
    }
    for conn in &ids[4..] {
        all.send(*conn, answer(100));
    }
    all.flush(&mut ring, &counters);
    assert_eq!(counters.sends.get(), 3, "two small ones and a large one");
    for sends in [4, 5, 6] {
        assert!(all.has_work(), "the next turn does not sleep");
        all.flush(&mut ring, &counters);
        assert_eq!(counters.sends.get(), sends);
    }
    assert!(!all.has_work());
    all.flush(&mut ring, &counters);
    assert_eq!(counters.sends.get(), 6, "each has its send under way");
}

#[test]
fn large_answers_have_their_turns_in_order_whoever_comes_after_them() {
    let mut ring = Ring::new(RingOptions::default()).expect("a ring");
    let counters = Counters::default();
    let (mut all, ids, _peers) = connections(4, &mut ring);
    let large = || answer(2 * TURN_BULK_BYTES_MAX);
    all.send(ids[0], large());
    all.send(ids[1], large());
    all.flush(&mut ring, &counters);
    let first: Vec<bool> = ids.iter().map(|id| sending(&mut all, *id)).collect();
    all.send(ids[2], large());
    all.send(ids[3], large());
    all.flush(&mut ring, &counters);
    assert!(sending(&mut all, ids[0]) && sending(&mut all, ids[1]), "{first:?} went before");
    assert!(!sending(&mut all, ids[2]) && !sending(&mut all, ids[3]));
}

fn sending(all: &mut Connections, conn: ConnId) -> bool {
    all.find(conn).is_some_and(|(_, one)| one.outbox.is_sending())
}
