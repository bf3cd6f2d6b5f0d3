//! Every bound of storage, with what happens there.

/// Direct I/O granularity in bytes: positions, lengths and addresses are multiples of it. The devices we
/// measured have 512-byte logical and 4 KiB physical sectors; a smaller unit makes the device read,
/// modify and write.
pub const BLOCK_BYTES: usize = 4096;

/// Batches of an idempotent producer that a retry is recognised by, per partition. Kafka's number: its
/// clients keep at most five requests in flight. An older retry is out of order.
pub const PRODUCER_BATCHES_COUNT: usize = 5;

/// Producers a partition remembers: at about 200 bytes each, 13 MiB. At the bound the sixteenth whose
/// last batches are oldest is forgotten, as if expired, open transactions excepted; when all have one, an
/// unknown producer is refused.
pub const PRODUCERS_PER_PARTITION_MAX: usize = 65_536;

/// Leader epochs a log remembers. At the bound the oldest goes: a question about it is answered with the
/// first one known, as after its records were deleted.
pub const LEADER_EPOCHS_MAX: usize = 65_536;
