//! What the edge promises each connection, seen by a client of an echo core.

mod common;

use std::io::Write;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use common::{CLOSE, ECHO, LARGE, LATER, PAUSE, SILENT, frame, start};

fn body(kind: u8, number: u32) -> Vec<u8> {
    let mut body = vec![kind];
    body.extend_from_slice(&number.to_be_bytes());
    body
}

#[test]
fn pipelined_requests_are_answered_in_order_and_joined_into_few_sends() {
    let edge = start(1, |_| {});
    let mut client = edge.connect();
    let mut bytes = Vec::new();
    for number in 0..10_000 {
        bytes.extend_from_slice(&frame(&body(ECHO, number)));
    }
    client.0.write_all(&bytes).expect("sent");
    for number in 0..10_000 {
        assert_eq!(client.receive(), body(ECHO, number));
    }
    edge.wait_until("all given back", |edge| {
        edge.seen.given_back.load(Ordering::Relaxed) == 10_000
    });
    assert!(edge.counter("sends") < 1_000, "{} sends", edge.counter("sends"));
}

/// Eight megabytes of small requests in the receive buffers of one connection once were one turn of
/// the event loop: everybody else waited for seconds, and a pause that the shard asked for came too
/// late.
#[test]
fn a_connection_hands_on_its_share_of_a_turn_and_then_the_others_have_theirs() {
    let edge = start(1, |_| {});
    let mut greedy = edge.connect();
    let mut writing = common::Client(greedy.0.try_clone().expect("a second handle"));
    let count = 200_000;
    let writer = std::thread::spawn(move || {
        let bytes: Vec<u8> = (0..count).flat_map(|number| frame(&body(ECHO, number))).collect();
        writing.0.write_all(&bytes).expect("sent");
    });
    let mut quick = edge.connect();
    for number in 0..100 {
        quick.send(&body(ECHO, number));
        assert_eq!(quick.receive(), body(ECHO, number));
    }
    for number in 0..count {
        assert_eq!(greedy.receive(), body(ECHO, number));
    }
    writer.join().expect("written");
    let most = edge.seen.frames_in_turn_max.load(Ordering::Relaxed);
    assert!((100..=256).contains(&most), "{most} requests in one turn");
}

#[test]
fn a_request_split_at_every_byte_is_one_request() {
    let edge = start(1, |_| {});
    let mut client = edge.connect();
    let bytes = frame(b"etwelve bytes");
    for cut in 1..bytes.len() {
        client.0.write_all(&bytes[..cut]).expect("sent");
        common::pause(1);
        client.0.write_all(&bytes[cut..]).expect("sent");
        assert_eq!(client.receive(), b"etwelve bytes", "cut at {cut}");
    }
}

#[test]
fn frames_of_every_size_come_back_whole() {
    let edge = start(1, |_| {});
    let mut client = edge.connect();
    for bytes in [64 << 10, (64 << 10) + 1, 300_000, 1 << 20, 8 << 20] {
        let mut body: Vec<u8> = (0..bytes).map(|index| (index % 253) as u8).collect();
        body[0] = ECHO;
        let mut reading = common::Client(client.0.try_clone().expect("a second handle"));
        let reader = std::thread::spawn(move || reading.receive());
        client.send(&body);
        let answer = reader.join().expect("read");
        assert!(answer == body, "{bytes} bytes");
    }
}

#[test]
fn a_large_answer_of_shared_buffers_arrives_whole() {
    let edge = start(1, |_| {});
    let mut client = edge.connect();
    client.send(&body(LARGE, 20_000_003));
    let answer = client.receive();
    assert_eq!(answer.len(), 20_000_003);
    assert!(
        answer
            .iter()
            .enumerate()
            .all(|(index, byte)| { usize::from(*byte) == index % (64 * 1024) % 251 })
    );
}

#[test]
fn a_slow_reader_holds_only_its_own_responses_and_loses_none() {
    let edge = start(1, |_| {});
    let mut slow = edge.connect();
    for _ in 0..20 {
        slow.send(&body(LARGE, 1 << 20));
    }
    edge.wait_until("all asked", |edge| edge.counter("requests") == 20);
    let given_back = edge.seen.given_back.load(Ordering::Relaxed);
    assert!(given_back < 20, "the sockets do not hold 20 MiB");
    let mut quick = edge.connect();
    for number in 0..100 {
        quick.send(&body(ECHO, number));
        assert_eq!(quick.receive(), body(ECHO, number));
    }
    for _ in 0..20 {
        assert_eq!(slow.receive().len(), 1 << 20);
    }
    edge.wait_until("all given back", |edge| edge.seen.given_back.load(Ordering::Relaxed) == 120);
}

#[test]
fn a_peer_that_closed_its_half_still_gets_late_answers() {
    let edge = start(1, |_| {});
    let mut client = edge.connect();
    client.send(&body(LATER, 1));
    client.send(&body(SILENT, 2));
    client.send(&body(ECHO, 3));
    client.0.shutdown(Shutdown::Write).expect("half closed");
    assert_eq!(client.receive(), body(ECHO, 3));
    assert_eq!(client.receive(), body(LATER, 1));
    assert!(client.is_closed());
    edge.wait_until("disconnected", |edge| edge.seen.disconnected.load(Ordering::Relaxed) == 1);
    edge.wait_until("slot freed", |edge| edge.counter("connections") == 0);
}

