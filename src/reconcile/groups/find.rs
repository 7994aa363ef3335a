//! Groups: one amount that is the sum of several on the other side, and several that equal several.
//!
//! Looked for only among rows the assignment left over, or paired although their amounts differ, and only among rows
//! that text and date tie together: without such evidence a sum that fits is mostly chance. First everything that a
//! shared key ties to a total, any number of parts; then the best subset of the nearest rows; then the components of
//! shared references. A group with a second answer as good is for review and names it, and so is one with parts that
//! only another part vouches for.
use super::search::Search;
use super::{components, siblings};
use crate::compare::{Amounts, Comparator};
use crate::control::{Cancelled, Meter};
use crate::outcome::Side;
use crate::plan::Plan;
use crate::rules::Sums;
use crate::score::{Scored, Weights, level};
use crate::table::NO_DATE;
use rayon::prelude::*;

/// Bits of text evidence a part needs.
pub(super) const MIN_TEXT_BITS: f64 = 2.0;

/// Rows of both sides whose amounts add up.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Group {
    /// Rows of both sides, sorted.
    pub(crate) left: Vec<u32>,
    pub(crate) right: Vec<u32>,
    pub(crate) bits: f64,
    /// Bits to the second best answer; `None` when there is no other.
    pub(crate) margin: Option<f64>,
    /// The parts of that answer.
    pub(crate) alternative: Option<Vec<u32>>,
    /// What the sum is short of, in minor units of the compared amounts, when a fee explains it.
    pub(crate) fee: Option<i64>,
    /// Parts that only named ones vouch for, and the comparison whose text they share.
    pub(crate) vouched: Option<(Vec<u32>, usize)>,
}

impl Group {
    /// The side of the parts: the one with more rows.
    pub(crate) fn parts_side(&self) -> Side {
        if self.right.len() >= self.left.len() { Side::Right } else { Side::Left }
    }

    pub(super) fn of_total(side: Side, total: u32, mut parts: Vec<u32>, bits: f64) -> Self {
        parts.sort_unstable();
        let (left, right) = if side == Side::Left { (vec![total], parts) } else { (parts, vec![total]) };
        Self { left, right, bits, margin: None, alternative: None, fee: None, vouched: None }
    }
}

/// Rows that may still be grouped.
pub(crate) struct Loose {
    pub(crate) left: Vec<bool>,
    pub(crate) right: Vec<bool>,
}

/// A row of the other side that may be a part of a total.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Link {
    pub(crate) total: u32,
    pub(crate) part: u32,
    /// All evidence but the amount.
    pub(crate) bits: f64,
    /// That of the texts alone.
    pub(crate) text: f64,
    /// A reference of one is found in the other in full.
    pub(crate) named: bool,
    /// The comparison by whose text a named part vouches for this one; `None` of one tied to the total itself.
    pub(crate) by: Option<u8>,
}

impl Link {
    /// Its left and its right row, where the total is a row of `side`.
    pub(super) fn rows(&self, side: Side) -> (usize, usize) {
        let (total, part) = (self.total as usize, self.part as usize);
        if side == Side::Left { (total, part) } else { (part, total) }
    }
}

/// The rows of both sides by content.
#[derive(Clone, Copy)]
pub(crate) struct ByRank<'a> {
    pub(crate) left: &'a [u32],
    pub(crate) right: &'a [u32],
    /// Whether the left side goes first, so that swapped sides give the swapped result.
    pub(crate) left_first: bool,
    /// Whether a row may vouch for others of its counterparty: not where the rules say which rows may meet.
    pub(crate) vouch: bool,
}

/// Finds the groups and settles their conflicts, best first; `order` ranks the rows of both sides. Also returns how many
/// searches the budget cut.
pub(crate) fn search(
    plan: &Plan,
    scored: &Scored,
    weights: &Weights,
    loose: &Loose,
    rules: &Sums,
    order: ByRank<'_>,
    meter: &Meter<'_>,
) -> Result<(Vec<Group>, u64), Cancelled> {
    let Some(amounts) = plan.amounts() else {
        return Ok((Vec::new(), 0));
    };
    let by_left = links(plan, scored, weights, loose, rules);
    let mut found = Vec::new();
    let mut cut = 0;
    for side in [Side::Left, Side::Right] {
        let mut links = by_left.clone();
        if side == Side::Right {
            links.iter_mut().for_each(|link| (link.total, link.part) = (link.part, link.total));
        }
        let rank = if side == Side::Left { order.right } else { order.left };
        if order.vouch {
            links.extend(siblings::find(plan, loose, &links, (side, rank), rules.window_days, meter)?);
        }
        links.sort_by(|a, b| {
            let ranks = || rank[a.part as usize].cmp(&rank[b.part as usize]);
            let direct = || a.by.is_some().cmp(&b.by.is_some());
            a.total.cmp(&b.total).then_with(direct).then(b.bits.total_cmp(&a.bits)).then_with(ranks)
        });
        let totals: Vec<&[Link]> = links.chunk_by(|a, b| a.total == b.total).filter(|c| c.len() >= 2).collect();
        let solve = |links: &&[Link]| -> Result<(Option<Group>, bool), Cancelled> {
            meter.add(1, 0)?;
            Ok(Search::new(amounts, side, links, weights.prior, rules).best())
        };
        let parts: Vec<(Option<Group>, bool)> =
            totals.par_iter().with_min_len(16).map(solve).collect::<Result<_, _>>()?;
        for (group, was_cut) in parts {
            cut += u64::from(was_cut);
            found.extend(group);
        }
    }
    found.extend(components::find(amounts, &by_left, weights.prior));
    Ok((settle(found, loose, order), cut))
}

