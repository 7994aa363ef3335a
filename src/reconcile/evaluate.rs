//! How good a result is: `matches.csv` against the true pairs.
//!
//! Precision, recall and F1 with 95 % intervals, over all pairs, by state, by kind, and above each of several probabilities.
//! Easy to get wrong: a match of several records is as many pairs as it has lines, here and in the truth.
use crate::dedupe::PAIRS_HEADER;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// Least probabilities of the table over thresholds.
pub const THRESHOLDS: [f64; 8] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999];

/// The standard normal quantile of a two-sided 95 % interval.
const Z: f64 = 1.959_963_984_540_054;

/// What names a record in both files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Names {
    /// The ids: `left_id` and `right_id` of the matches.
    #[default]
    Ids,
    /// Physical lines: `left_line` and `right_line` of the matches.
    Lines,
}

/// Why the two files cannot be compared; each text names the file, and the line where there is one.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// Not readable as CSV.
    #[error("{file}: {source}")]
    Read {
        /// The file as the caller named it.
        file: String,
        /// What the CSV reader said.
        source: csv::Error,
    },
    /// The header lacks a column.
    #[error("{file}: line 1: no column {column:?}; it has {known}")]
    Column {
        /// The file as the caller named it.
        file: String,
        /// The missing column.
        column: String,
        /// The columns that are there.
        known: String,
    },
    /// A probability that is none.
    #[error("{file}: line {line}: probability {value:?} is not a number from 0 to 1")]
    Probability {
        /// The file as the caller named it.
        file: String,
        /// Physical line.
        line: u64,
        /// The cell.
        value: String,
    },
}

/// A share of something with its 95 % interval.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Share {
    /// The estimate, 0 to 1.
    pub value: f64,
    /// Lower end of the interval (Wilson).
    pub low: f64,
    /// Upper end of the interval (Wilson).
    pub high: f64,
}

/// Found pairs against true pairs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Score {
    /// Pairs in the result.
    pub found: u64,
    /// Pairs in the truth.
    pub truth: u64,
    /// Pairs in both.
    pub hits: u64,
    /// Hits of the found pairs.
    pub precision: Share,
    /// Hits of the true pairs.
    pub recall: Share,
    /// Harmonic mean of the two.
    pub f1: Share,
}

/// The whole comparison.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Evaluation {
    /// All pairs.
    pub all: Score,
    /// Matches of kind `one_to_one` against the true kinds that begin with `one_to_one`; the same as `all` where the truth has
    /// no kinds.
    pub one_to_one: Score,
    /// The found pairs of each state against the whole truth: the precision counts, the recall is the state's share.
    pub states: BTreeMap<String, Score>,
    /// All found pairs against the true pairs of each kind: the recall counts.
    pub kinds: BTreeMap<String, Score>,
    /// The found pairs at or above a probability, by [`THRESHOLDS`].
    pub thresholds: Vec<(f64, Score)>,
}

type Pair = (String, String);
type Pairs = BTreeSet<Pair>;

struct Found {
    pair: Pair,
    kind: String,
    state: String,
    probability: f64,
}

/// Compares a `matches.csv`, or the `pairs.csv` of a search for duplicates, with the truth. In duplicates the two records of a pair
/// have no order, neither here nor in the truth. The truth has the left record in its first column and the right one in its second;
/// an optional column `kind` splits the report.
///
/// # Errors
/// A file is no CSV, lacks a column, or has a probability that is none.
pub fn evaluate(
    (matches_name, matches): (&str, impl Read),
    (truth_name, truth): (&str, impl Read),
    names: Names,
) -> Result<Evaluation, EvaluateError> {
    let (mut found, in_one_file) = read_matches(matches_name, matches, names)?;
    let mut truth = read_truth(truth_name, truth)?;
    if in_one_file {
        found.iter_mut().for_each(|found| found.pair = without_order(std::mem::take(&mut found.pair)));
        truth.values_mut().for_each(|pairs| *pairs = std::mem::take(pairs).into_iter().map(without_order).collect());
    }
    let true_pairs: Pairs = truth.values().flatten().cloned().collect();
    let pick =
        |keep: &dyn Fn(&Found) -> bool| -> Pairs { found.iter().filter(|f| keep(f)).map(|f| f.pair.clone()).collect() };
    let all = pick(&|_| true);
    let has_kinds = truth.keys().any(|kind| !kind.is_empty());
    let single: Pairs = if has_kinds {
        truth.iter().filter(|(kind, _)| kind.starts_with("one_to_one")).flat_map(|(_, pairs)| pairs.clone()).collect()
    } else {
        true_pairs.clone()
    };
    let one_to_one = if has_kinds { pick(&|f| f.kind == "one_to_one") } else { all.clone() };
    let states: BTreeSet<&str> = found.iter().map(|f| f.state.as_str()).collect();
    Ok(Evaluation {
        one_to_one: score(&one_to_one, &single),
        states: states.iter().map(|s| ((*s).to_owned(), score(&pick(&|f| f.state == *s), &true_pairs))).collect(),
        kinds: truth
            .iter()
            .filter(|(kind, _)| !kind.is_empty())
            .map(|(kind, pairs)| (kind.clone(), score(&all, pairs)))
            .collect(),
        thresholds: THRESHOLDS.iter().map(|t| (*t, score(&pick(&|f| f.probability >= *t), &true_pairs))).collect(),
        all: score(&all, &true_pairs),
    })
}

