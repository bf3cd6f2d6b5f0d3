//! The repository as text, for the tests that read it: its root, its files, Rust without comments.
//!
//! Not a parser: enough lexing to tell code from comments, strings and test modules. `layering.rs`
//! and `tidy.rs` share it; each uses a part.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold no source of ours.
const SKIPPED: [&str; 5] = ["target", ".git", "node_modules", "data", ".cargo-home"];

/// The workspace's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the root").to_path_buf()
}

/// Every file below `folder` (relative to the root) with this extension, sorted, as relative paths.
pub fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !SKIPPED.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path.strip_prefix(&root).expect("below the root").to_path_buf());
            }
        }
    }
    found.sort();
    found
}

/// The text of a file named relative to the root.
pub fn read(relative: &Path) -> String {
    let path = root().join(relative);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The code of a Rust file: comments, strings and characters blanked, lines kept where they were.
pub fn code(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => {
                seek(&chars, at, |rest| rest.first() == Some(&'\n'))
            }
            '/' if chars.get(at + 1) == Some(&'*') => block_comment_end(&chars, at),
            '"' => string_end(&chars, at),
            'r' | 'b' | 'c' if !ident_before(&chars, at) => prefixed_string_end(&chars, at),
            '\'' => char_end(&chars, at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Blanks the items marked `#[cfg(test)]` in what [`code`] returned.
pub fn without_tests(code: &str) -> String {
    let mut out: Vec<char> = code.chars().collect();
    let marker: Vec<char> = "#[cfg(test)]".chars().collect();
    let mut at = 0;
    while at + marker.len() <= out.len() {
        if out[at..at + marker.len()] != marker[..] {
            at += 1;
            continue;
        }
        let mut depth = 0usize;
        let mut end = at + marker.len();
        while end < out.len() {
            match out[end] {
                '{' => depth += 1,
                '}' if depth == 1 => break,
                '}' => depth -= 1,
                ';' if depth == 0 => break,
                _ => {}
            }
            end += 1;
        }
        let end = (end + 1).min(out.len());
        for c in &mut out[at..end] {
            if *c != '\n' {
                *c = ' ';
            }
        }
        at = end;
    }
    out.into_iter().collect()
}

fn ident_before(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn seek(chars: &[char], from: usize, found: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|&at| found(&chars[at..])).unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], from: usize) -> usize {
    let mut depth = 0;
    let mut at = from;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn string_end(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of `r"…"`, `r#"…"#`, `b"…"`, `br"…"`, `b'…'`, `c"…"`; `from` itself if it is none.
fn prefixed_string_end(chars: &[char], from: usize) -> usize {
    let mut at = from;
    while at < chars.len() && matches!(chars[at], 'r' | 'b' | 'c') && at - from < 2 {
        at += 1;
    }
    let raw = chars[from..at].contains(&'r');
    let hashes = chars[at..].iter().take_while(|&&c| c == '#').count();
    match chars.get(at + hashes) {
        Some('"') if raw => {
            let closing: Vec<char> =
                std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let end = seek(chars, at + hashes + 1, |rest| rest.starts_with(&closing));
            (end + closing.len()).min(chars.len())
        }
        Some('"') if hashes == 0 => string_end(chars, at),
        Some('\'') if hashes == 0 && chars[from] == 'b' => char_end(chars, at),
        _ => from,
    }
}

/// The end of a character literal; `from` itself for a lifetime.
fn char_end(chars: &[char], from: usize) -> usize {
    match (chars.get(from + 1), chars.get(from + 2)) {
        (Some('\\'), _) => {
            (seek(chars, from + 3, |rest| rest.first() == Some(&'\'')) + 1).min(chars.len())
        }
        (Some(_), Some('\'')) => from + 3,
        _ => from,
    }
}