/// Pairs of loose rows that text and date tie together.
fn links(plan: &Plan, scored: &Scored, weights: &Weights, loose: &Loose, rules: &Sums) -> Vec<Link> {
    // Evidence depends on the pattern alone.
    let evidence: Vec<Option<Link>> = scored.patterns.iter().map(|p| evidence(plan, weights, *p)).collect();
    let mut links = Vec::new();
    for pair in &scored.pairs {
        let (l, r) = (pair.l as usize, pair.r as usize);
        let Some(link) = evidence[pair.pattern as usize] else { continue };
        if loose.left[l] && loose.right[r] && gap(plan, (l, r)) <= rules.window_days {
            links.push(Link { total: pair.l, part: pair.r, ..link });
        }
    }
    links
}

/// Exact sums before those that a fee explains, direct evidence before what parts vouch for, the best first; a group that
/// needs a row already taken is dropped.
fn settle(mut found: Vec<Group>, loose: &Loose, order: ByRank<'_>) -> Vec<Group> {
    // By content, not by place in the file.
    let ranks = |group: &Group| {
        let left: Vec<u32> = group.left.iter().map(|row| order.left[*row as usize]).collect();
        let right: Vec<u32> = group.right.iter().map(|row| order.right[*row as usize]).collect();
        if order.left_first { [left, right] } else { [right, left] }
    };
    let size = |group: &Group| group.left.len() + group.right.len();
    found.sort_by(|a, b| {
        (a.fee.is_some().cmp(&b.fee.is_some()))
            .then(a.vouched.is_some().cmp(&b.vouched.is_some()))
            .then(b.bits.total_cmp(&a.bits))
            .then(size(a).cmp(&size(b)))
            .then_with(|| ranks(a).cmp(&ranks(b)))
    });
    let mut taken = [vec![false; loose.left.len()], vec![false; loose.right.len()]];
    found.retain(|group| {
        let free = group.left.iter().all(|row| !taken[0][*row as usize])
            && group.right.iter().all(|row| !taken[1][*row as usize]);
        if free {
            group.left.iter().for_each(|row| taken[0][*row as usize] = true);
            group.right.iter().for_each(|row| taken[1][*row as usize] = true);
        }
        free
    });
    found
}

/// What ties a part to its total: everything but the amount. `None` when no text agrees, or the currency differs.
fn evidence(plan: &Plan, weights: &Weights, pattern: u64) -> Option<Link> {
    let (mut text, mut other, mut best, mut named) = (0.0_f64, 0.0_f64, 0.0_f64, false);
    for (at, comparator) in plan.comparators.iter().enumerate() {
        let level = level(pattern, at);
        let bits = weights.bits[at][level];
        if comparator.kind().is_text() {
            // Other parts of a group carry other references, so a reference that differs says little.
            text += bits.max(-2.0);
            best = best.max(bits);
            named |= comparator.kind().is_code() && comparator.levels()[level].is_whole_agreement;
        } else if matches!(comparator, Comparator::Equal(_)) && level == 1 {
            return None;
        } else if !matches!(comparator, Comparator::Amount(_)) {
            other += bits.max(-2.0);
        }
    }
    let link = Link { total: 0, part: 0, bits: text + other, text, named, by: None };
    (named || (best >= MIN_TEXT_BITS && text > 0.0)).then_some(link)
}

/// Days between two rows; none when a date is missing.
pub(super) fn gap(plan: &Plan, (l, r): (usize, usize)) -> u32 {
    let Some(dates) = plan.dates() else { return 0 };
    let (left, right) = (dates.left[l], dates.right[r]);
    if left == NO_DATE || right == NO_DATE { 0 } else { left.abs_diff(right) }
}

/// How unlikely it is that amounts meet by chance: the bits of the total in units of its parts' grain.
pub(super) fn fineness(amounts: &Amounts, target: i64, parts: impl Iterator<Item = i64> + Clone) -> f64 {
    let mut grain = 1_i64;
    while grain < 1_000_000 && parts.clone().all(|units| units % (grain * 10) == 0) {
        grain *= 10;
    }
    (target.unsigned_abs() as f64 / grain as f64 / (2 * amounts.tolerance + 1) as f64).max(1.0).log2()
}
