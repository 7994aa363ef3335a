//! Weights for levels, learnt without labels (Fellegi and Sunter 1969; EM after Winkler 1988).
//!
//! `m` is how often a level occurs among matches, `u` among all other pairs; its weight is log2(m/u) bits. `u` comes
//! from random pairs of the whole cross product, not from the candidates: those were picked because something agrees,
//! so among them agreement looks worthless. What the likely matches contribute to those random pairs is taken out
//! first, or a key that every row of a small file has would tell nothing. Only a pair that is the best of both its rows
//! may count as a match, with its probability among its rivals; so matches never outnumber the rows.
use super::{Rivals, Scored, level, pattern};
use crate::compare::{Comparator, MAX_LEVELS};
use crate::control::{Cancelled, Meter};
use crate::plan::Plan;
use crate::rules::{Model, RuleSet};
use crate::text::mix;
use rayon::prelude::*;

/// The trained weights.
pub(crate) struct Weights {
    /// Bits by comparison and level.
    pub(crate) bits: Vec<[f64; MAX_LEVELS]>,
    /// Bits of a pair before its comparisons, against both rows having no partner.
    pub(crate) prior: f64,
    /// Bits of each pattern of the run, prior included.
    pub(crate) of_pattern: Vec<f64>,
}

impl Weights {
    /// Bits of any pattern, prior included.
    pub(crate) fn of(&self, pattern: u64) -> f64 {
        self.prior + self.bits.iter().enumerate().map(|(at, bits)| bits[level(pattern, at)]).sum::<f64>()
    }

    /// Whether a text speaks against a pair and none speaks for it: amount and day alone have brought it together.
    pub(crate) fn texts_contradict(&self, plan: &Plan, pattern: u64) -> bool {
        let texts = plan.comparators.iter().enumerate().filter(|(_, comparator)| comparator.kind().is_text());
        let bits = texts.map(|(at, _)| self.bits[at][level(pattern, at)]);
        let (lowest, highest) = bits.fold((0.0_f64, 0.0_f64), |(low, high), bits| (low.min(bits), high.max(bits)));
        lowest <= -TEXT_SPEAKS && highest < TEXT_SPEAKS
    }
}

/// Bits by which a text speaks for or against a pair.
const TEXT_SPEAKS: f64 = 1.0;

/// The probability that `bits` of evidence stand for.
pub(crate) fn probability(bits: f64) -> f64 {
    1.0 / (1.0 + (-bits).exp2())
}

const ROUNDS: usize = 20;
/// What is believed before any data, in matches: it decides for a handful of rows and is drowned by a hundred.
const BELIEVED_MATCHES: f64 = 8.0;
/// The same for pairs that are no match, in pairs: among them agreement is rare.
const BELIEVED_PAIRS: f64 = 50.0;
/// Share of those that agree somehow, spread over the levels above disagreement.
const BELIEVED_AGREEMENT: f64 = 0.04;
/// Bits above the floor of a pair that agrees in everything, however common its values are.
const WHOLE_AGREEMENT: f64 = 1.0;
/// Random pairs looked at for `u`; fewer when the cross product is smaller.
const SAMPLE: u64 = 200_000;
/// A row may always be without a partner: at least this probable, however well the files fit.
const LEAST_SINGLE: f64 = 0.15;

/// Rows of both sides in an order that depends on their content alone, for sampling.
pub(crate) struct ByContent<'a> {
    pub(crate) left: &'a [u32],
    pub(crate) right: &'a [u32],
    /// The left file is the one that samples first; swapped sides give the swapped sample.
    pub(crate) left_first: bool,
    /// Both sides are one file: a row with itself is no pair.
    pub(crate) same_file: bool,
}

/// Learns (or, for the weighted model, reads) the weights.
pub(crate) fn train(
    plan: &Plan,
    scored: &Scored,
    rules: &RuleSet,
    rows: &ByContent<'_>,
    meter: &Meter<'_>,
) -> Result<Weights, Cancelled> {
    if rules.model == Model::Weighted {
        return Ok(by_hand(plan, scored, rules));
    }
    let mut em = Em::start(plan, scored, rows, meter)?;
    for round in 0..ROUNDS {
        let responsible = em.expect(round == 0, meter)?;
        let change = em.maximise(&responsible);
        meter.add(1, 0)?;
        if change < 1e-4 {
            break;
        }
    }
    if em.matches < 1.0 {
        em.begin_with_whole_agreement(meter)?;
    }
    let mut weights = em.weights();
    weights.bound(plan, scored, rules);
    Ok(weights)
}

