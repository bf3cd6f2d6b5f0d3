//! Sets of cores in the kernel's two notations: lists (`0,2-5`) and masks (`00000000,0000003d`).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::limits::CORE_MAX;

/// A set of cores. Printed as a list; empty is an empty text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoreSet(BTreeSet<u32>);

impl CoreSet {
    /// Reads a mask: hexadecimal groups of 32 bits, the highest first.
    pub fn from_mask(text: &str) -> Option<Self> {
        let mut cores = BTreeSet::new();
        for (group, word) in text.trim().rsplit(',').enumerate() {
            let bits = u32::from_str_radix(word, 16).ok()?;
            let base = u32::try_from(group).ok()?.checked_mul(32)?;
            for bit in (0..32).filter(|bit| bits >> bit & 1 == 1) {
                cores.insert(base.checked_add(bit).filter(|core| *core <= CORE_MAX)?);
            }
        }
        Some(Self(cores))
    }

    /// As a mask.
    pub fn to_mask(&self) -> String {
        let groups = self.0.last().map_or(1, |last| last / 32 + 1);
        let word = |group: u32| {
            let bits = self.0.range(group * 32..(group + 1) * 32);
            bits.fold(0u32, |word, core| word | 1 << (core % 32))
        };
        let mut text = format!("{:x}", word(groups - 1));
        for group in (0..groups - 1).rev() {
            text.push_str(&format!(",{:08x}", word(group)));
        }
        text
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many it holds.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it holds this one.
    pub fn contains(&self, core: u32) -> bool {
        self.0.contains(&core)
    }

    /// Whether all of these are in `other`.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// Those that are in both.
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).copied().collect())
    }

    /// Those that are not in `other`.
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).copied().collect())
    }

    /// Ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<u32> for CoreSet {
    fn from_iter<I: IntoIterator<Item = u32>>(cores: I) -> Self {
        Self(cores.into_iter().collect())
    }
}

impl FromStr for CoreSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no list of cores; write it like 0,2-5");
        let mut cores = BTreeSet::new();
        for part in text.trim().split(',').filter(|_| !text.trim().is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first: u32 = first.trim().parse().map_err(|_| wrong())?;
            let last: u32 = last.trim().parse().map_err(|_| wrong())?;
            if first > last || last > CORE_MAX {
                return Err(wrong());
            }
            cores.extend(first..=last);
        }
        Ok(Self(cores))
    }
}

impl fmt::Display for CoreSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for core in self.iter() {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == core => *last = core,
                _ => runs.push((core, core)),
            }
        }
        for (at, (first, last)) in runs.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_and_print() {
        for text in ["", "0", "0-1", "0,2-5,63-64"] {
            assert_eq!(text.parse::<CoreSet>().map(|cores| cores.to_string()), Ok(text.to_owned()));
        }
        for text in ["a", "3-1", "1,,2", "-1", "0-99999999"] {
            assert!(text.parse::<CoreSet>().is_err_and(|why| why.contains("0,2-5")), "{text}");
        }
    }

    #[test]
    fn masks_read_and_print() {
        for (mask, list) in [("0", ""), ("3", "0-1"), ("ff", "0-7"), ("1,00000000", "32")] {
            let cores = CoreSet::from_mask(mask).expect(mask);
            assert_eq!((cores.to_string().as_str(), cores.to_mask().as_str()), (list, mask));
        }
        let padded = CoreSet::from_mask("00000000,0000000f\n").expect("as the kernel prints it");
        assert_eq!(padded.to_string(), "0-3");
        assert_eq!(CoreSet::from_mask("xyz"), None);
        assert_eq!(CoreSet::from_mask(""), None);
    }
}
