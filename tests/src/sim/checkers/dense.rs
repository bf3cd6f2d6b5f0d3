//! Offsets are dense: what is read from an offset on begins there and leaves nothing out.
//!
//! Nothing in the simulated topics is compacted, so a gap is a loss. Only below the log start may a
//! reader find the beginning gone.

use super::{Held, Record};

/// Records read from `from` on, in a log that begins at `log_start`.
pub fn check(from: i64, log_start: i64, records: &[(i64, Record)]) -> Held {
    for (expected, (offset, record)) in (from.max(log_start)..).zip(records) {
        if *offset != expected {
            return Err(breach!(
                "offsets are dense",
                "{record:?} at offset {offset} where {expected} must be"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_and_a_late_beginning_are_seen() {
        let at = |offset| (offset, Record { producer: 0, number: 0 });
        assert_eq!(check(3, 0, &[at(3), at(4)]), Ok(()));
        assert_eq!(check(3, 5, &[at(5)]), Ok(()), "the beginning was deleted");
        assert!(check(3, 0, &[at(4)]).is_err(), "offset 3 is left out");
        assert!(check(3, 0, &[at(3), at(5)]).is_err(), "offset 4 is left out");
    }
}
