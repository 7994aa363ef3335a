//! What a machine can check about the shape of this repository: layers, module heads, names, forbidden calls, file
//! length, migrations that never change. Leaves style to rustfmt and clippy, and licences to `cargo deny`.
//! Easy to get wrong: a rule is only as good as the code it can see, so comments, strings and test code are masked by a
//! small lexer first, and `every_rule_can_fail` feeds each rule a file that breaks it.
use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, process::Command};

use sha2::{Digest, Sha256};

/// A file of the repository: path with `/`, text as it is, and (for Rust) the same text with everything that is not
/// product code blanked out, line numbers kept.
struct File {
    path: String,
    text: String,
    code: String,
    /// `code` before test modules were blanked: what the rules that also hold in tests look at.
    all_code: String,
}

impl File {
    fn new(path: &str, text: &str) -> File {
        let all_code = if path.ends_with(".rs") { mask_comments_and_strings(text) } else { String::new() };
        let code = if is_test_file(path) { String::new() } else { mask_test_items(&all_code) };
        File { path: path.to_owned(), text: text.to_owned(), code, all_code }
    }
}

/// One broken rule: `file:line: rule`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    path: String,
    line: usize,
    rule: String,
}

type Rule = fn(&File, &mut Vec<Violation>);

/// Every rule that looks at one file at a time; each has a sample that breaks it in `every_rule_can_fail`.
const RULES: &[(&str, Rule)] = &[
    ("level", imports_go_down),
    ("crate", external_crates_stay_in_their_layer),
    ("head", rust_files_open_with_a_head_comment),
    ("name", names_say_what_is_inside),
    ("mod.rs", mod_files_hold_no_logic),
    ("call", forbidden_calls_are_absent),
    ("sleep", tests_wait_for_conditions),
    ("env", only_config_reads_the_environment),
    ("host", no_machine_paths_or_registry_hosts),
    ("length", files_stay_short),
];

/// Levels of `docs/ARCHITECTURE.md`. A module may use itself and what stands on a lower level; the members of level 4
/// are one composition root and may use each other.
const LEVELS: &[(&str, u8)] = &[
    ("runtime", 0),
    ("reconcile", 0),
    ("protocol", 0),
    ("telemetry", 0),
    ("db", 1),
    ("cluster", 1),
    ("uploads", 1),
    ("actors", 2),
    ("http", 3),
    ("load", 3),
    ("app", 4),
    ("config", 4),
    ("cli", 4),
    ("main", 4),
    ("lib", 4),
];

/// External crates (first path segment, or the std module) and the folders that may name them.
const CRATES: &[(&[&str], &[&str])] = &[
    (
        &["diesel", "diesel_async", "diesel_migrations", "bb8", "libsqlite3_sys", "rusqlite"],
        &["src/db/", "src/protocol/columns.rs"],
    ),
    (&["hyper", "hyper_util", "axum", "tower", "http_body_util"], &["src/http/", "src/load/"]),
    (&["tokio_tungstenite"], &["src/http/live/ws/", "src/load/"]),
    (&["actix", "actix_rt"], &["src/runtime/", "src/actors/"]),
    (&["redis"], &["src/cluster/"]),
    (&["clap", "indicatif", "comfy_table"], &["src/cli/", "src/config", "src/main.rs", "src/load/"]),
    (&["anyhow"], &["src/runtime/examples/"]),
];

/// Pure folders: no I/O of any kind, no async runtime.
const PURE: &[&str] = &["src/reconcile/", "src/protocol/"];
const IO: &[&str] =
    &["std::fs", "std::net", "std::process", "std::env", "io::stdin", "io::stdout", "io::stderr", "tokio"];

const MAX_LINES: usize = 500;

/// Files that are longer, and by how much they may be: debts, which may shrink and not grow.
const LONG_FILES: &[(&str, usize)] = &[];

