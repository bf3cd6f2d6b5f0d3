//! What a broker remembers across a clean stop and across `kill -9`, and how its process behaves.
//!
//! `tests/durability/restart.py` makes topics, records, offsets and producers before and looks for
//! them after. The process's own manners (exit codes, the lock on its folder) are Corelane's alone.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Run, conformance};
use crate::server::Server;
use crate::tally::Tally;
use crate::{ServerKind, process, provision};

const PREPARE: Duration = Duration::from_secs(90);
const MANNERS: Duration = Duration::from_secs(20);

/// A stop and a kill, and then manners.
pub fn run(run: &mut Run) {
    let python = match provision::python(run.workspace) {
        Ok(python) => python,
        Err(reason) => return run.tally.missing("restart", &reason),
    };
    if !run.broker_is_there() {
        return;
    }
    let script = run.workspace.root.join("tests/durability/restart.py");
    let program = |task: &str| {
        let mut command = process::command(&python);
        command.arg("-u").arg(&script).arg(task).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    for (name, killed) in [("after-stop", false), ("after-kill", true)] {
        if let Err(reason) = remember(run, name, killed, &program) {
            run.tally.fail(&format!("restart/{name}"), &reason);
        }
    }
    if run.options.server == ServerKind::Corelane
        && let Err(reason) = manners(run)
    {
        run.tally.fail("restart/manners", &reason);
    }
}

fn remember(
    run: &mut Run,
    name: &str,
    killed: bool,
    program: &dyn Fn(&str) -> Command,
) -> Result<(), String> {
    let mut plan = run.plan(&format!("restart-{name}"))?;
    let state = run.workspace.scratch().join(format!("restart-{name}/state.json"));
    let server = plan.start()?;
    let mut prepare = program("prepare");
    prepare.args(["--bootstrap", &server.bootstrap, "--state"]).arg(&state);
    let done = process::run(&mut prepare, PREPARE, |_| {}).map_err(|error| error.to_string())?;
    if !done.success() {
        return Err(format!("preparation: {}", done.reason()));
    }
    if killed {
        server.kill();
    } else {
        server.stop()?;
    }
    let server = plan.start()?;
    println!("    {name}: serving again in {:.0?}", server.ready_after);
    let mut verify = program("verify");
    verify.args(["--bootstrap", &server.bootstrap, "--state"]).arg(&state);
    conformance::run_program(&format!("restart/{name}"), &mut verify, &mut run.tally);
    conformance::stop(server, &mut run.tally);
    Ok(())
}

/// Exit codes and messages that an operator's scripts rely on.
fn manners(run: &mut Run) -> Result<(), String> {
    let mut plan = run.plan("restart-manners")?;
    let server = plan.start()?;
    second_start_is_refused(run, plan.binary(), &server);
    let mut strange = plan.command();
    strange.args(["--override", "message.max.bytes=many"]);
    let refused = process::run(&mut strange, MANNERS, |_| {}).map_err(|e| e.to_string())?;
    let lines = refused.output.lines().filter(|line| !line.is_empty()).count();
    let said = refused.output.contains("message.max.bytes") && refused.output.contains("many");
    let code = refused.status.and_then(|status| status.code());
    expect(
        &mut run.tally,
        "restart/a bad value is one line and exit code 2",
        code == Some(2) && said && lines == 1,
        &refused.reason(),
    );
    match server.interrupt() {
        Ok(()) => run.tally.pass("restart/SIGINT stops it cleanly"),
        Err(reason) => run.tally.fail("restart/SIGINT stops it cleanly", &reason),
    }
    Ok(())
}

fn second_start_is_refused(run: &mut Run, binary: &Path, server: &Server) {
    let name = "restart/a second start on the folder is refused with the owner's pid";
    let mut again = process::command(binary);
    again.args(["start", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    again.arg("--data-dir").arg(&server.data);
    match process::run(&mut again, MANNERS, |_| {}) {
        Err(error) => run.tally.fail(name, &error.to_string()),
        Ok(done) => {
            let refused = done.status.is_some_and(|status| !status.success());
            let named = done.output.contains(&server.pid().to_string());
            expect(&mut run.tally, name, refused && named, &done.reason());
        }
    }
}

fn expect(tally: &mut Tally, name: &str, holds: bool, otherwise: &str) {
    if holds {
        tally.pass(name);
    } else {
        tally.fail(name, otherwise);
    }
}
