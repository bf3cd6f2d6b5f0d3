//! Measuring: what pays stays, what does not is undone, and the machine ends in a known state.
//!
//! Method: the bench is a function of the made-up machine's files, so that each change's true
//! worth is known, with noise where the test wants it.

mod common;

use common::{Kernel, Tree, changes};
use tuning::bench::BenchError;
use tuning::files::Files;
use tuning::journal::{Entry, Journal};
use tuning::measure::{Better, MeasureError, Measured, Measurement, Rules, TOGETHER, Verdict};
use tuning::setting::{Change, Kind};
use tuning::undo::{How, undo};

const BOOT: Option<&str> = Some("first-boot");
const GOVERNOR: &str = "/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor";
const BUSY_POLL: &str = "/proc/sys/net/core/busy_poll";

fn rules(rounds: u32) -> Rules {
    Rules { better: Better::Lower, rounds, gain_percent_min: 1.0 }
}

/// Settings a bench can judge.
fn plan(kernel: &Kernel) -> Vec<Change> {
    let mut plan = changes(kernel);
    plan.retain(|change| change.about.kind == Kind::Speed);
    plan
}

/// Runs a measurement whose bench sees the tree's files.
fn run(
    tree: &Tree,
    kernel: &mut Kernel,
    rules: Rules,
    mut bench: impl FnMut(&dyn Files) -> Result<f64, BenchError>,
) -> (Vec<Measured>, Result<(), MeasureError>) {
    let plan = plan(kernel);
    let mut journal = Journal::open(&tree.journal(), BOOT).expect("a journal");
    let files = tree.files();
    let mut told = Vec::new();
    let mut measurement = Measurement {
        files: kernel,
        journal: &mut journal,
        boot: BOOT,
        rules,
        bench: &mut || bench(&files),
    };
    let ended = measurement.run(&plan, &mut |measured| told.push(measured.clone()));
    (told, ended)
}

fn reads(files: &dyn Files, path: &str, value: &str) -> bool {
    files.text(path).as_deref() == Some(value)
}

/// 100 µs, 20 less with the governor, 10 less without busy polling.
fn latency(files: &dyn Files) -> f64 {
    let governor = if reads(files, GOVERNOR, "performance") { 20.0 } else { 0.0 };
    let polling = if reads(files, BUSY_POLL, "0") { 10.0 } else { 0.0 };
    100.0 - governor - polling
}

fn verdict<'a>(told: &'a [Measured], setting: &str) -> &'a Verdict {
    &told.iter().find(|measured| measured.setting == setting).expect(setting).verdict
}

#[test]
fn what_pays_is_kept_and_the_rest_is_undone() {
    let tree = Tree::machine();
    let before = tree.snapshot();
    let mut kernel = Kernel::of(&tree);
    let (told, ended) = run(&tree, &mut kernel, rules(2), |files| Ok(latency(files)));
    ended.expect("it goes through");
    let Verdict::Kept(figures) = verdict(&told, "cpu.governor") else {
        panic!("{told:?}");
    };
    assert_eq!((figures.before, figures.after, figures.gain_percent), (100.0, 80.0, 20.0));
    assert!(matches!(verdict(&told, "net.busy_poll"), Verdict::Kept(_)), "{told:?}");
    assert!(matches!(verdict(&told, "disk.scheduler"), Verdict::Reverted(_)), "{told:?}");
    let Verdict::Kept(figures) = verdict(&told, TOGETHER) else { panic!("{told:?}") };
    assert_eq!((figures.before, figures.after), (100.0, 70.0));

    let after = tree.snapshot();
    let different: Vec<String> = before
        .iter()
        .filter(|(place, content)| after[*place] != **content)
        .map(|(place, _)| place.display().to_string())
        .collect();
    assert_eq!(different.len(), 4, "three governors and busy polling: {different:?}");

    let mut journal = Journal::find(&tree.journal()).expect("readable").expect("there");
    undo(&mut kernel, &mut journal, BOOT, How::default()).expect("a journal");
    assert_eq!(tree.snapshot(), before);
    assert!(journal.finish().expect("removable"));
}

#[test]
fn a_gain_within_the_noise_does_not_pay() {
    let tree = Tree::machine();
    let before = tree.snapshot();
    let mut kernel = Kernel::of(&tree);
    let mut runs = 0;
    let (told, ended) = run(&tree, &mut kernel, rules(3), |files| {
        runs += 1;
        // 40 µs up and down among equal runs, twice what the best change is worth.
        Ok(latency(files) + [0.0, 0.0, 20.0, 40.0, 40.0, 20.0][runs % 6])
    });
    ended.expect("it goes through");
    assert!(told.iter().all(|measured| matches!(measured.verdict, Verdict::Reverted(_))));
    assert_eq!(tree.snapshot(), before);
}

