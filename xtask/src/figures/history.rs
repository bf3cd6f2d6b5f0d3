//! Figures of earlier commits: one JSON line each in `bench-harness/history/figures.jsonl`.
//!
//! Kept are ratios, to Kafka or to the floor, because those of different days can be compared;
//! Corelane's own values stand beside them. What it costs per request and per byte may not creep up
//! unseen: `record` names every cost that grew by more than `WORSE` since the entry before.

use std::fs;
use std::io::Write;

use serde_json::{Map, Value, json};

use super::table::Line;
use crate::process;
use crate::workspace::Workspace;

/// A cost that grew by more is named.
const WORSE: f64 = 1.05;

/// Appends an entry for the commit that is checked out.
pub fn record(workspace: &Workspace, lines: &[Line]) -> Result<(), String> {
    let folder = workspace.root.join("bench-harness/history");
    let path = folder.join("figures.jsonl");
    let text = |error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(&folder).map_err(text)?;
    let earlier = match fs::read_to_string(&path) {
        Ok(earlier) => earlier,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(text(error)),
    };
    let entry = json!({
        "commit": git(workspace, &["rev-parse", "--short", "HEAD"])?,
        "date": git(workspace, &["show", "-s", "--format=%cs", "HEAD"])?,
        "changed": !git(workspace, &["status", "--porcelain", "-uno"])?.is_empty(),
        "figures": figures(lines),
    });
    let mut file = fs::File::options().create(true).append(true).open(&path).map_err(text)?;
    writeln!(file, "{entry}").map_err(text)?;
    let last = earlier.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
    match last {
        None => println!("\nthe first entry of {}", path.display()),
        Some(last) => {
            println!("\nagainst {}:", last["commit"].as_str().unwrap_or("?"));
            for line in compared(&last["figures"], &entry["figures"]) {
                println!("{line}");
            }
        }
    }
    Ok(())
}

fn figures(lines: &[Line]) -> Value {
    let each = lines.iter().map(|line| {
        let ratio = line.ours.zip(line.theirs).map(|(ours, theirs)| ours / theirs);
        (line.name.clone(), json!({ "corelane": line.ours, "ratio": ratio }))
    });
    Value::Object(each.collect::<Map<_, _>>())
}

/// One line per cost that both entries have, and a mark on those that grew.
fn compared(before: &Value, now: &Value) -> Vec<String> {
    let costs = now.as_object().into_iter().flatten();
    let costs = costs.filter(|(name, _)| name.contains("CPU-s") || name.contains("enter"));
    let lines = costs.filter_map(|(name, figure)| {
        // The ratio where there is one: a slow day makes both sides slow.
        let of = |figure: &Value| figure["ratio"].as_f64().or(figure["corelane"].as_f64());
        let change = of(figure)? / of(&before[name])?;
        let mark = if change > WORSE { "  WORSE" } else { "" };
        Some(format!("  {name}: {:+.1} %{mark}", (change - 1.0) * 100.0))
    });
    lines.collect()
}

fn git(workspace: &Workspace, args: &[&str]) -> Result<String, String> {
    let mut command = process::command("git");
    command.current_dir(&workspace.root).args(args);
    let output = command.output().map_err(|error| format!("git: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(format!("git {}: {}", args.join(" "), output.status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_that_grew_by_more_than_a_twentieth_is_marked() {
        let before = json!({
            "lone-1: CPU-s per million requests": { "corelane": 2.0, "ratio": 0.1 },
            "lone-1: requests/s": { "corelane": 1000.0, "ratio": 5.0 },
            "lone-1: io_uring_enter per request": { "corelane": 0.10, "ratio": null },
        });
        let now = json!({
            "lone-1: CPU-s per million requests": { "corelane": 4.0, "ratio": 0.104 },
            "lone-1: requests/s": { "corelane": 500.0, "ratio": 2.5 },
            "lone-1: io_uring_enter per request": { "corelane": 0.12, "ratio": null },
            "new: CPU-s per GB": { "corelane": 1.0, "ratio": 1.0 },
        });
        let expected = [
            "  lone-1: CPU-s per million requests: +4.0 %",
            "  lone-1: io_uring_enter per request: +20.0 %  WORSE",
        ];
        assert_eq!(compared(&before, &now), expected);
    }
}