impl Weights {
    /// Takes up patterns that came after training; `before` gives the place of each that was known.
    pub(crate) fn extend(&mut self, plan: &Plan, scored: &Scored, rules: &RuleSet, before: &[Option<usize>]) {
        let known = |(pattern, before): (&u64, &Option<usize>)| match before {
            Some(at) => self.of_pattern[*at],
            None => self.of(*pattern),
        };
        self.of_pattern = scored.patterns.iter().zip(before).map(known).collect();
        if rules.model != Model::Weighted {
            self.bound(plan, scored, rules);
        }
    }

    fn bound(&mut self, plan: &Plan, scored: &Scored, rules: &RuleSet) {
        settle_equal_rows(self, plan, scored, rules);
        part_strangers(self, scored, rules);
    }
}

/// Where many rows are the same (300 equal fees on both sides) agreement tells nothing apart and so learns no weight, yet
/// those rows do settle each other: a pair that agrees in everything is worth a match, if only one to look at.
fn settle_equal_rows(weights: &mut Weights, plan: &Plan, scored: &Scored, rules: &RuleSet) {
    let floor = (rules.assign.floor.max(1e-6) / (1.0 - rules.assign.floor)).log2();
    for (bits, pattern) in weights.of_pattern.iter_mut().zip(&scored.patterns) {
        if is_whole(plan, *pattern) {
            *bits = bits.max(floor + WHOLE_AGREEMENT);
        }
    }
}

/// A pair that is as different as can be in all that was compared is no match, however few rows there are to learn from: of one row a
/// side even a difference is what most "matches" have.
fn part_strangers(weights: &mut Weights, scored: &Scored, rules: &RuleSet) {
    let floor = (rules.assign.floor.max(1e-6) / (1.0 - rules.assign.floor)).log2();
    for (total, pattern) in weights.of_pattern.iter_mut().zip(&scored.patterns) {
        // Level 0 is missing, level 1 as different as can be.
        if (0..weights.bits.len()).all(|at| level(*pattern, at) <= 1) {
            *total = total.min(floor - 1.0);
        }
    }
}

/// Whether a pattern agrees in everything that both rows have, and in something.
fn is_whole(plan: &Plan, pattern: u64) -> bool {
    let mut comparators = plan.comparators.iter().enumerate();
    let agrees = |at: usize| {
        let level = level(pattern, at);
        level == 0 || plan.comparators[at].levels()[level].is_whole_agreement
    };
    comparators.all(|(at, _)| agrees(at)) && pattern != 0
}

type Shares = Vec<[f64; MAX_LEVELS]>;

struct Em<'a> {
    plan: &'a Plan,
    scored: &'a Scored,
    rows: (usize, usize),
    m: Shares,
    /// Random pairs by level, scaled to the whole cross product; matches among them included.
    random: Shares,
    u: Shares,
    /// Expected matches.
    matches: f64,
    /// Expected matches by level.
    matched: Shares,
    /// Pairs of the cross product for one that was looked at.
    scale: f64,
    /// What is believed of `m` before any data.
    guess: Shares,
}

impl<'a> Em<'a> {
    fn start(plan: &'a Plan, scored: &'a Scored, order: &ByContent<'_>, meter: &Meter<'_>) -> Result<Self, Cancelled> {
        let rows = (order.left.len(), order.right.len());
        let (random, scale) = random_counts(plan, order, meter)?;
        let guess: Shares =
            plan.comparators.iter().enumerate().map(|(at, c)| first_guess(c, &seen(at, scored, &random))).collect();
        let m = guess.clone();
        let matched = vec![[0.0; MAX_LEVELS]; m.len()];
        let matches = 0.7 * rows.0.min(rows.1) as f64;
        let mut em = Self { plan, scored, rows, u: random.clone(), m, random, matches, matched, scale, guess };
        em.take_matches_out();
        Ok(em)
    }

    fn levels(&self, comparison: usize) -> usize {
        self.plan.comparators[comparison].levels().len()
    }

