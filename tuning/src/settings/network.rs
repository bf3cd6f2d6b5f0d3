//! Network: packet work away from shards, a transmit queue for each, and room in the queues.

use super::{Judged, Survey};
use crate::cores::CoreSet;
use crate::setting::{About, Form, Kind, Place, Status};

/// What the card is polled for in a receive call of a spinning shard.
const BUSY_READ_US: u64 = 50;

/// Connections waiting to be accepted: a reconnect of thousands of clients at once.
const LISTEN_QUEUE: u64 = 4096;

/// Packets waiting for a core's packet work: loopback and steered packets go through it.
const PACKET_QUEUE: u64 = 10_000;

/// Largest socket buffer: 10 Gbit/s times 10 ms, rounded up.
const SOCKET_BYTES: u64 = 16 << 20;

/// RPS.
pub static RPS: About = About {
    name: "net.rps",
    why: "Receive packet steering hands packets to other cores by software; a shard core in its \
          mask works for everybody's connections.",
    kind: Kind::Speed,
};

/// XPS.
pub static XPS: About = About {
    name: "net.xps",
    why: "With a transmit queue of its own a shard never waits for another core's lock when it \
          answers.",
    kind: Kind::Speed,
};

/// Busy reading.
pub static BUSY_READ: About = About {
    name: "net.busy_read",
    why: "A receive call may poll the card instead of waiting for its interrupt: worth it for a \
          shard that spins (--busy-poll), a waste for one that sleeps.",
    kind: Kind::Speed,
};

/// Busy polling.
pub static BUSY_POLL: About = About {
    name: "net.busy_poll",
    why: "Makes poll and select of every program spin on the card; the broker uses neither, so \
          this only takes processor time from it.",
    kind: Kind::Speed,
};

/// Listen queue.
pub static SOMAXCONN: About = About {
    name: "net.somaxconn",
    why: "Bounds the broker's queue of connections to be accepted (socket.listen.backlog.size): \
          when thousands of clients reconnect, the rest is refused or late by a second.",
    kind: Kind::Insurance,
};

/// Packet queue.
pub static BACKLOG: About = About {
    name: "net.netdev_max_backlog",
    why: "Packets over loopback and steered ones wait in a queue per core; what does not fit is \
          dropped and sent again 200 ms later.",
    kind: Kind::Insurance,
};

/// Explicit receive buffers.
pub static RMEM: About = About {
    name: "net.rmem_max",
    why: "Cuts socket.receive.buffer.bytes silently when it is larger.",
    kind: Kind::Insurance,
};

/// Explicit send buffers.
pub static WMEM: About = About {
    name: "net.wmem_max",
    why: "Cuts socket.send.buffer.bytes silently when it is larger.",
    kind: Kind::Insurance,
};

/// Receive autotuning.
pub static TCP_RMEM: About = About {
    name: "net.tcp_rmem",
    why: "The third number bounds how far a connection's receive buffer grows by itself: a fast \
          producer far away is limited by it.",
    kind: Kind::Insurance,
};

/// Send autotuning.
pub static TCP_WMEM: About = About {
    name: "net.tcp_wmem",
    why: "The third number bounds how much of a large fetch response the kernel takes at once; \
          the rest costs the shard another turn.",
    kind: Kind::Insurance,
};

/// Idle restart.
pub static SLOW_START: About = About {
    name: "net.slow_start_after_idle",
    why: "A feed is quiet, then bursts: with this on, each burst over a real network starts again \
          with ten packets per round trip.",
    kind: Kind::Insurance,
};

pub(super) const ALL: &[&About] = &[
    &RPS,
    &XPS,
    &BUSY_READ,
    &BUSY_POLL,
    &SOMAXCONN,
    &BACKLOG,
    &RMEM,
    &WMEM,
    &TCP_RMEM,
    &TCP_WMEM,
    &SLOW_START,
];

pub(super) fn judge(survey: &mut Survey<'_>) {
    steering(survey);
    transmit_queues(survey);
    let want = if survey.host.busy_poll { BUSY_READ_US } else { 0 };
    exactly(survey, &BUSY_READ, "/proc/sys/net/core/busy_read", want);
    exactly(survey, &BUSY_POLL, "/proc/sys/net/core/busy_poll", 0);
    survey.at_least(&SOMAXCONN, "/proc/sys/net/core/somaxconn", LISTEN_QUEUE);
    survey.at_least(&BACKLOG, "/proc/sys/net/core/netdev_max_backlog", PACKET_QUEUE);
    survey.at_least(&RMEM, "/proc/sys/net/core/rmem_max", SOCKET_BYTES);
    survey.at_least(&WMEM, "/proc/sys/net/core/wmem_max", SOCKET_BYTES);
    autotuned(survey, &TCP_RMEM, "/proc/sys/net/ipv4/tcp_rmem");
    autotuned(survey, &TCP_WMEM, "/proc/sys/net/ipv4/tcp_wmem");
    exactly(survey, &SLOW_START, "/proc/sys/net/ipv4/tcp_slow_start_after_idle", 0);
}

