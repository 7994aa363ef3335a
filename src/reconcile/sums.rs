//! One-to-many and many-to-one: rows of one side whose amounts add up to a row of the other.
//!
//! Searched only among rows the assignment left over, or paired although their amounts differ, and only among rows
//! that text and date tie together: without such evidence a sum that fits is mostly chance. The chance is estimated
//! from how many sums were tried against how fine the amounts are, and counts against the group.
use super::control::{Cancelled, Meter};
use super::levels::{Amounts, Comparator};
use super::model::Weights;
use super::outcome::Side;
use super::plan::Plan;
use super::rules::Sums;
use super::score::{Scored, level};
use super::table::{NO_AMOUNT, NO_DATE};
use rayon::prelude::*;

/// Candidate parts kept for one total, the best evidence first.
const MAX_CANDIDATES: usize = 20;
/// Bits of text evidence a part needs.
const MIN_TEXT_BITS: f64 = 2.0;
/// Bits a group needs in all.
const MIN_GROUP_BITS: f64 = 3.0;

/// A total and the parts that make it up.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Group {
    /// The side of the total.
    pub(crate) side: Side,
    pub(crate) total: u32,
    /// Rows of the other side, sorted.
    pub(crate) parts: Vec<u32>,
    pub(crate) bits: f64,
}

/// Rows that may still be grouped.
pub(crate) struct Loose {
    pub(crate) left: Vec<bool>,
    pub(crate) right: Vec<bool>,
}

