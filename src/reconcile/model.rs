//! Weights for levels, learnt from the patterns alone (Fellegi and Sunter 1969; EM after Winkler 1988).
//!
//! `m` is how often a level occurs among matches, `u` among the rest; its weight is log2(m/u) bits. Two things keep
//! EM from calling something else a match: the share of matches is capped at what one-to-one allows, and after the
//! first rounds only pairs that are the best of both their rows may count as matches. Without the cap EM collapses on
//! dense data, where most candidates agree on amount and day by chance.
use super::control::{Cancelled, Meter};
use super::levels::MAX_LEVELS;
use super::rules::{Model, RuleSet};
use super::score::{Scored, level};

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

const ROUNDS: usize = 25;
const FREE_ROUNDS: usize = 4;

/// Learns (or, for the weighted model, reads) the weights.
pub(crate) fn train(
    scored: &Scored,
    rules: &RuleSet,
    levels: &[usize],
    rows: (usize, usize),
    meter: &Meter<'_>,
) -> Result<Weights, Cancelled> {
    if rules.model == Model::Weighted {
        return Ok(by_hand(scored, rules, levels));
    }
    let mut em = Em::start(scored, levels, rows);
    for round in 0..ROUNDS {
        let responsible = if round < FREE_ROUNDS { em.expect_free() } else { em.expect_mutual(rows) };
        em.maximise(&responsible);
        meter.add(1, 0)?;
    }
    Ok(em.weights())
}

struct Em<'a> {
    scored: &'a Scored,
    levels: &'a [usize],
    m: Vec<[f64; MAX_LEVELS]>,
    u: Vec<[f64; MAX_LEVELS]>,
    lambda: f64,
    cap: f64,
}

impl<'a> Em<'a> {
    /// Matches agree mostly; non-matches are what candidates are on the whole.
    fn start(scored: &'a Scored, levels: &'a [usize], (left, right): (usize, usize)) -> Self {
        let pairs = scored.pairs.len().max(1) as f64;
        let cap = (left.min(right) as f64 / pairs).min(0.95);
        let mut m = Vec::new();
        for count in levels {
            let mut row = [0.0; MAX_LEVELS];
            for (at, share) in row.iter_mut().enumerate().take(*count).skip(1) {
                // The upper half of the levels is agreement of some kind.
                *share = if at == 1 { 0.05 } else { (2.0_f64).powf(at as f64 * 4.0 / *count as f64) };
            }
            normalise(&mut row);
            m.push(row);
        }
        let mut em = Self { scored, levels, m, u: Vec::new(), lambda: cap * 0.7, cap };
        em.u = em.shares(|at| scored.counts[at] as f64);
        em
    }

    /// Shares of the levels under a weight per pattern, smoothed so that no level is impossible.
    fn shares(&self, weight: impl Fn(usize) -> f64) -> Vec<[f64; MAX_LEVELS]> {
        let mut all = vec![[0.0; MAX_LEVELS]; self.levels.len()];
        for (at, pattern) in self.scored.patterns.iter().enumerate() {
            let weight = weight(at);
            for (comparison, row) in all.iter_mut().enumerate() {
                row[level(*pattern, comparison)] += weight;
            }
        }
        for (row, count) in all.iter_mut().zip(self.levels) {
            row[0] = 0.0;
            for share in row.iter_mut().take(*count).skip(1) {
                *share += 0.5;
            }
            normalise(row);
        }
        all
    }

    fn weights(&self) -> Weights {
        let bits = self.m.iter().zip(&self.u).map(|(m, u)| {
            let mut bits = [0.0; MAX_LEVELS];
            for at in 1..MAX_LEVELS {
                if m[at] > 0.0 && u[at] > 0.0 {
                    bits[at] = (m[at] / u[at]).log2().clamp(-12.0, 16.0);
                }
            }
            bits
        });
        let mut weights =
            Weights { bits: bits.collect(), prior: (self.lambda / (1.0 - self.lambda)).log2(), of_pattern: Vec::new() };
        weights.of_pattern = self.scored.patterns.iter().map(|p| weights.of(*p)).collect();
        weights
    }

    /// Expected matches per pattern, every pair on its own.
    fn expect_free(&self) -> Vec<f64> {
        let weights = self.weights();
        let counts = self.scored.counts.iter();
        weights.of_pattern.iter().zip(counts).map(|(bits, count)| probability(*bits) * *count as f64).collect()
    }

    /// Expected matches per pattern, when only a pair that is the best of both its rows may be one.
    fn expect_mutual(&self, (left, right): (usize, usize)) -> Vec<f64> {
        let weights = self.weights();
        let (mut best_left, mut best_right) = (vec![f64::NEG_INFINITY; left], vec![f64::NEG_INFINITY; right]);
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
        weights.of_pattern.iter().zip(mutual).map(|(bits, count)| probability(*bits) * count as f64).collect()
    }

    fn maximise(&mut self, responsible: &[f64]) {
        let matches: f64 = responsible.iter().sum();
        let pairs = self.scored.pairs.len().max(1) as f64;
        self.m = self.shares(|at| responsible[at]);
        self.u = self.shares(|at| (self.scored.counts[at] as f64 - responsible[at]).max(0.0));
        self.lambda = (matches / pairs).clamp(1e-9, self.cap);
    }
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
