//! Rows that a key settles before candidates are looked for.
//!
//! In most files most rows name their partner: a reference that one row of each file has and no other, with the same
//! amount, in the window. Such a pair has no rival worth weighing, so its rows take no part in blocking; it is scored and
//! learnt from like any other. Rows that are left over in the end are compared with settled rows too, so that their
//! nearest rows are named and a second row that fits as well is seen.
use super::features::Words;
use super::levels::{Comparator, Contained};
use super::plan::Plan;
use rayon::prelude::*;
use rustc_hash::FxHashMap;

/// Rows without a settled partner.
pub(crate) const NONE: u32 = u32::MAX;
/// Two rows of the other side, or a row that must stay open.
const MANY: u32 = u32::MAX - 1;
/// Letters and digits of a reference that may settle a row.
const LEAST_LETTERS: usize = 5;
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

    /// The rows that the comparisons of `plan` settle; the result depends on what rows hold, not on where they stand.
    pub(crate) fn of(plan: &Plan, rows: (usize, usize)) -> Self {
        let mut settled = Self::none(rows);
        for comparator in &plan.comparators {
            for (l, r) in ties(comparator) {
                note(&mut settled.left[l as usize], r);
                note(&mut settled.right[r as usize], l);
            }
        }
        let right = &settled.right;
        let keep = |(l, partner): (usize, &u32)| match *partner {
            NONE | MANY => NONE,
            r if right[r as usize] == l as u32 && agrees(plan, l, r as usize) => r,
            _ => NONE,
        };
        let left: Vec<u32> = settled.left.par_iter().enumerate().map(keep).collect();
        let mut settled = Self::none(rows);
        for (l, r) in left.iter().enumerate().filter(|(_, r)| **r != NONE) {
            settled.right[*r as usize] = l as u32;
        }
        Self { left, ..settled }
    }
}

/// Remembers the partner of a row; a second one that is another makes it open for good.
fn note(partner: &mut u32, other: u32) {
    *partner = if matches!(*partner, NONE) || *partner == other { other } else { MANY };
}

/// Rows that share a key which no other row has.
fn ties(comparator: &Comparator) -> Vec<(u32, u32)> {
    match comparator {
        Comparator::Equal { left, right } => equal(left, right),
        Comparator::Like(like) => equal(&like.left, &like.right),
        Comparator::Contained(contained) if contained.code => held(contained),
        Comparator::Contained(_) | Comparator::Amount(_) | Comparator::Date { .. } => Vec::new(),
    }
}

/// Rows of one value that is there once on each side.
fn equal(left: &Words, right: &Words) -> Vec<(u32, u32)> {
    let alone = |words: &Words, row: usize| words.rows_of[row] == 1;
    let of_value: FxHashMap<u64, u32> =
        (0..right.value.len()).filter(|row| alone(right, *row)).map(|row| (right.value[row], row as u32)).collect();
    let rows = (0..left.value.len()).filter(|row| alone(left, *row) && left.compact(*row).len() >= LEAST_LETTERS);
    rows.filter_map(|l| of_value.get(&left.value[l]).map(|r| (l as u32, *r))).collect()
}

/// References found in full in one text; every text in which one is found is given, so that the caller sees when there
/// are more.
fn held(contained: &Contained) -> Vec<(u32, u32)> {
    let (needle, hay) = (&contained.needle, &contained.hay);
    // Telling segments that one reference has and no other.
    let mut owner: FxHashMap<u32, u32> = FxHashMap::default();
    for row in (0..needle.value.len()).filter(|row| needle.compact(*row).len() >= LEAST_LETTERS) {
        for segment in needle.segments(row).iter().filter(|segment| **segment & 1 == 1) {
            note(owner.entry(*segment).or_insert(NONE), row as u32);
        }
    }
    let find = |h: usize| -> Vec<(u32, u32)> {
        let letters = hay.compact_bytes(h);
        let mut found: Vec<u32> = hay.segments(h).iter().filter_map(|segment| owner.get(segment).copied()).collect();
        found.sort_unstable();
        found.dedup();
        let whole = |n: &u32| *n < MANY && memchr::memmem::find(letters, needle.compact_bytes(*n as usize)).is_some();
        found.into_iter().filter(whole).map(|n| (n, h as u32)).collect()
    };
    let parts: Vec<Vec<(u32, u32)>> = (0..hay.value.len()).into_par_iter().with_min_len(4096).map(find).collect();
    let swap = |(n, h): (u32, u32)| if contained.needle_left { (n, h) } else { (h, n) };
    let alone = |(n, _): &(u32, u32)| needle.rows_of[*n as usize] == 1;
    parts.into_iter().flatten().filter(alone).map(swap).collect()
}

/// Whether nothing speaks against a pair that a key ties: the amount is the same and the day in the window; without
/// amounts, other comparisons agree in full.
fn agrees(plan: &Plan, l: usize, r: usize) -> bool {
    let (mut whole, mut amount) = (0, false);
    for comparator in &plan.comparators {
        let level = comparator.level(l, r, &plan.lexicon);
        let is_whole = comparator.is_whole_agreement(usize::from(level));
        whole += usize::from(is_whole);
        match comparator {
            Comparator::Amount(_) if !is_whole => return false,
            Comparator::Amount(_) => amount = true,
            Comparator::Equal { .. } if level < 2 => return false,
            Comparator::Date { .. } if level == 1 => return false,
            _ => {}
        }
    }
    // The key itself is one of those that agree.
    amount || whole > LEAST_AGREEING
}
