//! What a group coordinator holds at most, and what a client hears at the bound.
//!
//! One coordinator is one shard's. The numbers bound what hostile or broken clients can make it
//! keep; an ordinary client never meets them. Limits an operator may want to set are Kafka's
//! configuration keys and live in `GroupConfig`.

/// Groups of one shard, groups that only hold offsets included. At the bound a join to a group that
/// does not exist yet answers `GROUP_MAX_SIZE_REACHED`, a commit to one
/// `INVALID_COMMIT_OFFSET_SIZE`.
pub const GROUPS_MAX: usize = 200_000;

/// Members of one group, whatever `group.max.size` says. The next join answers
/// `GROUP_MAX_SIZE_REACHED`.
pub const MEMBERS_PER_GROUP_MAX: usize = 10_000;

/// Member ids handed out with `MEMBER_ID_REQUIRED` and not used yet, per group. The next request
/// for one answers `GROUP_MAX_SIZE_REACHED` until some are used or expire.
pub const PENDING_MEMBERS_PER_GROUP_MAX: usize = 10_000;

/// Protocols that one member may offer. More answer `INCONSISTENT_GROUP_PROTOCOL`.
pub const PROTOCOLS_PER_MEMBER_MAX: usize = 64;

/// Bytes of protocol names and metadata that the members of one group hold together. A join that
/// would pass it answers `GROUP_MAX_SIZE_REACHED`.
pub const GROUP_METADATA_BYTES_MAX: usize = 64 << 20;

/// Partitions for which one group holds an offset. A commit that would pass it answers
/// `INVALID_COMMIT_OFFSET_SIZE` for every partition it names that the group does not hold yet.
pub const OFFSETS_PER_GROUP_MAX: usize = 1_000_000;

/// Appends under way of one shard. A request that needs another one answers
/// `COORDINATOR_NOT_AVAILABLE`, which clients retry; a rebalance, an expiry and an empty generation
/// go past it, because they are bounded by the groups.
pub const APPENDS_MAX: usize = 65_536;

/// Upper bound of what `offset.metadata.max.bytes` can allow: what a string of a record can say.
/// Longer metadata answers `OFFSET_METADATA_TOO_LARGE`.
pub const OFFSET_METADATA_BYTES_MAX: usize = STRING_BYTES_MAX;

/// Bytes of a client id or instance id that go into a member id; the rest is cut. Keeps a member id
/// within the two length bytes that records and old versions have for a string.
pub const MEMBER_ID_PREFIX_BYTES_MAX: usize = 4096;

/// Bytes of any string that goes into a record: what its two length bytes can say. The wire has the
/// same bound, but bytes that are no UTF-8 grow when they become replacement characters. A longer
/// group id answers `INVALID_GROUP_ID`, a longer instance id or protocol name `INVALID_REQUEST`; a
/// longer client id is cut.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

// A member id is the prefix, a dash and the 36 characters of a UUID.
const _: () = assert!(MEMBER_ID_PREFIX_BYTES_MAX + 37 <= i16::MAX as usize);
const _: () = assert!(PENDING_MEMBERS_PER_GROUP_MAX >= MEMBERS_PER_GROUP_MAX);

/// Requests that wait for the append under way of one consumer group. More answer
/// `COORDINATOR_NOT_AVAILABLE`, which clients retry.
pub const JOBS_PER_GROUP_MAX: usize = 2 * MEMBERS_PER_GROUP_MAX;

/// Bytes of topic names that one member of a consumer group may subscribe to. More answer
/// `INVALID_REQUEST`.
pub const SUBSCRIPTION_BYTES_MAX: usize = 1 << 20;

/// Bytes of the names and settings in the topology of a streams group, with those of the member
/// that brings it. More answer `INVALID_REQUEST`.
pub const TOPOLOGY_BYTES_MAX: usize = 1 << 20;

/// Different regular expressions of one consumer group. One more answers
/// `GROUP_MAX_SIZE_REACHED`.
pub const REGEXES_PER_GROUP_MAX: usize = 1_000;

/// Bytes of one regular expression. A longer one answers `INVALID_REGULAR_EXPRESSION`.
pub const REGEX_BYTES_MAX: usize = 4_096;

/// Bytes of a compiled regular expression. A larger one answers `INVALID_REGULAR_EXPRESSION`.
pub const REGEX_PROGRAM_BYTES_MAX: usize = 1 << 20;

/// Rounds of the uniform assignor over all topics where subscriptions differ. It ends earlier when
/// nothing moves any more; at the bound the assignment is as even as it has become.
pub const ASSIGNMENT_PASSES_MAX: usize = 100;
