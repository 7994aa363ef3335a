//! Rules from two profiles: which columns mean the same, and how to compare them.
//!
//! Decides by type first, then by name, then by the values both columns share; so `date` finds `value_date`, and
//! `reference` and `counterparty` both find the one free-text `description`. A column that only repeats another one
//! of its own side is left out, or its evidence would count twice.
use crate::reading::{NameHint, SideReading};
use crate::rules::{Assign, Compare, CompareKind, MAX_COMPARISONS, Model, RuleSet, RunLimits, States, Sums};
use crate::table::{ColumnProfile, ColumnType, Profile, overlap};
use crate::text;

/// Infers a rule set. `left_id` and `right_id` name rows and are not compared; the first unique column by default.
///
/// The result always has at least one comparison; when the files share nothing it compares the first columns, and
/// the run will say that nothing matched.
pub fn infer_rules(left: &Profile, right: &Profile, left_id: Option<&str>, right_id: Option<&str>) -> RuleSet {
    let left_id = left_id.or_else(|| left.id_column());
    let right_id = right_id.or_else(|| right.id_column());
    let mut inference = Inference {
        left: left.columns.iter().filter(|c| Some(c.name.as_str()) != left_id && c.is_compared()).collect(),
        right: right.columns.iter().filter(|c| Some(c.name.as_str()) != right_id && c.is_compared()).collect(),
        compare: Vec::new(),
    };
    inference.currencies();
    inference.amounts();
    inference.dates();
    inference.same_text();
    inference.contained_text();
    if inference.compare.is_empty() {
        let name = |profile: &Profile| profile.columns.first().map_or(String::new(), |c| c.name.clone());
        inference.compare.push(Compare::new(CompareKind::Exact, &name(left), &name(right)));
    }
    inference.compare.truncate(MAX_COMPARISONS);
    RuleSet {
        version: 1,
        left_id: left_id.map(str::to_owned),
        right_id: right_id.map(str::to_owned),
        left: SideReading::default(),
        right: SideReading::default(),
        compare: inference.compare,
        block: Vec::new(),
        model: Model::FellegiSunter,
        assign: Assign::default(),
        sums: Sums::default(),
        states: States::default(),
        limits: RunLimits::default(),
    }
}

/// Columns not yet used, and the comparisons so far.
struct Inference<'a> {
    left: Vec<&'a ColumnProfile>,
    right: Vec<&'a ColumnProfile>,
    compare: Vec<Compare>,
}

impl<'a> Inference<'a> {
    /// Pairs columns greedily by score, best first, while the score is positive; both are used up.
    fn pair(
        &mut self,
        score: impl Fn(&ColumnProfile, &ColumnProfile) -> f64,
        mut found: impl FnMut(&ColumnProfile, &ColumnProfile) -> Compare,
    ) {
        loop {
            let mut best: Option<(f64, usize, usize)> = None;
            for (i, l) in self.left.iter().enumerate() {
                for (j, r) in self.right.iter().enumerate() {
                    let value = score(l, r);
                    if value > 0.0 && best.is_none_or(|(top, _, _)| value > top) {
                        best = Some((value, i, j));
                    }
                }
            }
            let Some((_, i, j)) = best else { return };
            let (l, r) = (self.left.remove(i), self.right.remove(j));
            self.compare.push(found(l, r));
        }
    }

    fn currencies(&mut self) {
        self.pair(
            |l, r| if is_currency(l) && is_currency(r) { 1.0 + name_likeness(l, r) } else { 0.0 },
            |l, r| Compare { require: true, ..Compare::new(CompareKind::Exact, &l.name, &r.name) },
        );
    }

    fn amounts(&mut self) {
        let numeric = |c: &ColumnProfile| matches!(c.kind, ColumnType::Money | ColumnType::Number);
        self.pair(
            |l, r| {
                if !numeric(l) || !numeric(r) {
                    return 0.0;
                }
                let same_kind = if l.kind == r.kind { 0.5 } else { 0.0 };
                0.1 + same_kind + name_likeness(l, r) + overlap(l, r).0
            },
            |l, r| {
                let tolerance = Some("0".to_owned());
                Compare { tolerance, ..Compare::new(CompareKind::Tolerance, &l.name, &r.name) }
            },
        );
    }

