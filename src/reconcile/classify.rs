//! From chosen pairs and groups to what people see: states, explanations, breaks.
//!
//! Nothing is decided twice here: it reads the levels and weights the earlier steps used, so an explanation cannot
//! disagree with the decision it explains.
use super::assign::Edge;
use super::levels::Comparator;
use super::model::{Weights, probability};
use super::outcome::{
    Break, BreakKind, FieldComparison, Match, MatchKind, MatchLine, MatchState, Outcome, Side, Summary,
};
use super::plan::Plan;
use super::rules::RuleSet;
use super::score::{Scored, level, pattern};
use super::sums::Group;
use super::table::{NO_AMOUNT, Table};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

/// Everything the last step reads.
pub(crate) struct Found<'a> {
    pub(crate) left: &'a Table,
    pub(crate) right: &'a Table,
    pub(crate) rules: &'a RuleSet,
    pub(crate) plan: &'a Plan,
    pub(crate) scored: &'a Scored,
    pub(crate) weights: &'a Weights,
    pub(crate) pairs: Vec<Edge>,
    pub(crate) groups: Vec<Group>,
    pub(crate) sum_searches_cut: u64,
    pub(crate) blocks_left_out: u64,
    pub(crate) left_content: &'a [u64],
    pub(crate) right_content: &'a [u64],
}

impl Found<'_> {
    /// The outcome.
    pub(crate) fn outcome(&self) -> Outcome {
        let rivals = Rivals::of(self.scored, self.weights, self.left.len(), self.right.len());
        let mut matches: Vec<Match> = self.pairs.par_iter().map(|pair| self.one_to_one(pair, &rivals)).collect();
        matches.extend(self.groups.iter().map(|group| self.group(group)));
        matches.par_sort_by_key(|found| (found.rows(Side::Left).next(), found.rows(Side::Right).next()));
        let breaks = self.breaks(&matches, &rivals);
        let mut outcome = Outcome { matches, breaks, summary: Summary::default() };
        outcome.summary = self.summary(&outcome);
        outcome
    }

    fn one_to_one(&self, pair: &Edge, rivals: &Rivals) -> Match {
        let (l, r) = (pair.l as usize, pair.r as usize);
        let levels = pattern(self.plan, l, r);
        // Candidates have their pattern's weight; the pairs inside a group were none, perhaps.
        let bits = match self.scored.patterns.binary_search(&levels) {
            Ok(at) => self.weights.of_pattern[at],
            Err(_) => self.weights.of(levels),
        };
        let margin = rivals.margin(pair.l, pair.r, bits);
        let differs = self.plan.comparators.iter().enumerate().any(|(at, c)| c.is_discrepancy(level(levels, at) as u8));
        let probability = probability(bits);
        let thin = margin.is_some_and(|m| m < self.rules.assign.margin);
        let state = match () {
            () if differs => MatchState::Discrepancy,
            () if thin || probability < self.rules.states.auto => MatchState::Review,
            () => MatchState::Auto,
        };
        let fields = self.fields(&[pair.l], &[pair.r]);
        let mut explanation = sentence(&fields);
        if thin {
            explanation.push_str("; another row fits about as well");
        }
        Match {
            kind: MatchKind::OneToOne,
            state,
            probability,
            margin,
            lines: vec![self.line(Side::Left, pair.l), self.line(Side::Right, pair.r)],
            fields,
            explanation,
        }
    }

    fn group(&self, group: &Group) -> Match {
        let parts = group.parts.as_slice();
        let (left, right, kind) = match group.side {
            Side::Left => (std::slice::from_ref(&group.total), parts, MatchKind::OneToMany),
            Side::Right => (parts, std::slice::from_ref(&group.total), MatchKind::ManyToOne),
        };
        let fields = self.fields(left, right);
        let probability = probability(group.bits);
        let state = if probability < self.rules.states.auto { MatchState::Review } else { MatchState::Auto };
        let lines = left.iter().map(|row| self.line(Side::Left, *row));
        let lines = lines.chain(right.iter().map(|row| self.line(Side::Right, *row))).collect();
        let explanation = format!("{} amounts add up; {}", group.parts.len(), sentence(&fields));
        Match { kind, state, probability, margin: None, lines, fields, explanation }
    }

    fn line(&self, side: Side, row: u32) -> MatchLine {
        let allocated_minor = match self.plan.amount.map(|at| &self.plan.comparators[at]) {
            Some(Comparator::Amount(amounts)) => {
                let units = if side == Side::Left { amounts.left[row as usize] } else { amounts.right[row as usize] };
                (units != NO_AMOUNT).then_some(units)
            }
            _ => None,
        };
        MatchLine { side, row, allocated_minor }
    }

    /// Field by field; of a group, values are joined and the best pair gives the level.
    fn fields(&self, left: &[u32], right: &[u32]) -> Vec<FieldComparison> {
        let cells = |table: &Table, rows: &[u32], column: usize| {
            let mut values: Vec<&str> = rows.iter().map(|row| table.cell(*row as usize, column)).collect();
            if values.windows(2).all(|two| two[0] == two[1]) {
                values.truncate(1);
            }
            values.join(" + ")
        };
        let grouped = left.len() + right.len() > 2;
        let compare = self.rules.compare.iter().zip(&self.plan.comparators).zip(&self.plan.columns).enumerate();
        compare
            .map(|(at, ((compare, comparator), (lc, rc)))| {
                let pairs = left.iter().flat_map(|l| right.iter().map(move |r| (*l as usize, *r as usize)));
                let level = pairs.map(|(l, r)| comparator.level(l, r, &self.plan.lexicon)).max().unwrap_or(0);
                let is_total = grouped && matches!(comparator, Comparator::Amount(_));
                FieldComparison {
                    label: compare.label().to_owned(),
                    left: cells(self.left, left, *lc),
                    right: cells(self.right, right, *rc),
                    level: if is_total { "adds up".into() } else { comparator.names()[level as usize].into() },
                    weight: if is_total { 0.0 } else { rounded(self.weights.bits[at][level as usize]) },
                }
            })
            .collect()
    }

    fn breaks(&self, matches: &[Match], rivals: &Rivals) -> Vec<Break> {
        let mut out = Vec::new();
        for (side, rows, content) in
            [(Side::Left, self.left.len(), self.left_content), (Side::Right, self.right.len(), self.right_content)]
        {
            let mut matched = vec![false; rows];
            matches.iter().flat_map(|m| m.rows(side)).for_each(|row| matched[row as usize] = true);
            // The row a duplicate repeats: a matched one, else the first.
            let mut first: FxHashMap<u64, u32> = FxHashMap::default();
            for matched_pass in [true, false] {
                for row in (0..rows).filter(|row| matched[*row] == matched_pass) {
                    first.entry(content[row]).or_insert(row as u32);
                }
            }
            for row in (0..rows).filter(|row| !matched[*row]) {
                let original = first[&content[row]];
                let (kind, related) = if original as usize != row {
                    (BreakKind::Duplicate, Some(original))
                } else {
                    self.reason(rivals.best(side, row))
                };
                out.push(Break { side, row: row as u32, kind, related });
            }
        }
        out
    }

    fn reason(&self, best: Option<(f64, u32)>) -> (BreakKind, Option<u32>) {
        match best {
            Some((bits, row)) if probability(bits) >= self.rules.assign.floor => (BreakKind::Outbid, Some(row)),
            Some((bits, row)) if probability(bits) >= 0.01 => (BreakKind::Unlike, Some(row)),
            _ => (BreakKind::Missing, None),
        }
    }

    fn summary(&self, outcome: &Outcome) -> Summary {
        let state = |state| outcome.matches.iter().filter(|m| m.state == state).count() as u64;
        let kind = |kind| outcome.matches.iter().filter(|m| m.kind == kind).count() as u64;
        let unmatched = |side| outcome.breaks.iter().filter(|b| b.side == side).count() as u64;
        Summary {
            left_rows: self.left.len() as u64,
            right_rows: self.right.len() as u64,
            matches: outcome.matches.len() as u64,
            auto: state(MatchState::Auto),
            review: state(MatchState::Review),
            discrepancy: state(MatchState::Discrepancy),
            one_to_one: kind(MatchKind::OneToOne),
            one_to_many: kind(MatchKind::OneToMany),
            many_to_one: kind(MatchKind::ManyToOne),
            many_to_many: kind(MatchKind::ManyToMany),
            unmatched_left: unmatched(Side::Left),
            unmatched_right: unmatched(Side::Right),
            duplicates: outcome.breaks.iter().filter(|b| b.kind == BreakKind::Duplicate).count() as u64,
            pairs_compared: self.scored.pairs.len() as u64,
            blocks_split: self.scored.split,
            blocks_left_out: self.blocks_left_out,
            sum_searches_cut: self.sum_searches_cut,
        }
    }
}

