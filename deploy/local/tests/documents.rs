//! The documents name things that exist: paths, functions, links, metrics, error codes.

#![cfg(test)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Folders of the repository that a path in a document may begin with.
const ROOMS: [&str; 10] =
    [".ci", "control-plane", "data-plane", "demo", "deploy", "docs", "migrations", "proto", "shared", "tests"];

/// Files at the root that documents name.
const ROOT_FILES: [&str; 11] = [
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "package.json",
    "rust-toolchain.toml",
    "rustfmt.toml",
];

/// A document and its text.
struct Document {
    path: PathBuf,
    text: String,
}

#[test]
fn paths_in_documents_exist() {
    let missing: Vec<String> = documents()
        .iter()
        .flat_map(|document| {
            let spans = prose(&document.text).flat_map(code_spans).filter(|span| is_repository_path(span));
            spans.filter(|span| !root().join(span).exists()).map(|span| format!("{}: `{span}`", document.name()))
        })
        .collect();
    assert!(missing.is_empty(), "these paths do not exist:\n{}", missing.join("\n"));
}

#[test]
fn names_beside_a_file_in_a_table_are_in_that_file() {
    let mut checked = 0;
    let mut missing = Vec::new();
    for document in documents() {
        for row in prose(&document.text).filter(|line| line.starts_with('|')) {
            let cells: Vec<&str> = row.trim().trim_matches('|').split('|').map(str::trim).collect();
            for pair in cells.windows(2) {
                let Some(file) = only_file(pair[0]) else { continue };
                let text = fs::read_to_string(root().join(file)).unwrap_or_default();
                for name in code_spans(pair[1]).map(last_segment) {
                    checked += 1;
                    if !has_word(&text, name) {
                        missing.push(format!("{}: `{name}` is not in {file}", document.name()));
                    }
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(checked > 50, "the tables of docs/architecture.md were not understood: {checked} names");
}

/// Programs read log lines: a duration is a number of seconds there, not Rust's `Some(31.2s)`.
#[test]
fn log_lines_hold_no_debug_text() {
    let mut found = Vec::new();
    for file in sources() {
        let text = fs::read_to_string(&file).expect("a source file");
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        for (at, _) in code.match_indices("tracing::") {
            let Some(call) = code.get(at..).and_then(|rest| rest.split(";\n").next()) else { continue };
            let is_event = ["trace!(", "debug!(", "info!(", "warn!(", "error!("]
                .iter()
                .any(|name| call.strip_prefix("tracing::").is_some_and(|call| call.starts_with(name)));
            let is_debug = call.contains(":?}") || call.contains("= ?") || call.contains("(?") || call.contains(" ?");
            if is_event && is_debug {
                found.push(format!("{}: {}", file.display(), call.lines().next().unwrap_or_default()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Source files of the programs and their libraries, without those of tests.
fn sources() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        ["control-plane/src", "data-plane/src", "shared"].map(|room| root().join(room)).into();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            let is_test = path.file_name().is_some_and(|name| name == "tests" || name == "target");
            if path.is_dir() && !is_test {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 100, "the sources were not found");
    files
}

#[test]
fn relative_links_resolve() {
    let mut broken = Vec::new();
    for document in documents() {
        for target in prose(&document.text).flat_map(links) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => document.path.clone(),
                file => document.path.parent().expect("a folder").join(file),
            };
            let is_there = match fs::read_to_string(&path) {
                Ok(text) => anchor.is_empty() || prose(&text).filter_map(slug).any(|slug| slug == anchor),
                Err(_) => path.is_dir() && anchor.is_empty(),
            };
            if !is_there {
                broken.push(format!("{}: {target}", document.name()));
            }
        }
    }
    assert!(broken.is_empty(), "these links lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn every_metric_is_described_for_operators() {
    let names = quoted("shared/telemetry/src/names.rs", |text| text.starts_with("omniroute_") && text.len() > 10);
    described(&names, "metrics");
}

#[test]
fn every_code_of_the_management_api_is_described_for_operators() {
    let is_code = |text: &str| {
        let parts = text.split_once('_');
        parts.is_some_and(|(word, number)| {
            word.chars().all(|c| c.is_ascii_uppercase()) && number.len() == 3 && number.parse::<u16>().is_ok()
        })
    };
    described(&quoted("control-plane/src/http/error.rs", is_code), "error codes");
}

fn described(names: &BTreeSet<String>, what: &str) {
    let operations = fs::read_to_string(root().join("docs/operations.md")).expect("docs/operations.md");
    let documented: BTreeSet<&str> = prose(&operations).flat_map(code_spans).collect();
    let missing: Vec<_> = names.iter().filter(|name| !documented.contains(name.as_str())).collect();
    assert!(names.len() > 10, "no {what} were found in the code");
    assert!(missing.is_empty(), "docs/operations.md lacks these {what}: {missing:?}");
}

/// Texts in double quotes in a file of Rust that `fits`.
fn quoted(file: &str, fits: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    text.split('"').skip(1).step_by(2).filter(|text| fits(text)).map(str::to_owned).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

fn documents() -> Vec<Document> {
    let root = root();
    let mut paths: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "proto/README.md", "migrations/README.md"].map(|name| root.join(name)).into();
    let docs = fs::read_dir(root.join("docs")).expect("docs");
    let docs = docs.map(|entry| entry.expect("an entry").path());
    paths.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Document { path, text }
    };
    paths.into_iter().map(read).collect()
}

/// The lines that are outside of fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    })
}

/// What stands between backticks on a line.
fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Whether a span looks like a path of the repository, with no placeholder in it.
fn is_repository_path(span: &str) -> bool {
    let is_plain = span.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_'));
    let first = span.split('/').next().unwrap_or_default();
    is_plain && (ROOT_FILES.contains(&span) || (span.contains('/') && ROOMS.contains(&first)))
}

/// The file that a cell of a table names, when it names nothing else.
fn only_file(cell: &str) -> Option<&str> {
    let file = cell.strip_prefix('`')?.strip_suffix('`')?;
    (is_repository_path(file) && file.ends_with(".rs")).then_some(file)
}

/// `Journal::opened` → `opened`.
fn last_segment(name: &str) -> &str {
    name.rsplit("::").next().unwrap_or(name)
}

fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}

/// Targets of Markdown links on a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

/// The anchor that a heading gets.
fn slug(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    Some(heading.to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect())
}

// === impl Document ===

impl Document {
    fn name(&self) -> String {
        self.path.strip_prefix(root()).unwrap_or(&self.path).display().to_string()
    }
}
