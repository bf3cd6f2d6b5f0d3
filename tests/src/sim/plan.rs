//! What one run is told, and everything the seed decides before it begins.
//!
//! Each concern draws from a stream of its own, and each fault carries its own draw, so that a draw
//! more in one place, or a fault less, leaves the others as they were. That is what lets
//! `shrink.rs` take faults away one by one.

mod odds;

use storage::planted::Bug;
use storage::prng::Prng;

/// Steps of a run unless told otherwise.
pub const STEPS: u64 = 20_000;
const MS: u64 = 1_000_000;

/// Which clients there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Workload {
    /// Some of every kind, as the seed says.
    Mix,
    /// Producers and assigned consumers.
    Logs,
    /// Groups of both protocols, one of them of both at once, reading what a few producers write.
    Groups,
    /// One group alone, whose members of both protocols come and go.
    Moving,
    /// Topics made, changed and deleted under load.
    Admin,
    /// Records deleted all the time, on a disk that fails and a broker that stops.
    Deletions,
    /// Producers in transactions, alone and as rivals, and readers of what is committed.
    Transactions,
    /// Keyed producers, in transactions and without, of a topic that is compacted.
    Compaction,
    /// Producers of small batches to one partition a topic, with an index entry for each.
    Indexes,
    /// Partitions that move between two data folders under load.
    Folders,
    /// Clients that break the rules beside some that keep them.
    Hostile,
    /// Ten clients on two shards and nothing goes wrong: what the speed is measured on.
    Calm,
}

impl Workload {
    /// All of them, by name.
    pub const ALL: [(&'static str, Workload); 12] = [
        ("mix", Workload::Mix),
        ("logs", Workload::Logs),
        ("groups", Workload::Groups),
        ("moving", Workload::Moving),
        ("admin", Workload::Admin),
        ("deletions", Workload::Deletions),
        ("transactions", Workload::Transactions),
        ("compaction", Workload::Compaction),
        ("indexes", Workload::Indexes),
        ("folders", Workload::Folders),
        ("hostile", Workload::Hostile),
        ("calm", Workload::Calm),
    ];

    /// The workload of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, workload)| *workload)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, workload)| *workload == self);
        found.map_or("?", |(name, _)| name)
    }
}

/// What one run is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Events before the faults stop and everything must complete.
    pub steps: u64,
    pub workload: Workload,
    /// Only these of the seed's faults, by their place in its schedule; `None` for all.
    pub faults: Option<Vec<usize>>,
    /// A bug planted in the broker, to see whether it is found.
    pub planted: Option<Bug>,
    /// Print every event.
    pub trace: bool,
}

impl Plan {
    /// The seed's own run.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            steps: STEPS,
            workload: Workload::Mix,
            faults: None,
            planted: None,
            trace: false,
        }
    }

    /// What the seed's run consists of. Some seeds of the mix are another workload's: what needs
    /// much of one thing, as a removed batch that somebody misses needs cleaning, comes too
    /// seldom where everything comes.
    fn drawn(&self) -> Workload {
        match (self.workload, self.seed % 8) {
            (Workload::Mix, 4) => Workload::Compaction,
            (workload, _) => workload,
        }
    }

    /// The command that runs it again.
    pub fn command(&self) -> String {
        let mut command = format!("cargo sim --seed {}", self.seed);
        if self.workload != Workload::Mix {
            command.push_str(&format!(" --workload {}", self.workload.name()));
        }
        if self.steps != STEPS {
            command.push_str(&format!(" --steps {}", self.steps));
        }
        if let Some(bug) = self.planted {
            command.push_str(&format!(" --plant {}", bug.name()));
        }
        if let Some(faults) = &self.faults {
            let list: Vec<String> = faults.iter().map(usize::to_string).collect();
            let list = if list.is_empty() { "none".to_owned() } else { list.join(",") };
            command.push_str(&format!(" --faults {list}"));
        }
        command
    }
}

