//! Applying and undoing: no difference is left, however it ends.
//!
//! Method: every file of a made-up machine is compared before and after, with the process killed
//! at each write of applying and of undoing, with a torn journal, and with somebody else writing
//! in between.

mod common;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{Death, Kernel, QUEUE, Tree, changes, survey};
use tuning::change::{Applied, Wrote, apply};
use tuning::files::Files;
use tuning::journal::{Journal, JournalError};
use tuning::setting::Change;
use tuning::undo::{Back, How, Undone, undo};

const BOOT: Option<&str> = Some("first-boot");

fn apply_all(tree: &Tree, kernel: &mut Kernel) -> Vec<Applied> {
    let changes = changes(kernel);
    let mut journal = Journal::open(&tree.journal(), BOOT).expect("a journal");
    apply(kernel, &changes, &mut journal).expect("a journal that can be written")
}

fn undo_all(tree: &Tree, kernel: &mut Kernel, how: How) -> Vec<Undone> {
    let found = Journal::find(&tree.journal()).expect("a journal that can be read");
    let Some(mut journal) = found else { return Vec::new() };
    let undone = undo(kernel, &mut journal, BOOT, how).expect("a journal that can be written");
    if !how.dry_run {
        journal.finish().expect("a journal that can be removed");
    }
    undone
}

fn only<'a>(changes: &'a [Change], setting: &str) -> Vec<&'a Change> {
    changes.iter().filter(|change| change.about.name == setting).collect()
}

#[test]
fn apply_then_undo_leaves_no_difference() {
    let tree = Tree::machine();
    let before = tree.snapshot();
    let mut kernel = Kernel::of(&tree);
    let planned = changes(&kernel);
    let applied = apply_all(&tree, &mut kernel);
    assert!(applied.iter().all(|applied| applied.result == Ok(Wrote::Value)), "{applied:?}");
    assert_eq!(applied.len(), planned.len());
    let after = tree.snapshot();
    for change in &planned {
        let place = tree.place(&change.path).canonicalize().expect("it is there");
        assert_ne!(before[&place], after[&place], "{} was not written", change.path);
    }
    assert!(changes(&kernel).is_empty(), "a second check finds something: {:?}", changes(&kernel));

    let undone = undo_all(&tree, &mut kernel, How::default());
    assert!(undone.iter().all(|undone| undone.result == Back::Restored), "{undone:?}");
    assert_eq!(undone.len(), planned.len());
    assert_eq!(tree.snapshot(), before);
    assert!(!tree.journal().exists(), "nothing is left to undo");
}

#[test]
fn a_plain_copy_of_a_machine_is_restored_as_well() {
    let tree = Tree::machine();
    let before = tree.snapshot();
    let mut files = tree.files();
    let changes = changes(&files);
    let mut journal = Journal::open(&tree.journal(), BOOT).expect("a journal");
    apply(&mut files, &changes, &mut journal).expect("a journal that can be written");
    assert_eq!(tree.read(&format!("{QUEUE}/scheduler")), "[none] mq-deadline kyber \n");
    undo(&mut files, &mut journal, BOOT, How::default()).expect("a journal that can be written");
    assert_eq!(tree.snapshot(), before);
}

#[test]
fn every_write_is_in_the_journal_before_it_is_made() {
    let tree = Tree::machine();
    let mut number = 0;
    loop {
        let tree = if number == 0 { &tree } else { &Tree::machine() };
        let mut kernel = Kernel::of(tree);
        let planned = changes(&kernel);
        if number == planned.len() {
            break;
        }
        kernel.death = Some(Death::Before(number));
        let killed = catch_unwind(AssertUnwindSafe(|| apply_all(tree, &mut kernel)));
        assert!(killed.is_err(), "it is killed at write {number}");
        let journal = fs::read_to_string(tree.journal()).expect("a journal");
        let last = journal.lines().last().expect("a line");
        assert!(last.contains(&format!("\"{}\"", planned[number].path)), "{last}");
        number += 1;
    }
    assert!(number > 25, "the machine has much to change");
}

