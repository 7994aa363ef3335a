//! Two small files that ought to agree, and the truth about them: a ledger and a bank statement of any size, made from a
//! seed. Leaves judging a result to `score`. Easy to get wrong: noise that makes the truth itself ambiguous; amounts and
//! references of different lines never meet here.
use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::Value;

/// Both files and which of their lines belong together.
pub(crate) struct Sample {
    pub ledger: String,
    pub bank: String,
    /// (ledger id, bank id)
    pub truth: BTreeSet<(String, String)>,
    pub ledger_only: BTreeSet<String>,
    pub bank_only: BTreeSet<String>,
}

/// Precision, recall and their mean, against one-to-one truth.
#[derive(Debug)]
pub(crate) struct Score {
    pub right: usize,
    pub wrong: usize,
    pub missed: usize,
}

impl Score {
    pub(crate) fn f1(&self) -> f64 {
        2.0 * self.right as f64 / (2 * self.right + self.wrong + self.missed) as f64
    }
}

impl Sample {
    /// `lines` ledger lines; of ten, eight are paid as they are (some days later, the reference inside a longer text), one
    /// was never paid, and the bank has one payment of its own.
    pub(crate) fn new(lines: usize, seed: u64) -> Sample {
        let mut random = SplitMix64(seed);
        let mut ledger = String::from("entry,booked,amount,reference,customer\n");
        let mut bank_lines = Vec::new();
        let (mut truth, mut ledger_only, mut bank_only) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for n in 0..lines {
            let (entry, payment) = (format!("L{:06}", n + 1), format!("P{:06}", n + 1));
            // The last two digits carry the line's number, so that no two lines have one amount within a day's window.
            let cents = 1_000 + random.below(900_000) * 100 + (n as u64 % 100);
            let (day, late) = (random.below(300), random.below(3));
            let customer = CUSTOMERS[random.below(CUSTOMERS.len() as u64) as usize];
            let reference = format!("RF{:05}{:03}", n, random.below(1000));
            let line =
                |day: u64| format!("{payment},{},{},{customer} inv {reference} thanks\n", date(day), money(cents));
            match n % 10 {
                3 => {
                    ledger_only.insert(entry.clone());
                }
                7 => {
                    bank_only.insert(payment.clone());
                    bank_lines.push(line(day + late));
                    continue;
                }
                _ => {
                    truth.insert((entry.clone(), payment.clone()));
                    bank_lines.push(line(day + late));
                }
            }
            writeln!(ledger, "{entry},{},{},{reference},{customer}", date(day), money(cents))
                .expect("a String takes it");
        }
        for n in (1..bank_lines.len()).rev() {
            bank_lines.swap(n, random.below(n as u64 + 1) as usize);
        }
        let bank = format!("payment,value_date,amount,text\n{}", bank_lines.concat());
        Sample { ledger, bank, truth, ledger_only, bank_only }
    }

    /// Compares found pairs with the truth.
    pub(crate) fn score(&self, found: &BTreeSet<(String, String)>) -> Score {
        let right = found.intersection(&self.truth).count();
        Score { right, wrong: found.len() - right, missed: self.truth.len() - right }
    }
}

/// (left id, right id) of the lines of a result page.
pub(crate) fn pairs(items: &[Value]) -> BTreeSet<(String, String)> {
    let ids = |item: &Value, side: &str| -> Vec<String> {
        let lines = item[side].as_array().unwrap_or_else(|| panic!("no `{side}` lines in {item}"));
        lines.iter().map(|line| line["id"].as_str().unwrap_or_else(|| panic!("no id in {line}")).to_owned()).collect()
    };
    let mut found = BTreeSet::new();
    for item in items {
        for left in ids(item, "left") {
            found.extend(ids(item, "right").into_iter().map(|right| (left.clone(), right)));
        }
    }
    found
}

const CUSTOMERS: &[&str] = &[
    "Alder Books",
    "Birch Cycles",
    "Cedar Foods",
    "Dogwood Print",
    "Elm Optics",
    "Fir Tools",
    "Gorse Travel",
    "Hazel Toys",
];

fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Day `n` of a year that has thirteen months of 28 days less one: always a real date, and enough for a sample.
fn date(n: u64) -> String {
    format!("2025-{:02}-{:02}", n / 28 % 12 + 1, n % 28 + 1)
}

struct SplitMix64(u64);

impl SplitMix64 {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
