//! Every candidate of a row beside its others: margins, probabilities among rivals, the nearest.
//!
//! Rows of equal content are no rivals of each other: whichever is taken, the same thing is settled.
use super::Content;
use crate::control::{Cancelled, Meter};
use crate::outcome::Side;
use crate::score::{self, Pair, Scored, Weights, odds};

/// Candidates by row of either side.
pub(super) struct Rivals<'a> {
    scored: &'a Scored,
    bits: &'a [f64],
    /// 2^bits of each pattern.
    odds: Vec<f64>,
    /// The candidates of each row, summed up.
    rows: score::Rivals,
    left: &'a Content,
    right: &'a Content,
    /// Where the candidates of a left row begin; pairs are sorted by left row.
    left_starts: Vec<u32>,
    right_starts: Vec<u32>,
    /// Positions of pairs, by right row.
    by_right: Vec<u32>,
}

/// Pairs between two checks for a cancellation.
const CHECK_EVERY: usize = 1 << 16;

impl<'a> Rivals<'a> {
    pub(super) fn of(
        scored: &'a Scored,
        weights: &'a Weights,
        (left, right): (&'a Content, &'a Content),
        meter: &Meter<'_>,
    ) -> Result<Self, Cancelled> {
        let starts = |rows: usize, of: &dyn Fn(&Pair) -> u32| -> Result<Vec<u32>, Cancelled> {
            let mut starts = vec![0_u32; rows + 1];
            for pairs in scored.pairs.chunks(CHECK_EVERY) {
                meter.check()?;
                pairs.iter().for_each(|pair| starts[of(pair) as usize + 1] += 1);
            }
            (0..rows).for_each(|row| starts[row + 1] += starts[row]);
            Ok(starts)
        };
        let left_starts = starts(left.len(), &|pair| pair.l)?;
        let right_starts = starts(right.len(), &|pair| pair.r)?;
        let mut next = right_starts.clone();
        let mut by_right = vec![0; scored.pairs.len()];
        for (at, pair) in scored.pairs.iter().enumerate() {
            meter.check_at(at)?;
            by_right[next[pair.r as usize] as usize] = at as u32;
            next[pair.r as usize] += 1;
        }
        let bits = &weights.of_pattern;
        let rows = score::Rivals::of(scored, bits, (left.len(), right.len()), meter)?;
        let odds = bits.iter().map(|bits| odds(*bits)).collect();
        Ok(Self { scored, bits, odds, rows, left, right, left_starts, right_starts, by_right })
    }

    /// The candidates of a row: the row of the other side, and the position of the pattern.
    pub(super) fn patterns(&self, side: Side, row: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let starts = if side == Side::Left { &self.left_starts } else { &self.right_starts };
        let range = starts[row as usize] as usize..starts[row as usize + 1] as usize;
        range.map(move |at| {
            let at = if side == Side::Left { at } else { self.by_right[at] as usize };
            let pair = &self.scored.pairs[at];
            (if side == Side::Left { pair.r } else { pair.l }, pair.pattern)
        })
    }

    /// The same with the bits of the pattern.
    fn all(&self, side: Side, row: u32) -> impl Iterator<Item = (u32, f64)> + '_ {
        self.patterns(side, row).map(|(other, pattern)| (other, self.bits[pattern as usize]))
    }

    /// The position of a candidate's pattern; `None` of another pair.
    pub(super) fn pattern_of(&self, l: u32, r: u32) -> Option<u32> {
        let pairs =
            &self.scored.pairs[self.left_starts[l as usize] as usize..self.left_starts[l as usize + 1] as usize];
        pairs.binary_search_by_key(&r, |pair| pair.r).ok().map(|at| pairs[at].pattern)
    }

    /// How far the pair is ahead of the best other candidate of either row; `is_candidate` is false of a pair that is none itself.
    pub(super) fn margin(&self, l: u32, r: u32, bits: f64, is_candidate: bool) -> Option<f64> {
        let other = self.rows.best_other(l, r, bits, is_candidate);
        other.is_finite().then_some(super::found::rounded(bits - other))
    }

    /// The probability of a candidate among all of both its rows, and none.
    pub(super) fn probability(&self, l: u32, r: u32, bits: f64) -> f64 {
        let [left, right] = self.rows.shares(l, r, bits);
        // Rows of the partner's content are no rivals of it.
        let share = |side: Side, row: u32, partner: u32, among_all: f64| {
            let content = if side == Side::Left { self.right } else { self.left };
            if !content.is_repeated(partner) {
                return among_all;
            }
            let own = odds(bits);
            let rivals = self.patterns(side, row).filter(|(other, _)| !content.is_same(*other, partner));
            own / (1.0 + own + rivals.map(|(_, pattern)| self.odds[pattern as usize]).sum::<f64>())
        };
        share(Side::Left, l, r, left).min(share(Side::Right, r, l, right))
    }

    /// The best candidate of a row: bits, and the row of the other side.
    pub(super) fn best(&self, side: Side, row: usize) -> Option<(f64, u32)> {
        self.all(side, row as u32)
            .map(|(other, bits)| (bits, other))
            .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))
    }
}