#[test]
fn killed_at_any_write_of_applying_it_is_undone_without_a_difference() {
    let writes = changes(&Kernel::of(&Tree::machine())).len();
    for death in (0..writes).flat_map(|at| [Death::Before(at), Death::After(at)]) {
        let tree = Tree::machine();
        let before = tree.snapshot();
        let mut kernel = Kernel::of(&tree);
        kernel.death = Some(death);
        let killed = catch_unwind(AssertUnwindSafe(|| apply_all(&tree, &mut kernel)));
        assert!(killed.is_err(), "{death:?}");
        let undone = undo_all(&tree, &mut Kernel::of(&tree), How::default());
        assert!(undone.iter().all(|undone| undone.result.is_done()), "{death:?}: {undone:?}");
        assert_eq!(tree.snapshot(), before, "{death:?}");
        assert!(!tree.journal().exists(), "{death:?}");
    }
}

#[test]
fn killed_at_any_write_of_undoing_a_second_undo_finishes() {
    let tree = Tree::machine();
    let mut kernel = Kernel::of(&tree);
    apply_all(&tree, &mut kernel);
    let mut kernel = Kernel::of(&tree);
    undo_all(&tree, &mut kernel, How::default());
    let writes = kernel.writes.len();
    for death in (0..writes).flat_map(|at| [Death::Before(at), Death::After(at)]) {
        let tree = Tree::machine();
        let before = tree.snapshot();
        apply_all(&tree, &mut Kernel::of(&tree));
        let mut kernel = Kernel::of(&tree);
        kernel.death = Some(death);
        let undoing = || undo_all(&tree, &mut kernel, How::default());
        assert!(catch_unwind(AssertUnwindSafe(undoing)).is_err(), "{death:?}");
        undo_all(&tree, &mut Kernel::of(&tree), How::default());
        assert_eq!(tree.snapshot(), before, "{death:?}");
        assert!(!tree.journal().exists(), "{death:?}");
    }
}

#[test]
fn a_journal_torn_anywhere_in_its_last_line_is_read_to_the_line_before() {
    let tree = Tree::machine();
    let before = tree.snapshot();
    let mut kernel = Kernel::of(&tree);
    kernel.death = Some(Death::Before(7));
    let killed = catch_unwind(AssertUnwindSafe(|| apply_all(&tree, &mut kernel)));
    assert!(killed.is_err());
    let whole = fs::read(tree.journal()).expect("a journal");
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').expect("lines") + 1;
    let applied = tree.snapshot();
    for end in last..whole.len() {
        fs::write(tree.journal(), &whole[..end]).expect("a torn journal");
        let undone = undo_all(&tree, &mut Kernel::of(&tree), How::default());
        assert_eq!(undone.len(), 7, "cut at {end}");
        assert_eq!(tree.snapshot(), before, "cut at {end}");
        for (place, content) in applied.iter().filter(|(place, text)| before[*place] != **text) {
            fs::write(place, content).expect("as it was applied");
        }
    }
}

#[test]
fn damage_in_the_middle_of_a_journal_stops_undoing_before_it_begins() {
    let tree = Tree::machine();
    apply_all(&tree, &mut Kernel::of(&tree));
    let applied = tree.snapshot();
    let journal = fs::read_to_string(tree.journal()).expect("a journal");
    fs::write(tree.journal(), journal.replacen("\"old\"", "\"odd\"", 1)).expect("damage");
    let found = Journal::find(&tree.journal());
    let line = matches!(found, Err(JournalError::Damaged { line: 2, .. }));
    assert!(line, "{found:?}");
    assert_eq!(tree.snapshot(), applied);
}

