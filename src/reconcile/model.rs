//! Weights for levels, learnt without labels (Fellegi and Sunter 1969; EM after Winkler 1988).
//!
//! `m` is how often a level occurs among matches, `u` among all other pairs; its weight is log2(m/u) bits. `u` comes
//! from random pairs of the whole cross product, not from the candidates: those were picked because something agrees,
//! so among them agreement looks worthless. `m` comes from rounds of EM in which only a pair that is the best of both
//! its rows may count as a match, and matches never outnumber the smaller side. Without those two caps EM collapses
//! on dense data, where most candidates agree on amount and day by chance.
use super::control::{Cancelled, Meter};
use super::levels::MAX_LEVELS;
use super::plan::Plan;
use super::rules::{Model, RuleSet};
use super::score::{Scored, level, pattern};
use super::text::mix;
use rayon::prelude::*;

/// The trained weights.
pub(crate) struct Weights {
    /// Bits by comparison and level.
    pub(crate) bits: Vec<[f64; MAX_LEVELS]>,
    /// Bits of a pair before its comparisons.
    pub(crate) prior: f64,
    /// Bits of each pattern of the run, prior included.
    pub(crate) of_pattern: Vec<f64>,
}

impl Weights {
    /// Bits of any pattern, prior included.
    pub(crate) fn of(&self, pattern: u64) -> f64 {
        self.prior + self.bits.iter().enumerate().map(|(at, bits)| bits[level(pattern, at)]).sum::<f64>()
    }
}

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

/// Learns (or, for the weighted model, reads) the weights.
pub(crate) fn train(
    plan: &Plan,
    scored: &Scored,
    rules: &RuleSet,
    levels: &[usize],
    rows: (usize, usize),
    meter: &Meter<'_>,
) -> Result<Weights, Cancelled> {
    if rules.model == Model::Weighted {
        return Ok(by_hand(scored, rules, levels));
    }
    let mut em = Em::start(plan, scored, levels, rows, meter)?;
    for round in 0..ROUNDS {
        let responsible = em.expect(round == 0);
        let change = em.maximise(&responsible);
        meter.add(1, 0)?;
        if change < 1e-4 {
            break;
        }
    }
    let mut weights = em.weights();
    settle_equal_rows(&mut weights, plan, scored, rules);
    Ok(weights)
}

/// Where many rows are the same (300 equal fees on both sides) agreement tells nothing apart and so learns no weight, yet
/// those rows do settle each other: a pair that agrees in everything is worth a match, if only one to look at.
fn settle_equal_rows(weights: &mut Weights, plan: &Plan, scored: &Scored, rules: &RuleSet) {
    if plan.comparators.len() < 2 {
        return;
    }
    let floor = (rules.assign.floor.max(1e-6) / (1.0 - rules.assign.floor)).log2();
    for (bits, pattern) in weights.of_pattern.iter_mut().zip(&scored.patterns) {
        let mut comparators = plan.comparators.iter().enumerate();
        if comparators.all(|(at, comparator)| comparator.is_whole_agreement(level(*pattern, at))) {
            *bits = bits.max(floor + WHOLE_AGREEMENT);
        }
    }
}

type Shares = Vec<[f64; MAX_LEVELS]>;

struct Em<'a> {
    scored: &'a Scored,
    levels: &'a [usize],
    rows: (usize, usize),
    m: Shares,
    /// Shares of the levels among random pairs, matches among them included.
    random: Shares,
    u: Shares,
    /// Share of matches in the cross product.
    lambda: f64,
    /// Nothing is rarer than this among pairs that are no match: the sample would not show it.
    least: f64,
}

impl<'a> Em<'a> {
    fn start(
        plan: &Plan,
        scored: &'a Scored,
        levels: &'a [usize],
        rows: (usize, usize),
        meter: &Meter<'_>,
    ) -> Result<Self, Cancelled> {
        let (random, sample) = random_shares(plan, levels, rows, meter)?;
        let m = levels.iter().map(|count| first_guess(*count)).collect();
        let lambda = 0.7 / rows.0.max(rows.1).max(2) as f64;
        let least = 0.5 / (sample as f64 + BELIEVED_PAIRS);
        let mut em = Self { scored, levels, rows, m, u: random.clone(), random, lambda, least };
        em.take_matches_out();
        Ok(em)
    }

    /// `u` is what is left of the random pairs without the matches among them.
    fn take_matches_out(&mut self) {
        for ((u, random), m) in self.u.iter_mut().zip(&self.random).zip(&self.m) {
            for ((u, random), m) in u.iter_mut().zip(random).zip(m).skip(1) {
                // Never all of it: the guess of m may be far too high for a level.
                *u = ((random - self.lambda * m) / (1.0 - self.lambda)).max(random * 0.02).max(self.least);
            }
            normalise(u);
        }
    }

    fn weights(&self) -> Weights {
        let bits = self.m.iter().zip(&self.u).zip(self.levels).map(|((m, u), count)| {
            let mut bits = [0.0; MAX_LEVELS];
            for at in 1..*count {
                bits[at] = (m[at] / u[at]).log2().clamp(-10.0, 20.0);
            }
            bits
        });
        let mut weights =
            Weights { bits: bits.collect(), prior: (self.lambda / (1.0 - self.lambda)).log2(), of_pattern: Vec::new() };
        weights.of_pattern = self.scored.patterns.iter().map(|p| weights.of(*p)).collect();
        weights
    }

