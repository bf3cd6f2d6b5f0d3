//! Processor: frequency, idle states, the clock, and what the kernel runs on shard cores.

use super::{Judged, Survey};
use crate::cores::CoreSet;
use crate::setting::{About, Form, Kind, Place, Status};

/// Longest way back from an idle state that a sleeping shard should pay. A durable write takes
/// 30 µs and more on a fast disk: below a third of it the wake-up does not show.
const IDLE_EXIT_US_MAX: u64 = 10;

/// How long a halted virtual processor spins first; the kernel's own default.
const HALT_POLL_NS: u64 = 200_000;

/// Clocks that are read without entering the kernel.
const FAST_CLOCKS: [&str; 7] = [
    "tsc",
    "kvm-clock",
    "hyperv_clocksource_tsc_page",
    "arch_sys_counter",
    "timebase",
    "tod",
    "riscv_clocksource",
];

/// Frequency policy, second half.
pub static ENERGY: About = About {
    name: "cpu.energy_preference",
    why: "A processor that chooses its own frequency saves energy in the pauses between requests, \
          so each burst begins slow.",
    kind: Kind::Speed,
};

/// Frequency policy.
pub static GOVERNOR: About = About {
    name: "cpu.governor",
    why: "A shard sleeps between requests; a governor that lowers the clock meanwhile makes the \
          next request pay for the ramp.",
    kind: Kind::Speed,
};

/// Deep idle states.
pub static IDLE: About = About {
    name: "cpu.idle_states",
    why: "A sleeping shard returns from a deep idle state only after tens or hundreds of \
          microseconds, longer than the work that wakes it.",
    kind: Kind::Speed,
};

/// Polling before halting in a guest.
pub static HALT_POLL: About = About {
    name: "cpu.halt_poll",
    why: "Waking a halted virtual processor goes through the hypervisor; a guest that polls \
          briefly before it halts saves that on every request.",
    kind: Kind::Speed,
};

/// Clock source.
pub static CLOCK: About = About {
    name: "cpu.clocksource",
    why: "A shard reads the clock on every turn: a clock in the processor is read in place, a \
          timer chip through a system call and a slow bus.",
    kind: Kind::Speed,
};

/// Simultaneous multithreading.
pub static SIBLINGS: About = About {
    name: "cpu.siblings",
    why: "Two hardware threads share one core's execution units and caches: a shard with a busy \
          sibling is slower and less steady.",
    kind: Kind::Report,
};

/// isolcpus.
pub static ISOLATION: About = About {
    name: "cpu.isolation",
    why: "The scheduler may put any task on a shard's core, which then waits for a time slice; \
          isolated cores run only what is pinned to them.",
    kind: Kind::Report,
};

/// nohz_full.
pub static TICKLESS: About = About {
    name: "cpu.tickless",
    why: "The timer tick interrupts a spinning shard 100 to 1000 times a second; without it every \
          kernel entry costs more, so it pays with --busy-poll only.",
    kind: Kind::Report,
};

/// Mitigations.
pub static MITIGATIONS: About = About {
    name: "cpu.mitigations",
    why: "Mitigations of processor flaws make each system call dearer; they also protect. Know \
          which are on before comparing figures of two machines.",
    kind: Kind::Report,
};

pub(super) const ALL: &[&About] = &[
    &ENERGY,
    &GOVERNOR,
    &IDLE,
    &HALT_POLL,
    &CLOCK,
    &SIBLINGS,
    &ISOLATION,
    &TICKLESS,
    &MITIGATIONS,
];

pub(super) fn judge(survey: &mut Survey<'_>) {
    // The energy preference first: under the governor `performance` it can no longer be written,
    // and undoing, which goes backwards, must write it after the governor as well.
    frequency(survey);
    idle_states(survey);
    halt_poll(survey);
    clock(survey);
    siblings(survey);
    isolation(survey);
    mitigations(survey);
}

fn cpu(core: u32) -> String {
    format!("/sys/devices/system/cpu/cpu{core}")
}

fn frequency(survey: &mut Survey<'_>) {
    let (files, host) = (survey.files, survey.host);
    let offers = |path: String| {
        files.text(&path).is_some_and(|text| text.split_whitespace().any(|w| w == "performance"))
    };
    let (mut governors, mut preferences) = (0, 0);
    for core in host.shards.iter() {
        let folder = format!("{}/cpufreq", cpu(core));
        let path = format!("{folder}/energy_performance_preference");
        if offers(format!("{folder}/energy_performance_available_preferences")) {
            preferences += 1;
            survey.file(&ENERGY, Place::Core(core, None), &path, Form::Text, performance);
        }
    }
    for core in host.shards.iter() {
        let folder = format!("{}/cpufreq", cpu(core));
        let path = format!("{folder}/scaling_governor");
        if offers(format!("{folder}/scaling_available_governors")) {
            governors += 1;
            survey.file(&GOVERNOR, Place::Core(core, None), &path, Form::Text, performance);
        }
    }
    let owner = survey.owner();
    if preferences == 0 {
        survey.absent(&ENERGY, owner);
    }
    if governors == 0 {
        survey.absent(&GOVERNOR, owner);
    }
}

