//! The layering test: fails on an import that points upward or reaches past a boundary.
//!
//! Reads every path (`use` trees and paths in expressions) of every source file and compares it
//! with the table `RULES`, which is the workspace's layering written down. Test modules are not
//! looked at. The self-tests at the end show that a forbidden line is caught.

mod tree;

use std::path::Path;

/// One boundary: files it binds, and the paths they may not name.
struct Rule {
    /// Files below these (relative to the root, `/`-separated) are bound.
    of: &'static [&'static str],
    /// Files below these are free of it.
    except: &'static [&'static str],
    /// Path prefixes, segment by segment; a last segment ending in `*` matches any continuation.
    never: &'static [&'static str],
    why: &'static str,
}

/// The operating system, clocks, threads and runtimes.
const SYSTEM: &[&str] = &[
    "std::fs",
    "std::os",
    "std::process",
    "std::thread",
    "std::net::Tcp*",
    "std::net::Udp*",
    "std::net::ToSocketAddrs",
    "std::time::Instant",
    "std::time::SystemTime",
    "io_uring",
    "libc",
    "tokio",
    "glommio",
    "axum",
    "rtrb",
];

/// Locks and globals.
const SHARED: &[&str] = &[
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::sync::Once*",
    "std::sync::LazyLock",
    "std::sync::mpsc",
    "std::sync::atomic",
    "std::cell::OnceCell",
    "std::cell::LazyCell",
    "std::thread_local",
    "thread_local",
    "parking_lot",
    "once_cell",
    "lazy_static",
    "std::hash::RandomState",
    "std::collections::hash_map::RandomState",
];

const CORE: &[&str] = &[
    "broker/src/shard",
    "broker/src/api",
    "broker/src/replica",
    "broker/src/controller",
    "broker/src/coordinator",
    "broker/src/security",
    "broker/src/image",
    "broker/src/ledger",
    "broker/src/telemetry",
];

const RULES: &[Rule] = &[
    Rule {
        of: &["protocol/src"],
        except: &[],
        never: &["storage", "broker", "bench_harness", "tuning"],
        why: "protocol is the lowest layer",
    },
    Rule {
        of: &["protocol/src"],
        except: &[],
        never: SYSTEM,
        why: "protocol turns bytes into values: no runtime, no clock, no socket",
    },
    Rule {
        of: &["storage/src"],
        except: &[],
        never: &["broker", "bench_harness", "tuning"],
        why: "storage lies below the broker",
    },
    Rule {
        of: &["storage/src"],
        except: &["storage/src/edge"],
        never: SYSTEM,
        why: "storage outside edge/ emits DiskOp and takes DiskDone; it does no I/O",
    },
    Rule {
        of: &["storage/src"],
        except: &["storage/src/edge", "storage/src/lib.rs"],
        never: &["storage::edge"],
        why: "only the edge knows the edge",
    },
    Rule {
        of: CORE,
        except: &[],
        never: SYSTEM,
        why: "the shard and what it calls have no clock, no socket, no file",
    },
    Rule {
        of: CORE,
        except: &[],
        never: SHARED,
        why: "the shard and what it calls have no lock and no global",
    },
    Rule {
        of: CORE,
        except: &[],
        never: &["broker::edge", "broker::cli", "storage::edge", "bench_harness", "tuning"],
        why: "the core never names the edge",
    },
    Rule {
        of: &["broker/src/coordinator", "broker/src/controller"],
        except: &[],
        never: &["storage", "broker::replica", "broker::api"],
        why: "coordinator and controller decide and replay: no storage, no API above them",
    },
    Rule {
        of: &["broker/src/replica", "broker/src/security"],
        except: &[],
        never: &["broker::api", "broker::coordinator", "broker::controller"],
        why: "siblings under api do not name each other or api",
    },
    Rule {
        of: &["broker/src/image"],
        except: &[],
        never: &[
            "broker::api",
            "broker::replica",
            "broker::coordinator",
            "broker::controller",
            "broker::shard",
        ],
        why: "the image lies below everything that reads it",
    },
    Rule {
        of: &["broker/src/edge"],
        except: &[],
        never: &["broker::api", "broker::coordinator", "broker::controller", "broker::replica"],
        why: "the edge decides nothing about Kafka: shard events and configuration only",
    },
    Rule {
        of: &["bench-harness/src"],
        except: &[],
        never: &["storage", "broker", "tuning"],
        why: "bench-harness speaks only the wire",
    },
    Rule {
        of: &["tuning/src"],
        except: &[],
        never: &["protocol", "storage", "broker", "bench_harness"],
        why: "tuning imports no crate of the workspace",
    },
];