/// What can go wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FaultKind {
    /// The machine loses power: any subset of what no sync made durable is kept.
    PowerCut,
    /// The process dies, the machine lives.
    Kill,
    /// A stop in good order, and a start.
    CleanStop,
    /// The power goes again while the broker recovers.
    CutInRecovery,
    /// A connection is reset; a frame may be cut in the middle.
    Reset,
    /// One direction of a connection goes nowhere; neither side is told.
    HalfOpen,
    /// A client takes its answers slowly.
    SlowReader,
    /// A connection's bytes come one by one for a while.
    ByteByByte,
    /// A disk operation fails with EIO, and an operator restarts the broker.
    DiskError,
    /// A write is torn or short, and an operator restarts the broker.
    DiskTorn,
    /// The disk is full for a while.
    DiskFull,
    /// The disk takes a hundred times as long for a while.
    DiskSlow,
    /// One operation hangs for a while.
    DiskStuck,
    /// A bit of a durable segment flips.
    BitFlip,
    /// The process stands still, as under SIGSTOP.
    Pause,
    /// One core stands still, the others go on.
    CoreStall,
    /// The wall clock jumps, back or forth.
    ClockJump,
    /// Memory is compared with what a start from the disk comes to.
    Replay,
    /// The process dies while a cleaned segment takes its place, and the power goes soon after the
    /// start that follows.
    KillInSwap,
    /// A bit of a copy of the disk flips, anywhere, and a start from that copy is looked at.
    RottenStart,
}

impl FaultKind {
    /// Those that come all the time, with how often, relative to each other.
    pub const ALL: [(FaultKind, u64); 18] = [
        (FaultKind::PowerCut, 5),
        (FaultKind::Kill, 6),
        (FaultKind::CleanStop, 3),
        (FaultKind::CutInRecovery, 2),
        (FaultKind::Reset, 10),
        (FaultKind::HalfOpen, 2),
        (FaultKind::SlowReader, 3),
        (FaultKind::ByteByByte, 3),
        (FaultKind::DiskError, 1),
        (FaultKind::DiskTorn, 1),
        (FaultKind::DiskFull, 1),
        (FaultKind::DiskSlow, 2),
        (FaultKind::DiskStuck, 2),
        (FaultKind::BitFlip, 1),
        (FaultKind::Pause, 2),
        (FaultKind::CoreStall, 3),
        (FaultKind::ClockJump, 2),
        (FaultKind::Replay, 4),
    ];

    /// Whether it makes the broker, its disk or a client's answers stand still.
    pub fn stands_still(self) -> bool {
        match self {
            FaultKind::HalfOpen
            | FaultKind::SlowReader
            | FaultKind::ByteByByte
            | FaultKind::DiskError
            | FaultKind::DiskTorn
            | FaultKind::DiskFull
            | FaultKind::DiskSlow
            | FaultKind::DiskStuck
            | FaultKind::BitFlip
            | FaultKind::Pause
            | FaultKind::CoreStall => true,
            FaultKind::PowerCut
            | FaultKind::Kill
            | FaultKind::CleanStop
            | FaultKind::CutInRecovery
            | FaultKind::Reset
            | FaultKind::ClockJump
            | FaultKind::Replay
            | FaultKind::KillInSwap
            | FaultKind::RottenStart => false,
        }
    }

    /// Those with a stream of their own, beside the others, in one run of so many: of what they
    /// need there is too little in most runs, or they change nothing in the run.
    const BESIDE: [(FaultKind, u64); 2] = [(FaultKind::KillInSwap, 2), (FaultKind::RottenStart, 2)];
}

/// One thing that goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The event before which it happens.
    pub step: u64,
    pub kind: FaultKind,
    /// What is left to chance about it.
    pub draw: u64,
}

/// How many clients of each kind there are.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Population {
    pub producers: u32,
    pub consumers: u32,
    pub members: u32,
    pub admins: u32,
    pub hostile: u32,
}