/// The two best candidates of every row, for margins and reasons.
struct Rivals {
    left: Vec<[(f64, u32); 2]>,
    right: Vec<[(f64, u32); 2]>,
}

impl Rivals {
    fn of(scored: &Scored, weights: &Weights, left: usize, right: usize) -> Self {
        let none = [(f64::NEG_INFINITY, u32::MAX); 2];
        let mut all = Self { left: vec![none; left], right: vec![none; right] };
        for pair in &scored.pairs {
            let bits = weights.of_pattern[pair.pattern as usize];
            insert(&mut all.left[pair.l as usize], bits, pair.r);
            insert(&mut all.right[pair.r as usize], bits, pair.l);
        }
        all
    }

    /// How far the pair is ahead of the best other candidate of either row.
    fn margin(&self, l: u32, r: u32, bits: f64) -> Option<f64> {
        let rival = |two: &[(f64, u32); 2], own: u32| if two[0].1 == own { two[1].0 } else { two[0].0 };
        let other = rival(&self.left[l as usize], r).max(rival(&self.right[r as usize], l));
        other.is_finite().then_some(rounded(bits - other))
    }

    fn best(&self, side: Side, row: usize) -> Option<(f64, u32)> {
        let two = if side == Side::Left { &self.left[row] } else { &self.right[row] };
        (two[0].1 != u32::MAX).then_some(two[0])
    }
}

fn insert(two: &mut [(f64, u32); 2], bits: f64, row: u32) {
    if bits > two[0].0 {
        *two = [(bits, row), two[0]];
    } else if bits > two[1].0 {
        two[1] = (bits, row);
    }
}

fn rounded(bits: f64) -> f64 {
    (bits * 100.0).round() / 100.0
}

fn sentence(fields: &[FieldComparison]) -> String {
    let parts: Vec<String> =
        fields.iter().map(|field| format!("{}: {} ({:+.1})", field.label, field.level, tenths(field.weight))).collect();
    parts.join("; ")
}

/// Rounded to what is shown; adding zero turns -0.0 into 0.0.
fn tenths(bits: f64) -> f64 {
    (bits * 10.0).round() / 10.0 + 0.0
}
