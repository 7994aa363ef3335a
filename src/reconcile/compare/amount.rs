//! Amounts: equal, within the tolerance, or how far apart and in which direction.
use super::level::rarity;
use super::{Kind, Level, Lexicon};
use crate::outcome::Side;
use crate::table::NO_AMOUNT;
use rustc_hash::FxHashMap;

/// What a step of the difference is worth.
const STEP: f64 = 0.12;

const LEVELS: &[Level] = &[
    Level::MISSING,
    Level::discrepancy("different", 0.0),
    Level::discrepancy("right higher by up to 30 %", STEP),
    Level::discrepancy("right lower by up to 30 %", STEP),
    Level::discrepancy("right higher by up to 10 %", 2.0 * STEP),
    Level::discrepancy("right lower by up to 10 %", 2.0 * STEP),
    Level::discrepancy("right higher by up to 2 %", 3.0 * STEP),
    Level::discrepancy("right lower by up to 2 %", 3.0 * STEP),
    Level::new("within tolerance", 0.7),
    Level::whole("equal (common amount)", 0.8),
    Level::whole("equal", 0.9),
    Level::whole("equal (rare amount)", 1.0),
];

/// Amounts at one scale.
pub(crate) struct Amounts {
    pub(crate) left: Vec<i64>,
    pub(crate) right: Vec<i64>,
    /// Fraction digits of both sides.
    pub(crate) scale: u8,
    pub(crate) tolerance: i64,
    pub(crate) percent: f64,
    /// [`rarity`] of each left amount, on the side that has more rows of it.
    rarity: Vec<u8>,
}

impl Amounts {
    /// Both sides at one scale.
    pub(crate) fn new(left: Vec<i64>, right: Vec<i64>, scale: u8, tolerance: i64, percent: f64) -> Self {
        let mut rows: FxHashMap<i64, u32> = FxHashMap::default();
        for side in [&left, &right] {
            let mut own: FxHashMap<i64, u32> = FxHashMap::default();
            side.iter().filter(|u| **u != NO_AMOUNT).for_each(|units| *own.entry(*units).or_default() += 1);
            for (units, count) in own {
                let most = rows.entry(units).or_default();
                *most = count.max(*most);
            }
        }
        let rarity = left.iter().map(|units| rarity(rows.get(units).copied().unwrap_or(0))).collect();
        Self { left, right, scale, tolerance, percent, rarity }
    }

    /// The amounts of one side.
    pub(crate) fn of(&self, side: Side) -> &[i64] {
        if side == Side::Left { &self.left } else { &self.right }
    }
}

impl Kind for Amounts {
    fn levels(&self) -> &'static [Level] {
        LEVELS
    }

    fn level(&self, l: usize, r: usize, _: &Lexicon) -> u8 {
        let (a, b) = (self.left[l], self.right[r]);
        if a == NO_AMOUNT || b == NO_AMOUNT {
            return 0;
        }
        if a == b {
            return 9 + self.rarity[l];
        }
        let gap = i128::from(b).abs_diff(i128::from(a)) as f64;
        if gap <= self.tolerance as f64 || gap <= (a as f64).abs().max(1.0) * self.percent / 100.0 {
            return 8;
        }
        // A share of the larger one, so that the sides can be swapped.
        let lower = u8::from(b.unsigned_abs() < a.unsigned_abs());
        match gap / (a.unsigned_abs().max(b.unsigned_abs()) as f64) {
            share if share <= 0.02 => 6 + lower,
            share if share <= 0.10 => 4 + lower,
            share if share <= 0.30 => 2 + lower,
            _ => 1,
        }
    }
}