fn without_order((one, other): Pair) -> Pair {
    if one <= other { (one, other) } else { (other, one) }
}

/// The pairs, and whether both records of each are of one file.
fn read_matches(name: &str, input: impl Read, names: Names) -> Result<(Vec<Found>, bool), EvaluateError> {
    let failed = |source| EvaluateError::Read { file: name.to_owned(), source };
    let mut csv = csv::Reader::from_reader(input);
    let header = csv.headers().map_err(failed)?.clone();
    let at = |column: &str| column_of(name, &header, column);
    let (left, right) = match names {
        Names::Ids => (at("left_id")?, at("right_id")?),
        Names::Lines => (at("left_line")?, at("right_line")?),
    };
    let (kind, state, probability) = (at("kind")?, at("state")?, at("probability")?);
    let mut found = Vec::new();
    for record in csv.records() {
        let record = record.map_err(failed)?;
        let cell = |at: usize| record.get(at).unwrap_or_default().to_owned();
        let value = cell(probability);
        let parsed = value.parse().ok().filter(|p| (0.0..=1.0).contains(p));
        let line = record.position().map_or(0, csv::Position::line);
        let probability = parsed.ok_or(EvaluateError::Probability { file: name.to_owned(), line, value })?;
        found.push(Found { pair: (cell(left), cell(right)), kind: cell(kind), state: cell(state), probability });
    }
    Ok((found, header.get(0) == Some(PAIRS_HEADER[0])))
}

fn read_truth(name: &str, input: impl Read) -> Result<BTreeMap<String, Pairs>, EvaluateError> {
    let failed = |source| EvaluateError::Read { file: name.to_owned(), source };
    let mut csv = csv::Reader::from_reader(input);
    let header = csv.headers().map_err(failed)?.clone();
    if header.len() < 2 {
        return Err(EvaluateError::Column {
            file: name.to_owned(),
            column: "the right record".to_owned(),
            known: known(&header),
        });
    }
    let kind = header.iter().position(|column| column == "kind");
    let mut truth: BTreeMap<String, Pairs> = BTreeMap::new();
    for record in csv.records() {
        let record = record.map_err(failed)?;
        let cell = |at: usize| record.get(at).unwrap_or_default().to_owned();
        truth.entry(kind.map_or(String::new(), cell)).or_default().insert((cell(0), cell(1)));
    }
    Ok(truth)
}

fn column_of(file: &str, header: &csv::StringRecord, column: &str) -> Result<usize, EvaluateError> {
    header.iter().position(|name| name == column).ok_or_else(|| EvaluateError::Column {
        file: file.to_owned(),
        column: column.to_owned(),
        known: known(header),
    })
}

fn known(header: &csv::StringRecord) -> String {
    header.iter().collect::<Vec<_>>().join(", ")
}

fn score(found: &Pairs, truth: &Pairs) -> Score {
    let hits = found.intersection(truth).count() as u64;
    let (found, truth) = (found.len() as u64, truth.len() as u64);
    // F1 = 2J / (1 + J) with J, the hits among all pairs of either side: a share, whose interval carries over.
    let jaccard = share(hits, found + truth - hits);
    let f1 = |j: f64| 2.0 * j / (1.0 + j);
    Score {
        found,
        truth,
        hits,
        precision: share(hits, found),
        recall: share(hits, truth),
        f1: Share { value: f1(jaccard.value), low: f1(jaccard.low), high: f1(jaccard.high) },
    }
}