/// The seed's world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Knobs {
    pub population: Population,
    pub partitions: i32,
    /// One way, at least and in addition on average.
    pub network_ns_min: u64,
    pub network_ns_mean: u64,
    /// One operation, at least and in addition on average.
    pub disk_ns_min: u64,
    pub disk_ns_mean: u64,
    /// What a client waits between two requests, on average.
    pub think_ns_mean: u64,
    pub session_timeout_ms: i32,
    pub journal_bytes: u64,
    pub segment_bytes: i32,
    /// Bytes of a record's padding at most.
    pub padding_max: u64,
    /// Shards of the first start; `None` draws anew at each.
    pub shards: Option<u16>,
    /// Producers to the topic of `memory` durability, which is there if there are any.
    pub tickers: u32,
    /// Producers in transactions; two at a time under one id if they are rivals.
    pub transactors: u32,
    pub rivals: bool,
    /// Readers of committed records, which are there if there are any of those.
    pub committed: u32,
    /// Producers of keyed records to a topic that is compacted, which is there if there are any.
    pub keyed: u32,
    /// Members of the consumer group (KIP-848).
    pub balanced: u32,
    /// Data folders, each a device of its own.
    pub folders: u8,
    /// Administrators who move partitions from one to the other.
    pub movers: u32,
    /// Members of the group that goes from one protocol to the other: of the classic protocol,
    /// which is cooperative there or not, and of the consumer protocol.
    pub moving: Moving,
    /// Members of the streams group (KIP-1071).
    pub streams: u32,
    /// Bytes of a log between two entries of its index, as a topic's default.
    pub index_interval_bytes: u32,
    /// The second topic that lasts is made so much later than the first.
    pub late_topic_ns: Option<u64>,
    /// How long tombstones stay in the compacted topic; `None`: longer than any run.
    pub delete_retention_ms: Option<i64>,
    /// Each compressed batch is a turn's share: those behind it wait for later turns.
    pub fine_turns: bool,
}

/// Members of a group of both protocols.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Moving {
    pub classic: u32,
    pub cooperative: bool,
    pub consumer: u32,
}

/// The seed's streams, one for each concern.
#[derive(Clone, Debug)]
pub struct Streams {
    /// Shards: when a turn begins and what it takes.
    pub schedule: Prng,
    pub network: Prng,
    pub disk: Prng,
    /// Randomness the broker is given.
    pub entropy: Prng,
    /// How many cores a start has, how long the broker is down.
    pub operator: Prng,
    clients: Prng,
}

impl Streams {
    /// The streams of a seed.
    pub fn new(seed: u64) -> Self {
        let root = Prng::new(seed);
        Self {
            schedule: root.fork(2),
            network: root.fork(3),
            disk: root.fork(4),
            entropy: root.fork(5),
            operator: root.fork(6),
            clients: root.fork(7),
        }
    }

    /// The stream of one client.
    pub fn client(&self, index: usize) -> Prng {
        self.clients.fork(index as u64 + 1)
    }
}

/// A delay of at least `min`, and `mean` more on average, exponentially distributed.
pub fn delay(prng: &mut Prng, min: u64, mean: u64) -> u64 {
    // The logarithm in sixteenths by integer arithmetic: floats may differ between machines.
    const TABLE: [u64; 16] = [1, 2, 3, 4, 5, 6, 8, 9, 11, 13, 15, 18, 22, 28, 36, 58];
    let sixteenth = TABLE[prng.below(16) as usize];
    min + (mean * sixteenth / 16).saturating_add(prng.below(mean / 16 + 1))
}

