//! A slow obvious matcher: every row with every row, weights by hand, every assignment tried. A run gives the same pairs.
//!
//! What a level is worth is written down here again from docs/RULES.md, so that a mistake in one place shows.
mod support;

use proptest::prelude::*;
use std::collections::BTreeSet;
use support::matched;
use tieout_reconcile::{ReadOptions, RuleSet, Side, Table, Unattended, read, run, settle};

#[derive(Clone, Debug)]
struct Row {
    /// 0 is an empty cell, as everywhere here.
    word: usize,
    cents: i64,
    day: i64,
}

const WORDS: [&str; 5] = ["", "anchor", "bottle", "candle", "drawer"];
const RULES: &str = r#"{
    "left_id": "entry", "right_id": "txn", "model": "weighted", "sums": { "enabled": false },
    "compare": [
        { "kind": "exact", "left": "thing", "right": "object", "agree": 6.0, "disagree": -3.5 },
        { "kind": "tolerance", "left": "amount", "right": "value", "tolerance": "0", "agree": 7.0, "disagree": -5.0 },
        { "kind": "window", "left": "day", "right": "booked", "before_days": 5, "after_days": 5, "agree": 2.0, "disagree": -4.0 }
    ]
}"#;

fn csv(header: &str, id: &str, rows: &[Row]) -> String {
    let mut out = header.to_owned();
    for (at, row) in rows.iter().enumerate() {
        let amount = if row.cents == 0 { String::new() } else { format!("{}.{:02}", row.cents / 100, row.cents % 100) };
        let day = if row.day == 0 { String::new() } else { format!("2026-03-{:02}", row.day) };
        out += &format!("{id}{at},{},{amount},{day}\n", WORDS[row.word]);
    }
    out
}

fn tables(left: &[Row], right: &[Row], rules: &RuleSet) -> (Table, Table) {
    let load = |text: String, side: Side| {
        let mut options = ReadOptions { name: side.as_str().into(), ..ReadOptions::default() };
        rules.reading(side, &mut options);
        read(text.as_bytes(), None, &options, &Unattended).unwrap()
    };
    let mut left = load(csv("entry,thing,amount,day\n", "L", left), Side::Left);
    let mut right = load(csv("txn,object,value,booked\n", "R", right), Side::Right);
    settle(&mut left, &mut right, Some(rules), &Unattended).unwrap();
    (left, right)
}

/// Whether a value is that of at most three rows of either side; of more than thirty there are none here.
fn is_rare<T: PartialEq>(value: &T, left: &[T], right: &[T]) -> bool {
    let count = |all: &[T]| all.iter().filter(|other| *other == value).count();
    count(left).max(count(right)) <= 3
}

/// Thousandths of a bit by which a pair is above the floor of one half.
fn gain(l: &Row, r: &Row, left: &[Row], right: &[Row]) -> i64 {
    let mut bits = 0.0;
    let mut add = |agreement: f64, agree: f64, disagree: f64| bits += disagree + agreement * (agree - disagree);
    if l.word != 0 && r.word != 0 {
        let words = |rows: &[Row]| rows.iter().map(|row| row.word).collect::<Vec<_>>();
        let agreement = match () {
            () if l.word != r.word => 0.0,
            () if is_rare(&l.word, &words(left), &words(right)) => 1.0,
            () => 2.0 / 3.0,
        };
        add(agreement, 6.0, -3.5);
    }
    if l.cents != 0 && r.cents != 0 {
        let amounts = |rows: &[Row]| rows.iter().map(|row| row.cents).collect::<Vec<_>>();
        let share = (l.cents - r.cents).abs() as f64 / l.cents.max(r.cents) as f64;
        let agreement = match () {
            () if l.cents == r.cents && is_rare(&l.cents, &amounts(left), &amounts(right)) => 1.0,
            () if l.cents == r.cents => 0.9,
            () if share <= 0.02 => 0.36,
            () if share <= 0.10 => 0.24,
            () if share <= 0.30 => 0.12,
            () => 0.0,
        };
        add(agreement, 7.0, -5.0);
    }
    if l.day != 0 && r.day != 0 {
        let agreement = match (l.day - r.day).abs() {
            0 => 1.0,
            days @ 1..=3 => (5 - days) as f64 * 0.2,
            4 | 5 => 0.2,
            _ => 0.0,
        };
        add(agreement, 2.0, -4.0);
    }
    (bits * 1000.0_f64).round() as i64
}

type Chosen = BTreeSet<(usize, usize)>;

/// The best total over all assignments from left row `at` on, and every choice of pairs that reaches it.
fn best(gains: &[Vec<i64>], at: usize, used: u32) -> (i64, Vec<Chosen>) {
    if at == gains.len() {
        return (0, vec![Chosen::new()]);
    }
    let mut top = best(gains, at + 1, used);
    for (r, gain) in gains[at].iter().enumerate().filter(|(r, gain)| **gain > 0 && used >> r & 1 == 0) {
        let (total, mut choices) = best(gains, at + 1, used | 1 << r);
        for pairs in &mut choices {
            pairs.insert((at, r));
        }
        match (total + gain).cmp(&top.0) {
            std::cmp::Ordering::Greater => top = (total + gain, choices),
            std::cmp::Ordering::Equal => top.1.extend(choices),
            std::cmp::Ordering::Less => {}
        }
    }
    top
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let cents =
        prop_oneof![1 => Just(0_i64), 6 => prop::sample::select(vec![1000, 1015, 1080, 1250, 2000, 2000, 5055])];
    let row = (0_usize..5, cents, 0_i64..9).prop_map(|(word, cents, day)| Row { word, cents, day });
    prop::collection::vec(row, 1..7)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn a_run_gives_the_pairs_of_trying_everything(left in rows(), right in rows()) {
        let rules = RuleSet::parse(RULES).unwrap();
        let (l, r) = tables(&left, &right, &rules);
        prop_assume!(l.len() == left.len() && r.len() == right.len());
        let mut outcome = run(&l, &r, &rules, &Unattended).unwrap();
        // Found after the assignment, among what it left over.
        outcome.matches.retain(|found| !found.said.explanation.starts_with("equal payments that recur"));
        let number = |id: &str| id[1..].parse::<usize>().unwrap();
        let pairs: Chosen = matched(&l, &r, &outcome).iter().map(|(l, r)| (number(l), number(r))).collect();
        let gains: Vec<Vec<i64>> =
            left.iter().map(|one| right.iter().map(|other| gain(one, other, &left, &right)).collect()).collect();
        let (_, choices) = best(&gains, 0, 0);
        prop_assert!(choices.contains(&pairs), "{pairs:?} is none of {choices:?}; gains {gains:?}");
    }
}