    /// `u` is what is left of the random pairs without the matches among them.
    fn take_matches_out(&mut self) {
        for (comparison, u) in self.u.iter_mut().enumerate() {
            let levels = self.plan.comparators[comparison].levels().len();
            let above = (levels - 2).max(1) as f64;
            for (at, u) in u.iter_mut().enumerate().take(levels).skip(1) {
                let random = self.random[comparison][at];
                let believed = if at == 1 { 1.0 - BELIEVED_AGREEMENT } else { BELIEVED_AGREEMENT / above };
                let left = (random - self.matched[comparison][at]).max(random * 0.02);
                *u = (left + BELIEVED_PAIRS * self.scale * believed).max(0.5 * self.scale);
            }
            normalise(u);
        }
    }

    fn weights(&self) -> Weights {
        let bits = self.m.iter().zip(&self.u).enumerate().map(|(comparison, (m, u))| {
            let mut bits = [0.0; MAX_LEVELS];
            for at in 1..self.levels(comparison) {
                bits[at] = (m[at] / u[at]).log2().clamp(-10.0, 20.0);
                if self.plan.comparators[comparison].levels()[at].is_whole_agreement {
                    // To agree is never evidence against.
                    bits[at] = bits[at].max(0.0);
                }
            }
            bits
        });
        let mut weights = Weights { bits: bits.collect(), prior: self.prior(), of_pattern: Vec::new() };
        weights.of_pattern = self.scored.patterns.iter().map(|p| weights.of(*p)).collect();
        weights
    }

    /// Odds that two rows belong together against both having no partner, before anything is compared.
    fn prior(&self) -> f64 {
        let (left, right) = (self.rows.0.max(1) as f64, self.rows.1.max(1) as f64);
        let matches = self.matches.clamp(0.5, left.min(right));
        let single = (1.0 - matches / left.max(right)).max(LEAST_SINGLE);
        (matches / (left * right)).log2() - single.log2()
    }

    /// Expected matches per pattern, when only a pair that is the best of both its rows may be one.
    ///
    /// `hopeful` takes every such pair with any evidence in full. Starting there matters when a single column tells
    /// rows apart: any share of matches explains such data equally well, and one-to-one data has many.
    fn expect(&self, hopeful: bool, meter: &Meter<'_>) -> Result<Vec<f64>, Cancelled> {
        let weights = self.weights();
        let rivals = Rivals::of(self.scored, &weights.of_pattern, self.rows, meter)?;
        let mut expected = vec![0.0; self.scored.patterns.len()];
        for (at, pair) in self.scored.pairs.iter().enumerate() {
            meter.check_at(at)?;
            let bits = weights.of_pattern[pair.pattern as usize];
            if !rivals.is_best(pair.l, pair.r, bits) {
                continue;
            }
            expected[pair.pattern as usize] += match hopeful {
                true if bits > weights.prior + 1.0 => 1.0 / rivals.equals(pair.l, pair.r),
                true => 0.0,
                false => rivals.probability(pair.l, pair.r, bits),
            };
        }
        Ok(expected)
    }

    /// New shares from the expected matches; returns the largest change of a share.
    fn maximise(&mut self, expected: &[f64]) -> f64 {
        self.matches = expected.iter().sum();
        let before = self.m.clone();
        for comparison in 0..self.m.len() {
            let levels = self.levels(comparison);
            let mut row = [0.0; MAX_LEVELS];
            for (pattern, weight) in self.scored.patterns.iter().zip(expected) {
                row[level(*pattern, comparison)] += weight;
            }
            row[0] = 0.0;
            self.matched[comparison] = row;
            let guess = self.guess[comparison];
            let believed = row.iter_mut().zip(guess).take(levels).skip(1);
            believed.for_each(|(share, guess)| *share += 0.5 / levels as f64 + BELIEVED_MATCHES * guess);
            normalise(&mut row);
            self.m[comparison] = row;
        }
        self.take_matches_out();
        let changes = self.m.iter().flatten().zip(before.iter().flatten()).map(|(a, b)| (a - b).abs());
        changes.fold(0.0, f64::max)
    }

    /// The data were taken for noise, though pairs that agree in everything are there: those are the matches then.
    fn begin_with_whole_agreement(&mut self, meter: &Meter<'_>) -> Result<(), Cancelled> {
        let whole: Vec<f64> =
            self.scored.patterns.iter().map(|pattern| if is_whole(self.plan, *pattern) { 1.0 } else { 0.0 }).collect();
        let rivals = Rivals::of(self.scored, &whole, self.rows, meter)?;
        let mut expected = vec![0.0; whole.len()];
        for pair in self.scored.pairs.iter().filter(|pair| whole[pair.pattern as usize] > 0.0) {
            expected[pair.pattern as usize] += 1.0 / rivals.equals(pair.l, pair.r);
        }
        if expected.iter().sum::<f64>() >= 1.0 {
            self.maximise(&expected);
        }
        Ok(())
    }
}

