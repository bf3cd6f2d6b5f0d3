//! The broker and the least possible server in turns: `corelane bench floor`.

use super::ground::{BROKER_CORE, CLIENT_CORE, Ground, RUN_TIMEOUT};
use super::rows::FloorRow;
use super::table::{Line, alone, json_in, number, rounded};
use crate::process;
use crate::server::Server;

/// These rows on one broker.
pub fn lines(ground: &Ground<'_>, rows: &[&FloorRow]) -> Result<Vec<Line>, String> {
    ground.corelane(
        "figures-floor",
        |plan| plan,
        |corelane| rows.iter().map(|row| line(ground, corelane, row)).collect(),
    )
}

fn line(ground: &Ground<'_>, server: &Server, row: &FloorRow) -> Result<Line, String> {
    println!("{}: {}", row.name, row.what);
    let mut command = process::command(&ground.binary);
    let pid = server.pid().to_string();
    command.args(["bench", "floor", "--core", &BROKER_CORE.to_string()]);
    command.args(["--server", &server.bootstrap, "--server-pid", &pid, "--format", "json"]);
    command.args(["--allow-slow-client", "--rounds", &ground.options.rounds.to_string()]);
    if row.durable {
        command.arg("--durable").arg(&ground.workspace.target);
    }
    let seconds = ground.seconds();
    command.arg("--").args(row.load).args(["--cores", CLIENT_CORE, "--duration", &seconds]);
    let rounds = ground.options.rounds.max(1);
    let done = process::run(&mut command, RUN_TIMEOUT * rounds, |_| {});
    let done = done.map_err(|error| error.to_string())?;
    let comparison = json_in(&done.output)
        .ok_or_else(|| format!("bench floor {}: {}", row.load.join(" "), done.reason()))?;
    let figures = comparison["figures"].as_array().into_iter().flatten();
    let found = figures.into_iter().find(|figure| figure["name"] == row.figure);
    let value = |key: &[&str]| found.and_then(|figure| number(figure, key));
    let (ours, theirs) = (value(&["a", "median"]), value(&["b", "median"]));
    println!("  corelane {}, floor {}", rounded(ours), rounded(theirs));
    let ratio = value(&["ratio"]);
    Ok(alone(
        &format!("{}: {} against the floor's", row.name, row.figure),
        row.what,
        ratio.map(|ratio| (ratio, format!("{ratio:.2}"))),
        row.at_most,
    ))
}
