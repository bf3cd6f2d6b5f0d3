//! Points in time and positions in a log, as a user writes them.
//!
//! Pure: text to values and back. `consume` and `group seek` resolve them against a broker.
//! Source: RFC 3339 for times; days by the proleptic Gregorian calendar.

use std::str::FromStr;

const DAY_MS: i64 = 86_400_000;

/// Where in a partition: `earliest`, `latest`, `offset:N`, `time:T`, `shift:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The first record there is.
    Earliest,
    /// After the last record there is.
    Latest,
    /// This offset.
    Offset(i64),
    /// The first record with this timestamp or a later one, in milliseconds since 1970.
    Time(i64),
    /// So many records further than where one stands; negative is back.
    Shift(i64),
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse::<i64>().map_err(|_| format!("`{text}` is no number; write digits"))
        };
        match text.split_once(':') {
            None if text == "earliest" => Ok(Self::Earliest),
            None if text == "latest" => Ok(Self::Latest),
            Some(("offset", offset)) => match number(offset)? {
                offset if offset >= 0 => Ok(Self::Offset(offset)),
                _ => Err("an offset is not negative; use shift:-N to go back".to_owned()),
            },
            Some(("time", time)) => parse_time(time).map(Self::Time),
            Some(("shift", shift)) => number(shift).map(Self::Shift),
            _ => Err(format!(
                "`{text}` is no position; write earliest, latest, offset:N, \
                 time:2026-01-31T08:00:00Z, time:MILLISECONDS or shift:N"
            )),
        }
    }
}

/// Milliseconds since 1970 from RFC 3339 (`2026-01-31T08:00:00.5+01:00`), a day, or a number.
pub fn parse_time(text: &str) -> Result<i64, String> {
    if let Ok(milliseconds) = text.parse::<i64>() {
        return match milliseconds {
            0.. => Ok(milliseconds),
            _ => Err(format!("`{text}` is before 1970; times start there")),
        };
    }
    let wrong =
        || format!("`{text}` is no time; write 2026-01-31T08:00:00Z or milliseconds since 1970");
    rfc3339(text).ok_or_else(wrong)
}

fn rfc3339(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let days_in_month = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1970..=9999).contains(&year) || !(1..=days_in_month).contains(&day) {
        return None;
    }
    let midnight = days_since_1970(year, month, day) * DAY_MS;
    if rest.is_empty() {
        return Some(midnight);
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    // RFC 3339 allows a leap second; it counts as the next minute's first.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (milliseconds, zone) = fraction(rest)?;
    let clock_ms = ((hour * 60 + minute) * 60 + second) * 1000 + milliseconds;
    Some(midnight + clock_ms - zone_ms(zone)?)
}

/// Three numbers of fixed widths.
fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut found = [0; 3];
    for (value, width) in found.iter_mut().zip(widths) {
        let part = parts.next()?;
        if part.len() != width || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *value = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

/// Milliseconds of `.123456`, and what follows.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(digits) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if digits.is_empty() {
        return None;
    }
    let three: String = digits.chars().chain("00".chars()).take(3).collect();
    Some((three.parse().ok()?, rest))
}

/// How far a zone's clocks are ahead.
fn zone_ms(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => return Some(0),
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two = |text: &str| (text.len() == 2).then(|| text.parse::<u8>().ok())?;
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours < 24 && minutes < 60)
        .then_some(sign * (i64::from(hours) * 60 + i64::from(minutes)) * 60_000)
}

/// Days from 1970-01-01 to a date, by counting in years that begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before = year * 365 + year / 4 - year / 100 + year / 400;
    before + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// `2026-01-31T08:00:00.000Z`, or the number itself outside the years 1970 to 9999.
pub fn format_time(timestamp_ms: i64) -> String {
    if !(0..253_402_300_800_000).contains(&timestamp_ms) {
        return timestamp_ms.to_string();
    }
    let days = timestamp_ms / DAY_MS;
    // The year is near this one; at most one step corrects it.
    let mut year = 1970 + days / 366;
    while days_since_1970(year + 1, 1, 1) <= days {
        year += 1;
    }
    let month = (1..=12).rev().find(|&month| days_since_1970(year, month, 1) <= days).unwrap_or(1);
    let day = days - days_since_1970(year, month, 1) + 1;
    let (seconds, milliseconds) = (timestamp_ms % DAY_MS / 1000, timestamp_ms % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_rfc_3339_says() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1985-04-12T23:20:50.52Z", 482_196_050_520),
            ("1996-12-19T16:39:57-08:00", 851_042_397_000),
            ("2000-02-29T00:00:00+00:30", 951_780_600_000),
            ("2026-11-21", 1_795_219_200_000),
            ("2026-11-21 03:00:00.0019z", 1_795_230_000_001),
            ("1795219200000", 1_795_219_200_000),
        ] {
            assert_eq!(parse_time(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_an_example() {
        for text in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-02-29",
            "2026-01-01T24:00:00Z",
            "-5",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-1-1",
            "2026-01-01T00:00:00+1:00",
        ] {
            assert!(parse_time(text).is_err(), "{text}");
        }
        assert!(parse_time("x").is_err_and(|why| why.contains("2026-01-31T08:00:00Z")));
    }

    #[test]
    fn times_read_back_as_they_were_printed() {
        for step in 0..2000_i64 {
            let time = step * 122_222_222_222 + step * 7;
            assert_eq!(parse_time(&format_time(time)), Ok(time), "{}", format_time(time));
        }
        assert_eq!(format_time(-1), "-1");
        assert_eq!(format_time(951_782_400_000), "2000-02-29T00:00:00.000Z");
    }

    #[test]
    fn positions_read() {
        assert_eq!("earliest".parse(), Ok(Position::Earliest));
        assert_eq!("latest".parse(), Ok(Position::Latest));
        assert_eq!("offset:12".parse(), Ok(Position::Offset(12)));
        assert_eq!("time:1000".parse(), Ok(Position::Time(1000)));
        assert_eq!("time:1970-01-01T00:00:01Z".parse(), Ok(Position::Time(1000)));
        assert_eq!("shift:-10".parse(), Ok(Position::Shift(-10)));
        for text in ["", "12", "offset:", "offset:-1", "shift:x", "Earliest", "time:", "end"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }
}