/// The levels that occur at all: no match can be on another.
fn seen(comparison: usize, scored: &Scored, random: &Shares) -> [bool; MAX_LEVELS] {
    let mut seen = [false; MAX_LEVELS];
    seen.iter_mut().zip(&random[comparison]).for_each(|(seen, count)| *seen = *count > 0.0);
    scored.patterns.iter().for_each(|pattern| seen[level(*pattern, comparison)] = true);
    seen
}

/// Matches agree mostly: each step up is twice as likely or so, disagreement is rare.
fn first_guess(comparator: &Comparator, seen: &[bool; MAX_LEVELS]) -> [f64; MAX_LEVELS] {
    let mut row = [0.0; MAX_LEVELS];
    let levels = row.iter_mut().zip(comparator.levels()).enumerate().skip(1);
    for (at, (share, level)) in levels.filter(|(at, _)| seen[*at]) {
        *share = if at == 1 { 0.2 } else { (4.0 * level.rank).exp2() };
    }
    normalise(&mut row);
    row
}

/// Levels over random pairs (all pairs when they are few), scaled to the whole cross product, and the scale.
fn random_counts(plan: &Plan, order: &ByContent<'_>, meter: &Meter<'_>) -> Result<(Shares, f64), Cancelled> {
    const CHUNK: u64 = 2_000;
    let (left, right) = (order.left.len() as u64, order.right.len() as u64);
    let all = left * right;
    let sample = all.min(SAMPLE);
    let comparisons = plan.comparators.len();
    let spread = |seed: u64, rows: u64| ((u128::from(mix(seed)) * u128::from(rows)) >> 64) as usize;
    let cell = |at: u64| {
        if all <= SAMPLE {
            return ((at / right) as usize, (at % right) as usize);
        }
        let (l, r) = if order.left_first { (2 * at, 2 * at + 1) } else { (2 * at + 1, 2 * at) };
        (order.left[spread(l, left)] as usize, order.right[spread(r, right)] as usize)
    };
    let count = |chunk: u64| -> Result<Vec<[u64; MAX_LEVELS]>, Cancelled> {
        let mut counts = vec![[0; MAX_LEVELS]; comparisons];
        for at in chunk * CHUNK..sample.min((chunk + 1) * CHUNK) {
            let (l, r) = cell(at);
            if order.same_file && l == r {
                continue;
            }
            let levels = pattern(plan, l, r);
            for (comparison, counts) in counts.iter_mut().enumerate() {
                counts[level(levels, comparison)] += 1;
            }
        }
        meter.check()?;
        Ok(counts)
    };
    let parts: Vec<_> = (0..sample.div_ceil(CHUNK)).into_par_iter().map(count).collect::<Result<_, _>>()?;
    let scale = all as f64 / sample.max(1) as f64;
    let mut counts = vec![[0.0; MAX_LEVELS]; comparisons];
    for (comparison, row) in counts.iter_mut().enumerate() {
        for (at, count) in row.iter_mut().enumerate().skip(1) {
            *count = parts.iter().map(|part| part[comparison][at]).sum::<u64>() as f64 * scale;
        }
    }
    Ok((counts, scale))
}

fn normalise(row: &mut [f64; MAX_LEVELS]) {
    let sum: f64 = row.iter().sum();
    if sum > 0.0 {
        row.iter_mut().for_each(|share| *share /= sum);
    }
}

/// Weights by hand: the levels between full disagreement and full agreement take equal steps.
fn by_hand(plan: &Plan, scored: &Scored, rules: &RuleSet) -> Weights {
    let bits = rules.compare.iter().zip(&plan.comparators).map(|(compare, comparator)| {
        let (disagree, agree) = (compare.disagree.unwrap_or(0.0), compare.agree.unwrap_or(0.0));
        let mut bits = [0.0; MAX_LEVELS];
        for (value, level) in bits.iter_mut().zip(comparator.levels()).skip(1) {
            *value = disagree + level.rank * (agree - disagree);
        }
        bits
    });
    let mut weights = Weights { bits: bits.collect(), prior: 0.0, of_pattern: Vec::new() };
    weights.of_pattern = scored.patterns.iter().map(|p| weights.of(*p)).collect();
    weights
}