#[test]
fn the_repository_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = repository_files(root);
    assert!(files.iter().any(|f| f.path == "src/lib.rs"), "found no src/lib.rs among {} files", files.len());
    let mut found = Vec::new();
    for file in &files {
        for (_, rule) in RULES {
            rule(file, &mut found);
        }
    }
    migrations_never_change(&files, &mut found);
    found.sort();
    let mut report = String::new();
    for v in &found {
        writeln!(report, "{}:{}: {}", v.path, v.line, v.rule).unwrap();
    }
    assert!(found.is_empty(), "{} untidy places\n{report}", found.len());
}

/// The members of level 0 that are crates: the compiler keeps what they import, and the product names them as its modules.
const OUR_CRATES: &[(&str, &str)] =
    &[("tieout_runtime::", "runtime"), ("tieout_protocol::", "protocol"), ("tieout_reconcile::", "reconcile")];

fn imports_go_down(file: &File, out: &mut Vec<Violation>) {
    let Some(module) = top_module(&file.path) else { return };
    let Some(own) = level(module) else {
        return push(out, file, 1, format!("level: `{module}` is in no level of LEVELS in tests/tidy.rs; add it"));
    };
    for prefix in ["crate::", "tieout::"] {
        for (line, used) in paths_after(&file.code, prefix) {
            let Some(theirs) = level(&used) else { continue };
            let same_root = own == 4 && theirs == 4;
            if used != module && theirs >= own && !same_root && module != "lib" {
                let rule =
                    format!("level: `{module}` (level {own}) uses `{used}` (level {theirs}); imports go down only");
                push(out, file, line, rule);
            }
        }
    }
    for (prefix, name) in OUR_CRATES.iter().filter(|(_, name)| *name != module && module != "lib") {
        for (line, _) in paths_after(&file.code, prefix) {
            push(out, file, line, format!("level: only the product uses `{prefix}`, as `crate::{name}::`"));
        }
    }
}

fn external_crates_stay_in_their_layer(file: &File, out: &mut Vec<Violation>) {
    if !file.path.starts_with("src/") {
        return;
    }
    for (crates, homes) in CRATES {
        if homes.iter().any(|home| file.path.starts_with(home)) {
            continue;
        }
        for name in *crates {
            for line in lines_with_path(&file.code, name) {
                push(out, file, line, format!("crate: `{name}` may be named only in {}", homes.join(", ")));
            }
        }
    }
    // An example of a pure crate is a program, which opens files.
    if PURE.iter().any(|folder| file.path.starts_with(folder)) && !file.path.contains("/examples/") {
        for name in IO {
            for line in lines_with_path(&file.code, name) {
                push(out, file, line, format!("crate: this folder is pure, `{name}` does I/O"));
            }
        }
    }
}

fn rust_files_open_with_a_head_comment(file: &File, out: &mut Vec<Violation>) {
    if file.path.ends_with(".rs") && !file.text.starts_with("//!") {
        push(out, file, 1, "head: a Rust file opens with a `//!` comment that says what it is for".into());
    }
}

fn names_say_what_is_inside(file: &File, out: &mut Vec<Violation>) {
    for part in file.path.split('/') {
        let stem = part.split('.').next().unwrap_or(part);
        if ["util", "utils", "common", "helper", "helpers", "types", "misc"].contains(&stem) {
            push(out, file, 1, format!("name: `{part}` says nothing; name it by what it holds"));
        }
    }
}

fn mod_files_hold_no_logic(file: &File, out: &mut Vec<Violation>) {
    let opens_a_folder = file.path.ends_with("/mod.rs") || file.path.ends_with("/lib.rs");
    if !opens_a_folder || !file.path.starts_with("src/") {
        return;
    }
    for (index, line) in file.code.lines().enumerate() {
        let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        if let Some(word) = words.iter().find(|w| ["fn", "impl", "macro_rules"].contains(w)) {
            push(out, file, index + 1, format!("mod.rs: holds module lines and re-exports, no `{word}`"));
        }
    }
}

