//! `tieout generate`, `reconcile` and `evaluate` in a row: what a user does to see how good a result is.
use std::process::Command;

struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

fn tieout(arguments: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_tieout")).args(arguments).output().unwrap();
    Ended {
        code: output.status.code().expect("no signal ended it"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_generated_set_in_another_dialect_is_matched_and_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let made = tieout(&["generate", "300", &path("data"), "--seed", "5"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let again = tieout(&["generate", "300", &path("data")]);
    assert_eq!(again.code, 2);
    assert!(again.stderr.contains("is there already"), "{}", again.stderr);
    let run = tieout(&["reconcile", &path("data/ledger.csv"), &path("data/bank.csv"), "--out", &path("result")]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let told = tieout(&["evaluate", &path("result/matches.csv"), &path("data/truth.csv"), "--json"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let report: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert!(report["all"]["f1"]["value"].as_f64().unwrap() > 0.97, "{report}");
    assert_eq!(report["thresholds"].as_array().unwrap().len(), 8);
    let missing = tieout(&["evaluate", &path("result/matches.csv"), &path("no.csv")]);
    assert_eq!(missing.code, 2);
    assert!(missing.stderr.contains("no.csv"), "{}", missing.stderr);
    let swapped = tieout(&["evaluate", &path("data/truth.csv"), &path("data/truth.csv")]);
    assert_eq!(swapped.code, 2);
    assert!(swapped.stderr.contains("line 1: no column \"left_id\""), "{}", swapped.stderr);
}