    fn dates(&mut self) {
        self.pair(
            |l, r| {
                let both = l.kind == ColumnType::Date && r.kind == ColumnType::Date;
                if both { 0.1 + name_likeness(l, r) + overlap(l, r).0 } else { 0.0 }
            },
            |l, r| {
                let days = Some(5);
                Compare { before_days: days, after_days: days, ..Compare::new(CompareKind::Window, &l.name, &r.name) }
            },
        );
    }

    /// Text columns that hold the same thing: alike by name, or with values in common and of like length.
    fn same_text(&mut self) {
        self.pair(
            |l, r| {
                if !is_text(l) || !is_text(r) || l.distinct < 2 || r.distinct < 2 {
                    return 0.0;
                }
                let name = name_likeness(l, r);
                let (values, tokens) = both_ways(l, r);
                if name >= 0.99 {
                    return 2.0 + tokens;
                }
                let longer = l.tokens.max(r.tokens) / l.tokens.min(r.tokens).max(1.0);
                // One way alone would say that a name column is like a free text that is sometimes a bare name.
                let back = overlap(l, r).0.min(overlap(r, l).0);
                let alike = (values >= 0.2 && back >= 0.04) || (tokens >= 0.5 && longer <= 1.2);
                if alike { values + tokens / 2.0 + name } else { 0.0 }
            },
            |l, r| Compare::new(CompareKind::Fuzzy, &l.name, &r.name),
        );
    }

    /// Columns of one side whose words are found in a longer text of the other.
    fn contained_text(&mut self) {
        let pick = |shorts: &[&'a ColumnProfile], longs: &[&'a ColumnProfile]| {
            let mut found: Vec<(f64, &'a ColumnProfile, &'a ColumnProfile)> = Vec::new();
            for short in shorts.iter().filter(|c| is_text(c) && c.distinct >= 2) {
                let longest = longs.iter().filter(|long| is_text(long) && long.tokens > short.tokens * 1.3);
                let best =
                    longest.map(|long| (overlap(short, long).1, *short, *long)).max_by(|a, b| a.0.total_cmp(&b.0));
                found.extend(best.filter(|(share, _, _)| *share >= 0.1));
            }
            found
        };
        let in_right = pick(&self.left, &self.right);
        let in_left = pick(&self.right, &self.left);
        for (found, swapped) in [(in_right, false), (in_left, true)] {
            let mut used: Vec<&ColumnProfile> = Vec::new();
            for (share, short, long) in &found {
                let repeats = found.iter().any(|(other_share, other, _)| {
                    let (here, there) = (overlap(short, other).1, overlap(other, short).1);
                    other.name != short.name && *other_share >= share * 0.7 && here >= 0.8 && there < here
                });
                if repeats || used.iter().any(|u| u.name == short.name) {
                    continue;
                }
                used.push(short);
                let (left, right) = if swapped { (long, short) } else { (short, long) };
                let mut compare = Compare::new(CompareKind::Contains, &left.name, &right.name);
                compare.label = Some(short.name.clone());
                self.compare.push(compare);
            }
        }
    }
}

fn is_text(column: &ColumnProfile) -> bool {
    matches!(column.kind, ColumnType::Text | ColumnType::Code)
}

fn is_currency(column: &ColumnProfile) -> bool {
    let code = |s: &String| s.len() == 3 && s.bytes().all(|b| b.is_ascii_alphabetic());
    let codes = is_text(column) && column.distinct <= 200 && column.samples.iter().all(code);
    let upper = column.samples.iter().all(|s| s.bytes().all(|b| b.is_ascii_uppercase()));
    codes && (NameHint::of(&column.name).currency || (upper && column.distinct <= 40 && column.non_empty > 100))
}

/// The larger of the two containments, for values and for tokens.
fn both_ways(l: &ColumnProfile, r: &ColumnProfile) -> (f64, f64) {
    let (a, b) = (overlap(l, r), overlap(r, l));
    (a.0.max(b.0), a.1.max(b.1))
}

/// Jaccard index of the words of two headers: 1 for the same name in any spelling.
fn name_likeness(l: &ColumnProfile, r: &ColumnProfile) -> f64 {
    let words = |name: &str| {
        let mut words = Vec::new();
        text::tokens(name, |t| words.push(t.to_owned()));
        words.sort();
        words.dedup();
        words
    };
    let (a, b) = (words(&l.name), words(&r.name));
    let both = a.iter().filter(|w| b.contains(w)).count();
    both as f64 / (a.len() + b.len() - both).max(1) as f64
}
