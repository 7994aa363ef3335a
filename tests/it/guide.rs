//! The guide of a first reconciliation: every command of it is run, and what it prints is what the guide shows.
//!
//! A block that begins with ```` ```console ```` holds commands (`$ …`), each followed by its output; a line `…` stands for lines that
//! are left out. Standard output comes before standard error.
use std::path::Path;
use std::process::Command;

/// A command and the output that the guide shows for it.
struct Step {
    line: usize,
    command: String,
    shown: Vec<String>,
}

fn steps(guide: &str) -> Vec<Step> {
    let (mut steps, mut inside): (Vec<Step>, bool) = (Vec::new(), false);
    for (at, text) in guide.lines().enumerate() {
        match text.strip_prefix("$ ") {
            _ if text.starts_with("```") => inside = text == "```console",
            Some(command) if inside => {
                steps.push(Step { line: at + 1, command: command.to_owned(), shown: Vec::new() });
            }
            None if inside => steps.last_mut().expect("a block begins with a command").shown.push(text.to_owned()),
            _ => {}
        }
    }
    steps
}

/// Whether the output is what is shown, where `…` is any number of lines.
fn is_shown(output: &[&str], shown: &[String]) -> bool {
    match shown.split_first() {
        None => output.is_empty(),
        Some((gap, rest)) if gap == "…" => (0..=output.len()).any(|at| is_shown(&output[at..], rest)),
        Some((line, rest)) => output.split_first().is_some_and(|(first, more)| first == line && is_shown(more, rest)),
    }
}

#[test]
fn every_command_of_the_guide_prints_what_the_guide_shows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(root.join("docs/guides/first-reconciliation.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("examples/data");
    std::fs::create_dir_all(&data).unwrap();
    for name in ["ledger.csv", "bank.csv"] {
        std::fs::copy(root.join("examples/data").join(name), data.join(name)).unwrap();
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_tieout")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let steps = steps(&guide);
    assert!(steps.len() >= 15, "the commands of the guide are gone: {}", steps.len());
    for Step { line, command, shown } in steps {
        let run = Command::new("sh").args(["-c", &command]).current_dir(folder.path()).env("PATH", &path).output();
        let run = run.unwrap();
        let printed = String::from_utf8(run.stdout).unwrap() + &String::from_utf8(run.stderr).unwrap();
        assert!(run.status.success(), "line {line}: {command}: {printed}");
        let output: Vec<&str> = printed.lines().collect();
        assert!(
            is_shown(&output, &shown),
            "line {line}: {command} prints\n{printed}\nthe guide shows\n{}",
            shown.join("\n")
        );
    }
}

#[test]
fn an_extract_is_told_from_another_output() {
    let shown = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert!(is_shown(&["a", "b", "c"], &shown(&["a", "…", "c"])));
    assert!(is_shown(&["a"], &shown(&["a", "…"])));
    assert!(!is_shown(&["a", "b"], &shown(&["a"])));
    assert!(!is_shown(&["a"], &shown(&["a", "b"])));
    assert!(!is_shown(&["a", "d"], &shown(&["…", "c"])));
}