/// Crates whose manifest may not list these as (normal) dependencies.
const MANIFESTS: &[(&str, &[&str])] = &[
    ("protocol", &["storage", "broker", "bench-harness", "tuning", "tokio", "glommio", "io-uring"]),
    ("storage", &["broker", "bench-harness", "tuning", "tokio", "glommio"]),
    ("broker", &["glommio"]),
    ("bench-harness", &["storage", "broker", "tuning"]),
    ("tuning", &["protocol", "storage", "broker", "bench-harness"]),
];

/// Bugs can be planted for the simulator alone: the feature is named where it is declared and where
/// the simulator asks for it, and no default has it.
#[test]
fn planted_bugs_are_in_no_build_that_does_not_ask() {
    for member in ["bench-harness", "broker", "protocol", "storage", "tests", "tuning", "xtask"] {
        let path = tree::root().join(member).join("Cargo.toml");
        let manifest = std::fs::read_to_string(&path).expect("a member has its manifest");
        let lines = manifest.lines().filter(|line| !line.trim_start().starts_with('#'));
        let named: Vec<&str> = lines.filter(|line| line.contains("planted")).collect();
        let allowed: &[&str] = match member {
            "storage" => &["planted = []"],
            "tests" => &["planted = [\"storage/planted\"]"],
            _ => &[],
        };
        assert_eq!(named, allowed, "{member}");
    }
}

#[test]
fn every_import_points_downward() {
    let mut wrong = Vec::new();
    let mut files = 0;
    for top in ["protocol", "storage", "broker", "bench-harness", "tuning"] {
        for path in tree::files(&format!("{top}/src"), "rs") {
            files += 1;
            wrong.extend(violations(&path, &tree::read(&path)));
        }
    }
    assert!(files > 0, "no source file found: the test looks in the wrong place");
    assert!(wrong.is_empty(), "forbidden imports:\n{}", wrong.join("\n"));
}

