//! `cargo sim`: runs the simulator for one seed or many, and says how to run a failing one again.

use std::process::ExitCode;

use tests::command;

fn main() -> ExitCode {
    let Some(options) = command::parse(std::env::args().skip(1)) else {
        eprintln!("{}", command::USAGE);
        return ExitCode::from(2);
    };
    command::run(&options)
}