fn forbidden_calls_are_absent(file: &File, out: &mut Vec<Violation>) {
    if !file.path.starts_with("src/") {
        return;
    }
    const CALLS: &[(&str, &str)] = &[
        (".unwrap()", "only tests unwrap; write expect(\"why it cannot fail\") or return the error"),
        ("todo!", "unfinished code does not land"),
        ("unimplemented!", "unfinished code does not land"),
        ("dbg!", "left from debugging"),
        (".do_send(", "passes by the mailbox bound; use tell or try_tell"),
        ("unbounded", "every queue has a bound"),
        ("mpsc::channel()", "every queue has a bound: sync_channel"),
        ("block_on(", "blocks its thread; only main, the runtime's, the shards' and the blocking pool's may be"),
    ];
    for (needle, why) in CALLS {
        let at_home = *needle == "block_on("
            && ["src/runtime/", "src/main.rs", "src/cli/", "src/actors/jobs/", "src/actors/sockets/workers.rs"]
                .iter()
                .any(|home| file.path.starts_with(home));
        for (index, line) in file.code.lines().enumerate().filter(|_| !at_home) {
            if line.contains(needle) {
                push(out, file, index + 1, format!("call: `{needle}`: {why}"));
            }
        }
    }
}

fn tests_wait_for_conditions(file: &File, out: &mut Vec<Violation>) {
    // The harness may pause between two looks at a condition; a test may not pause and hope.
    let suite = file.path.starts_with("tests/it/") || file.path.starts_with("src/runtime/tests/");
    if !suite || file.path.starts_with("tests/it/support/") {
        return;
    }
    for (index, line) in file.all_code.lines().enumerate() {
        if (line.contains("thread::sleep(") || line.contains("time::sleep(")) && !line.contains("drop(") {
            push(out, file, index + 1, "sleep: wait for a condition with support::eventually".into());
        }
    }
}

fn only_config_reads_the_environment(file: &File, out: &mut Vec<Violation>) {
    if !file.path.starts_with("src/") || file.path.starts_with("src/config") {
        return;
    }
    for (index, line) in file.code.lines().enumerate() {
        if ["env::var(", "env::var_os(", "env::vars("].iter().any(|call| line.contains(call)) {
            push(out, file, index + 1, "env: only src/config reads the environment".into());
        }
    }
}

fn no_machine_paths_or_registry_hosts(file: &File, out: &mut Vec<Violation>) {
    // Written in pieces, so that this file does not break its own rule.
    let banned = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("registry.np", "mjs"),
        concat!("static.cra", "tes.io"),
        concat!("index.cra", "tes.io"),
        concat!("deb.deb", "ian.org"),
        concat!("files.python", "hosted"),
    ];
    for (index, line) in file.text.lines().enumerate() {
        if let Some(text) = banned.iter().find(|text| line.contains(**text)) {
            push(out, file, index + 1, format!("host: `{text}` belongs to one machine or one registry, not here"));
        }
    }
}

fn files_stay_short(file: &File, out: &mut Vec<Violation>) {
    let source = [".rs", ".mjs", ".js", ".css", ".html", ".sql"].iter().any(|end| file.path.ends_with(end));
    let lines = file.text.lines().count();
    let max = LONG_FILES.iter().find(|(path, _)| *path == file.path).map_or(MAX_LINES, |(_, lines)| *lines);
    if source && lines > max {
        push(out, file, max + 1, format!("length: {lines} lines; past {max} there is a second idea in it"));
    }
}

/// Rule over all files: each migration stands in `migrations/SHA256SUMS` with the hash it landed with. A new one is
/// added there by `sha256sum` in the same commit; an existing line never changes.
fn migrations_never_change(files: &[File], out: &mut Vec<Violation>) {
    const SUMS: &str = "migrations/SHA256SUMS";
    let listed = files.iter().find(|f| f.path == SUMS).map(|f| f.text.as_str()).unwrap_or_default();
    let mut sums: BTreeMap<String, &str> = BTreeMap::new();
    for (sum, name) in listed.lines().filter_map(|line| line.split_once("  ")) {
        sums.insert(format!("migrations/{name}"), sum);
    }
    for file in files.iter().filter(|f| f.path.starts_with("migrations/") && f.path.ends_with(".sql")) {
        let hash = Sha256::digest(file.text.as_bytes()).iter().fold(String::new(), |all, b| all + &format!("{b:02x}"));
        match sums.remove(&file.path) {
            None => push(out, file, 1, format!("migration: add `{hash}  …` for this file to {SUMS}")),
            Some(sum) if sum != hash => {
                push(out, file, 1, "migration: this one has landed and is never edited; write a new one".into());
            }
            Some(_) => {}
        }
    }
    for name in sums.into_keys() {
        out.push(Violation { path: SUMS.into(), line: 1, rule: format!("migration: {name} has landed and is gone") });
    }
}