    /// Expected matches per pattern, when only a pair that is the best of both its rows may be one.
    ///
    /// `hopeful` takes every such pair with any evidence in full. Starting there matters when a single column tells
    /// rows apart: any share of matches explains such data equally well, and one-to-one data has many.
    fn expect(&self, hopeful: bool) -> Vec<f64> {
        let weights = self.weights();
        let (mut best_left, mut best_right) =
            (vec![f64::NEG_INFINITY; self.rows.0], vec![f64::NEG_INFINITY; self.rows.1]);
        for pair in &self.scored.pairs {
            let bits = weights.of_pattern[pair.pattern as usize];
            let (l, r) = (&mut best_left[pair.l as usize], &mut best_right[pair.r as usize]);
            *l = l.max(bits);
            *r = r.max(bits);
        }
        let mut mutual = vec![0_u64; self.scored.patterns.len()];
        for pair in &self.scored.pairs {
            let bits = weights.of_pattern[pair.pattern as usize];
            if bits >= best_left[pair.l as usize] && bits >= best_right[pair.r as usize] {
                mutual[pair.pattern as usize] += 1;
            }
        }
        let share = |bits: f64| match hopeful {
            true => f64::from(u8::from(bits > weights.prior + 1.0)),
            false => probability(bits),
        };
        weights.of_pattern.iter().zip(mutual).map(|(bits, count)| share(*bits) * count as f64).collect()
    }

    /// New shares from the expected matches; returns the largest change of a share.
    fn maximise(&mut self, responsible: &[f64]) -> f64 {
        let matches: f64 = responsible.iter().sum();
        let before = self.m.clone();
        for (comparison, row) in self.m.iter_mut().enumerate() {
            *row = [0.0; MAX_LEVELS];
            for (pattern, weight) in self.scored.patterns.iter().zip(responsible) {
                row[level(*pattern, comparison)] += weight;
            }
            row[0] = 0.0;
            let guess = first_guess(self.levels[comparison]);
            let believed = row.iter_mut().zip(guess).take(self.levels[comparison]).skip(1);
            believed.for_each(|(share, guess)| *share += 0.5 + BELIEVED_MATCHES * guess);
            normalise(row);
        }
        let (left, right) = (self.rows.0.max(1) as f64, self.rows.1.max(1) as f64);
        self.lambda = (matches.max(0.5) / (left * right)).min(1.0 / left.max(right)).min(0.5);
        self.take_matches_out();
        let changes = self.m.iter().flatten().zip(before.iter().flatten()).map(|(a, b)| (a - b).abs());
        changes.fold(0.0, f64::max)
    }
}

/// Matches agree mostly: each step up is twice as likely or so, disagreement is rare.
fn first_guess(levels: usize) -> [f64; MAX_LEVELS] {
    let mut row = [0.0; MAX_LEVELS];
    for (at, share) in row.iter_mut().enumerate().take(levels).skip(1) {
        *share = if at == 1 { 0.2 } else { (at as f64 * 4.0 / levels as f64).exp2() };
    }
    normalise(&mut row);
    row
}

/// Shares of the levels over random pairs (all pairs when they are few), and how many were looked at.
fn random_shares(
    plan: &Plan,
    levels: &[usize],
    (left, right): (usize, usize),
    meter: &Meter<'_>,
) -> Result<(Shares, u64), Cancelled> {
    const CHUNK: u64 = 2_000;
    let all = left as u64 * right as u64;
    let sample = all.min(SAMPLE);
    let count = |chunk: u64| -> Result<Vec<[u64; MAX_LEVELS]>, Cancelled> {
        let mut counts = vec![[0; MAX_LEVELS]; levels.len()];
        for at in chunk * CHUNK..sample.min((chunk + 1) * CHUNK) {
            let cell = if all <= SAMPLE { at } else { ((u128::from(mix(at)) * u128::from(all)) >> 64) as u64 };
            let levels = pattern(plan, (cell / right as u64) as usize, (cell % right as u64) as usize);
            for (comparison, counts) in counts.iter_mut().enumerate() {
                counts[level(levels, comparison)] += 1;
            }
        }
        meter.add(0, 0)?;
        Ok(counts)
    };
    let parts: Vec<_> = (0..sample.div_ceil(CHUNK)).into_par_iter().map(count).collect::<Result<_, _>>()?;
    let mut shares = vec![[0.0; MAX_LEVELS]; levels.len()];
    for (comparison, row) in shares.iter_mut().enumerate() {
        for (at, share) in row.iter_mut().enumerate().take(levels[comparison]).skip(1) {
            let seen = parts.iter().map(|part| part[comparison][at]).sum::<u64>() as f64;
            let above = (levels[comparison] - 2).max(1) as f64;
            let believed = if at == 1 { 1.0 - BELIEVED_AGREEMENT } else { BELIEVED_AGREEMENT / above };
            *share = seen + BELIEVED_PAIRS * believed;
        }
        normalise(row);
    }
    Ok((shares, sample))
}

fn normalise(row: &mut [f64; MAX_LEVELS]) {
    let sum: f64 = row.iter().sum();
    if sum > 0.0 {
        row.iter_mut().for_each(|share| *share /= sum);
    }
}

/// Weights by hand: the levels between full disagreement and full agreement take equal steps.
fn by_hand(scored: &Scored, rules: &RuleSet, levels: &[usize]) -> Weights {
    let bits = rules.compare.iter().zip(levels).map(|(compare, count)| {
        let (disagree, agree) = (compare.disagree.unwrap_or(0.0), compare.agree.unwrap_or(0.0));
        let mut bits = [0.0; MAX_LEVELS];
        for (at, value) in bits.iter_mut().enumerate().take(*count).skip(1) {
            let share = (at - 1) as f64 / (*count as f64 - 2.0).max(1.0);
            *value = disagree + share * (agree - disagree);
        }
        bits
    });
    let mut weights = Weights { bits: bits.collect(), prior: 0.0, of_pattern: Vec::new() };
    weights.of_pattern = scored.patterns.iter().map(|p| weights.of(*p)).collect();
    weights
}
