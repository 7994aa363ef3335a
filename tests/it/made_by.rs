//! What names the code that made a checkpoint or a profile: its sources, wherever they are built.
//! Leaves what it is used for to `jobs_pause`. Easy to get wrong: a commit, which says nothing of what was changed since.
#[allow(dead_code)]
#[path = "../../build.rs"]
mod build_script;

use build_script::code_of;
use std::fs;
use tieout::actors::jobs::MADE_BY;

#[test]
fn code_is_named_by_its_sources_and_by_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let code = || code_of(dir.path()).unwrap();
    put("Cargo.lock", "one");
    put("src/lib.rs", "mod deep;");
    put("src/deep/mod.rs", "");
    let first = code();
    assert!(first.len() == 16 && u64::from_str_radix(&first, 16).is_ok(), "{first}");
    assert_eq!(code(), first);
    put("README.md", "about it");
    put("src/deep/notes.txt", "about it");
    assert_eq!(code(), first, "what is no source");
    let mut seen = vec![first];
    for (name, text) in [("src/deep/mod.rs", "fn f() {}"), ("Cargo.lock", "two"), ("src/deep/more.rs", "")] {
        put(name, text);
        seen.push(code());
    }
    fs::rename(dir.path().join("src/deep/more.rs"), dir.path().join("src/deep/other.rs")).unwrap();
    seen.push(code());
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), all, "each change makes other code of it");
    // What the binary says of itself is such a name, with git or without.
    let (version, own) = MADE_BY.split_once(' ').expect("a version and a name");
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    assert!(own.len() == 16 && u64::from_str_radix(own, 16).is_ok(), "{MADE_BY}");
}
