//! The parts of one total: all that a shared key names, else the best subset, found by meeting in the middle.
use super::find::{Group, Link, fineness};
use crate::compare::Amounts;
use crate::outcome::Side;
use crate::rules::Sums;
use crate::table::NO_AMOUNT;

/// Candidate parts kept for one total, the best evidence first; half of them make 1,024 sums.
const MAX_CANDIDATES: usize = 20;
/// Answers kept; more of them are as ambiguous as two.
const MAX_ANSWERS: usize = 4_096;
/// Bits a group needs in all.
const MIN_GROUP_BITS: f64 = 3.0;
/// By how many bits the weakest text of the answer must beat that of another for the other to be no rival.
const CLEAR_TEXT: f64 = 3.0;
/// The largest share of the parts that a fee may be.
const LARGEST_FEE: f64 = 0.06;

/// The search for the parts of one total.
pub(super) struct Search<'a> {
    amounts: &'a Amounts,
    side: Side,
    total: u32,
    target: i64,
    prior: f64,
    /// Link and amount of each candidate, the best evidence first.
    parts: Vec<(Link, i64)>,
    rules: &'a Sums,
}

/// A subset of the candidates that adds up, by bits of a mask.
struct Answer {
    mask: u32,
    bits: f64,
    weakest_text: f64,
    /// It has a part that only another part vouches for.
    vouched: bool,
}

impl<'a> Search<'a> {
    /// `links` are those of one total, which is a row of `side`, the best evidence first.
    pub(super) fn new(amounts: &'a Amounts, side: Side, links: &[Link], prior: f64, rules: &'a Sums) -> Self {
        let (own, other) =
            if side == Side::Left { (&amounts.left, &amounts.right) } else { (&amounts.right, &amounts.left) };
        let total = links[0].total;
        let parts = links
            .iter()
            .map(|link| (*link, other[link.part as usize]))
            .filter(|(_, units)| !matches!(*units, NO_AMOUNT | 0))
            .collect();
        Self { amounts, side, total, target: own[total as usize], prior, parts, rules }
    }

    /// The best group, and whether the budget cut the search.
    pub(super) fn best(mut self) -> (Option<Group>, bool) {
        if matches!(self.target, NO_AMOUNT | 0) || self.parts.len() < 2 {
            return (None, false);
        }
        let named: Vec<(Link, i64)> = self.parts.iter().filter(|(link, _)| link.named).copied().collect();
        let all_named = self.sum(&named);
        if named.len() >= 2 && self.meets(all_named) {
            return (self.whole_key(&named), false);
        }
        let (answers, cut) = self.answers();
        // What is tied to the total itself goes before what only other parts vouch for.
        let (direct, vouched): (Vec<Answer>, Vec<Answer>) = answers.into_iter().partition(|answer| !answer.vouched);
        let less_a_fee = || (named.len() >= 2).then(|| self.less_a_fee(&named, all_named)).flatten();
        (self.choose(&direct).or_else(less_a_fee).or_else(|| self.choose(&vouched)), cut)
    }

    fn sum(&self, parts: &[(Link, i64)]) -> i128 {
        parts.iter().map(|(_, units)| i128::from(*units)).sum()
    }

    fn meets(&self, sum: i128) -> bool {
        (sum - i128::from(self.target)).unsigned_abs() <= self.amounts.tolerance.unsigned_abs().into()
    }

    fn whole_key(&self, named: &[(Link, i64)]) -> Option<Group> {
        let evidence = named.iter().map(|(link, _)| link.bits).sum::<f64>() / named.len() as f64;
        let fine = fineness(self.amounts, self.target, named.iter().map(|(_, units)| *units));
        let bits = self.prior + evidence + fine;
        let parts = named.iter().map(|(link, _)| link.part).collect();
        (bits >= MIN_GROUP_BITS).then(|| Group::of_total(self.side, self.total, parts, bits))
    }

    /// Everything the key names, less what a processor keeps.
    fn less_a_fee(&self, named: &[(Link, i64)], sum: i128) -> Option<Group> {
        let fee = sum - i128::from(self.target);
        let is_fee = fee != 0 && (fee > 0) == (sum > 0) && (fee as f64).abs() <= LARGEST_FEE * (sum as f64).abs();
        let evidence = named.iter().map(|(link, _)| link.bits).sum::<f64>() / named.len() as f64;
        // Unrelated sums come so near from below once in as many times as the fee's largest share goes into one; and every
        // further part that the key names could have carried another.
        let bits = self.prior + evidence - LARGEST_FEE.log2() + (named.len() as f64).log2();
        if !is_fee || bits < MIN_GROUP_BITS {
            return None;
        }
        let parts = named.iter().map(|(link, _)| link.part).collect();
        let mut group = Group::of_total(self.side, self.total, parts, bits);
        group.fee = i64::try_from(fee).ok();
        Some(group)
    }