fn push(out: &mut Vec<Violation>, file: &File, line: usize, rule: String) {
    out.push(Violation { path: file.path.clone(), line, rule });
}

fn level(module: &str) -> Option<u8> {
    LEVELS.iter().find(|(name, _)| *name == module).map(|(_, level)| *level)
}

/// `src/db/jobs.rs` and `src/db.rs` both belong to `db`.
fn top_module(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/").filter(|p| p.ends_with(".rs"))?;
    Some(inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs"))
}

fn is_test_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.starts_with("tests/") || name == "tests.rs" || name.ends_with("_tests.rs") || path.contains("/tests/")
}

/// First names used after `prefix`: `crate::db::Store` gives `db`; `crate::{db, http::ws}` gives `db` and `http`.
fn paths_after(code: &str, prefix: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') && prefix != "crate::" {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        let line = |offset: usize| code[..at + prefix.len() + offset].matches('\n').count() + 1;
        if !rest.starts_with('{') {
            found.push((line(0), identifier(rest).to_owned()));
            continue;
        }
        let (mut depth, mut expects_name) = (0, false);
        for (i, c) in rest.char_indices() {
            match c {
                '{' => (depth, expects_name) = (depth + 1, depth == 0),
                '}' if depth == 1 => break,
                '}' => depth -= 1,
                ',' if depth == 1 => expects_name = true,
                c if expects_name && (c.is_alphanumeric() || c == '_') => {
                    found.push((line(i), identifier(&rest[i..]).to_owned()));
                    expects_name = false;
                }
                _ => {}
            }
        }
    }
    found
}

fn identifier(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())]
}

/// Lines on which `name` stands as the head of a path (`name::…`, `use name;`), not as the tail of a longer word.
fn lines_with_path(code: &str, name: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let used = line.match_indices(name).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + name.len()..]);
            let whole = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.')
                && (!before.ends_with("::") || before.ends_with("::{"));
            let opens =
                after.starts_with("::") || (before.trim_end().ends_with("use") && after.starts_with([';', ' ']));
            whole && (opens || (name.contains("::") && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_')))
        });
        if used {
            lines.push(index + 1);
        }
    }
    lines
}

#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/samples.rs"]
mod samples;
use lexer::{mask_comments_and_strings, mask_test_items};

/// What git tracks or would track; a tree without git is walked, less what is built or installed.
fn repository_files(root: &Path) -> Vec<File> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .ok()
        .filter(|output| output.status.success());
    let mut paths = match listed {
        Some(output) => String::from_utf8_lossy(&output.stdout).split_terminator('\0').map(str::to_owned).collect(),
        None => {
            let mut paths = Vec::new();
            walk(root, root, &mut paths);
            paths
        }
    };
    paths.sort();
    // Cargo.lock names its registry by design; what is not text is no concern of these rules.
    paths.retain(|path| !path.ends_with(".lock"));
    paths.iter().filter_map(|path| Some(File::new(path, &fs::read_to_string(root.join(path)).ok()?))).collect()
}

fn walk(root: &Path, folder: &Path, paths: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the repository is readable").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && ![".git", "target", "node_modules"].contains(&name.to_string_lossy().as_ref()) {
            walk(root, &path, paths);
        } else if path.is_file() {
            paths.push(path.strip_prefix(root).expect("inside the root").to_string_lossy().replace('\\', "/"));
        }
    }
}
