//! The tidy test: what a machine can watch of the project's style.
//!
//! Every Rust file introduces itself on line one, stays within 100 columns and 800 lines and holds
//! no leftover; every Markdown file has one title; every decision is in the index. An exception is
//! one line in a table below, with its reason; one that is no longer needed fails too.

mod tree;

use std::collections::BTreeSet;
use std::path::Path;

const COLUMNS_MAX: usize = 100;
const LINES_MAX: usize = 800;

/// Files that may be longer than `LINES_MAX`, each with why.
const LONG_FILES: &[(&str, &str)] = &[];

/// Files whose lines may be wider than `COLUMNS_MAX`, each with why.
const WIDE_FILES: &[(&str, &str)] = &[];

/// Macros that are left over from writing and never belong in a commit.
const LEFTOVERS: [&str; 3] = ["dbg!", "todo!", "unimplemented!"];

#[test]
fn every_rust_file_introduces_itself() {
    expect_none(
        rust_files()
            .filter(|(_, text)| !introduces(text))
            .map(|(name, _)| format!("{name}: line one is no `//!` sentence")),
    );
}

#[test]
fn no_line_is_wider_than_a_hundred_columns() {
    let mut wide = Vec::new();
    let mut excused = BTreeSet::new();
    for (name, text) in rust_files() {
        for line in too_wide(&text) {
            if WIDE_FILES.iter().any(|(file, _)| *file == name) {
                excused.insert(name.clone());
            } else {
                wide.push(format!("{name}:{line}: wider than {COLUMNS_MAX} columns"));
            }
        }
    }
    wide.extend(unused(WIDE_FILES, &excused));
    expect_none(wide.into_iter());
}

#[test]
fn no_file_hides_two() {
    let mut long = Vec::new();
    let mut excused = BTreeSet::new();
    for (name, text) in rust_files() {
        let lines = text.lines().count();
        if lines > LINES_MAX && LONG_FILES.iter().any(|(file, _)| *file == name) {
            excused.insert(name);
        } else if lines > LINES_MAX {
            long.push(format!("{name}: {lines} lines; find the seam, or list it with its reason"));
        }
    }
    long.extend(unused(LONG_FILES, &excused));
    expect_none(long.into_iter());
}

#[test]
fn nothing_is_left_over() {
    expect_none(rust_files().flat_map(|(name, text)| {
        leftovers(&text)
            .into_iter()
            .map(move |(line, what)| format!("{name}:{line}: {what} left over"))
            .collect::<Vec<_>>()
    }));
}

#[test]
fn every_markdown_file_has_one_title() {
    expect_none(tree::files("", "md").into_iter().filter_map(|path| {
        let titles = titles(&tree::read(&path));
        (titles != 1).then(|| format!("{}: {titles} titles", path.display()))
    }));
}

#[test]
fn every_decision_is_in_the_index() {
    let folder = Path::new("docs/decisions");
    let decisions: Vec<String> = tree::files("docs/decisions", "md")
        .iter()
        .filter_map(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
        .filter(|name| name != "README.md")
        .collect();
    if decisions.is_empty() {
        return;
    }
    let index = tree::read(&folder.join("README.md"));
    expect_none(decisions.iter().filter_map(|name| {
        let numbered = name.len() > 5 && name[..4].bytes().all(|byte| byte.is_ascii_digit());
        let listed = index.contains(&format!("({name})"));
        (!numbered || !listed).then(|| {
            format!("docs/decisions/{name}: not NNNN-title.md, or not linked in README.md")
        })
    }));
}

fn rust_files() -> impl Iterator<Item = (String, String)> {
    tree::files("", "rs").into_iter().map(|path| {
        let text = tree::read(&path);
        (path.to_string_lossy().into_owned(), text)
    })
}

fn expect_none(wrong: impl Iterator<Item = String>) {
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn unused(table: &[(&str, &str)], used: &BTreeSet<String>) -> Vec<String> {
    let unused = table.iter().filter(|(file, _)| !used.contains(*file));
    unused.map(|(file, _)| format!("{file}: is excused but needs no excuse")).collect()
}

fn introduces(text: &str) -> bool {
    text.lines().next().is_some_and(|line| line.len() > 8 && line.starts_with("//! "))
}

fn too_wide(text: &str) -> Vec<usize> {
    let wide = |line: &str| line.chars().count() > COLUMNS_MAX;
    text.lines().enumerate().filter(|(_, line)| wide(line)).map(|(at, _)| at + 1).collect()
}

fn leftovers(text: &str) -> Vec<(usize, &'static str)> {
    let code = tree::code(text);
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        for what in LEFTOVERS {
            if line.contains(what) {
                found.push((index + 1, what));
            }
        }
    }
    found
}

/// Lines that start with one `#`, outside fenced code.
fn titles(text: &str) -> usize {
    let mut fenced = false;
    let mut titles = 0;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if !fenced && line.starts_with("# ") {
            titles += 1;
        }
    }
    titles
}

#[test]
fn an_untidy_text_is_noticed() {
    assert!(!introduces("use std::fmt;\n") && introduces("//! What it is.\n"));
    assert_eq!(too_wide(&format!("//! x\n{}\n", "a".repeat(101))), [2]);
    assert_eq!(leftovers("fn f() {\n    dbg!(1);\n    // todo!()\n}\n"), [(2, "dbg!")]);
    assert_eq!(titles("# One\n```\n# not one\n```\n## Two\n"), 1);
}
