//! How soon a broker with much to remember serves after `kill -9`: `tests/durability/recovery.py`.
//!
//! It concerns Corelane alone. The program fills, kills, starts and checks; this file runs it.

use std::time::Duration;

use super::ground::Ground;
use super::table::{Line, alone, json_in, median};
use crate::process;
use crate::provision;

const LIMIT: Duration = Duration::from_secs(240);
const LOAD: &str = "1 M keys compacted, 10,000 producer ids, 1,000 transactional ids";
const MOST_SECONDS: f64 = 2.0;

/// Medians over the kills, and the slowest.
pub fn lines(ground: &Ground<'_>) -> Result<Vec<Line>, String> {
    println!("  {LOAD}");
    let mut command = process::command(provision::python(ground.workspace)?);
    command.arg("-u").arg(ground.workspace.root.join("tests/durability/recovery.py"));
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg("--broker").arg(&ground.binary);
    let done = process::run(&mut command, LIMIT, |line| println!("  {line}"))
        .map_err(|error| error.to_string())?;
    let found = json_in(&done.output).filter(|_| done.success());
    let found = found.ok_or_else(|| format!("recovery: {}", done.reason()))?;
    let seconds = |name: &str| -> Vec<f64> {
        let values = found.get(name).and_then(|values| values.as_array());
        values.into_iter().flatten().filter_map(|value| value.as_f64()).collect()
    };
    let mut lines = Vec::new();
    for (label, name) in [("to ready", "ready"), ("to all served", "served")] {
        let mut values = seconds(name);
        let most = values.iter().copied().fold(f64::NAN, f64::max);
        let shown =
            median(&mut values).map(|median| (median, format!("{median:.2} (max {most:.2})")));
        lines.push(alone(&format!("after kill -9: {label}, s"), LOAD, shown, MOST_SECONDS));
    }
    Ok(lines)
}
