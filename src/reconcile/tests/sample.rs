//! A part of a run: samples by content, and what a run would compare.
mod support;

use std::collections::BTreeSet;
use support::{Sample, run_both, table};
use tieout_reconcile::{RuleSet, Table, Unattended, estimate, infer_from_tables, report, run_adjusted};

fn ids(table: &Table) -> BTreeSet<String> {
    (0..table.len()).map(|row| table.id(row).into_owned()).collect()
}

#[test]
fn a_sample_is_chosen_by_content_and_a_smaller_one_is_a_part_of_a_larger() {
    let whole = Sample::new(4, 200);
    let (left, _) = whole.tables();
    let (other, _) = whole.shuffled(8).tables();
    assert_eq!(ids(&left.sample(50)), ids(&other.sample(50)), "the order of rows changes nothing");
    assert!(ids(&left.sample(20)).is_subset(&ids(&left.sample(50))));
    assert_eq!(left.sample(50).len(), 50);
    assert_eq!(left.sample(500).reading().sampled_from, None, "all rows are no sample");
}

#[test]
fn a_sample_has_its_partners_and_says_that_it_is_one() {
    let (left, right) = Sample::new(6, 300).tables();
    let (rules, comparing) = infer_from_tables(&left, &right, &Unattended).unwrap();
    let part = left.sample(60);
    let outcome = run_adjusted(&part, &right, rules, comparing, &Unattended).unwrap();
    let summary = report::summary_json(&outcome, &part, &right);
    assert_eq!(summary["sample"]["left_rows"], 60);
    assert_eq!(summary["sample"]["of"], 300);
    assert!(part.reading().lines("left")[0].contains("a sample of its 300 rows"), "{:?}", part.reading().lines("left"));
    let pairs = support::matched(&part, &right, &outcome);
    let whole = support::matched(&left, &right, &run_both(&left, &right));
    assert_eq!(pairs.len(), 60);
    assert!(pairs.is_subset(&whole));
    assert!(report::summary_json(&run_both(&left, &right), &left, &right).get("sample").is_none());
}

#[test]
fn the_estimate_is_what_a_run_compares() {
    let (left, right) = Sample::new(2, 1_500).tables();
    let (rules, _) = infer_from_tables(&left, &right, &Unattended).unwrap();
    let work = estimate(&left, &right, &rules, &Unattended).unwrap();
    assert!(work.is_exact);
    assert_eq!(work.pairs, run_both(&left, &right).summary.pairs_compared);
    let (left, right) = Sample::new(2, 6_000).tables();
    let (rules, _) = infer_from_tables(&left, &right, &Unattended).unwrap();
    let work = estimate(&left, &right, &rules, &Unattended).unwrap();
    let compared = run_both(&left, &right).summary.pairs_compared as f64;
    assert!(!work.is_exact);
    assert!((work.pairs as f64 / compared - 1.0).abs() < 0.15, "{work:?} of {compared}");
}

#[test]
fn an_estimate_refuses_what_a_run_would() {
    let (left, right) = (table("l", "id,a\n1,x\n"), table("r", "id,a\n2,x\n"));
    let rules = r#"{"compare": [{"kind": "exact", "left": "b", "right": "a"}]}"#;
    let error = estimate(&left, &right, &RuleSet::parse(rules).unwrap(), &Unattended).unwrap_err();
    assert!(error.to_string().starts_with("rules: compare[0].left: no column \"b\""), "{error}");
}