#[test]
fn a_reset_connection_is_told_at_once_and_its_slot_freed() {
    let edge = start(1, |_| {});
    let mut client = edge.connect();
    client.send(&body(LARGE, 50_000_000));
    client.send(&body(LATER, 1));
    edge.wait_until("asked", |edge| edge.counter("requests") == 2);
    let option = socket_linger_zero(&client.0);
    assert_eq!(option, 0);
    drop(client);
    edge.wait_until("disconnected", |edge| edge.seen.disconnected.load(Ordering::Relaxed) == 1);
    edge.wait_until("slot freed", |edge| edge.counter("connections") == 0);
}

#[expect(unsafe_code, reason = "the standard library cannot ask for a reset")]
fn socket_linger_zero(stream: &std::net::TcpStream) -> i32 {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the value is readable and of the stated size.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of_val(&linger) as u32,
        )
    }
}

#[test]
fn a_paused_connection_hands_on_nothing_and_then_everything() {
    let edge = start(1, |_| {});
    let mut client = edge.connect();
    client.send(&body(PAUSE, 0));
    edge.wait_until("asked", |edge| edge.counter("requests") == 1);
    for number in 1..2_000 {
        client.send(&body(ECHO, number));
    }
    let mut first = client.receive();
    assert_eq!(first, body(PAUSE, 0));
    for number in 1..2_000 {
        first = client.receive();
        assert_eq!(first, body(ECHO, number));
    }
    assert_eq!(edge.seen.frames_while_paused.load(Ordering::Relaxed), 0);
}

#[test]
fn pauses_again_and_again_lose_nothing() {
    let edge = start(1, |_| {});
    let mut client = edge.connect();
    for round in 0..5 {
        client.send(&body(PAUSE, round));
        client.send(&vec![ECHO; 200_000]);
        // What arrives in the turn of the pause is handed on before it: either answer may be first.
        let mut sizes = [client.receive().len(), client.receive().len()];
        sizes.sort_unstable();
        assert_eq!(sizes, [5, 200_000]);
    }
}

#[test]
fn a_close_lets_the_answer_out_first() {
    let edge = start(1, |_| {});
    let mut client = edge.connect();
    client.send(&body(CLOSE, 7));
    assert_eq!(client.receive(), body(CLOSE, 7));
    assert!(client.is_closed());
    edge.wait_until("disconnected", |edge| edge.seen.disconnected.load(Ordering::Relaxed) == 1);
}

#[test]
fn garbage_and_oversized_lengths_close_only_their_connection() {
    let edge = start(1, |config| config.frame_bytes_max = 1_000);
    let mut good = edge.connect();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &1_001u32.to_be_bytes()] {
        let mut bad = edge.connect();
        bad.0.write_all(garbage).expect("sent");
        assert!(bad.is_closed());
    }
    good.send(&body(ECHO, 1));
    assert_eq!(good.receive(), body(ECHO, 1));
}

#[test]
fn twenty_thousand_connections_leave_nothing_behind() {
    let edge = start(2, |_| {});
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("proc").count();
    let mut warm = edge.connect();
    warm.send(&body(ECHO, 0));
    warm.receive();
    let before = descriptors();
    for number in 0..20_000u32 {
        let mut client = edge.connect();
        if number % 4 != 0 {
            client.send(&body(ECHO, number));
        }
        if number % 4 == 1 {
            assert_eq!(client.receive(), body(ECHO, number));
        }
        if number % 4 == 2 {
            // Leaves with a reset: an unread answer, or none.
            assert_eq!(socket_linger_zero(&client.0), 0);
        }
    }
    edge.wait_until("all gone", |edge| edge.counter("connections") == 1);
    edge.wait_until("all told", |edge| {
        let connected = edge.seen.connected.load(Ordering::Relaxed);
        connected > 15_000 && edge.seen.disconnected.load(Ordering::Relaxed) + 1 == connected
    });
    // Other tests of this file run beside this one: their descriptors come and go.
    edge.wait_until("descriptors closed", |_| descriptors() < before + 200);
}

#[test]
fn limits_refuse_connections_and_free_up_again() {
    let edge = start(1, |config| config.connections.total_max = 2);
    let mut first = edge.connect();
    let second = edge.connect();
    first.send(&body(ECHO, 1));
    first.receive();
    edge.wait_until("both in", |edge| edge.counter("connections") == 2);
    let mut third = edge.connect();
    assert!(third.is_closed());
    drop(second);
    edge.wait_until("one out", |edge| edge.counter("connections") == 1);
    let mut fourth = edge.connect();
    fourth.send(&body(ECHO, 4));
    assert_eq!(fourth.receive(), body(ECHO, 4));
}

#[test]
fn an_idle_connection_is_closed() {
    let edge = start(1, |config| config.idle_ms = 10);
    let mut client = edge.connect();
    assert!(client.is_closed());
}

#[test]
fn a_busy_polling_shard_serves_and_stops() {
    let edge = start(1, |config| config.busy_poll = true);
    let mut client = edge.connect();
    for number in 0..1_000 {
        client.send(&body(ECHO, number));
        assert_eq!(client.receive(), body(ECHO, number));
    }
    client.send(&body(LATER, 1));
    assert_eq!(client.receive(), body(LATER, 1));
}

#[test]
fn few_buffers_for_many_connections_lose_nothing() {
    let edge = start(1, |config| {
        config.receive_buffers = 2;
        config.receive_buffer_bytes = 4096;
    });
    let clients: Vec<_> = (0..16u32)
        .map(|_| {
            let mut client = edge.connect();
            std::thread::spawn(move || {
                for size in [10, 5_000, 20_000, 100] {
                    let sent = vec![ECHO; size];
                    client.send(&sent);
                    assert_eq!(client.receive(), sent);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("served");
    }
}