#[test]
fn what_somebody_else_changed_meanwhile_is_said_and_left_unless_forced() {
    let tree = Tree::machine();
    let before = tree.snapshot();
    let mut kernel = Kernel::of(&tree);
    apply_all(&tree, &mut kernel);
    let path = "/proc/sys/vm/swappiness";
    tree.file(path, "33\n");
    let undone = undo_all(&tree, &mut kernel, How::default());
    let left: Vec<&Undone> = undone.iter().filter(|undone| !undone.result.is_done()).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!((left[0].path.as_str(), &left[0].result), (path, &Back::Left));
    assert_eq!((left[0].found.as_str(), left[0].old.as_str()), ("33", "60"));
    assert_eq!(tree.read(path), "33\n");
    assert!(tree.journal().exists(), "it can still be forced");

    let forced = undo_all(&tree, &mut kernel, How { force: true, ..How::default() });
    assert_eq!(forced.len(), 1, "only what was left: {forced:?}");
    assert_eq!(tree.snapshot(), before);
    assert!(!tree.journal().exists());
}

#[test]
fn what_somebody_else_put_back_is_left_as_it_is() {
    let tree = Tree::machine();
    let before = tree.snapshot();
    let mut kernel = Kernel::of(&tree);
    apply_all(&tree, &mut kernel);
    tree.file("/proc/sys/vm/swappiness", "60\n");
    let undone = undo_all(&tree, &mut kernel, How::default());
    let put_back = undone.iter().find(|undone| undone.path.ends_with("swappiness"));
    assert_eq!(put_back.map(|undone| &undone.result), Some(&Back::Already));
    assert_eq!(tree.snapshot(), before);
}

#[test]
fn what_the_kernel_refuses_is_told_and_the_rest_goes_on() {
    let tree = Tree::machine();
    let before = tree.snapshot();
    let mut kernel = Kernel::of(&tree);
    kernel.refused = vec!["/irq/40/smp_affinity_list"];
    let applied = apply_all(&tree, &mut kernel);
    let refused: Vec<&Applied> = applied.iter().filter(|applied| applied.result.is_err()).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].change.path, "/proc/irq/40/smp_affinity_list");
    assert!(applied.iter().filter(|applied| applied.result == Ok(Wrote::Value)).count() > 25);
    let undone = undo_all(&tree, &mut kernel, How::default());
    assert!(undone.iter().all(|undone| undone.path != refused[0].change.path));
    assert_eq!(tree.snapshot(), before);
}

#[test]
fn a_second_apply_adds_to_the_journal_and_one_undo_takes_both_back() {
    let tree = Tree::machine();
    let before = tree.snapshot();
    let mut kernel = Kernel::of(&tree);
    apply_all(&tree, &mut kernel);
    tree.file("/proc/sys/net/core/somaxconn", "256\n");
    let again = apply_all(&tree, &mut kernel);
    assert_eq!(again.len(), 1, "the rest is as it should be: {again:?}");
    let undone = undo_all(&tree, &mut kernel, How::default());
    // 4096 (ours) to 256 (theirs); below that lies 4096, and it is 256 that is found.
    let results: Vec<(&str, &Back)> = undone
        .iter()
        .filter(|undone| undone.path.ends_with("somaxconn"))
        .map(|undone| (undone.old.as_str(), &undone.result))
        .collect();
    assert_eq!(results, [("256", &Back::Restored), ("128", &Back::Left)]);
    undo_all(&tree, &mut kernel, How { force: true, ..How::default() });
    assert_eq!(tree.snapshot(), before);
}

#[test]
fn after_a_boot_nothing_is_left_to_undo_and_nothing_is_touched() {
    let tree = Tree::machine();
    let mut kernel = Kernel::of(&tree);
    apply_all(&tree, &mut kernel);
    let applied = tree.snapshot();
    let mut journal = Journal::find(&tree.journal()).expect("readable").expect("there");
    let undone = undo(&mut kernel, &mut journal, Some("second-boot"), How::default());
    let undone = undone.expect("a journal that can be written");
    assert!(undone.iter().all(|undone| undone.result == Back::Booted) && !undone.is_empty());
    assert_eq!(tree.snapshot(), applied);
    assert!(journal.finish().expect("removable"));
}

#[test]
fn applying_after_a_boot_begins_the_journal_anew() {
    let tree = Tree::machine();
    apply_all(&tree, &mut Kernel::of(&tree));
    let journal = Journal::open(&tree.journal(), Some("second-boot")).expect("a journal");
    assert!(journal.entries().is_empty());
    drop(journal);
    let journal = Journal::find(&tree.journal()).expect("readable").expect("there");
    assert!(journal.entries().is_empty() && !journal.is_of_another_boot(Some("second-boot")));
}

