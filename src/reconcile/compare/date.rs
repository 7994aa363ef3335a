//! Days inside a window: how many apart, and which side is earlier.
use super::{Kind, Level, Lexicon};
use crate::outcome::Side;
use crate::table::NO_DATE;

/// What a day nearer is worth.
const STEP: f64 = 0.2;

const LEVELS: &[Level] = &[
    Level::MISSING,
    Level::discrepancy("outside the window", 0.0),
    Level::new("right 4 days or more earlier", STEP),
    Level::new("right 4 days or more later", STEP),
    Level::new("right 3 days earlier", 2.0 * STEP),
    Level::new("right 3 days later", 2.0 * STEP),
    Level::new("right 2 days earlier", 3.0 * STEP),
    Level::new("right 2 days later", 3.0 * STEP),
    Level::new("right 1 day earlier", 4.0 * STEP),
    Level::new("right 1 day later", 4.0 * STEP),
    Level::whole("same day", 1.0),
];

/// Days of both sides, and how many before and after the left one the right one may be.
pub(crate) struct Dates {
    pub(crate) left: Vec<i32>,
    pub(crate) right: Vec<i32>,
    pub(crate) before: i32,
    pub(crate) after: i32,
}

impl Dates {
    /// The days of one side.
    pub(crate) fn of(&self, side: Side) -> &[i32] {
        if side == Side::Left { &self.left } else { &self.right }
    }
}

impl Kind for Dates {
    fn levels(&self) -> &'static [Level] {
        LEVELS
    }

    fn level(&self, l: usize, r: usize, _: &Lexicon) -> u8 {
        let (left, right) = (self.left[l], self.right[r]);
        if left == NO_DATE || right == NO_DATE {
            return 0;
        }
        let days = right - left;
        if days < -self.before || days > self.after {
            return 1;
        }
        let step = 4 - days.unsigned_abs().min(4) as u8;
        if days == 0 { 10 } else { 2 + 2 * step + u8::from(days > 0) }
    }
}
