//! No transaction hangs: when everybody has gone, no record is above its log's stable end.

use super::{FoundLog, Held};

/// A whole log, when nobody has a transaction under way any more.
pub fn check(log: &FoundLog) -> Held {
    let end = log.records.last().map_or(log.log_start, |(offset, _)| offset + 1);
    if log.last_stable < end {
        return Err(breach!(
            "no transaction hangs",
            "the log is stable to {}, its last record ends at {end}",
            log.last_stable
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::checkers::Record;

    #[test]
    fn a_record_above_the_stable_end_is_seen() {
        let records = vec![(3, Record { producer: 0, number: 0 })];
        let log = FoundLog { last_stable: 4, records, ..FoundLog::default() };
        assert_eq!(check(&log), Ok(()));
        assert!(check(&FoundLog { last_stable: 3, ..log }).is_err(), "something hangs");
    }
}