/// Finds the groups and settles their conflicts, best first. Also returns how many searches the budget cut.
pub(crate) fn search(
    plan: &Plan,
    scored: &Scored,
    weights: &Weights,
    loose: &Loose,
    rules: &Sums,
    meter: &Meter<'_>,
) -> Result<(Vec<Group>, u64), Cancelled> {
    let Some(Comparator::Amount(amounts)) = plan.amount.map(|at| &plan.comparators[at]) else {
        return Ok((Vec::new(), 0));
    };
    // Evidence depends on the pattern alone.
    let evidence: Vec<Option<f64>> = scored.patterns.iter().map(|p| evidence(plan, weights, *p)).collect();
    let mut links: Vec<(u32, u32, f64)> = Vec::new();
    for pair in &scored.pairs {
        let (l, r) = (pair.l as usize, pair.r as usize);
        let Some(bits) = evidence[pair.pattern as usize] else { continue };
        if loose.left[l] && loose.right[r] && near(plan, l, r, rules.window_days) {
            links.push((pair.l, pair.r, bits));
        }
    }
    let mut found = Vec::new();
    let mut cut = 0;
    for side in [Side::Left, Side::Right] {
        if side == Side::Right {
            links.iter_mut().for_each(|link| *link = (link.1, link.0, link.2));
        }
        links.sort_by(|a, b| a.0.cmp(&b.0).then(b.2.total_cmp(&a.2)).then(a.1.cmp(&b.1)));
        let totals: Vec<&[(u32, u32, f64)]> = links.chunk_by(|a, b| a.0 == b.0).filter(|c| c.len() >= 2).collect();
        let solve = |links: &&[(u32, u32, f64)]| -> Result<(Option<Group>, bool), Cancelled> {
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
    Ok((settle(found, loose), cut))
}

/// Best group first; a group that needs a row already taken is dropped.
fn settle(mut found: Vec<Group>, loose: &Loose) -> Vec<Group> {
    found.sort_by(|a, b| b.bits.total_cmp(&a.bits).then((a.side, a.total).cmp(&(b.side, b.total))));
    let mut taken = [vec![false; loose.left.len()], vec![false; loose.right.len()]];
    found.retain(|group| {
        let (own, other) = if group.side == Side::Left { (0, 1) } else { (1, 0) };
        let free = !taken[own][group.total as usize] && group.parts.iter().all(|p| !taken[other][*p as usize]);
        if free {
            taken[own][group.total as usize] = true;
            group.parts.iter().for_each(|p| taken[other][*p as usize] = true);
        }
        free
    });
    found
}

/// Bits that tie a part to its total: everything but the amount. `None` when no text agrees.
fn evidence(plan: &Plan, weights: &Weights, pattern: u64) -> Option<f64> {
    let (mut text, mut other, mut best) = (0.0_f64, 0.0_f64, 0.0_f64);
    for (at, comparator) in plan.comparators.iter().enumerate() {
        let bits = weights.bits[at][level(pattern, at)];
        if comparator.is_text() {
            // Other parts of a group carry other references, so a reference that differs says little.
            text += bits.max(-2.0);
            best = best.max(bits);
        } else if !matches!(comparator, Comparator::Amount(_)) {
            other += bits.max(-2.0);
        }
    }
    (best >= MIN_TEXT_BITS && text > 0.0).then_some(text + other)
}

fn near(plan: &Plan, l: usize, r: usize, days: u32) -> bool {
    match plan.date.map(|at| &plan.comparators[at]) {
        Some(Comparator::Date { left, right, .. }) if left[l] != NO_DATE && right[r] != NO_DATE => {
            left[l].abs_diff(right[r]) <= days
        }
        _ => true,
    }
}

/// The search for the parts of one total.
struct Search<'a> {
    side: Side,
    total: u32,
    target: i64,
    tolerance: i64,
    prior: f64,
    parts: Vec<(u32, i64, f64)>,
    rules: &'a Sums,
    steps: u32,
    cut: bool,
    chosen: Vec<usize>,
    hits: Vec<Vec<usize>>,
}

impl<'a> Search<'a> {
    fn new(amounts: &Amounts, side: Side, links: &[(u32, u32, f64)], prior: f64, rules: &'a Sums) -> Self {
        let (own, other) =
            if side == Side::Left { (&amounts.left, &amounts.right) } else { (&amounts.right, &amounts.left) };
        let total = links[0].0;
        let target = own[total as usize];
        // A part has the sign of its total and is smaller.
        let fits =
            |units: i64| units != NO_AMOUNT && units != 0 && (units > 0) == (target > 0) && units.abs() < target.abs();
        let mut parts: Vec<(u32, i64, f64)> =
            links.iter().map(|(_, row, bits)| (*row, other[*row as usize], *bits)).filter(|p| fits(p.1)).collect();
        parts.truncate(MAX_CANDIDATES);
        Self {
            side,
            total,
            target,
            tolerance: amounts.tolerance,
            prior,
            parts,
            rules,
            steps: 0,
            cut: false,
            chosen: Vec::new(),
            hits: Vec::new(),
        }
    }

    fn best(mut self) -> (Option<Group>, bool) {
        if self.target == NO_AMOUNT || self.target == 0 || self.parts.len() < 2 {
            return (None, false);
        }
        self.descend(0, self.target);
        let tried = f64::from(self.steps.max(1)).log2();
        let scored = self.hits.iter().map(|chosen| (self.bits(chosen, tried), chosen));
        // Ties go to the parts with the best evidence, which come first.
        let best = scored.min_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        let group = best.filter(|(bits, _)| *bits >= MIN_GROUP_BITS).map(|(bits, chosen)| {
            let mut parts: Vec<u32> = chosen.iter().map(|at| self.parts[*at].0).collect();
            parts.sort_unstable();
            Group { side: self.side, total: self.total, parts, bits }
        });
        (group, self.cut)
    }

    fn descend(&mut self, from: usize, rest: i64) {
        for at in from..self.parts.len() {
            if self.steps >= self.rules.node_budget {
                self.cut = true;
                return;
            }
            self.steps += 1;
            let left_over = rest - self.parts[at].1;
            self.chosen.push(at);
            if self.chosen.len() >= 2 && left_over.abs() <= self.tolerance {
                self.hits.push(self.chosen.clone());
            } else if self.chosen.len() < self.rules.max_parts && (left_over > 0) == (self.target > 0) && left_over != 0
            {
                self.descend(at + 1, left_over);
            }
            self.chosen.pop();
        }
    }

    /// The odds of one pair on its evidence, plus how unlikely the sum is by chance.
    fn bits(&self, chosen: &[usize], tried: f64) -> f64 {
        let mut grain = 1_i64;
        while grain < 1_000_000 && chosen.iter().all(|at| self.parts[*at].1 % (grain * 10) == 0) {
            grain *= 10;
        }
        let fine = (self.target.unsigned_abs() as f64 / grain as f64 / (2 * self.tolerance + 1) as f64).max(1.0).log2();
        let evidence: f64 = chosen.iter().map(|at| self.parts[*at].2).sum();
        self.prior + evidence / chosen.len() as f64 + fine - tried
    }
}