    /// Every subset that adds up, of two parts to the most that the rules allow.
    fn answers(&mut self) -> (Vec<Answer>, bool) {
        let mut most = MAX_CANDIDATES;
        while most > 2 && (2_u32 << (most / 2 + 1)) > self.rules.node_budget {
            most -= 1;
        }
        let mut cut = self.parts.len() > most;
        self.parts.truncate(most);
        let of = |is: fn(&Link) -> bool| -> u32 {
            let parts = self.parts.iter().enumerate().filter(|(_, (link, _))| is(link));
            parts.fold(0, |mask, (at, _)| mask | 1 << at)
        };
        let (named, hearsay) = (of(|link| link.named), of(|link| link.by.is_some()));
        let half = self.parts.len() / 2;
        let left = self.sums(0, half);
        let mut right = self.sums(half, self.parts.len());
        right.sort_unstable();
        let (target, tolerance) = (i128::from(self.target), i128::from(self.amounts.tolerance));
        let mut answers = Vec::new();
        for (sum, mask) in left {
            let rest = target - sum;
            let from = right.partition_point(|(other, _)| *other < rest - tolerance);
            for (_, other) in right[from..].iter().take_while(|(other, _)| *other <= rest + tolerance) {
                let mask = mask | other;
                let few = (2..=self.rules.max_parts).contains(&(mask.count_ones() as usize));
                if !few || (mask & hearsay != 0 && mask & named != named) {
                    continue;
                }
                if answers.len() >= MAX_ANSWERS {
                    cut = true;
                    break;
                }
                answers.push(self.answer(mask));
            }
        }
        (answers, cut)
    }

    fn sums(&self, from: usize, to: usize) -> Vec<(i128, u32)> {
        let mut sums = vec![(0_i128, 0_u32)];
        for at in from..to {
            let units = i128::from(self.parts[at].1);
            let with: Vec<(i128, u32)> = sums.iter().map(|(sum, mask)| (sum + units, mask | 1 << at)).collect();
            sums.extend(with);
        }
        sums
    }

    fn chosen(&self, mask: u32) -> impl Iterator<Item = &(Link, i64)> + Clone {
        self.parts.iter().enumerate().filter(move |(at, _)| mask >> at & 1 == 1).map(|(_, part)| part)
    }

    /// The odds of one pair on its evidence, plus how unlikely the sum is by chance among the subsets of its size.
    fn answer(&self, mask: u32) -> Answer {
        let count = mask.count_ones() as usize;
        let evidence: f64 = self.chosen(mask).map(|(link, _)| link.bits).sum::<f64>() / count as f64;
        let weakest_text = self.chosen(mask).map(|(link, _)| link.text).fold(f64::INFINITY, f64::min);
        let vouched = self.chosen(mask).any(|(link, _)| link.by.is_some());
        // Only candidates as well tied as the weakest part could have been taken for it.
        let rival = |link: &Link| link.text >= weakest_text - CLEAR_TEXT && (vouched || link.by.is_none());
        let pool = self.parts.iter().filter(|(link, _)| rival(link)).count();
        let fine = fineness(self.amounts, self.target, self.chosen(mask).map(|(_, units)| *units));
        Answer { mask, bits: self.prior + evidence + fine - subsets(pool, count).log2(), weakest_text, vouched }
    }

    fn choose(&self, answers: &[Answer]) -> Option<Group> {
        // Ties go to the parts with the best evidence, which are the lowest bits of the mask.
        let better = |a: &&Answer, b: &&Answer| {
            a.bits.total_cmp(&b.bits).then_with(|| a.mask.reverse_bits().cmp(&b.mask.reverse_bits()))
        };
        let best = answers.iter().max_by(better).filter(|best| best.bits >= MIN_GROUP_BITS)?;
        let rows = |answer: &Answer| -> Vec<u32> { self.chosen(answer.mask).map(|(link, _)| link.part).collect() };
        let mut group = Group::of_total(self.side, self.total, rows(best), best.bits);
        let mut hearsay = self.chosen(best.mask).filter_map(|(link, _)| Some((link.part, link.by?)));
        group.vouched = hearsay.next().map(|(part, at)| {
            let others = hearsay.map(|(part, _)| part);
            (std::iter::once(part).chain(others).collect(), usize::from(at))
        });
        let rival = |answer: &&Answer| answer.mask != best.mask && answer.weakest_text > best.weakest_text - CLEAR_TEXT;
        if let Some(other) = answers.iter().filter(rival).max_by(better) {
            // A sum with a second answer is never clear, however much nearer the days of the first are.
            group.margin = Some(0.0);
            group.alternative = Some(rows(other));
        }
        Some(group)
    }
}

/// Subsets of `pool` things with two to `most` members.
fn subsets(pool: usize, most: usize) -> f64 {
    let (mut ways, mut all) = (pool as f64, 0.0);
    for size in 2..=most.min(pool) {
        ways *= (pool + 1 - size) as f64 / size as f64;
        all += ways;
    }
    all.max(1.0)
}
