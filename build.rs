//! Names the commit and the target for `tieout --version`, and the code for those who keep what it made.
//!
//! The commit is that of `TIEOUT_COMMIT`, for whoever builds where there is no repository, else that of this repository, else
//! `unknown`: a build needs neither git nor a network. Easy to get wrong: sources that were unpacked inside another repository
//! must not name its commit. The code is named by its sources, for a commit says nothing of what was changed since.
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// Hexadecimal digits of a commit.
const DIGITS: &str = "--short=12";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=TIEOUT_COMMIT");
    let given = env::var("TIEOUT_COMMIT").ok().filter(|commit| !commit.trim().is_empty());
    let commit = given.or_else(of_this_repository).unwrap_or_else(|| "unknown".into());
    println!("cargo::rustc-env=TIEOUT_COMMIT={}", commit.trim());
    println!("cargo::rustc-env=TIEOUT_TARGET={}", env::var("TARGET").unwrap_or_else(|_| "unknown".into()));
    for place in [SOURCES, LOCK] {
        println!("cargo::rerun-if-changed={place}");
    }
    let code = code_of(Path::new(".")).unwrap_or_else(|error| panic!("cannot read the sources: {error}"));
    println!("cargo::rustc-env=TIEOUT_CODE={code}");
}

const SOURCES: &str = "src";
const LOCK: &str = "Cargo.lock";

/// A hash of everything that the binary is made of: its sources and the versions of what it uses.
pub(crate) fn code_of(root: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    find(&root.join(SOURCES), &mut files)?;
    files.push(root.join(LOCK));
    let mut named = Vec::with_capacity(files.len());
    for path in files {
        let parts = path.strip_prefix(root).unwrap_or(&path).components();
        let parts: Vec<String> = parts.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        named.push((parts.join("/"), fs::read(&path)?));
    }
    named.sort();
    // FNV-1a: the standard library's hash may be another one in its next version.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |bytes: &[u8]| {
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for (name, content) in &named {
        take(name.as_bytes());
        take(content);
    }
    Ok(format!("{hash:016x}"))
}

/// The sources of a folder and of those in it.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
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
