//! The candidates of every row against each other, summed up once: a row may have hundreds, and every pair is asked about.
use super::Scored;
use crate::control::{Cancelled, Meter};

/// Pairs between two checks for a cancellation.
const CHECK_EVERY: usize = 1 << 16;

/// What the candidates of each row come to.
pub(crate) struct Rivals {
    left: Vec<Row>,
    right: Vec<Row>,
}

#[derive(Clone, Copy)]
struct Row {
    best: f64,
    /// The best but one; as good as the best where two share its place.
    second: f64,
    /// How many share the best place.
    equal: u32,
    /// Sum of the odds of all candidates.
    odds: f64,
}

impl Rivals {
    /// `bits` by pattern.
    ///
    /// # Errors
    /// The run was cancelled.
    pub(crate) fn of(
        scored: &Scored,
        bits: &[f64],
        rows: (usize, usize),
        meter: &Meter<'_>,
    ) -> Result<Self, Cancelled> {
        let none = Row { best: f64::NEG_INFINITY, second: f64::NEG_INFINITY, equal: 0, odds: 0.0 };
        let mut all = Self { left: vec![none; rows.0], right: vec![none; rows.1] };
        let odds: Vec<f64> = bits.iter().map(|bits| odds(*bits)).collect();
        for pairs in scored.pairs.chunks(CHECK_EVERY) {
            meter.check()?;
            for pair in pairs {
                let at = pair.pattern as usize;
                all.left[pair.l as usize].see(bits[at], odds[at]);
                all.right[pair.r as usize].see(bits[at], odds[at]);
            }
        }
        Ok(all)
    }

    /// Whether the candidate is the best of both its rows.
    pub(crate) fn is_best(&self, l: u32, r: u32, bits: f64) -> bool {
        bits >= self.left[l as usize].best && bits >= self.right[r as usize].best
    }

    /// How many candidates share the best place, on the side where they are more.
    pub(crate) fn equals(&self, l: u32, r: u32) -> f64 {
        f64::from(self.left[l as usize].equal.max(self.right[r as usize].equal).max(1))
    }

    /// The probability of a candidate among all of both its rows, and none.
    pub(crate) fn probability(&self, l: u32, r: u32, bits: f64) -> f64 {
        let [left, right] = self.shares(l, r, bits);
        left.min(right)
    }

    /// The share of a candidate in the odds of its left row and of its right one, none among them.
    pub(crate) fn shares(&self, l: u32, r: u32, bits: f64) -> [f64; 2] {
        let own = odds(bits);
        [self.left[l as usize], self.right[r as usize]].map(|row| own / (1.0 + row.odds.max(own)))
    }

    /// The bits of the best candidate of either row beside this one; minus infinity without another. `is_candidate` is false of a
    /// pair that is none itself.
    pub(crate) fn best_other(&self, l: u32, r: u32, bits: f64, is_candidate: bool) -> f64 {
        let other = |row: &Row| if is_candidate && bits >= row.best { row.second } else { row.best };
        other(&self.left[l as usize]).max(other(&self.right[r as usize]))
    }
}

impl Row {
    fn see(&mut self, bits: f64, odds: f64) {
        self.odds += odds;
        if bits > self.best {
            (self.second, self.best, self.equal) = (self.best, bits, 1);
        } else if bits == self.best {
            (self.second, self.equal) = (bits, self.equal + 1);
        } else if bits > self.second {
            self.second = bits;
        }
    }
}

/// 2^bits, bounded so that a sum of them stays exact enough.
pub(crate) fn odds(bits: f64) -> f64 {
    bits.min(60.0).exp2()
}
