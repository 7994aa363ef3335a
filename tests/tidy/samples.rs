//! Feeds each rule of `tests/tidy.rs` sources that break it and sources that only look as if they did.
//! Easy to get wrong: a new rule without a sample here may be a rule that never fires.
use super::{File, MAX_LINES, RULES, Violation, migrations_never_change};

#[test]
fn every_rule_can_fail() {
    let long = "//! Head.\n".repeat(MAX_LINES + 1);
    let machine = format!("see {}", concat!("/wo", "rk/x"));
    let broken: &[(&str, &str, &str, usize)] = &[
        ("level", "src/db/jobs.rs", "//! h\nuse crate::http::Router;\n", 2),
        ("level", "src/reconcile/run.rs", "//! h\nuse crate::{\n    reconcile::x,\n    db::Store,\n};\n", 4),
        ("level", "src/runtime/x.rs", "//! h\nfn f() { crate::protocol::g() }\n", 2),
        ("level", "src/brandnew/x.rs", "//! h\n", 1),
        ("level", "src/http/x.rs", "//! h\nuse tieout_protocol::ids::ConnId;\n", 2),
        ("level", "src/runtime/x.rs", "//! h\nuse tieout_protocol::ids::ConnId;\n", 2),
        ("crate", "src/http/x.rs", "//! h\nuse diesel::prelude::*;\n", 2),
        ("crate", "src/db/x.rs", "//! h\nlet a = axum::Router::new();\n", 2),
        ("crate", "src/reconcile/x.rs", "//! h\nuse std::fs::File;\n", 2),
        ("head", "src/db/x.rs", "use std::fs;\n", 1),
        ("name", "src/db/utils.rs", "//! h\n", 1),
        ("name", "src/helpers/x.rs", "//! h\n", 1),
        ("mod.rs", "src/db/mod.rs", "//! h\npub mod jobs;\npub fn f() {}\n", 3),
        ("mod.rs", "src/runtime/lib.rs", "//! h\nmod addr;\npub fn f() {}\n", 3),
        ("call", "src/db/x.rs", "//! h\nfn f() { g().unwrap() }\n", 2),
        ("call", "src/db/x.rs", "//! h\nfn f() { todo!() }\n", 2),
        ("call", "src/actors/x.rs", "//! h\nfn f(a: A) { a.do_send(M) }\n", 2),
        ("sleep", "tests/it/x.rs", "//! h\nasync fn f() { tokio::time::sleep(d).await }\n", 2),
        ("sleep", "src/runtime/tests/runtime/x.rs", "//! h\nfn f() { std::thread::sleep(d) }\n", 2),
        ("env", "src/db/x.rs", "//! h\nlet a = std::env::var(x);\n", 2),
        ("host", "README.md", &machine, 1),
        ("length", "src/db/x.rs", &long, MAX_LINES + 1),
    ];
    for (rule, path, text, line) in broken {
        let found = check(rule, path, text);
        assert_eq!(
            found.iter().map(|v| v.line).collect::<Vec<_>>(),
            [*line],
            "rule {rule} on {path}:\n{text}\n{found:?}"
        );
    }
}

#[test]
fn what_only_looks_broken_passes() {
    let fine: &[(&str, &str, &str)] = &[
        ("level", "src/http/x.rs", "//! h\nuse crate::{db::Store, http::state::AppState};\n"),
        ("level", "src/lib.rs", "//! h\npub use tieout_runtime as runtime;\n"),
        ("level", "src/runtime/examples/x.rs", "//! h\nuse tieout_runtime::Runtime;\n"),
        ("level", "src/app.rs", "//! h\nuse crate::config::Config;\n"),
        ("level", "src/db/x.rs", "//! h\n// crate::http is above us\n"),
        ("crate", "src/http/x.rs", "//! h\nlet s = \"diesel::prelude\"; let x = my_diesel::a(); let tower = 1;\n"),
        ("crate", "src/reconcile/x.rs", "//! h\n#[cfg(test)]\nmod tests {\n    use std::fs::File;\n}\n"),
        ("mod.rs", "src/db/mod.rs", "//! fn and impl in words\npub mod jobs;\npub use jobs::Job;\n"),
        ("call", "src/db/x.rs", "//! .unwrap()\n#[cfg(test)]\nmod tests {\n    fn f() { x.unwrap() }\n}\n"),
        ("call", "src/db/x.rs", "//! h\nfn f<'a>(x: &'a str) -> char { '\"' }\nlet s = r#\"todo!\"#;\n"),
        ("call", "src/db/tests.rs", "//! h\nfn f() { x.unwrap() }\n"),
        ("sleep", "tests/it/support/wait.rs", "//! h\nasync fn f() { tokio::time::sleep(d).await }\n"),
        ("env", "src/config.rs", "//! h\nlet a = std::env::var(x);\n"),
    ];
    for (rule, path, text) in fine {
        let found = check(rule, path, text);
        assert!(found.is_empty(), "rule {rule} on {path}:\n{text}\n{found:?}");
    }
}

#[test]
fn a_migration_that_is_new_edited_or_gone_is_named() {
    let sql = File::new("migrations/sqlite/1/up.sql", "create table a(x);\n");
    let sums = |text: &str| File::new("migrations/SHA256SUMS", text);
    let hash = "9a8a3c7e7b7d3d2a0c64a0f2f2f0d3d6ddf5c5a3a8d7c1d2d9d1d5d3d7d8d9da";
    let check = |files: &[File]| {
        let mut found = Vec::new();
        migrations_never_change(files, &mut found);
        found.into_iter().map(|v| v.rule).collect::<Vec<_>>()
    };
    assert!(check(&[File::new("migrations/sqlite/1/up.sql", &sql.text)])[0].contains("add `"));
    let edited =
        check(&[File::new("migrations/sqlite/1/up.sql", &sql.text), sums(&format!("{hash}  sqlite/1/up.sql\n"))]);
    assert!(edited[0].contains("never edited"), "{edited:?}");
    let gone = check(&[sums(&format!("{hash}  sqlite/1/up.sql\n"))]);
    assert!(gone[0].contains("is gone"), "{gone:?}");
}

fn check(rule: &str, path: &str, text: &str) -> Vec<Violation> {
    let file = File::new(path, text);
    let mut found = Vec::new();
    RULES.iter().filter(|(name, _)| *name == rule).for_each(|(_, rule)| rule(&file, &mut found));
    found
}
