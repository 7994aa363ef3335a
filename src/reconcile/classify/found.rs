//! From chosen pairs and groups to what people see: states, explanations, candidates, breaks.
//!
//! Nothing is decided twice here: it reads the levels and weights the earlier steps used, so an explanation cannot
//! disagree with the decision it explains. The law of states is `law`: nothing is settled without a person that was not
//! compared.
use super::rivals::Rivals;
use super::{Content, Law};
use crate::assign::{Edge, EqualRows};
use crate::compare::Comparator;
use crate::control::{Cancelled, Meter};
use crate::groups::Group;
use crate::infer::Comparing;
use crate::outcome::{
    Break, BreakKind, Candidate, FieldComparison, Match, MatchKind, MatchLine, MatchState, Outcome, Said, Side, Summary,
};
use crate::plan::Plan;
use crate::rules::RuleSet;
use crate::score::{Scored, Weights, level, pattern, probability};
use crate::table::{NO_AMOUNT, Table};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::sync::{Arc, OnceLock};

/// Candidates named for a row.
const NAMED: usize = 5;
/// A candidate less probable than this is not named.
const WORTH_NAMING: f64 = 0.001;
/// Pairs between two checks for a cancellation.
const CHECK_EVERY: usize = 4096;
/// Rows between two checks where every candidate of a row is looked at.
const CHECK_EVERY_ROWS: usize = 256;

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
    /// Equal payments paired in order of days.
    pub(crate) recurring: Vec<(u32, u32)>,
    pub(crate) law: Law,
    pub(crate) comparing: Comparing,
    pub(crate) sum_searches_cut: u64,
    pub(crate) blocks_left_out: u64,
    pub(crate) left_content: &'a Content,
    pub(crate) right_content: &'a Content,
}

/// What is added to the sentence of a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Note {
    recurring: bool,
    is_equal: bool,
    thin: bool,
    forbidden: Option<&'static str>,
}

/// A pair as it was decided, before it is put in words.
struct Decided {
    l: u32,
    r: u32,
    state: MatchState,
    probability: f64,
    margin: Option<f64>,
    levels: u64,
    note: Note,
}

