//! `kill -9` again and again under load, for minutes; how long each start took.

use std::thread;
use std::time::{Duration, Instant};

use super::load::Load;
use super::{Ended, Faults};
use crate::disk::cache::Random;

const QUICK: Duration = Duration::from_secs(20);

/// Between the first record acknowledged after a start and the next kill.
const UPTIME_MIN_MS: u64 = 50;
const UPTIME_SPREAD_MS: u64 = 3_000;

pub(super) fn run(faults: &mut Faults<'_, '_>, suite: &str) -> Result<(), Ended> {
    let minutes = Duration::from_secs(faults.options.kill_minutes * 60);
    let lasts = if faults.options.quick { QUICK } else { minutes };
    let mut plan = faults.run.plan(suite)?;
    let mut server = plan.start()?;
    let mut load = Load::start(faults, suite, &server)?;
    let mut random = Random(faults.seed);
    let (started, mut kills) = (Instant::now(), 0);
    while started.elapsed() < lasts {
        load.wait_for_acks(&mut server)?;
        thread::sleep(Duration::from_millis(UPTIME_MIN_MS + random.next() % UPTIME_SPREAD_MS));
        if !server.alive() {
            return Err(format!("the broker died after {kills} kills; {}", server.tail()).into());
        }
        server.kill();
        kills += 1;
        server = plan.start().map_err(|reason| format!("after kill {kills}: {reason}"))?;
        load.recovered(&server);
    }
    load.wait_for_acks(&mut server)?;
    let (acked, recovery) = (load.acked(), load.recovery());
    println!("    {kills} kills in {:.0?}, {acked} records acked; {recovery}", started.elapsed());
    faults.run.tally.pass(&format!("{suite}/{kills} restarts after kill -9"));
    let acks = load.finish()?;
    faults.verify(suite, server, &acks);
    Ok(())
}
