//! Payments that recur: the same amount every week or month, under one text here and another there.
//!
//! No text ties them together, and no amount tells them apart; their days do. A run of left rows of one amount and one
//! text is laid beside a run of right rows of the same amount and one text, in order of days. For review only.
use super::Edge;
use crate::compare::Words;
use crate::groups::Group;
use crate::outcome::Side;
use crate::plan::Plan;
use crate::table::{NO_AMOUNT, NO_DATE};
use crate::text;
use rustc_hash::FxHashMap;

/// Rows of a run that must find a partner for it to be one.
const LEAST: usize = 3;

/// Pairs among the rows that neither a pair nor a group has, sorted by left row.
pub(crate) fn pairs(plan: &Plan, pairs: &[Edge], groups: &[Group], rows: (usize, usize)) -> Vec<(u32, u32)> {
    let (Some(amounts), Some(dates)) = (plan.amounts(), plan.dates()) else { return Vec::new() };
    let mut taken = [vec![false; rows.0], vec![false; rows.1]];
    for pair in pairs {
        taken[0][pair.l as usize] = true;
        taken[1][pair.r as usize] = true;
    }
    for group in groups {
        group.left.iter().for_each(|row| taken[0][*row as usize] = true);
        group.right.iter().for_each(|row| taken[1][*row as usize] = true);
    }
    let lefts = runs(plan, Side::Left, &amounts.left, &dates.left, &taken[0]);
    let rights = runs(plan, Side::Right, &amounts.right, &dates.right, &taken[1]);
    let mut by_amount: FxHashMap<i64, Vec<&Run>> = FxHashMap::default();
    rights.iter().for_each(|run| by_amount.entry(run.amount).or_default().push(run));
    let mut found = Vec::new();
    for run in &lefts {
        let alike = by_amount.get(&run.amount).map_or(&[][..], Vec::as_slice);
        // Two runs that fit leave the choice open: then none is taken.
        let fitting: Vec<Vec<(u32, u32)>> = alike
            .iter()
            .map(|other| in_order(run, other, dates.before, dates.after))
            .filter(|p| p.len() >= LEAST)
            .collect();
        if let [only] = fitting.as_slice() {
            found.extend_from_slice(only);
        }
    }
    found.sort_unstable();
    let mut used: FxHashMap<u32, u32> = FxHashMap::default();
    found.iter().for_each(|(_, r)| *used.entry(*r).or_default() += 1);
    found.retain(|(_, r)| used[r] == 1);
    found
}

/// Rows of one amount and one text, by day.
struct Run {
    amount: i64,
    rows: Vec<(i32, u32)>,
}

fn runs(plan: &Plan, side: Side, amounts: &[i64], days: &[i32], taken: &[bool]) -> Vec<Run> {
    let columns: Vec<Option<&Words>> = plan.comparators.iter().map(|c| c.kind().words(side)).collect();
    let mut all: FxHashMap<(i64, u64), Vec<(i32, u32)>> = FxHashMap::default();
    for row in (0..amounts.len()).filter(|row| !taken[*row] && amounts[*row] != NO_AMOUNT && days[*row] != NO_DATE) {
        let text = columns.iter().fold(0, |hash, words| text::combine(hash, words.map_or(0, |words| words.value[row])));
        all.entry((amounts[row], text)).or_default().push((days[row], row as u32));
    }
    let mut runs: Vec<Run> = all
        .into_iter()
        .filter(|(_, rows)| rows.len() >= LEAST)
        .map(|((amount, _), rows)| Run { amount, rows })
        .collect();
    runs.iter_mut().for_each(|run| run.rows.sort_unstable());
    runs.sort_unstable_by(|a, b| (a.amount, &a.rows).cmp(&(b.amount, &b.rows)));
    runs
}

/// The two runs side by side: each row with the first free one inside the window.
fn in_order(left: &Run, right: &Run, before: i32, after: i32) -> Vec<(u32, u32)> {
    let (mut l, mut r) = (0, 0);
    let mut pairs = Vec::new();
    while l < left.rows.len() && r < right.rows.len() {
        let days = right.rows[r].0 - left.rows[l].0;
        if days < -before {
            r += 1;
        } else if days > after {
            l += 1;
        } else {
            pairs.push((left.rows[l].1, right.rows[r].1));
            (l, r) = (l + 1, r + 1);
        }
    }
    pairs
}
