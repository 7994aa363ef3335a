//! Small files and what a run finds in them.
#![allow(dead_code, reason = "each test file uses a part")]
use std::collections::BTreeSet;
use std::fmt::Write as _;
use tieout_reconcile::{Match, MatchState, Outcome, ReadOptions, Side, Table, Unattended, read, report, run_inferred};

pub(crate) fn table(name: &str, csv: &str) -> Table {
    let options = ReadOptions { name: name.into(), ..ReadOptions::default() };
    read(csv.as_bytes(), None, &options, &Unattended).unwrap()
}

pub(crate) fn run_both(left: &Table, right: &Table) -> Outcome {
    run_inferred(left, right, &Unattended).unwrap()
}

/// The outcome of two files given as text.
pub(crate) fn outcome(left: &str, right: &str) -> (Table, Table, Outcome) {
    let (left, right) = (table("left", left), table("right", right));
    let outcome = run_both(&left, &right);
    (left, right, outcome)
}

pub(crate) fn ids(table: &Table, found: &Match, side: Side) -> Vec<String> {
    found.rows(side).map(|row| table.id(row as usize).into_owned()).collect()
}

/// Every pair of ids in a match.
pub(crate) fn matched(left: &Table, right: &Table, outcome: &Outcome) -> BTreeSet<(String, String)> {
    let mut pairs = BTreeSet::new();
    for found in &outcome.matches {
        for l in ids(left, found, Side::Left) {
            pairs.extend(ids(right, found, Side::Right).into_iter().map(|r| (l.clone(), r)));
        }
    }
    pairs
}

/// Pairs with their state and the id of their match.
pub(crate) fn states(left: &Table, right: &Table) -> BTreeSet<(String, String, &'static str, String)> {
    let outcome = run_both(left, right);
    let mut all = BTreeSet::new();
    for found in &outcome.matches {
        let id = report::match_id(found, left, right);
        for l in ids(left, found, Side::Left) {
            for r in ids(right, found, Side::Right) {
                all.insert((l.clone(), r, found.state.as_str(), id.clone()));
            }
        }
    }
    all
}

pub(crate) fn state_of<'a>(outcome: &'a Outcome, left: &Table, id: &str) -> Option<(&'a Match, MatchState)> {
    let found = outcome.matches.iter().find(|m| ids(left, m, Side::Left).iter().any(|own| own == id))?;
    Some((found, found.state))
}

/// A ledger and a bank statement that names the invoice and the customer of each payment.
pub(crate) struct Sample {
    pub left: String,
    pub right: String,
}

const CUSTOMERS: [&str; 8] = [
    "Alpine Bakery",
    "Harbor Textiles",
    "Juniper Media",
    "Kestrel Motors",
    "Orchid Spa",
    "Quartz Analytics",
    "Vista Travel",
    "Willow Pharma",
];

pub(crate) fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

impl Sample {
    pub(crate) fn new(seed: u64, rows: usize) -> Self {
        let mut random = random(seed);
        let mut left = "entry,date,amount,reference,customer\n".to_owned();
        let mut right = "txn,value_date,amount,description\n".to_owned();
        for at in 0..rows {
            let (day, cents) = (1 + random(20), 1_000 + random(900_000));
            let (customer, invoice) = (CUSTOMERS[random(8) as usize], 10_400 + 3 * at);
            let amount = format!("{}.{:02}", cents / 100, cents % 100);
            writeln!(left, "L{at},2026-03-{day:02},{amount},INV-{invoice},{customer}").unwrap();
            let (day, customer) = (day + random(4), customer.to_uppercase());
            writeln!(right, "B{at},2026-03-{day:02},{amount},{customer} INV-{invoice}").unwrap();
        }
        Self { left, right }
    }

    pub(crate) fn tables(&self) -> (Table, Table) {
        (table("ledger", &self.left), table("bank", &self.right))
    }

    pub(crate) fn right_with_amounts(&self, change: impl Fn(&str) -> String) -> String {
        self.right
            .lines()
            .enumerate()
            .map(|(at, line)| {
                let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
                if at > 0 {
                    cells[2] = change(&cells[2]);
                }
                cells.join(",") + "\n"
            })
            .collect()
    }

    pub(crate) fn with_raised_amounts(&self, rows: &BTreeSet<usize>) -> Self {
        let line = |(at, line): (usize, &str)| {
            let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
            if at > 0 && rows.contains(&(at - 1)) {
                cells[2] = format!("{:.2}", cells[2].parse::<f64>().unwrap() + 500.0);
            }
            cells.join(",") + "\n"
        };
        Self { left: self.left.clone(), right: self.right.lines().enumerate().map(line).collect() }
    }

    pub(crate) fn shuffled(&self, seed: u64) -> Self {
        let mut random = random(seed);
        let mut shuffle = |text: &str| {
            let mut lines: Vec<&str> = text.lines().collect();
            for at in (2..lines.len()).rev() {
                lines.swap(at, 1 + random(at as u64) as usize);
            }
            lines.join("\n") + "\n"
        };
        Self { left: shuffle(&self.left), right: shuffle(&self.right) }
    }
}
