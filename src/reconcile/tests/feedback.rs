//! Rules that are printed and given back find the same, byte for byte.
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use support::Sample;
use tieout_reconcile::{
    Outcome, ReadOptions, RuleSet, Side, Table, Unattended, inferred_rules, read, report, run, run_inferred, settle,
};

/// Two files, read as rules say or as they are recognised.
fn load(files: [&[u8]; 2], rules: Option<&RuleSet>) -> (Table, Table) {
    let load = |bytes: &[u8], side: Side| {
        let mut options = ReadOptions { name: side.as_str().into(), ..ReadOptions::default() };
        if let Some(rules) = rules {
            rules.reading(side, &mut options);
        }
        read(bytes, None, &options, &Unattended).unwrap()
    };
    let (mut left, mut right) = (load(files[0], Side::Left), load(files[1], Side::Right));
    settle(&mut left, &mut right, rules, &Unattended).unwrap();
    (left, right)
}

/// Every file of a result, and the summary without `comparing`, which says whether the rules were inferred.
fn written(outcome: &Outcome, left: &Table, right: &Table) -> BTreeMap<&'static str, String> {
    let mut files: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    report::write_matches_csv(files.entry("matches.csv").or_default(), outcome, left, right).unwrap();
    let candidates = report::Lines::new(files.entry("candidates.csv").or_default(), report::Cells::Exact);
    report::write_candidates(candidates, outcome, left, right).unwrap();
    for (name, side) in [("unmatched_left.csv", Side::Left), ("unmatched_right.csv", Side::Right)] {
        report::write_unmatched_csv(files.entry(name).or_default(), outcome, side, left, right).unwrap();
    }
    report::write_errors_csv(files.entry("errors.csv").or_default(), left, right).unwrap();
    let mut summary = report::summary_json(outcome, left, right);
    summary.as_object_mut().unwrap().remove("comparing");
    files.insert("summary.json", summary.to_string().into_bytes());
    files.into_iter().map(|(name, bytes)| (name, String::from_utf8(bytes).unwrap())).collect()
}

fn feeds_back(name: &str, left_bytes: &[u8], right_bytes: &[u8]) {
    let (left, right) = load([left_bytes, right_bytes], None);
    let first = written(&run_inferred(&left, &right, &Unattended).unwrap(), &left, &right);
    let printed = serde_json::to_string_pretty(&inferred_rules(&left, &right, &Unattended).unwrap()).unwrap();
    let rules = RuleSet::parse(&printed).unwrap();
    assert_eq!(
        serde_json::to_string_pretty(&rules).unwrap(),
        printed,
        "{name}: the rules are read as they were printed"
    );
    let (left, right) = load([left_bytes, right_bytes], Some(&rules));
    let again = written(&run(&left, &right, &rules, &Unattended).unwrap(), &left, &right);
    for (file, content) in &first {
        assert_eq!(content, &again[file], "{name}: {file}");
    }
}

fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(of)
}

#[test]
fn the_inferred_rules_of_every_golden_case_feed_back_byte_for_byte() {
    let mut cases = 0;
    for case in std::fs::read_dir(folder("tests/golden/reconcile")).unwrap() {
        let case = case.unwrap().path();
        let texts = ["left.csv", "right.csv"].map(|file| std::fs::read(case.join(file)).unwrap());
        feeds_back(&case.display().to_string(), &texts[0], &texts[1]);
        cases += 1;
    }
    assert!(cases >= 4, "the golden folders are gone");
}

#[test]
fn so_do_those_of_the_sample_files_and_of_a_larger_pair() {
    let texts = ["ledger.csv", "bank.csv"].map(|file| std::fs::read(folder("examples/data").join(file)).unwrap());
    feeds_back("examples/data", &texts[0], &texts[1]);
    let sample = Sample::new(21, 400);
    feeds_back("sample", sample.left.as_bytes(), sample.right.as_bytes());
}
