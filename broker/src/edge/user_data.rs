//! Who an entry on the ring belongs to. `storage::edge::ring::DISK_BIT` is the disk's; the rest is
//! here.

use storage::edge::ring::DISK_BIT;

const KIND_SHIFT: u32 = 56;

/// What completes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A connection was accepted.
    Accept = 1,
    /// Bytes arrived on the connection in the slot.
    Receive = 2,
    /// A send of the connection in the slot is over.
    Send = 3,
    /// The shard's bell rang.
    Bell = 4,
    /// Another shard wrote to the mesh.
    MeshWake = 5,
    /// A wake-up of ours reached (or did not reach) the shard in the slot.
    MeshWakeSent = 6,
    /// Nobody waits for it.
    Ignored = 7,
}

const _: () = assert!((Kind::Ignored as u64) << KIND_SHIFT < DISK_BIT);

/// The user data of an entry.
pub const fn of(kind: Kind, slot: u32) -> u64 {
    (kind as u64) << KIND_SHIFT | slot as u64
}

/// The kind of a completion that is not the disk's.
pub fn kind(user_data: u64) -> Kind {
    match user_data >> KIND_SHIFT {
        1 => Kind::Accept,
        2 => Kind::Receive,
        3 => Kind::Send,
        4 => Kind::Bell,
        5 => Kind::MeshWake,
        6 => Kind::MeshWakeSent,
        7 => Kind::Ignored,
        other => unreachable!("no entry is of kind {other}"),
    }
}

/// The slot of a completion.
pub fn slot(user_data: u64) -> u32 {
    user_data as u32
}