#[test]
fn a_dry_run_of_undoing_says_it_all_and_writes_nothing() {
    let tree = Tree::machine();
    let mut kernel = Kernel::of(&tree);
    let applied = apply_all(&tree, &mut kernel).len();
    let (files, journal) = (tree.snapshot(), fs::read(tree.journal()).expect("a journal"));
    let undone = undo_all(&tree, &mut kernel, How { dry_run: true, ..How::default() });
    assert_eq!(undone.len(), applied);
    assert!(undone.iter().all(|undone| undone.result == Back::Restored), "{undone:?}");
    assert_eq!(tree.snapshot(), files);
    assert_eq!(fs::read(tree.journal()).expect("a journal"), journal);
}

#[test]
fn what_the_kernel_resets_with_a_scheduler_comes_back_with_it() {
    let tree = Tree::machine();
    let mut kernel = Kernel::of(&tree);
    let all = changes(&kernel);
    let scheduler: Vec<Change> = only(&all, "disk.scheduler").into_iter().cloned().collect();
    let mut journal = Journal::open(&tree.journal(), BOOT).expect("a journal");
    apply(&mut kernel, &scheduler, &mut journal).expect("a journal that can be written");
    assert_eq!(tree.read(&format!("{QUEUE}/nr_requests")), "256\n", "the kernel reset it");
    undo(&mut kernel, &mut journal, BOOT, How::default()).expect("a journal");
    for (file, text) in [("nr_requests", "777\n"), ("wbt_lat_usec", "2000\n")] {
        assert_eq!(tree.read(&format!("{QUEUE}/{file}")), text);
    }
    assert_eq!(tree.read(&format!("{QUEUE}/iosched/read_expire")), "123\n");
}

#[test]
fn a_device_that_went_is_not_waited_for() {
    let tree = Tree::machine();
    let mut kernel = Kernel::of(&tree);
    apply_all(&tree, &mut kernel);
    tree.remove("/proc/irq/42/smp_affinity_list");
    let undone = undo_all(&tree, &mut kernel, How::default());
    assert!(undone.iter().any(|undone| undone.result == Back::Gone), "{undone:?}");
    assert!(!tree.journal().exists());
}

#[test]
fn two_at_once_are_refused() {
    let tree = Tree::machine();
    let first = Journal::open(&tree.journal(), BOOT).expect("a journal");
    let second = Journal::open(&tree.journal(), BOOT);
    assert!(matches!(second, Err(JournalError::InUse(_))), "{second:?}");
    drop(first);
    Journal::open(&tree.journal(), BOOT).expect("it is free again");
}

#[test]
fn a_made_up_journal_cannot_write_outside_of_the_kernels_files() {
    let tree = Tree::machine();
    tree.file("/etc/passwd", "root\n");
    for path in ["/etc/passwd", "/proc/../etc/passwd"] {
        let lines = format!(
            "{{\"line\":\"begin\",\"version\":1,\"boot\":\"first-boot\"}}\n\
             {{\"line\":\"write\",\"entry\":0,\"setting\":\"x\",\"path\":\"{path}\",\
             \"form\":\"text\",\"old\":\"evil\\n\",\"new\":\"root\"}}\n\
             {{\"line\":\"refused\",\"entry\":0}}\n"
        );
        fs::write(tree.journal(), lines).expect("a journal");
        let found = Journal::find(&tree.journal());
        assert!(matches!(found, Err(JournalError::Damaged { line: 2, .. })), "{found:?}");
    }
    assert_eq!(tree.read("/etc/passwd"), "root\n");
}

#[test]
fn checking_writes_nothing() {
    let tree = Tree::machine();
    let before = tree.snapshot();
    let kernel = Kernel::of(&tree);
    survey(&kernel);
    assert!(kernel.writes.is_empty());
    assert_eq!(tree.snapshot(), before);
    assert!(kernel.read("/proc/sys/vm/swappiness").is_ok());
}
