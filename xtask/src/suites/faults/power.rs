//! Power cuts under the running broker: what was acknowledged is there after each.
//!
//! The broker's folder is on a disk with a volatile cache (`crate::disk`). Under the load of the
//! durability suite the power is cut: sectors that were not flushed are kept or lost by chance, the
//! broker is killed, the file system is mounted again and the broker started. At the end everything
//! is read back. A record that any cut had taken would be missing then.

use std::fs;
use std::thread;
use std::time::Duration;

use super::load::Load;
use super::{Ended, Faults};
use crate::disk::Disk;
use crate::disk::cache::Random;

const DISK_BYTES: u64 = 2 << 30;
const CUTS_QUICK: u64 = 5;
/// So many more where none lost a sector: by chance, each came when all was flushed.
const CUTS_MORE_MAX: u64 = 40;

/// How many percent of the volatile sectors survive a cut: none, few, half, nearly all.
const KEPT_PERCENT: [u64; 5] = [0, 10, 50, 50, 97];

/// The cut comes within so many writes and flushes.
const OPERATIONS_MAX: u64 = 40;

pub(super) fn run(faults: &mut Faults<'_, '_>, suite: &str) -> Result<(), Ended> {
    let cuts = if faults.options.quick { CUTS_QUICK } else { faults.options.cuts };
    let memory = faults.run.workspace.scratch().join(suite).join("memory");
    let mut plan = faults
        .run
        .plan(suite)?
        .with("corelane.journal.bytes", "33554432")
        .with("corelane.memory.dir", memory.display().to_string());
    let make_memory = || fs::create_dir_all(&memory).map_err(|error| error.to_string());
    make_memory()?;
    let mut disk = Disk::make(&plan.folder().join("disk"), &plan.data(), DISK_BYTES)?;
    let mut server = plan.start()?;
    let mut load = Load::start(faults, suite, &server)?;
    let mut random = Random(faults.seed);
    let (mut kept, mut lost) = (0, 0);
    let mut cut = 0;
    while cut < cuts || (lost == 0 && cut < cuts + CUTS_MORE_MAX) {
        cut += 1;
        load.wait_for_acks(&mut server)?;
        thread::sleep(Duration::from_millis(20 + random.next() % 600));
        if !server.alive() {
            return Err(format!("the broker died before cut {cut}; {}", server.tail()).into());
        }
        let percent = KEPT_PERCENT[(random.next() % KEPT_PERCENT.len() as u64) as usize];
        // At a flush or a write to come: between what was written and the promise that it stays.
        let operations = random.next() % OPERATIONS_MAX;
        let said = match disk.tell(&format!("arm {operations} {} {percent}", random.next())) {
            Ok(said) => said,
            // The load waited for a retry, and the disk was idle for as long as that takes.
            Err(_) => disk.tell(&format!("cut {} {percent}", random.next()))?,
        };
        let mut words = said.split(' ').filter_map(|word| word.parse::<u64>().ok());
        kept += words.next().unwrap_or(0);
        lost += words.next().unwrap_or(0);
        // Some cuts the broker lives to see: what fails then may not be acknowledged either.
        thread::sleep(Duration::from_millis(random.next() % 4 * 20));
        server.kill();
        // Shared memory does not outlive a power cut.
        fs::remove_dir_all(&memory).map_err(|error| error.to_string())?;
        make_memory()?;
        disk.restart()?;
        server = plan.start().map_err(|reason| format!("after cut {cut}: {reason}"))?;
        load.recovered(&server);
        println!(
            "    cut {cut}: {said} sectors kept, lost; serving again in {:.0?}, {} records acked",
            server.ready_after,
            load.acked()
        );
    }
    load.wait_for_acks(&mut server)?;
    if lost == 0 {
        return Err(Ended::Failed("no cut lost a sector: the disk has no cache".to_string()));
    }
    let recovery = load.recovery();
    println!("    {cut} cuts: {lost} sectors lost, {kept} kept unflushed; {recovery}");
    faults.run.tally.pass(&format!("{suite}/{cuts} boots after power cuts"));
    let acks = load.finish()?;
    faults.verify(suite, server, &acks);
    Ok(())
}