#[test]
fn a_machine_that_slows_down_by_itself_credits_and_blames_nothing() {
    let tree = Tree::machine();
    let before = tree.snapshot();
    let mut kernel = Kernel::of(&tree);
    let mut drift = 0.0;
    let (told, ended) = run(&tree, &mut kernel, rules(2), |_| {
        drift += 3.0;
        Ok(1_000.0 + drift)
    });
    ended.expect("it goes through");
    for measured in &told {
        let Verdict::Reverted(figures) = measured.verdict else { panic!("{measured:?}") };
        assert!(figures.gain_percent.abs() < 1e-9, "the turns cancel the drift: {measured:?}");
    }
    assert_eq!(tree.snapshot(), before);
}

#[test]
fn higher_is_better_when_asked() {
    let tree = Tree::machine();
    let mut kernel = Kernel::of(&tree);
    let rules = Rules { better: Better::Higher, ..rules(2) };
    let (told, ended) = run(&tree, &mut kernel, rules, |files| Ok(1_000.0 - latency(files)));
    ended.expect("it goes through");
    assert!(matches!(verdict(&told, "cpu.governor"), Verdict::Kept(_)), "{told:?}");
}

#[test]
fn interrupted_at_any_run_nothing_half_measured_stays() {
    for stop_at in 1..8 {
        let tree = Tree::machine();
        let before = tree.snapshot();
        let mut kernel = Kernel::of(&tree);
        let mut runs = 0;
        let (_, ended) = run(&tree, &mut kernel, rules(2), |_| {
            runs += 1;
            if runs == stop_at { Err(BenchError::Interrupted) } else { Ok(100.0) }
        });
        assert!(matches!(ended, Err(MeasureError::Interrupted)), "{ended:?}");
        assert_eq!(tree.snapshot(), before, "stopped at run {stop_at}");
        let journal = Journal::find(&tree.journal()).expect("readable").expect("there");
        assert!(!journal.entries().iter().any(Entry::is_open));
    }
}

#[test]
fn a_bench_that_fails_with_a_change_reverts_it_and_goes_on() {
    let tree = Tree::machine();
    let mut kernel = Kernel::of(&tree);
    let (told, ended) =
        run(&tree, &mut kernel, rules(2), |files| match reads(files, BUSY_POLL, "0") {
            true => Err(BenchError::Start("no bench".to_owned())),
            false => Ok(latency(files)),
        });
    ended.expect("it goes through");
    assert!(matches!(verdict(&told, "net.busy_poll"), Verdict::Failed(_)), "{told:?}");
    assert_eq!(tree.read(BUSY_POLL), "50\n");
    assert!(matches!(verdict(&told, "cpu.governor"), Verdict::Kept(_)), "{told:?}");
}

#[test]
fn a_bench_that_fails_without_any_change_ends_it() {
    let tree = Tree::machine();
    let before = tree.snapshot();
    let mut kernel = Kernel::of(&tree);
    let (told, ended) =
        run(&tree, &mut kernel, rules(2), |_| Err(BenchError::Start("no such file".to_owned())));
    assert!(matches!(ended, Err(MeasureError::Bench(_))), "{ended:?}");
    assert!(told.is_empty());
    assert_eq!(tree.snapshot(), before);
}

#[test]
fn what_the_kernel_refuses_is_not_measured() {
    let tree = Tree::machine();
    let mut kernel = Kernel::of(&tree);
    kernel.refused = vec!["/queue/scheduler"];
    let (told, ended) = run(&tree, &mut kernel, rules(2), |files| Ok(latency(files)));
    ended.expect("it goes through");
    let Verdict::Refused(why) = verdict(&told, "disk.scheduler") else { panic!("{told:?}") };
    assert!(why.contains("Input/output error"), "{why}");
}

#[test]
fn somebody_who_writes_meanwhile_ends_the_measurement() {
    let tree = Tree::machine();
    let mut kernel = Kernel::of(&tree);
    let (_, ended) = run(&tree, &mut kernel, rules(2), |files| {
        if reads(files, GOVERNOR, "performance") {
            tree.file(GOVERNOR, "schedutil\n");
        }
        Ok(100.0)
    });
    let Err(MeasureError::Disturbed { path }) = ended else { panic!("{ended:?}") };
    assert_eq!(path, GOVERNOR);
    assert_eq!(tree.read(GOVERNOR), "schedutil\n", "it is somebody else's");
}
