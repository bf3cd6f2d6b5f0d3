//! How a load core waits: asleep in the kernel, or turning with the scheduler given its chance.
//!
//! A core that spins without entering the scheduler delays the completions of the disk whose
//! interrupt it takes by up to a tick; it would measure itself. Each empty turn therefore yields.

use std::time::Duration;

use glommio::timer::sleep;

use crate::args::Wait;
use crate::clock::Clock;

/// Longest sleep of a parked core, so that an end that was moved is seen.
const NAP: Duration = Duration::from_millis(100);

/// Wait of an empty turn. The executor's own turn, some microseconds, is longer.
const TURN: Duration = Duration::from_micros(1);
/// How long the executor of a spinning core polls before it would sleep: longer than any timer.
const SPIN: Duration = Duration::from_secs(60);

/// What the executor is told: how long to poll before it sleeps.
pub fn spin_before_park(wait: Wait) -> Duration {
    match wait {
        Wait::Spin => SPIN,
        Wait::Park => Duration::ZERO,
    }
}

/// One empty turn: other processes of this core, then other tasks and the rings, get their chance.
pub async fn turn() {
    std::thread::yield_now();
    // The executor polls its rings while it waits for a timer, and only then: one that is over
    // already would not wait at all.
    sleep(TURN).await;
}

/// Returns at `at_ns` or after.
pub async fn until(clock: Clock, wait: Wait, at_ns: u64) {
    loop {
        let now_ns = clock.now_ns();
        if now_ns >= at_ns {
            return;
        }
        match wait {
            Wait::Spin => turn().await,
            Wait::Park => sleep(Duration::from_nanos(at_ns - now_ns).min(NAP)).await,
        }
    }
}