/// Wilson's interval (Wilson 1927). Of nothing, nothing is known: 0, from 0 to 1.
fn share(hits: u64, of: u64) -> Share {
    if of == 0 {
        return Share { value: 0.0, low: 0.0, high: 1.0 };
    }
    let (n, p) = (of as f64, hits as f64 / of as f64);
    let centre = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    Share { value: p, low: ((centre - spread) / scale).clamp(0.0, p), high: ((centre + spread) / scale).clamp(p, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MATCHES: &str = "match_id,left_id,right_id,kind,probability,state,explanation\n\
        m1,a,1,one_to_one,0.99,auto,\n\
        m2,b,2,one_to_one,0.70,review,\n\
        m3,c,3,one_to_many,0.95,auto,\n\
        m3,c,4,one_to_many,0.95,auto,\n";
    const TRUTH: &str = "left,right,kind\na,1,one_to_one\nb,9,one_to_one_fee\nc,3,one_to_many\nc,4,one_to_many\n";

    fn run(matches: &str, truth: &str, names: Names) -> Result<Evaluation, EvaluateError> {
        evaluate(("matches.csv", matches.as_bytes()), ("truth.csv", truth.as_bytes()), names)
    }

    #[test]
    fn pairs_are_counted_in_all_by_state_by_kind_and_above_thresholds() {
        let got = run(MATCHES, TRUTH, Names::Ids).unwrap();
        assert_eq!((got.all.found, got.all.truth, got.all.hits), (4, 4, 3));
        assert!((got.all.f1.value - 0.75).abs() < 1e-12);
        assert_eq!((got.one_to_one.found, got.one_to_one.truth, got.one_to_one.hits), (2, 2, 1));
        assert_eq!((got.states["auto"].found, got.states["auto"].hits), (3, 3));
        assert_eq!(got.states["review"].precision.value, 0.0);
        assert_eq!(got.kinds["one_to_many"].recall.value, 1.0);
        assert_eq!(got.kinds["one_to_one_fee"].hits, 0);
        let at = |t: f64| got.thresholds.iter().find(|(x, _)| *x == t).unwrap().1.found;
        assert_eq!((at(0.7), at(0.8), at(0.95), at(0.99)), (4, 3, 3, 1));
    }

    #[test]
    fn pairs_of_one_file_have_no_order() {
        let pairs =
            "cluster,left_id,right_id,kind,probability,state\nc1,a,b,duplicate,0.9,auto\nc2,d,c,duplicate,0.9,auto\n";
        let got = run(pairs, "one,other\nb,a\nc,d\n", Names::Ids).unwrap();
        assert_eq!((got.all.found, got.all.truth, got.all.hits), (2, 2, 2));
        let got = run(MATCHES, "left,right\n1,a\n", Names::Ids).unwrap();
        assert_eq!(got.all.hits, 0, "two files have an order");
    }

    #[test]
    fn intervals_are_wilsons_and_hold_the_estimate() {
        // 8 of 10: 0.490 to 0.943, as statistics books print it.
        let got = share(8, 10);
        assert!((got.low - 0.4902).abs() < 1e-4 && (got.high - 0.9433).abs() < 1e-4, "{got:?}");
        for (hits, of) in [(0, 1), (1, 1), (0, 1000), (1000, 1000), (999, 1000)] {
            let got = share(hits, of);
            assert!(0.0 <= got.low && got.low <= got.value && got.value <= got.high && got.high <= 1.0, "{got:?}");
        }
    }

    #[test]
    fn bad_files_are_refused_with_file_line_and_column() {
        let text = |got: Result<Evaluation, EvaluateError>| got.unwrap_err().to_string();
        assert_eq!(
            text(run("left_id,kind,state,probability\n", TRUTH, Names::Ids)),
            "matches.csv: line 1: no column \"right_id\"; it has left_id, kind, state, probability"
        );
        assert!(text(run(MATCHES, TRUTH, Names::Lines)).contains("no column \"left_line\""));
        let bad = MATCHES.replace("0.70", "often");
        assert_eq!(
            text(run(&bad, TRUTH, Names::Ids)),
            "matches.csv: line 3: probability \"often\" is not a number from 0 to 1"
        );
        assert!(text(run(MATCHES, "left\na\n", Names::Ids)).starts_with("truth.csv: line 1"));
        assert!(
            text(run("left_id,right_id,kind,state,probability\na\n", TRUTH, Names::Ids)).starts_with("matches.csv:")
        );
    }
}
