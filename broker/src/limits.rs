//! Every bound of the shard, with what happens there.
//!
//! The coordinator and the controller keep theirs in their own `limits.rs`.

/// Requests of one connection under way at once. At the bound the shard stops reading from the
/// connection until half of them are answered; what one read had brought beyond it is taken. Kafka
/// works on one; stock clients send 5 to 8.
pub const CONNECTION_REQUESTS_MAX: usize = 256;

/// Memory of answers a connection has not taken yet, in bytes: what they hold, which for small ones
/// is several times their length. At the bound the shard stops reading from it, so a client that
/// never reads costs this and no more (one answer may be larger: it is sent from shared buffers).
pub const CONNECTION_UNSENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Frames kept while an earlier request of the connection must finish first. Reading is paused with
/// the first; more can only be what one read had already brought. Beyond it the connection is
/// closed.
pub const CONNECTION_HELD_FRAMES_MAX: usize = 4096;

/// Response buffers a shard keeps for reuse, and the largest it keeps. More are freed.
pub const RESPONSE_POOL_COUNT_MAX: usize = 1024;
/// See `RESPONSE_POOL_COUNT_MAX`.
pub const RESPONSE_POOL_BYTES_MAX: usize = 64 * 1024;

/// Memory kept for batches that are stored in another form than they were sent in. A larger one is
/// freed when it was appended.
pub const BATCH_SCRATCH_BYTES_KEPT_MAX: usize = 2 * 1024 * 1024;

/// Unpacked bytes of the batches of one request, of one turn's messages of other shards, or of what
/// waits for later turns, that the codecs go through before the rest waits for the next turn: about
/// 5 ms of what is packed most tightly. The batch that passes it is taken whole.
pub const TURN_UNPACKED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes of batches that wait on a shard for a later turn because those before them unpacked to so
/// much. A batch beyond it is answered `REQUEST_TIMED_OUT`, which its producer tries again.
pub const SLICED_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Parts of a Produce whose room is kept for the next one: a request of millions of them does not
/// keep its memory.
pub const PRODUCE_PARTS_KEPT_MAX: usize = 4096;

/// Bytes of batches of transactions that wait on a shard for their coordinator's word. A batch
/// beyond it is answered `REQUEST_TIMED_OUT`, which its producer tries again.
pub const VERIFY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Nanoseconds until a coordinator that is ending the transaction before is asked again, at first.
/// Each time as long as it was waited for already, because most ends take two writes to the
/// journal, and at most `add.partitions.to.txn.retry.backoff.ms`, which Kafka waits each time.
pub const VERIFY_AGAIN_NS_MIN: u64 = 500_000;

/// Incremental fetch sessions per shard unless configured. The oldest is evicted, as Kafka does.
pub const FETCH_SESSIONS_MAX: usize = 1000;

/// Partitions of one fetch session; a larger request is served without a session.
pub const FETCH_SESSION_PARTITIONS_MAX: usize = 100_000;

/// Fetch requests parked on a shard. Beyond it they are answered at once with what there is.
pub const PARKED_FETCHES_MAX: usize = 100_000;

/// Control requests (create, delete, alter) waiting for the one being committed. Beyond it they are
/// answered `REQUEST_TIMED_OUT`.
pub const CONTROL_QUEUE_MAX: usize = 10_000;

/// Bytes of one read of a coordinator's partition while it loads.
pub const LOAD_READ_BYTES: u32 = 1024 * 1024;

/// Metadata records appended since the last snapshot that make a new one worth writing.
pub const METADATA_SNAPSHOT_RECORDS: u64 = 10_000;

/// Records of finished requests a shard keeps until the edge takes them, once per turn. More are
/// lost: only a turn that sees more answers sent than this, or an edge that does not ask.
pub const LEDGER_FINISHED_MAX: usize = 16 * 1024;

/// Slowest requests of a window that keep all their times. A faster one gives way.
pub const LEDGER_SLOWEST_COUNT: usize = 32;

/// How long a request can be among the slowest: from one to two of these, in nanoseconds.
pub const LEDGER_WINDOW_NS: u64 = 10_000_000_000;

/// Bytes kept of the name and of the version that a client gives its library. More is cut.
pub const CLIENT_SOFTWARE_BYTES_MAX: usize = 64;

/// Quota accounts of one shard. Beyond it those that are not in use go; when all are, further
/// owners of a quota are not bounded.
pub const QUOTA_ACCOUNTS_MAX: usize = 10_000;

/// Client ids whose accounts a shard remembers. At the bound it forgets all and looks them up
/// again.
pub const QUOTA_CLIENTS_MAX: usize = 10_000;

/// What was used of a quota is told to the other shards this much later at most, in nanoseconds:
/// seldom enough to cost nothing, and a thousandth of the shortest time a rate is taken over.
pub const QUOTA_REPORT_NS: u64 = 10_000_000;

const _: () = assert!(CONNECTION_REQUESTS_MAX <= CONNECTION_HELD_FRAMES_MAX);
const _: () = assert!(RESPONSE_POOL_BYTES_MAX <= CONNECTION_UNSENT_BYTES_MAX);

/// Partitions that do not exist yet and whose data folder was asked for already. One more is
/// created in the folder with the fewest partitions.
pub const PREFERRED_DIRECTORIES_MAX: usize = 10_000;

/// Data folders at most; more are refused at the start. One volume is left for partitions whose
/// folder is not there.
pub const DIRECTORIES_MAX: usize = storage::limits::VOLUMES_MAX - 1;

/// Bytes of batches, markers and deletions that wait on a shard while a log is switched to another
/// data folder. What is beyond it is answered `REQUEST_TIMED_OUT`, which is tried again.
pub const MOVE_HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long appends to a log wait for its copy to be the same, in nanoseconds; after that the log
/// goes on where it is. It takes one write of a journal, and another of the metadata log, for which
/// there is no bound but the disk's.
pub const MOVE_HOLD_NS_MAX: u64 = 500_000_000;

/// From a start until what the life before had begun to move goes on, in nanoseconds.
pub const MOVE_AFTER_START_NS: u64 = 50_000_000;

/// Until a switch that was given up, or a move, is tried again, in nanoseconds.
pub const MOVE_RETRY_NS: u64 = 1_000_000_000;