impl Found<'_> {
    /// The outcome.
    ///
    /// # Errors
    /// The run was cancelled.
    pub(crate) fn outcome(&self, meter: &Meter<'_>) -> Result<Outcome, Cancelled> {
        let rivals = Rivals::of(self.scored, self.weights, (self.left_content, self.right_content), meter)?;
        let mut decided = self.decided(&rivals, meter)?;
        decided.extend(self.recurring.iter().map(|(l, r)| self.in_order_of_days(*l, *r)));
        let mut matches = self.in_words(decided, meter)?;
        for group in &self.groups {
            meter.add(1, 0)?;
            matches.push(self.group(group));
        }
        matches.par_sort_by_key(|found| (found.rows(Side::Left).next(), found.rows(Side::Right).next()));
        meter.check()?;
        let breaks = self.breaks(&matches, &rivals, meter)?;
        let candidates = self.candidates(&matches, &breaks, &rivals, meter)?;
        let (comparing, columns) = (self.comparing.clone(), self.plan.columns.clone());
        let mut outcome = Outcome { matches, breaks, candidates, columns, comparing, summary: Summary::default() };
        outcome.summary = self.summary(&outcome);
        meter.check()?;
        Ok(outcome)
    }

    fn decided(&self, rivals: &Rivals<'_>, meter: &Meter<'_>) -> Result<Vec<Decided>, Cancelled> {
        let decide = |pairs: &[Edge]| {
            meter.add(pairs.len() as u64, 0)?;
            Ok(pairs.iter().map(|pair| self.decide(pair, rivals)).collect::<Vec<_>>())
        };
        let chunks: Result<Vec<_>, _> = self.pairs.par_chunks(CHECK_EVERY).map(decide).collect();
        Ok(chunks?.into_iter().flatten().collect())
    }

    /// The matches of pairs; equal explanations are one.
    fn in_words(&self, decided: Vec<Decided>, meter: &Meter<'_>) -> Result<Vec<Match>, Cancelled> {
        let mut said: FxHashMap<(u64, Note), Arc<Said>> = FxHashMap::default();
        let mut matches: Vec<Match> = Vec::with_capacity(decided.len() + self.groups.len());
        for (at, pair) in decided.into_iter().enumerate() {
            meter.check_at(at)?;
            let said = said.entry((pair.levels, pair.note)).or_insert_with(|| self.said(pair.levels, pair.note));
            matches.push(self.one_to_one(&pair, said.clone()));
        }
        Ok(matches)
    }

    fn decide(&self, pair: &Edge, rivals: &Rivals<'_>) -> Decided {
        let (l, r) = (pair.l as usize, pair.r as usize);
        // Candidates have their pattern's weight; rows that are equal in every cell were none, perhaps.
        let known = rivals.pattern_of(pair.l, pair.r);
        let (levels, bits) = match known {
            Some(at) => (self.scored.patterns[at as usize], self.weights.of_pattern[at as usize]),
            None => {
                let levels = pattern(self.plan, l, r);
                let at = self.scored.patterns.binary_search(&levels);
                (levels, at.map_or_else(|_| self.weights.of(levels), |at| self.weights.of_pattern[at]))
            }
        };
        let is_equal = pair.gain >= EqualRows::UNEVEN;
        let margin = rivals.margin(pair.l, pair.r, bits, known.is_some());
        let probability = if is_equal { EQUAL_ROWS } else { rivals.probability(pair.l, pair.r, bits) };
        let differs =
            self.plan.comparators.iter().enumerate().any(|(at, c)| c.levels()[level(levels, at)].is_discrepancy);
        let thin = match is_equal {
            true => pair.gain == EqualRows::UNEVEN,
            false => margin.is_some_and(|m| m < self.rules.assign.margin),
        };
        let forbidden = match is_equal {
            true => None,
            false => self.law.forbids(self.plan, l, r).or_else(|| self.texts_against(pair, levels, rivals)),
        };
        let state = match () {
            () if differs => MatchState::Discrepancy,
            () if thin || forbidden.is_some() || probability < self.rules.states.auto => MatchState::Review,
            () => MatchState::Auto,
        };
        let note = Note { recurring: false, is_equal, thin, forbidden };
        Decided { l: pair.l, r: pair.r, state, probability, margin, levels, note }
    }

    fn in_order_of_days(&self, l: u32, r: u32) -> Decided {
        let note = Note { recurring: true, is_equal: false, thin: false, forbidden: None };
        let (state, probability) = (MatchState::Review, self.rules.assign.floor.max(0.5));
        Decided { l, r, state, probability, margin: None, levels: pattern(self.plan, l as usize, r as usize), note }
    }

    fn one_to_one(&self, pair: &Decided, said: Arc<Said>) -> Match {
        Match {
            kind: MatchKind::OneToOne,
            state: pair.state,
            probability: pair.probability,
            margin: pair.margin,
            lines: vec![self.line(Side::Left, pair.l), self.line(Side::Right, pair.r)],
            said,
        }
    }

    /// Why the texts of a pair do not let it be settled, however rare its amount is.
    fn texts_against(&self, pair: &Edge, levels: u64, rivals: &Rivals<'_>) -> Option<&'static str> {
        if self.weights.texts_contradict(self.plan, levels) {
            return Some("no text agrees");
        }
        let whole = |at: usize, levels: u64| {
            let comparator = &self.plan.comparators[at];
            comparator.kind().is_code() && comparator.levels()[level(levels, at)].is_whole_agreement
        };
        let differs = |at: usize| {
            let level = level(levels, at);
            self.plan.comparators[at].kind().is_code() && level > 0 && self.weights.bits[at][level] < AGAINST
        };
        let mut references = (0..self.plan.comparators.len()).filter(|at| differs(*at));
        let elsewhere = |at: usize| {
            let named = |pattern: u32| whole(at, self.scored.patterns[pattern as usize]);
            let of = |side, row, own| rivals.patterns(side, row).any(|(other, pattern)| other != own && named(pattern));
            of(Side::Left, pair.l, pair.r) || of(Side::Right, pair.r, pair.l)
        };
        references.any(elsewhere).then_some("its reference names another row")
    }

    fn said(&self, levels: u64, note: Note) -> Arc<Said> {
        let fields = self.fields(|at| level(levels, at) as u8, false);
        let mut explanation = sentence(&fields);
        if note.recurring {
            explanation = format!("equal payments that recur, paired in order of days; {explanation}");
        }
        if note.is_equal {
            explanation.push_str("; the rows are equal in every cell");
        }
        if note.thin {
            explanation.push_str("; another row fits about as well");
        }
        if let Some(reason) = note.forbidden {
            explanation.push_str("; ");
            explanation.push_str(reason);
        }
        Arc::new(Said { fields, explanation })
    }

    fn group(&self, group: &Group) -> Match {
        let (left, right) = (group.left.as_slice(), group.right.as_slice());
        let kind = match (left.len(), right.len()) {
            (1, _) => MatchKind::OneToMany,
            (_, 1) => MatchKind::ManyToOne,
            _ => MatchKind::ManyToMany,
        };
        // The best pair gives the level.
        let best = |at: usize| {
            let pairs = left.iter().flat_map(|l| right.iter().map(move |r| (*l as usize, *r as usize)));
            let comparator = &self.plan.comparators[at];
            pairs.map(|(l, r)| comparator.level(l, r, &self.plan.lexicon)).max().unwrap_or(0)
        };
        let fields = self.fields(best, true);
        let probability = probability(group.bits);
        let thin = group.margin.is_some_and(|margin| margin < self.rules.assign.margin);
        let state = match () {
            () if group.fee.is_some() => MatchState::Discrepancy,
            () if thin || group.vouched.is_some() || probability < self.rules.states.auto => MatchState::Review,
            () => MatchState::Auto,
        };
        let lines = left.iter().map(|row| self.line(Side::Left, *row));
        let lines = lines.chain(right.iter().map(|row| self.line(Side::Right, *row))).collect();
        let parts = left.len().max(right.len());
        let sum = match &group.fee {
            None => format!("{parts} amounts add up"),
            Some(fee) => format!("{parts} amounts add up less a fee of {}", self.money(*fee)),
        };
        let mut explanation = format!("{sum}; {}", sentence(&fields));
        let id = |row: &u32| match group.parts_side() {
            Side::Left => self.left.id(*row as usize),
            Side::Right => self.right.id(*row as usize),
        };
        let ids = |rows: &[u32]| rows.iter().map(id).collect::<Vec<_>>().join(" + ");
        if let Some((rows, at)) = &group.vouched {
            let label = self.rules.compare[*at].label();
            explanation.push_str(&format!("; not named itself, by its {label} alone: {}", ids(rows)));
        }
        if let Some(other) = &group.alternative {
            explanation.push_str(&format!("; {} would add up as well", ids(other)));
        }
        let margin = group.margin.map(rounded);
        Match { kind, state, probability, margin, lines, said: Arc::new(Said { fields, explanation }) }
    }

    fn money(&self, units: i64) -> String {
        crate::amount::format(units, self.plan.amounts().map_or(0, |amounts| amounts.scale))
    }

    fn line(&self, side: Side, row: u32) -> MatchLine {
        let units = self.plan.amounts().map(|amounts| amounts.of(side)[row as usize]);
        MatchLine { side, row, allocated_minor: units.filter(|units| *units != NO_AMOUNT) }
    }

    /// Comparison by comparison, without values.
    fn fields(&self, level: impl Fn(usize) -> u8, grouped: bool) -> Vec<FieldComparison> {
        let compare = self.rules.compare.iter().zip(&self.plan.comparators).enumerate();
        compare
            .map(|(at, (compare, comparator))| {
                let level = usize::from(level(at));
                let is_total = grouped && matches!(comparator, Comparator::Amount(_));
                FieldComparison {
                    label: compare.label().to_owned(),
                    left: String::new(),
                    right: String::new(),
                    level: if is_total { "adds up".into() } else { comparator.levels()[level].name.into() },
                    weight: if is_total { 0.0 } else { rounded(self.weights.bits[at][level]) },
                }
            })
            .collect()
    }

    fn breaks(&self, matches: &[Match], rivals: &Rivals<'_>, meter: &Meter<'_>) -> Result<Vec<Break>, Cancelled> {
        let mut out = Vec::new();
        for (side, rows, content) in
            [(Side::Left, self.left.len(), self.left_content), (Side::Right, self.right.len(), self.right_content)]
        {
            let mut matched = vec![false; rows];
            matches.iter().flat_map(|m| m.rows(side)).for_each(|row| matched[row as usize] = true);
            // The row a duplicate repeats: a matched one, else the first.
            let mut first: FxHashMap<u64, u32> = FxHashMap::default();
            for matched_pass in [true, false] {
                for row in (0..rows).filter(|row| matched[*row] == matched_pass && content.is_repeated(*row as u32)) {
                    first.entry(content.hashes()[row]).or_insert(row as u32);
                }
                meter.check()?;
            }
            let contra = self.contra(side, &matched);
            for row in (0..rows).filter(|row| !matched[*row]) {
                if out.len().is_multiple_of(CHECK_EVERY_ROWS) {
                    meter.check()?;
                }
                let original = first.get(&content.hashes()[row]).filter(|original| **original as usize != row);
                let (kind, related) = match contra.get(&(row as u32)) {
                    Some(other) => (BreakKind::Contra, Some(*other)),
                    None if original.is_some() => (BreakKind::Duplicate, original.copied()),
                    None => self.reason(rivals.best(side, row)),
                };
                out.push(Break { side, row: row as u32, kind, related });
            }
        }
        Ok(out)
    }

    /// Rows without a match that undo each other on their own side: opposite amounts, the later one within 31 days.
    fn contra(&self, side: Side, matched: &[bool]) -> FxHashMap<u32, u32> {
        const DAYS: i32 = 31;
        let Some(amounts) = self.plan.amounts() else { return FxHashMap::default() };
        let (units, days) = (amounts.of(side), self.plan.dates().map(|dates| dates.of(side)));
        let day = |row: u32| days.map_or(0, |days| days[row as usize]);
        let mut open: Vec<u32> = (0..matched.len() as u32)
            .filter(|row| !matched[*row as usize] && !matches!(units[*row as usize], NO_AMOUNT | 0))
            .collect();
        open.sort_by_key(|row| (units[*row as usize].unsigned_abs(), day(*row), *row));
        let mut found = FxHashMap::default();
        for same in open.chunk_by(|a, b| units[*a as usize].unsigned_abs() == units[*b as usize].unsigned_abs()) {
            let mut waiting: Vec<u32> = Vec::new();
            for row in same {
                let fits = |other: &u32| {
                    (units[*other as usize] < 0) != (units[*row as usize] < 0)
                        && day(*row).saturating_sub(day(*other)) <= DAYS
                };
                match waiting.iter().position(fits) {
                    Some(at) => {
                        let other = waiting.remove(at);
                        found.insert(*row, other);
                        found.insert(other, *row);
                    }
                    None => waiting.push(*row),
                }
            }
        }
        found
    }

    /// The nearest rows of the other side for every row that is unmatched or for review.
    fn candidates(
        &self,
        matches: &[Match],
        breaks: &[Break],
        rivals: &Rivals<'_>,
        meter: &Meter<'_>,
    ) -> Result<Vec<Candidate>, Cancelled> {
        let review = matches.iter().filter(|m| m.state == MatchState::Review).flat_map(|m| &m.lines);
        let mut rows: Vec<(Side, u32)> = review.map(|line| (line.side, line.row)).collect();
        rows.extend(breaks.iter().map(|lonely| (lonely.side, lonely.row)));
        rows.sort_unstable();
        let sentences: Vec<OnceLock<Arc<str>>> = vec![OnceLock::new(); self.scored.patterns.len()];
        let say = |at: usize| -> Arc<str> {
            sentence(&self.fields(|field| level(self.scored.patterns[at], field) as u8, false)).into()
        };
        let named = |(side, row): &(Side, u32)| {
            let mut all: Vec<(f64, u32, u32)> = rivals
                .patterns(*side, *row)
                .map(|(other, pattern)| {
                    let (l, r) = if *side == Side::Left { (*row, other) } else { (other, *row) };
                    (rivals.probability(l, r, self.weights.of_pattern[pattern as usize]), other, pattern)
                })
                .filter(|(probability, ..)| *probability >= WORTH_NAMING)
                .collect();
            all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            all.truncate(NAMED);
            let candidate = |(at, (probability, other, pattern)): (usize, &(f64, u32, u32))| {
                let explanation = sentences[*pattern as usize].get_or_init(|| say(*pattern as usize)).clone();
                let (probability, rank) = (*probability, at as u32 + 1);
                Candidate { side: *side, row: *row, other: *other, rank, probability, explanation }
            };
            all.iter().enumerate().map(candidate).collect::<Vec<_>>()
        };
        let chunk = |rows: &[(Side, u32)]| {
            meter.check()?;
            Ok(rows.iter().flat_map(named).collect::<Vec<_>>())
        };
        let chunks: Result<Vec<_>, _> = rows.par_chunks(CHECK_EVERY_ROWS).map(chunk).collect();
        Ok(chunks?.into_iter().flatten().collect())
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

/// Bits of a reference that is another one; a text without any is no contradiction.
const AGAINST: f64 = -0.5;
/// The probability shown for rows that are equal in every cell.
const EQUAL_ROWS: f64 = 0.999_999;

pub(super) fn rounded(bits: f64) -> f64 {
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
