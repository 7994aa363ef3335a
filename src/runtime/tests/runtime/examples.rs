//! The examples say what they say: each is run as a user would, and held to its output line by line. `cargo test` builds them. And the
//! tests that docs/RUNTIME.md names for its promises are there.
use std::{path::PathBuf, process::Command};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Built by cargo beside this very binary: `<profile>/deps/runtime-…` and `<profile>/examples/<name>`.
fn example(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.join("examples").join(name)
}

fn output(name: &str) -> String {
    let path = example(name);
    let run = Command::new(&path).output().unwrap_or_else(|e| {
        panic!("{}: {e}; `cargo test` builds the examples, `cargo build --examples` too", path.display())
    });
    assert!(run.status.success(), "{run:?}");
    String::from_utf8(run.stdout).unwrap()
}

#[test]
fn embed_runs_in_a_plain_tokio_program_and_survives_its_panic() {
    let said = output("embed");
    assert!(said.contains("40 + 2 = 42"), "{said}");
    assert!(
        said.contains("the asker is told: actor counter panicked in embed::Add at src/runtime/examples/embed.rs"),
        "{said}"
    );
    assert!(said.contains("the same handle counts from zero: 7"), "{said}");
    assert!(said.contains("timed_out: [], leaked_threads: []"), "{said}");
    let code = include_str!("../../examples/embed.rs").lines().filter(|l| !l.starts_with("//!")).count();
    assert!(code <= 45, "short enough to read at a glance: {code} lines with its actor, its message and blank lines");
}

#[test]
fn counter_shows_restart_backoff_exhaustion_and_escalation() {
    let said = output("counter");
    let lines: Vec<&str> = said.lines().collect();
    let told = "this asker is told: the sum fits";
    let new = "a new instance counts from zero";
    assert_eq!(lines[..5], ["counted to 40", told, new, told, new]);
    let end = lines[5];
    assert!(end.starts_with("Add(1) comes back: it used up its restarts: more than 2 restarts in 60s"), "{end}");
    assert!(end.contains("counter::Add at src/runtime/examples/counter.rs") && end.ends_with("the sum fits"), "{end}");
    assert_eq!(lines[6..], ["escalated: true", "restart 1 after 20ms", "restart 2 after 40ms", "clean: true"]);
}

#[test]
fn migrate_runs_the_same_actor_before_and_after() {
    assert_eq!(
        output("migrate"),
        "before: balance Ok(100)\n\
         before: a panic says Err(MailboxError(Mailbox has closed))\n\
         before: and then Err(MailboxError(Mailbox has closed)), for ever\n\
         after: balance 100\n\
         after: a panic says \"an empty posting\"\n\
         after: and then 1, from a new instance\n\
         after: balance 7\n\
         after: clean true\n"
    );
}

/// What a word of backticks in the page looks like when it names a test: `file::test`, and the test is a sentence.
fn tests_named_in(page: &str) -> Vec<(&str, &str)> {
    let is_sentence =
        |name: &str| name.matches('_').count() > 2 && !name.contains(|c: char| !c.is_alphanumeric() && c != '_');
    page.split('`').filter_map(|word| word.split_once("::")).filter(|(_, name)| is_sentence(name)).collect()
}

#[test]
fn every_test_that_the_runtimes_page_names_is_there() {
    let named = tests_named_in(include_str!("../../../../docs/RUNTIME.md"));
    assert!(named.len() > 30, "{named:?}");
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/runtime");
    for (file, test) in named.into_iter().filter(|(file, _)| !file.starts_with("outer_")) {
        let source = std::fs::read_to_string(root.join(file).with_extension("rs")).unwrap_or_default();
        let there = source
            .split_once(&format!("fn {test}()"))
            .is_some_and(|(before, _)| before.trim_end().ends_with(']') || before.trim_end().ends_with("async"));
        assert!(there, "docs/RUNTIME.md names {file}::{test}, which is no test");
    }
}

/// `module::name` of every test in this folder and in the product's suite.
fn tests() -> Vec<String> {
    let ours = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/runtime");
    let folders = [ours, repository().join("tests/it")];
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let mut names = Vec::new();
    for file in files.filter(|path| path.extension().is_some_and(|e| e == "rs")) {
        let module = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let mut marked = false;
        for line in text.lines() {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                marked = true;
            } else if let (true, Some((_, name))) = (marked, line.split_once("fn ")) {
                names.push(format!("{module}::{}", name.split('(').next().unwrap()));
                marked = false;
            }
        }
    }
    names
}

#[test]
fn every_test_that_the_contract_names_exists() {
    let contract = std::fs::read_to_string(repository().join("docs/RUNTIME.md")).unwrap();
    let tests = tests();
    let named: Vec<_> = tests_named_in(&contract).into_iter().map(|(file, test)| format!("{file}::{test}")).collect();
    assert!(named.len() > 60, "the page names its tests: {}", named.len());
    let missing: Vec<_> = named.iter().filter(|name| !tests.iter().any(|test| test == *name)).collect();
    assert!(missing.is_empty(), "docs/RUNTIME.md names tests that are not there: {missing:#?}");
}
