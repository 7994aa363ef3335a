//! The goals on public data sets, when they are at hand: `TIEOUT_SHARED` or `../shared`. Without them each test says so
//! and passes; the sets are not ours to ship.
use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use tieout::reconcile::{MatchKind, ReadOptions, Side, Table, Unattended, profile, read, run_inferred};

fn shared(set: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TIEOUT_SHARED").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let folder = root.join("data").join(set);
    if !folder.is_dir() {
        eprintln!("skipped: no {}", folder.display());
        return None;
    }
    Some(folder)
}

fn load(path: PathBuf) -> Table {
    let options = ReadOptions { name: path.display().to_string(), ..ReadOptions::default() };
    let profile = profile(File::open(&path).unwrap(), &options).unwrap();
    read(File::open(&path).unwrap(), Some(&profile), &options, &Unattended).unwrap()
}

/// F1 of the one-to-one matches under the inferred rules.
fn f1(folder: PathBuf, left: &str, right: &str) -> f64 {
    let (left, right) = (load(folder.join(left)), load(folder.join(right)));
    let outcome = run_inferred(&left, &right, &Unattended).unwrap();
    let id = |table: &Table, row: Option<u32>| table.id(row.unwrap() as usize).into_owned();
    let single = outcome.matches.iter().filter(|m| m.kind == MatchKind::OneToOne);
    let found: BTreeSet<(String, String)> =
        single.map(|m| (id(&left, m.rows(Side::Left).next()), id(&right, m.rows(Side::Right).next()))).collect();
    let mut truth = csv::Reader::from_path(folder.join("truth.csv")).unwrap();
    let truth: BTreeSet<(String, String)> = truth
        .records()
        .map(|record| record.unwrap())
        .filter(|record| record.get(2).is_none_or(|kind| kind.starts_with("one_to_one")))
        .map(|record| (record[0].to_owned(), record[1].to_owned()))
        .collect();
    2.0 * found.intersection(&truth).count() as f64 / (found.len() + truth.len()) as f64
}

#[test]
fn inferred_rules_reach_the_goal_on_persons() {
    let Some(folder) = shared("febrl4") else { return };
    let f1 = f1(folder, "left.csv", "right.csv");
    assert!(f1 >= 0.995, "{f1}");
}

#[test]
fn inferred_rules_reach_the_goal_on_bank_statements() {
    let Some(folder) = shared("bank_10k") else { return };
    let f1 = f1(folder, "ledger.csv", "bank.csv");
    assert!(f1 >= 0.97, "{f1}");
}

#[test]
fn inferred_rules_hold_on_restaurants() {
    let Some(folder) = shared("fodors-zagats") else { return };
    let f1 = f1(folder, "left.csv", "right.csv");
    assert!(f1 >= 0.9, "{f1}");
}

#[test]
fn inferred_rules_hold_on_products() {
    let Some(folder) = shared("amazon-google") else { return };
    let f1 = f1(folder, "left.csv", "right.csv");
    assert!(f1 >= 0.45, "{f1}");
}