/// What the seed makes of the workload.
pub fn knobs(plan: &Plan) -> Knobs {
    let plan = &Plan { workload: plan.drawn(), ..plan.clone() };
    let mut prng = Prng::new(plan.seed).fork(8);
    let population = match plan.workload {
        Workload::Mix => Population {
            producers: prng.between(1, 5) as u32,
            consumers: prng.between(0, 3) as u32,
            members: if prng.one_in(2) { prng.between(1, 4) as u32 } else { 0 },
            admins: prng.between(0, 2) as u32,
            hostile: if prng.one_in(3) { prng.between(1, 2) as u32 } else { 0 },
        },
        Workload::Logs => Population {
            producers: prng.between(2, 8) as u32,
            consumers: prng.between(1, 5) as u32,
            ..Population::default()
        },
        Workload::Groups => Population {
            producers: prng.between(1, 2) as u32,
            members: prng.between(2, 6) as u32,
            ..Population::default()
        },
        Workload::Admin => Population {
            producers: prng.between(2, 4) as u32,
            consumers: prng.between(1, 2) as u32,
            admins: prng.between(2, 4) as u32,
            ..Population::default()
        },
        Workload::Folders => Population {
            producers: prng.between(2, 4) as u32,
            consumers: prng.between(1, 2) as u32,
            members: prng.between(0, 2) as u32,
            admins: 2,
            ..Population::default()
        },
        Workload::Moving => Population { producers: 1, ..Population::default() },
        Workload::Indexes => Population { producers: 8, ..Population::default() },
        Workload::Deletions => Population { producers: 2, admins: 8, ..Population::default() },
        Workload::Transactions | Workload::Compaction => {
            Population { producers: prng.between(1, 2) as u32, ..Population::default() }
        }
        Workload::Hostile => Population {
            producers: prng.between(1, 3) as u32,
            consumers: 1,
            members: prng.between(0, 2) as u32,
            admins: 1,
            hostile: prng.between(2, 5) as u32,
        },
        Workload::Calm => {
            Population { producers: 6, consumers: 3, members: 0, admins: 0, hostile: 0 }
        }
    };
    let calm = plan.workload == Workload::Calm;
    // A stream of its own: what is drawn above stays as it is.
    let mut own = Prng::new(plan.seed).fork(10);
    let odds = odds::of(plan.workload);
    let transactors = odds.transactors.draw(&mut own);
    let rivals = own.one_in(2);
    let committed = if transactors > 0 { own.between(1, 2) as u32 } else { 0 };
    let keyed = odds.keyed.draw(&mut own);
    let balanced = odds.balanced.draw(&mut own);
    // And another.
    let mut own = Prng::new(plan.seed).fork(11);
    let moves = odds::chance(&mut own, odds.moves);
    let streams = odds::chance(&mut own, odds.streams);
    let floods = odds::chance(&mut own, odds.floods);
    let mut own = Prng::new(plan.seed).fork(14);
    let expires = own.one_in(2);
    let delete_retention_ms = own.pick(&[100, 1_000, 4_000]);
    let mut own = Prng::new(plan.seed).fork(15);
    let late = own.one_in(6) && !calm;
    let late_topic_ns = own.between(300, 2_000) * MS;
    let two_folders = !calm && Prng::new(plan.seed).fork(12).one_in(4);
    let folders = if two_folders || plan.workload == Workload::Folders { 2 } else { 1 };
    let mut drawn = Prng::new(plan.seed).fork(16);
    let moved = drawn.one_in(2) && plan.workload == Workload::Mix && folders == 2;
    let movers = if moved || plan.workload == Workload::Folders { drawn.between(1, 2) } else { 0 };
    let big = floods || plan.workload == Workload::Indexes;
    let interval = own.pick(&[0, 300, 4_096]);
    let moving = Moving {
        classic: own.between(1, 3) as u32,
        cooperative: own.one_in(2),
        consumer: own.between(1, 2) as u32,
    };
    Knobs {
        population,
        partitions: if calm {
            4
        } else if plan.workload == Workload::Indexes {
            1
        } else {
            prng.between(1, 6) as i32
        },
        network_ns_min: prng.pick(&[20_000, 100_000, MS]),
        network_ns_mean: prng.pick(&[20_000, 200_000, 2 * MS]),
        disk_ns_min: prng.pick(&[10_000, 50_000]),
        disk_ns_mean: prng.pick(&[20_000, 200_000, 2 * MS]),
        think_ns_mean: if calm { 100 * MS } else { prng.pick(&[MS, 5 * MS, 30 * MS]) },
        session_timeout_ms: prng.pick(&[400, 1_000, 3_000]),
        journal_bytes: if floods { 1 << 20 } else { prng.pick(&[1 << 20, 2 << 20]) },
        segment_bytes: if big { 1 << 20 } else { prng.pick(&[16 << 10, 64 << 10, 1 << 20]) },
        padding_max: if floods {
            8_000
        } else if big {
            4
        } else {
            prng.pick(&[4, 60, 400])
        },
        shards: calm.then_some(2),
        tickers: if calm || prng.one_in(2) { 0 } else { prng.between(1, 2) as u32 },
        transactors,
        rivals,
        committed,
        keyed,
        balanced,
        folders,
        movers: movers as u32,
        moving: if moves { moving } else { Moving::default() },
        streams: if streams { own.between(1, 3) as u32 } else { 0 },
        index_interval_bytes: if plan.workload == Workload::Indexes { 0 } else { interval },
        late_topic_ns: late.then_some(late_topic_ns),
        delete_retention_ms: (keyed > 0 && expires).then_some(delete_retention_ms),
        fine_turns: !calm && plan.seed % 8 == 6,
    }
}

