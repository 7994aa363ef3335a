//! Compares a `matches.csv` with the truth: precision, recall and F1, in all and for each kind of the truth.
//!
//! Usage: `cargo run --release --example evaluate -- MATCHES.csv TRUTH.csv`
//!
//! The truth has the left id in its first column and the right id in its second; an optional column `kind` splits the
//! report. `one-to-one` scores matches of kind `one_to_one` against the truth of kinds that begin with `one_to_one`;
//! it is the figure quoted in the docs. Ids must be those of the run, so pass `--left-id` and `--right-id` to it when in doubt.
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};

type Pairs = BTreeSet<(String, String)>;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(matches), Some(truth)) = (args.next(), args.next()) else {
        anyhow::bail!("usage: evaluate MATCHES.csv TRUTH.csv");
    };
    let found = read(&matches, "left_id", "right_id")?;
    let truth = read(&truth, "", "")?;
    let all = |of: &BTreeMap<String, Pairs>| of.values().flatten().cloned().collect::<Pairs>();
    let single = |of: &BTreeMap<String, Pairs>| -> Pairs {
        of.iter()
            .filter(|(kind, _)| kind.is_empty() || kind.starts_with("one_to_one"))
            .flat_map(|(_, p)| p.clone())
            .collect()
    };
    print("all", &all(&found), &all(&truth));
    print("one-to-one", &single(&found), &single(&truth));
    let everything = all(&found);
    for (kind, pairs) in truth.iter().filter(|(kind, _)| !kind.is_empty()) {
        let hit = pairs.intersection(&everything).count();
        println!("{kind:<16} recall {:.4}  ({hit} of {})", hit as f64 / pairs.len() as f64, pairs.len());
    }
    Ok(())
}

/// Pairs by kind. Empty column names mean the first and second column.
fn read(path: &str, left: &str, right: &str) -> Result<BTreeMap<String, Pairs>> {
    let mut csv = csv::Reader::from_path(path).with_context(|| format!("open {path}"))?;
    let header = csv.headers()?.clone();
    let at = |name: &str| header.iter().position(|h| h == name);
    let (left, right, kind) = (at(left).unwrap_or(0), at(right).unwrap_or(1), at("kind"));
    let mut out: BTreeMap<String, Pairs> = BTreeMap::new();
    for record in csv.records() {
        let record = record.with_context(|| format!("read {path}"))?;
        let cell = |at: usize| record.get(at).unwrap_or("").to_owned();
        out.entry(kind.map_or(String::new(), cell)).or_default().insert((cell(left), cell(right)));
    }
    Ok(out)
}

fn print(what: &str, found: &Pairs, truth: &Pairs) {
    let hit = found.intersection(truth).count() as f64;
    let (precision, recall) = (hit / found.len().max(1) as f64, hit / truth.len().max(1) as f64);
    let f1 = 2.0 * hit / (found.len() + truth.len()).max(1) as f64;
    println!(
        "{what:<16} precision {precision:.4}  recall {recall:.4}  F1 {f1:.4}  ({} found, {} true)",
        found.len(),
        truth.len()
    );
}
