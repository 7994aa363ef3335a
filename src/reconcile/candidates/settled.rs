//! Rows that a key settles before candidates are looked for.
//!
//! In most files most rows name their partner: a reference that one row of each file has and no other, with the same
//! amount, in the window. Such a pair has no rival worth weighing, so its rows take no part in blocking; it is scored and
//! learnt from like any other. Rows that are left over in the end are compared with settled rows too, so that their
//! nearest rows are named and a second row that fits as well is seen.
use crate::compare::Comparator;
use crate::control::{Cancelled, Meter};
use crate::plan::{EVERY_PAIR, Plan};
use crate::rules::{Model, RuleSet};
use rayon::prelude::*;

/// Rows without a settled partner.
pub(crate) const NONE: u32 = u32::MAX;
/// Two rows of the other side, or a row that must stay open.
const MANY: u32 = u32::MAX - 1;
/// Without amounts, other comparisons that must agree in full.
const LEAST_AGREEING: usize = 2;

/// The partner of each row, or [`NONE`].
pub(crate) struct Settled {
    pub(crate) left: Vec<u32>,
    pub(crate) right: Vec<u32>,
}

impl Settled {
    /// No row is settled.
    pub(crate) fn none(rows: (usize, usize)) -> Self {
        Self { left: vec![NONE; rows.0], right: vec![NONE; rows.1] }
    }

    /// Rows that a key of their own settles. None where all rows are compared with all, and none where the rules have
    /// blocks: those bound what may be paired.
    ///
    /// # Errors
    /// The run was cancelled.
    pub(crate) fn by(plan: &Plan, rules: &RuleSet, rows: (usize, usize), meter: &Meter<'_>) -> Result<Self, Cancelled> {
        let all_compared = rows.0 * rows.1 <= EVERY_PAIR;
        if all_compared || !rules.block.is_empty() || rules.model == Model::Weighted {
            return Ok(Self::none(rows));
        }
        Self::of(plan, rows, meter)
    }

    /// The rows that the comparisons of `plan` settle; the result depends on what rows hold, not on where they stand.
    fn of(plan: &Plan, rows: (usize, usize), meter: &Meter<'_>) -> Result<Self, Cancelled> {
        let mut settled = Self::none(rows);
        for comparator in &plan.comparators {
            meter.check()?;
            for (at, (l, r)) in comparator.kind().ties(meter)?.into_iter().enumerate() {
                meter.check_at(at)?;
                note(&mut settled.left[l as usize], r);
                note(&mut settled.right[r as usize], l);
            }
        }
        let right = &settled.right;
        let keep = |(l, partner): (usize, &u32)| {
            meter.check_at(l)?;
            Ok(match *partner {
                NONE | MANY => NONE,
                r if right[r as usize] == l as u32 && agrees(plan, l, r as usize) => r,
                _ => NONE,
            })
        };
        let left: Vec<u32> = settled.left.par_iter().enumerate().map(keep).collect::<Result<_, _>>()?;
        let mut settled = Self::none(rows);
        for (l, r) in left.iter().enumerate().filter(|(_, r)| **r != NONE) {
            settled.right[*r as usize] = l as u32;
        }
        Ok(Self { left, ..settled })
    }
}

/// Remembers the partner of a row; a second one that is another makes it open for good.
fn note(partner: &mut u32, other: u32) {
    *partner = if matches!(*partner, NONE) || *partner == other { other } else { MANY };
}

/// Whether nothing speaks against a pair that a key ties: the amount is the same and the day in the window; without
/// amounts, other comparisons agree in full.
fn agrees(plan: &Plan, l: usize, r: usize) -> bool {
    let (mut whole, mut amount) = (0, false);
    for comparator in &plan.comparators {
        let level = comparator.level(l, r, &plan.lexicon);
        let is_whole = comparator.levels()[usize::from(level)].is_whole_agreement;
        whole += usize::from(is_whole);
        match comparator {
            Comparator::Amount(_) if !is_whole => return false,
            Comparator::Amount(_) => amount = true,
            Comparator::Equal(_) if level < 2 => return false,
            Comparator::Date(_) if level == 1 => return false,
            _ => {}
        }
    }
    // The key itself is one of those that agree.
    amount || whole > LEAST_AGREEING
}