fn performance(value: &str) -> Judged {
    match value {
        "performance" => Judged::Good(value.to_owned()),
        _ => Judged::Write("performance".to_owned()),
    }
}

fn idle_states(survey: &mut Survey<'_>) {
    let (files, host) = (survey.files, survey.host);
    if let Some(limit_us) = latency_limit(survey) {
        let note = format!("somebody holds /dev/cpu_dma_latency at {limit_us} µs: no deeper state");
        survey.note(&IDLE, Place::Host, Status::Good, None, &note);
        return;
    }
    let (mut states, mut deep) = (0, 0);
    for core in host.shards.iter() {
        let resume = format!("{}/power/pm_qos_resume_latency_us", cpu(core));
        // `n/a` tolerates no latency at all, 0 any.
        let limit = files.text(&resume);
        let limited = limit.as_deref().is_some_and(|limit| {
            limit == "n/a" || limit.parse().is_ok_and(|us: u64| us > 0 && us <= IDLE_EXIT_US_MAX)
        });
        let folder = format!("{}/cpuidle", cpu(core));
        for state in files.names(&folder).iter().filter(|name| name.starts_with("state")) {
            let state = format!("{folder}/{state}");
            states += 1;
            let latency = files.text(&format!("{state}/latency"));
            let latency_us = latency.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
            if latency_us <= IDLE_EXIT_US_MAX || limited {
                continue;
            }
            deep += 1;
            let name = files.text(&format!("{state}/name")).unwrap_or_default();
            let part = Some(format!("{name}, {latency_us} µs"));
            let path = format!("{state}/disable");
            survey.file(&IDLE, Place::Core(core, part), &path, Form::Text, |value| match value {
                "0" => Judged::Write("1".to_owned()),
                "1" => Judged::Good("1".to_owned()),
                _ => Judged::Strange,
            });
        }
    }
    let owner = survey.owner();
    match (states, deep) {
        (0, _) => survey.absent(&IDLE, owner),
        (_, 0) => {
            let note = format!("no state of these cores takes more than {IDLE_EXIT_US_MAX} µs");
            survey.note(&IDLE, Place::Host, Status::Good, None, &note);
        }
        _ => {}
    }
}

/// The machine-wide limit somebody holds, if it already rules deep states out.
fn latency_limit(survey: &Survey<'_>) -> Option<i32> {
    let bytes = survey.files.read_bytes("/dev/cpu_dma_latency").ok()?;
    let limit_us = i32::from_ne_bytes(bytes.try_into().ok()?);
    (0..=IDLE_EXIT_US_MAX as i32).contains(&limit_us).then_some(limit_us)
}

fn halt_poll(survey: &mut Survey<'_>) {
    let governor = survey.files.text("/sys/devices/system/cpu/cpuidle/current_governor");
    if governor.as_deref() != Some("haltpoll") {
        survey.absent(&HALT_POLL, "only in virtual machines with the idle governor haltpoll");
        return;
    }
    let path = "/sys/module/haltpoll/parameters/guest_halt_poll_ns";
    survey.file(&HALT_POLL, Place::Host, path, Form::Text, |value| match value.parse::<u64>() {
        Ok(0) => Judged::Write(HALT_POLL_NS.to_string()),
        Ok(_) => Judged::Good("above 0".to_owned()),
        Err(_) => Judged::Strange,
    });
}

fn clock(survey: &mut Survey<'_>) {
    let folder = "/sys/devices/system/clocksource/clocksource0";
    let available = survey.files.text(&format!("{folder}/available_clocksource"));
    let available = available.unwrap_or_default();
    let better = available.split_whitespace().find(|name| FAST_CLOCKS.contains(name));
    let path = format!("{folder}/current_clocksource");
    survey.file(&CLOCK, Place::Host, &path, Form::Text, |value| match better {
        _ if FAST_CLOCKS.contains(&value) => Judged::Good(value.to_owned()),
        Some(better) => Judged::Write(better.to_owned()),
        None => {
            let how = "the kernel offers nothing faster; `dmesg | grep -i clocksource` says why";
            Judged::Advice("tsc".to_owned(), how.to_owned())
        }
    });
}