/// The seed's faults, in the order of their steps.
pub fn schedule(plan: &Plan) -> Vec<Fault> {
    if plan.workload == Workload::Calm {
        return Vec::new();
    }
    let mut prng = Prng::new(plan.seed).fork(9);
    // Half of the kinds at a time: what never happens together would hide behind what always does.
    let kinds: Vec<(FaultKind, u64)> =
        FaultKind::ALL.into_iter().filter(|_| prng.one_in(2)).collect();
    // What a failed journal did not write a kill leaves in shared memory, a power cut does not; and
    // a stop of a slow disk takes long enough for somebody to come.
    let deletions = [
        (FaultKind::DiskError, 2),
        (FaultKind::CleanStop, 4),
        (FaultKind::PowerCut, 3),
        (FaultKind::DiskSlow, 3),
    ];
    let kinds = if plan.workload == Workload::Deletions { deletions.to_vec() } else { kinds };
    let total: u64 = kinds.iter().map(|(_, weight)| weight).sum();
    let mut faults = match total {
        0 => Vec::new(),
        _ => among(plan, &mut prng, &kinds, total),
    };
    faults.extend(beside(plan));
    faults.sort_by_key(|fault| fault.step);
    if let Some(kept) = &plan.faults {
        let kept = kept.iter().filter_map(|index| faults.get(*index)).copied().collect();
        return kept;
    }
    faults
}

/// As many faults of these kinds as fit, whose weights are `total` together.
fn among(plan: &Plan, prng: &mut Prng, kinds: &[(FaultKind, u64)], total: u64) -> Vec<Fault> {
    let apart = prng.pick(&[400, 1_000, 3_000]);
    let mut faults = Vec::new();
    let mut step = prng.between(200, 1_000);
    while step < plan.steps {
        let mut at = prng.below(total);
        let chosen = kinds.iter().find(|(_, weight)| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        let (kind, _) = chosen.expect("a number below the sum of the weights meets one");
        faults.push(Fault { step, kind: *kind, draw: prng.next_u64() });
        step += prng.between(1, 2 * apart);
    }
    faults
}

/// What goes wrong beside that, as if the other faults were not there.
fn beside(plan: &Plan) -> Vec<Fault> {
    let root = Prng::new(plan.seed).fork(13);
    let mut faults = Vec::new();
    for (number, (kind, one_in)) in (1..).zip(FaultKind::BESIDE) {
        let mut own = root.fork(number);
        let comes = own.one_in(one_in);
        let fits = kind != FaultKind::KillInSwap || plan.drawn() == Workload::Compaction;
        if comes && fits {
            let drawn = (0..own.between(1, 6)).map(|_| {
                let (step, draw) = (own.between(1_000, STEPS - 1), own.next_u64());
                Fault { step, kind, draw }
            });
            faults.extend(drawn.filter(|fault| fault.step < plan.steps));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_less_leaves_the_others_as_they_were() {
        let plan = Plan::new(5);
        let all = schedule(&plan);
        assert!(all.len() > 3, "seed 5 has faults to take away");
        let kept = schedule(&Plan { faults: Some(vec![0, 2]), ..plan });
        assert_eq!(kept, [all[0], all[2]]);
    }

    #[test]
    fn delays_are_what_they_are_said_to_be_on_average() {
        let mut prng = Prng::new(1);
        let total: u64 = (0..10_000).map(|_| delay(&mut prng, 100, 1_600)).sum();
        let mean = total / 10_000;
        assert!((1_600..1_750).contains(&mean), "{mean}");
    }

    #[test]
    fn every_kind_of_fault_is_drawn_by_some_seed() {
        for (kind, _) in FaultKind::ALL.into_iter().chain(FaultKind::BESIDE) {
            let drawn = (0..60)
                .any(|seed| schedule(&Plan::new(seed)).iter().any(|fault| fault.kind == kind));
            assert!(drawn, "{kind:?} never comes");
        }
    }
}