#[test]
fn every_manifest_points_downward() {
    let mut wrong = Vec::new();
    for (krate, never) in MANIFESTS {
        let text = tree::read(&Path::new(krate).join("Cargo.toml"));
        let mut table = "";
        for line in text.lines() {
            if line.starts_with('[') {
                table = line;
            }
            let name = line.split(['.', ' ', '=']).next().unwrap_or("");
            if table == "[dependencies]" && never.contains(&name) {
                wrong.push(format!("{krate}/Cargo.toml: depends on {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "forbidden dependencies:\n{}", wrong.join("\n"));
}

#[test]
fn the_cores_hold_no_static_state() {
    let mut wrong = Vec::new();
    for folder in CORE {
        for path in tree::files(folder, "rs").into_iter().filter(|path| !is_test(path)) {
            for line in static_items(&tree::read(&path)) {
                wrong.push(format!("{}:{line}: a global", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| {
        let part = part.as_os_str().to_string_lossy();
        part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs")
    })
}

/// Lines with a `static` item that can change: `mut`, or a type with a cell, a lock or an atomic.
///
/// One that cannot is a constant with an address, which a reference to a default needs.
fn static_items(source: &str) -> Vec<usize> {
    let code = tree::without_tests(&tree::code(source));
    let is_static = |line: &str| {
        let item = line.trim_start();
        let item = item.strip_prefix("pub(crate) ").unwrap_or(item);
        let item = item.strip_prefix("pub(super) ").unwrap_or(item);
        let item = item.strip_prefix("pub ").unwrap_or(item);
        let changes = ["mut ", "Cell", "Lock", "Mutex", "Atomic", "Once", "UnsafeCell"];
        item.strip_prefix("static ").is_some_and(|rest| changes.iter().any(|c| rest.contains(c)))
    };
    code.lines().enumerate().filter(|(_, line)| is_static(line)).map(|(at, _)| at + 1).collect()
}

/// What this file names and may not, as `path:line: name: why`.
fn violations(path: &Path, source: &str) -> Vec<String> {
    let file = path.to_string_lossy().replace('\\', "/");
    let below = |folder: &&str| file == **folder || file.starts_with(&format!("{folder}/"));
    let module_file = |folder: &&str| file == format!("{folder}.rs");
    let rules: Vec<&Rule> = RULES
        .iter()
        .filter(|rule| rule.of.iter().any(|f| below(f) || module_file(f)))
        .filter(|rule| !rule.except.iter().any(|f| below(f) || module_file(f)))
        .collect();
    if rules.is_empty() || is_test(path) {
        return Vec::new();
    }
    let module = module_of(&file);
    let code = tree::without_tests(&tree::code(source));
    let mut found = Vec::new();
    for (line, name) in paths(&code) {
        let name = absolute(&module, &name);
        // A limit is a number with a sentence: naming it calls nothing.
        if name.iter().any(|segment| segment == "limits") {
            continue;
        }
        for rule in &rules {
            if rule.never.iter().any(|never| is_below(&name, never)) {
                found.push(format!("{file}:{line}: {}: {}", name.join("::"), rule.why));
            }
        }
    }
    found.dedup();
    found
}

fn is_below(name: &[String], never: &str) -> bool {
    let never: Vec<&str> = never.split("::").collect();
    name.len() >= never.len()
        && name.iter().zip(&never).all(|(segment, never)| match never.strip_suffix('*') {
            Some(prefix) => segment.starts_with(prefix),
            None => segment == never,
        })
}

/// `broker/src/shard/mesh.rs` → `[broker, shard, mesh]`.
fn module_of(file: &str) -> Vec<String> {
    let mut parts: Vec<String> = file.split('/').map(|part| part.replace('-', "_")).collect();
    if parts.get(1).is_some_and(|part| part == "src") {
        parts.remove(1);
    }
    let last = parts.pop().unwrap_or_default();
    let stem = last.strip_suffix(".rs").unwrap_or(&last);
    if !["lib", "main", "mod"].contains(&stem) {
        parts.push(stem.to_string());
    }
    parts
}

/// Resolves `crate`, `self` and `super`; `core` and `alloc` count as `std`.
fn absolute(module: &[String], name: &[String]) -> Vec<String> {
    let mut at: Vec<String> = Vec::new();
    for (index, segment) in name.iter().enumerate() {
        match segment.as_str() {
            "crate" if index == 0 => at.extend(module.first().cloned()),
            "self" if index == 0 => at = module.to_vec(),
            "super" => {
                if at.is_empty() {
                    at = module.to_vec();
                }
                at.pop();
            }
            "core" | "alloc" if index == 0 => at.push("std".to_string()),
            "self" => {}
            other => at.push(other.to_string()),
        }
    }
    at
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Colons,
    Open,
    Close,
    Comma,
    Star,
    Other,
}

/// Every path of the code with its line; `use` trees are spread out into one path per leaf.
fn paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at].1 {
            // A field or method after a dot is no path; the dot is `Other` and the word follows.
            Token::Word(_) => at = spread(&tokens, at, &[], &mut found),
            Token::Colons | Token::Open | Token::Close => at += 1,
            Token::Comma | Token::Star | Token::Other => at += 1,
        }
    }
    found
}

/// Reads one path or tree from `at`; returns where it ends.
fn spread(
    tokens: &[(usize, Token)],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let mut name = prefix.to_vec();
    let line = tokens[at].0;
    while let Some((_, Token::Word(word))) = tokens.get(at) {
        name.push(word.clone());
        at += 1;
        if tokens.get(at).map(|t| &t.1) != Some(&Token::Colons) {
            found.push((line, name));
            return at;
        }
        at += 1;
    }
    if tokens.get(at).map(|t| &t.1) != Some(&Token::Open) {
        // `a::*`, or a path that ends in generics: what was read stands for it.
        found.push((line, name));
        return at;
    }
    at += 1;
    while let Some((_, token)) = tokens.get(at) {
        match token {
            Token::Close => return at + 1,
            Token::Word(_) => {
                let end = spread(tokens, at, &name, found);
                at = end.max(at + 1);
            }
            Token::Star => {
                found.push((line, name.clone()));
                at += 1;
            }
            Token::Colons | Token::Open | Token::Comma | Token::Other => at += 1,
        }
    }
    at
}

fn tokens(code: &str) -> Vec<(usize, Token)> {
    let mut found = Vec::new();
    for (index, text) in code.lines().enumerate() {
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (token, length) = if first.is_alphabetic() || first == '_' {
                let word: String =
                    rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let length = word.len();
                (Token::Word(word), length)
            } else if rest.starts_with("::") {
                (Token::Colons, 2)
            } else {
                let token = match first {
                    '{' => Token::Open,
                    '}' => Token::Close,
                    ',' => Token::Comma,
                    '*' => Token::Star,
                    _ => Token::Other,
                };
                (token, first.len_utf8())
            };
            if !first.is_whitespace() {
                found.push((index + 1, token));
            }
            rest = &rest[length..];
        }
    }
    found
}

#[cfg(test)]
mod self_tests {
    use super::*;

    fn caught(file: &str, source: &str) -> bool {
        !violations(Path::new(file), source).is_empty()
    }

    #[test]
    fn a_forbidden_line_is_caught() {
        assert!(caught("protocol/src/frame.rs", "use storage::op::DiskOp;\n"));
        assert!(caught("protocol/src/frame.rs", "fn f() { let _ = std::time::Instant::now(); }\n"));
        assert!(caught("storage/src/journal/ring.rs", "use std::fs::File;\n"));
        assert!(caught("storage/src/log.rs", "use libc;\n"));
        assert!(caught("broker/src/shard/mod.rs", "use crate::edge::ring::Ring;\n"));
        assert!(caught("broker/src/shard/mesh.rs", "use super::super::edge;\n"));
        assert!(caught("broker/src/shard.rs", "use std::sync::Mutex;\n"));
        assert!(caught("broker/src/coordinator/group.rs", "use storage::op::DiskOp;\n"));
        assert!(!caught("broker/src/controller/mod.rs", "use core::time::Duration;\n"));
        assert!(caught("broker/src/edge/ring.rs", "use crate::api::produce;\n"));
        assert!(caught("bench-harness/src/lib.rs", "use broker::shard;\n"));
        assert!(caught("tuning/src/lib.rs", "fn f() { protocol::types::x() }\n"));
    }

    #[test]
    fn a_forbidden_leaf_of_a_tree_is_caught() {
        let source = "use std::{collections::BTreeMap, sync::{Arc, RwLock}};\n";
        assert!(caught("broker/src/shard/dispatch.rs", source));
        let source = "use std::{collections::BTreeMap, sync::{Arc}};\n";
        assert!(!caught("broker/src/shard/dispatch.rs", source));
    }

    #[test]
    fn comments_strings_and_tests_are_not_code() {
        let source = "// use std::fs;\n/* std::fs */ const A: &str = \"std::fs\";\n\
                      #[cfg(test)]\nmod tests {\n    use std::fs;\n    fn f() {}\n}\n";
        assert!(!caught("storage/src/log.rs", source));
        assert!(caught("storage/src/log.rs", &format!("{source}use std::fs;\n")));
        assert!(!caught("storage/src/log/tests.rs", "use std::fs;\n"));
    }

    #[test]
    fn what_is_allowed_passes() {
        assert!(!caught("storage/src/edge/uring.rs", "use std::fs;\nuse libc;\n"));
        assert!(!caught("broker/src/edge/ring.rs", "use crate::shard::event::Event;\n"));
        assert!(!caught("broker/src/shard/event.rs", "use std::net::IpAddr;\n"));
        assert!(!caught("broker/src/shard/op.rs", "use crate::api::produce;\n"));
    }

    #[test]
    fn a_global_is_caught() {
        assert_eq!(static_items("const A: u8 = 1;\npub static mut B: u8 = 2;\n"), [2]);
        assert_eq!(static_items("static A: u8 = 1;\nstatic B: AtomicU8 = x();\n"), [2]);
        assert!(static_items("fn f(_: &'static str) {}\n").is_empty());
    }
}