fn siblings(survey: &mut Survey<'_>) {
    let (files, host) = (survey.files, survey.host);
    let mut shared = Vec::new();
    let mut alone = 0;
    for core in host.shards.iter() {
        let path = format!("{}/topology/thread_siblings_list", cpu(core));
        let Some(text) = files.text(&path) else { continue };
        let threads: CoreSet = text.parse().unwrap_or_default();
        match threads.and(&host.online).len() {
            0 | 1 => alone += 1,
            _ => shared.push(text),
        }
    }
    shared.sort();
    shared.dedup();
    if shared.is_empty() && alone == 0 {
        survey.absent(&SIBLINGS, "the kernel does not say which threads share a core");
    } else if shared.is_empty() {
        survey.note(&SIBLINGS, Place::Host, Status::Good, None, "no two threads share a core");
    } else {
        let both = shared.iter().any(|group| {
            let group: CoreSet = group.parse().unwrap_or_default();
            group.and(&host.shards).len() > 1
        });
        let what = if both { "two shards share a core" } else { "a shard's sibling is free" };
        let how = "give shards one thread of each core with --cores and keep its sibling idle";
        let shown = shared.join(" ");
        let status = if both { Status::Advice } else { Status::Info };
        survey.note(&SIBLINGS, Place::Host, status, Some(&shown), &format!("{what}; {how}"));
    }
}

fn isolation(survey: &mut Survey<'_>) {
    let (files, host) = (survey.files, survey.host);
    if host.others.is_empty() {
        let note = match host.online.len() {
            0 | 1 => "this machine has one core: shard, interrupts and everything else share it",
            _ => {
                "every core runs a shard: give the broker --cores without one, so that interrupts \
                 and other tasks have a home"
            }
        };
        survey.note(&ISOLATION, Place::Host, Status::Info, None, note);
    } else {
        let isolated = cores_of(survey, "/sys/devices/system/cpu/isolated");
        let shown = isolated.to_string();
        let shown = if shown.is_empty() { "none" } else { &shown };
        if host.shards.is_within(&isolated) {
            let note = "a service needs CPUAffinity= with these cores: the default mask lacks them";
            survey.note(&ISOLATION, Place::Host, Status::Good, Some(shown), note);
        } else {
            let cores = &host.shards;
            let how = format!(
                "kernel command line: isolcpus=managed_irq,domain,{cores} rcu_nocbs={cores} (then \
                 a service needs CPUAffinity=)"
            );
            survey.note(&ISOLATION, Place::Host, Status::Advice, Some(shown), &how);
        }
    }
    let tickless = cores_of(survey, "/sys/devices/system/cpu/nohz_full");
    let shown = tickless.to_string();
    let shown = if shown.is_empty() { "none" } else { &shown };
    let has = !tickless.is_empty();
    let (status, note) = match (host.busy_poll, host.shards.is_within(&tickless) && has) {
        (true, true) => (Status::Good, "shard cores run without a tick".to_owned()),
        (true, false) => {
            (Status::Advice, format!("kernel command line: nohz_full={}", host.shards))
        }
        (false, true) => {
            (Status::Info, "a sleeping shard has no tick anyway and pays at each entry".to_owned())
        }
        (false, false) => (Status::Good, "a sleeping core has no tick anyway".to_owned()),
    };
    let missing = files.read("/proc/cmdline").is_err();
    let status = if missing { Status::Absent } else { status };
    survey.note(&TICKLESS, Place::Host, status, Some(shown), &note);
}

fn cores_of(survey: &Survey<'_>, path: &str) -> CoreSet {
    // Reads `(null)` where the kernel was built for it and not asked.
    survey.files.text(path).and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn mitigations(survey: &mut Survey<'_>) {
    let folder = "/sys/devices/system/cpu/vulnerabilities";
    let names = survey.files.names(folder);
    if names.is_empty() {
        survey.absent(&MITIGATIONS, "the kernel does not list processor flaws");
        return;
    }
    let (mut on, mut open) = (Vec::new(), Vec::new());
    for name in names {
        let text = survey.files.text(&format!("{folder}/{name}")).unwrap_or_default();
        if text.starts_with("Mitigation") {
            on.push(name);
        } else if text.starts_with("Vulnerable") {
            open.push(name);
        }
    }
    let word = |names: &[String]| match names {
        [] => "none".to_owned(),
        names => names.join(" "),
    };
    let shown = format!("on: {}; vulnerable: {}", word(&on), word(&open));
    let option = survey.host.cmdline.split_whitespace().find(|w| w.starts_with("mitigations="));
    let option = option.unwrap_or("no mitigations= on the kernel command line");
    let note = format!("{option}; mitigations=off is for machines that run trusted code only");
    survey.note(&MITIGATIONS, Place::Host, Status::Info, Some(&shown), &note);
}
