//! Regular expressions of subscriptions: which topics they stand for.
//!
//! A topic is subscribed when the expression matches its whole name. Kafka compiles them with
//! RE2/J; here the `regex` crate does, which is of the same family: no backtracking, no
//! references, no looking around. What differs is in `docs/compatibility.md`. Compiled ones are
//! kept while the group needs them.

use std::collections::{BTreeMap, BTreeSet};

use protocol::error_code::ErrorCode;
use regex::{Regex, RegexBuilder};

use super::{Metadata, Refusal};
use crate::coordinator::limits::{REGEX_BYTES_MAX, REGEX_PROGRAM_BYTES_MAX};

/// Compiled expressions of one group.
#[derive(Default, Debug)]
pub(super) struct Patterns {
    compiled: BTreeMap<String, Regex>,
}

impl Patterns {
    /// The topics that an expression stands for.
    ///
    /// # Errors
    /// `INVALID_REGULAR_EXPRESSION` when it cannot be compiled, or is too large to.
    pub(super) fn resolve(
        &mut self,
        expression: &str,
        metadata: Metadata<'_>,
    ) -> Result<BTreeSet<String>, Refusal> {
        if !self.compiled.contains_key(expression) {
            self.compiled.insert(expression.to_owned(), compile(expression)?);
        }
        let compiled = &self.compiled[expression];
        let mut topics = BTreeSet::new();
        metadata.topics.each_name(&mut |name| {
            if compiled.is_match(name) {
                topics.insert(name.to_owned());
            }
        });
        Ok(topics)
    }

    /// Keeps only those that are still subscribed to.
    pub(super) fn retain(&mut self, needed: impl Fn(&str) -> bool) {
        self.compiled.retain(|expression, _| needed(expression));
    }
}

fn compile(expression: &str) -> Result<Regex, Refusal> {
    let invalid = |why: &str| {
        Refusal::new(
            ErrorCode::InvalidRegularExpression,
            format!(
                "SubscribedTopicRegex `{expression}` is not a valid regular expression: {why}."
            ),
        )
    };
    if expression.len() > REGEX_BYTES_MAX {
        return Err(invalid("it is too long"));
    }
    let quoted = unquote(expression);
    // Compiled alone first, so that one that closes the group around it is not taken.
    let build = |text: &str| RegexBuilder::new(text).size_limit(REGEX_PROGRAM_BYTES_MAX).build();
    build(&quoted)
        .and_then(|_| build(&format!(r"\A(?:{quoted})\z")))
        .map_err(|error| invalid(&reason(&error)))
}

/// The last line of the compiler's report, which says what is wrong; the others draw it.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or("");
    last.trim().trim_start_matches("error: ").to_owned()
}

/// RE2 takes `\Q…\E` literally; the crate has no such form.
fn unquote(expression: &str) -> String {
    let mut out = String::with_capacity(expression.len());
    let mut rest = expression;
    while let Some(at) = find_quote(rest) {
        out.push_str(&rest[..at]);
        let quoted = &rest[at + 2..];
        let (literal, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
        out.push_str(&regex::escape(literal));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Where `\Q` begins that is not itself behind a backslash.
fn find_quote(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at + 1 < bytes.len() {
        if bytes[at] == b'\\' {
            if bytes[at + 1] == b'Q' {
                return Some(at);
            }
            at += 2;
        } else {
            at += 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_parts_are_literal() {
        assert_eq!(unquote(r"\Qa.b\E.*"), r"a\.b.*");
        assert_eq!(unquote(r"a\\Qb"), r"a\\Qb");
        assert_eq!(unquote(r"\Q(*"), r"\(\*");
    }

    #[test]
    fn what_cannot_be_compiled_is_said_to_be_so() {
        for bad in ["[", "(", "a)(b", "*", r"\1", "(?=a)"] {
            let refusal = compile(bad).expect_err(bad);
            assert_eq!(refusal.error, ErrorCode::InvalidRegularExpression, "{bad}");
        }
        assert!(compile(&"a".repeat(REGEX_BYTES_MAX + 1)).is_err());
        assert!(compile("(((a{200}){200}){200}){200}").is_err(), "too large a program");
    }
}
