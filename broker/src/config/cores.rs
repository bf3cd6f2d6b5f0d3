//! Lists of cores, as in `0,2-5`.

use super::error::ConfigError;

/// Highest core number taken: the kernel's own bound on x86-64.
pub const CORE_MAX: u16 = 8191;

/// Reads a list of cores: in the order given, each at most once.
pub fn parse_cores(text: &str) -> Result<Vec<u16>, ConfigError> {
    let wrong = |why: &str| ConfigError::conflict("corelane.cores", text, why);
    let form = "write cores as in 0,2-5";
    let mut cores = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let number =
            |digits: &str| digits.trim().parse::<u16>().ok().filter(|core| *core <= CORE_MAX);
        let (Some(low), Some(high)) = (number(low), number(high)) else { return Err(wrong(form)) };
        if low > high {
            return Err(wrong("a range goes from the lower core to the higher"));
        }
        for core in low..=high {
            if cores.contains(&core) {
                return Err(wrong("a core is named twice"));
            }
            cores.push(core);
        }
    }
    Ok(cores)
}
