//! Member ids: the client's or the instance's id, a dash, a UUID of version 4.
//!
//! The randomness is a seeded sequence (SplitMix64): two coordinators that live at the same time,
//! or one after the other over the same groups, need different seeds. Not a secret: whoever may
//! join a group may also describe it.

use std::sync::Arc;

use protocol::types::Uuid;

use crate::coordinator::limits::MEMBER_ID_PREFIX_BYTES_MAX;

#[derive(Debug)]
pub(super) struct MemberIds {
    state: u64,
}

impl MemberIds {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A member id that begins with `prefix`.
    pub(super) fn draw(&mut self, prefix: &str) -> Arc<str> {
        let prefix = clip(prefix, MEMBER_ID_PREFIX_BYTES_MAX);
        let (high, low) = (self.next(), self.next());
        // RFC 4122: four bits say version 4, two bits say the variant.
        let high = (high & !0xf000) | 0x4000;
        let low = (low & !(0b11 << 62)) | (0b10 << 62);
        format!(
            "{prefix}-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff,
        )
        .into()
    }

    /// A member id of nothing but a UUID, as Kafka draws it for a consumer without one.
    pub(super) fn draw_bare(&mut self) -> Arc<str> {
        Uuid::from_u64s(self.next(), self.next()).to_string().into()
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// At most `bytes_max` bytes of a string, whole characters.
pub(super) fn clip(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
