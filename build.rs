//! Names the commit and the target for `tieout --version`.
//!
//! The commit is that of `TIEOUT_COMMIT`, for whoever builds where there is no repository, else that of this repository, else
//! `unknown`: a build needs neither git nor a network. Easy to get wrong: sources that were unpacked inside another repository
//! must not name its commit.
use std::env;
use std::path::Path;
use std::process::Command;

/// Hexadecimal digits of a commit.
const DIGITS: &str = "--short=12";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=TIEOUT_COMMIT");
    let given = env::var("TIEOUT_COMMIT").ok().filter(|commit| !commit.trim().is_empty());
    let commit = given.or_else(of_this_repository).unwrap_or_else(|| "unknown".into());
    println!("cargo::rustc-env=TIEOUT_COMMIT={}", commit.trim());
    println!("cargo::rustc-env=TIEOUT_TARGET={}", env::var("TARGET").unwrap_or_else(|_| "unknown".into()));
}

fn of_this_repository() -> Option<String> {
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let ours = env::var("CARGO_MANIFEST_DIR").ok()?;
    if Path::new(&top).canonicalize().ok()? != Path::new(&ours).canonicalize().ok()? {
        return None;
    }
    // HEAD names a branch, its log is written at each commit.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", DIGITS, "HEAD"])
}

fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
