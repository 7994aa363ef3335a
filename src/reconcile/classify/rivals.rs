//! Every candidate of a row beside its others: margins, probabilities among rivals, the nearest.
//!
//! Rows of equal content are no rivals of each other: whichever is taken, the same thing is settled.
use crate::outcome::Side;
use crate::score::{Scored, Weights};

/// Candidates by row of either side.
pub(super) struct Rivals<'a> {
    scored: &'a Scored,
    bits: &'a [f64],
    /// 2^bits of each pattern.
    odds: Vec<f64>,
    left_content: &'a [u64],
    right_content: &'a [u64],
    /// Where the candidates of a left row begin; pairs are sorted by left row.
    left_starts: Vec<u32>,
    right_starts: Vec<u32>,
    /// Positions of pairs, by right row.
    by_right: Vec<u32>,
}

impl<'a> Rivals<'a> {
    pub(super) fn of(scored: &'a Scored, weights: &'a Weights, content: (&'a [u64], &'a [u64])) -> Self {
        let starts = |rows: usize, of: &dyn Fn(&crate::score::Pair) -> u32| {
            let mut starts = vec![0_u32; rows + 1];
            scored.pairs.iter().for_each(|pair| starts[of(pair) as usize + 1] += 1);
            (0..rows).for_each(|row| starts[row + 1] += starts[row]);
            starts
        };
        let left_starts = starts(content.0.len(), &|pair| pair.l);
        let right_starts = starts(content.1.len(), &|pair| pair.r);
        let mut next = right_starts.clone();
        let mut by_right = vec![0; scored.pairs.len()];
        for (at, pair) in scored.pairs.iter().enumerate() {
            by_right[next[pair.r as usize] as usize] = at as u32;
            next[pair.r as usize] += 1;
        }
        let (left_content, right_content) = content;
        let bits = &weights.of_pattern;
        let odds = bits.iter().map(|bits| odds(*bits)).collect();
        Self { scored, bits, odds, left_content, right_content, left_starts, right_starts, by_right }
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

    /// How far the pair is ahead of the best other candidate of either row.
    pub(super) fn margin(&self, l: u32, r: u32, bits: f64) -> Option<f64> {
        let rival = |side, row, own| {
            self.all(side, row)
                .filter(|(other, _)| *other != own)
                .map(|(_, bits)| bits)
                .fold(f64::NEG_INFINITY, f64::max)
        };
        let other = rival(Side::Left, l, r).max(rival(Side::Right, r, l));
        other.is_finite().then_some(super::found::rounded(bits - other))
    }

    /// The probability of a pair among all candidates of both its rows, and none.
    pub(super) fn probability(&self, l: u32, r: u32, bits: f64) -> f64 {
        let own = odds(bits);
        let share = |side: Side, row: u32, partner: u32| {
            let content = if side == Side::Left { self.right_content } else { self.left_content };
            let rivals =
                self.patterns(side, row).filter(|(other, _)| content[*other as usize] != content[partner as usize]);
            own / (1.0 + own + rivals.map(|(_, pattern)| self.odds[pattern as usize]).sum::<f64>())
        };
        share(Side::Left, l, r).min(share(Side::Right, r, l))
    }

    /// The best candidate of a row: bits, and the row of the other side.
    pub(super) fn best(&self, side: Side, row: usize) -> Option<(f64, u32)> {
        self.all(side, row as u32)
            .map(|(other, bits)| (bits, other))
            .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))
    }
}

fn odds(bits: f64) -> f64 {
    bits.min(60.0).exp2()
}
