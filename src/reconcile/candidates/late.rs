//! Candidates that come late: rows that are left over in the end meet rows that a key had settled.
use super::{Index, NONE, Pass, Rows, Settled};
use crate::assign::Edge;
use crate::control::{Cancelled, Meter};
use crate::groups::Group;
use crate::plan::Plan;
use crate::rules::RuleSet;
use crate::score::pattern;
use rayon::prelude::*;

/// Rows that are left over beside settled ones: none of them was a candidate, and one may be the nearest.
pub(crate) fn late(
    plan: &Plan,
    telling: &[Pass],
    settled: &Settled,
    (pairs, groups): (&[Edge], &[Group]),
    rules: &RuleSet,
    meter: &Meter<'_>,
) -> Result<Vec<(u32, u32, u64)>, Cancelled> {
    if settled.left.iter().all(|partner| *partner == NONE) {
        return Ok(Vec::new());
    }
    let mut over = [vec![true; settled.left.len()], vec![true; settled.right.len()]];
    for pair in pairs {
        over[0][pair.l as usize] = false;
        over[1][pair.r as usize] = false;
    }
    for group in groups {
        group.left.iter().for_each(|row| over[0][*row as usize] = false);
        group.right.iter().for_each(|row| over[1][*row as usize] = false);
    }
    let (is_left, is_right) = (|row: usize| settled.left[row] != NONE, |row: usize| settled.right[row] != NONE);
    let (left_over, right_over) =
        (|row: usize| over[0][row] && !is_left(row), |row: usize| over[1][row] && !is_right(row));
    let (lefts, rights) = (settled.left.len(), settled.right.len());
    let both = [
        (Rows { count: lefts, take: &left_over }, Rows { count: rights, take: &is_right }),
        (Rows { count: lefts, take: &is_left }, Rows { count: rights, take: &right_over }),
    ];
    let mut found: Vec<(u32, u32)> = Vec::new();
    for pass in telling {
        for (left, right) in &both {
            let index = Index::build(pass, left, right, rules.limits.max_block_rows as usize, meter)?;
            let (mut keys, mut scratch, mut candidates) = (Vec::new(), Vec::new(), Vec::new());
            for row in (0..left.count).filter(|row| (left.take)(*row)) {
                meter.check_at(row)?;
                candidates.clear();
                index.candidates(row, &mut keys, &mut scratch, &mut candidates);
                found.extend(candidates.iter().map(|r| (row as u32, *r)));
            }
            meter.check()?;
        }
    }
    found.par_sort_unstable();
    meter.check()?;
    found.dedup();
    let compared = |pairs: &[(u32, u32)]| {
        meter.check()?;
        Ok(pairs.iter().map(|(l, r)| (*l, *r, pattern(plan, *l as usize, *r as usize))).collect::<Vec<_>>())
    };
    let chunks: Result<Vec<_>, _> = found.par_chunks(4096).map(compared).collect();
    Ok(chunks?.into_iter().flatten().collect())
}