fn exactly(survey: &mut Survey<'_>, about: &'static About, path: &str, want: u64) {
    survey.file(about, Place::Host, path, Form::Text, |value| match value.parse::<u64>() {
        Ok(value) if value == want => Judged::Good(want.to_string()),
        Ok(_) => Judged::Write(want.to_string()),
        Err(_) => Judged::Strange,
    });
}

/// Smallest, first and largest size; only the largest is raised.
fn autotuned(survey: &mut Survey<'_>, about: &'static About, path: &str) {
    survey.file(about, Place::Host, path, Form::Text, |value| {
        let sizes: Vec<u64> = value.split(' ').filter_map(|word| word.parse().ok()).collect();
        match sizes[..] {
            [_, _, largest] if largest >= SOCKET_BYTES => {
                Judged::Good(format!("third at least {SOCKET_BYTES}"))
            }
            [smallest, first, _] => Judged::Write(format!("{smallest} {first} {SOCKET_BYTES}")),
            _ => Judged::Strange,
        }
    });
}

fn steering(survey: &mut Survey<'_>) {
    let host = survey.host;
    let mut queues = 0;
    for card in &host.cards {
        for queue in queues_of(survey, &card.path, "rx-") {
            queues += 1;
            let path = format!("{}/queues/{queue}/rps_cpus", card.path);
            let place = Place::Named(format!("{} {queue}", card.name));
            survey.file(&RPS, place, &path, Form::Mask, |value| match CoreSet::from_mask(value) {
                None => Judged::Strange,
                Some(mask) if mask.and(&host.shards).is_empty() => Judged::Good(mask.to_mask()),
                // Every core runs a shard: no steering, the interrupt's core does the work.
                Some(mask) => Judged::Write(mask.without(&host.shards).to_mask()),
            });
        }
    }
    if queues == 0 {
        survey.absent(&RPS, "no network card that is up");
    }
}

fn transmit_queues(survey: &mut Survey<'_>) {
    let host = survey.host;
    let mut cards = 0;
    for card in &host.cards {
        let queues = queues_of(survey, &card.path, "tx-");
        let path = |queue: &String| format!("{}/queues/{queue}/xps_cpus", card.path);
        if queues.len() < 2 {
            continue;
        }
        cards += 1;
        let masks: Option<Vec<CoreSet>> = queues
            .iter()
            .map(|queue| CoreSet::from_mask(&survey.files.text(&path(queue))?))
            .collect();
        let Some(masks) = masks else {
            let place = Place::Named(card.name.clone());
            let note = "the driver chooses transmit queues itself";
            survey.note(&XPS, place, Status::Info, None, note);
            continue;
        };
        let good = suits(&masks, &host.shards);
        let wanted = assigned(queues.len(), &host.shards, &host.others);
        for ((queue, mask), wanted) in queues.iter().zip(&masks).zip(&wanted) {
            let place = Place::Named(format!("{} {queue}", card.name));
            survey.file(&XPS, place, &path(queue), Form::Mask, |_| match good || mask == wanted {
                true => Judged::Good(mask.to_mask()),
                false => Judged::Write(wanted.to_mask()),
            });
        }
    }
    if cards == 0 {
        survey.absent(&XPS, "no network card with several transmit queues");
    }
}

/// Whether each shard has a queue, and none shares one as long as there are enough.
fn suits(masks: &[CoreSet], shards: &CoreSet) -> bool {
    let served = shards.iter().all(|core| masks.iter().any(|mask| mask.contains(core)));
    let fair = shards.len().div_ceil(masks.len().max(1));
    served && masks.iter().all(|mask| mask.and(shards).len() <= fair)
}

/// Shards dealt to the queues one by one, then the other cores from where that ended.
fn assigned(queues: usize, shards: &CoreSet, others: &CoreSet) -> Vec<CoreSet> {
    let dealt: Vec<u32> = shards.iter().chain(others.iter()).collect();
    let of_queue = |queue: usize| {
        dealt
            .iter()
            .enumerate()
            .filter(|(at, _)| at % queues == queue)
            .map(|(_, core)| *core)
            .collect()
    };
    (0..queues).map(of_queue).collect()
}

/// A card's queues in their order: tx-2 before tx-10.
fn queues_of(survey: &Survey<'_>, card: &str, kind: &str) -> Vec<String> {
    let names = survey.files.names(&format!("{card}/queues"));
    let mut queues: Vec<String> = names.into_iter().filter(|name| name.starts_with(kind)).collect();
    queues.sort_by_key(|name| (name.len(), name.clone()));
    queues
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(list: &str) -> CoreSet {
        list.parse().expect("a list")
    }

    #[test]
    fn each_shard_gets_a_queue_before_anyone_shares() {
        let shards = set("1-3");
        let assigned = assigned(4, &shards, &set("0,4-5"));
        assert_eq!(assigned, [set("1,4"), set("2,5"), set("3"), set("0")]);
        assert!(suits(&assigned, &shards));
        assert!(!suits(&[set("1-2"), set("3"), set("0"), set("")], &shards), "two share");
        assert!(!suits(&[set("1"), set("3"), set("0"), set("")], &shards), "2 has none");
    }
}
