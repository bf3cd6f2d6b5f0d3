//! Breaks comment lines that are wider than 100 columns; `cargo xtask tidy --fix`.
//!
//! Only whole-line comments outside tables and code blocks are touched: rustfmt keeps the rest.

use std::fs;
use std::path::{Path, PathBuf};

const COLUMNS_MAX: usize = 100;

/// Wraps every Rust file below `folder`; returns the files it changed.
pub fn all(folder: &Path) -> Vec<PathBuf> {
    let mut changed = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if !["target", ".git", "data"].iter().any(|skip| name == *skip) {
                changed.extend(all(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let wrapped = wrap(&text);
            if wrapped != text && fs::write(&path, wrapped).is_ok() {
                changed.push(path);
            }
        }
    }
    changed
}

fn wrap(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut fenced = false;
    let mut lines = text.lines().map(str::to_string).peekable();
    while let Some(line) = lines.next() {
        let marker = marker(&line).to_string();
        let body = &line[marker.len()..];
        if body.starts_with("```") {
            fenced = !fenced;
        }
        let touchable = !marker.is_empty() && !fenced && !body.starts_with('|');
        let hang = if touchable { hanging(body) } else { "" };
        let mut rest = line.clone();
        while touchable && rest.chars().count() > COLUMNS_MAX {
            let limit = rest.char_indices().nth(COLUMNS_MAX + 1).map_or(rest.len(), |(at, _)| at);
            let Some(at) = rest[..limit].rfind(' ').filter(|&at| at > marker.len() + hang.len())
            else {
                break;
            };
            out.push_str(rest[..at].trim_end());
            out.push('\n');
            rest = format!("{marker}{hang}{}", rest[at..].trim_start());
            // What was cut off runs on into the paragraph's next line.
            if let Some(next) = lines.next_if(|next| continues(next, &marker, hang)) {
                rest.truncate(rest.trim_end().len());
                rest.push(' ');
                rest.push_str(next[marker.len()..].trim_start());
            }
        }
        out.push_str(if touchable { rest.trim_end() } else { &rest });
        out.push('\n');
    }
    out
}

/// Whether a line goes on with the paragraph of the line before it.
fn continues(next: &str, of_marker: &str, hang: &str) -> bool {
    let body = next.strip_prefix(of_marker).unwrap_or("");
    let text = body.trim_start();
    marker(next) == of_marker
        && body.len() - text.len() == hang.len()
        && text.starts_with(|first: char| first.is_alphanumeric() || "`([<\"".contains(first))
        && !text.starts_with("```")
        && text.split_once(". ").is_none_or(|(item, _)| item.parse::<u8>().is_err())
}

/// Indentation and comment sign of a line that is a comment; empty otherwise.
fn marker(line: &str) -> &str {
    let indent = line.len() - line.trim_start().len();
    let signs = ["/// ", "//! ", "// "];
    let sign = signs.iter().find(|sign| line[indent..].starts_with(**sign));
    sign.map_or("", |sign| &line[..indent + sign.len()])
}

/// The indentation that continues a list item or an already indented line.
fn hanging(body: &str) -> &str {
    let spaces = body.len() - body.trim_start().len();
    let item = ["- ", "* "].iter().any(|bullet| body[spaces..].starts_with(bullet));
    let width = if item { spaces + 2 } else { spaces };
    &"                "[..width.min(16)]
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn a_wide_comment_is_broken_at_a_word_under_its_sign() {
        let text = format!("    /// - {}\n", "word ".repeat(30).trim_end());
        let wrapped = wrap(&text);
        assert!(wrapped.lines().all(|line| line.chars().count() <= 100));
        assert_eq!(wrapped.lines().count(), 2);
        assert!(wrapped.lines().nth(1).is_some_and(|line| line.starts_with("    ///   word")));
    }

    #[test]
    fn what_is_cut_off_runs_on_into_the_next_line() {
        let long = "word ".repeat(21);
        let wrapped = wrap(&format!("// {long}\n// and more.\n\n// {long}\n// - item\n"));
        let lines: Vec<&str> = wrapped.lines().collect();
        assert_eq!(lines[1], "// word word and more.");
        assert_eq!(lines[4..], ["// word word", "// - item"]);
    }

    #[test]
    fn code_and_tables_are_left_alone() {
        let text = format!("let a = \"{0}\";\n//! | {0} |\n", "b ".repeat(80));
        assert_eq!(wrap(&text), text);
    }
}
