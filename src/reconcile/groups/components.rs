//! Several with several: rows that shared references tie into one component whose two sides add up to the same.
use super::find::{Group, Link, fineness};
use crate::compare::Amounts;
use crate::table::NO_AMOUNT;
use rustc_hash::FxHashMap;

/// Rows of one side above which a component is a thicket and no group.
const MOST_ROWS: usize = 24;

/// Components of named links with two rows or more on both sides, in the order of their first left row. `links` have
/// the left row as total.
pub(super) fn find(amounts: &Amounts, links: &[Link], prior: f64) -> Vec<Group> {
    let mut group_of: FxHashMap<(bool, u32), usize> = FxHashMap::default();
    let mut groups: Vec<Component> = Vec::new();
    for link in links.iter().filter(|link| link.named) {
        let ends = [(true, link.total), (false, link.part)];
        let known: Vec<usize> = ends.iter().filter_map(|end| group_of.get(end).copied()).collect();
        let at = match known.as_slice() {
            [] => {
                groups.push(Component::default());
                groups.len() - 1
            }
            [one] => *one,
            [one, other, ..] if one == other => *one,
            [one, other, ..] => {
                let moved = std::mem::take(&mut groups[*other]);
                moved.rows.iter().for_each(|row| _ = group_of.insert(*row, *one));
                groups[*one].rows.extend(moved.rows);
                groups[*one].bits += moved.bits;
                groups[*one].links += moved.links;
                *one
            }
        };
        for end in ends {
            if group_of.insert(end, at).is_none() {
                groups[at].rows.push(end);
            }
        }
        groups[at].bits += link.bits;
        groups[at].links += 1;
    }
    groups.iter().filter_map(|component| component.group(amounts, prior)).collect()
}

#[derive(Default)]
struct Component {
    /// Whether the row is a left one, and the row.
    rows: Vec<(bool, u32)>,
    bits: f64,
    links: usize,
}

impl Component {
    fn group(&self, amounts: &Amounts, prior: f64) -> Option<Group> {
        let of = |is_left: bool| -> Vec<u32> {
            let mut rows: Vec<u32> = self.rows.iter().filter(|row| row.0 == is_left).map(|row| row.1).collect();
            rows.sort_unstable();
            rows
        };
        let (left, right) = (of(true), of(false));
        if !(2..=MOST_ROWS).contains(&left.len()) || !(2..=MOST_ROWS).contains(&right.len()) {
            return None;
        }
        let units = |rows: &[u32], all: &[i64]| -> Option<Vec<i64>> {
            rows.iter().map(|row| Some(all[*row as usize]).filter(|units| *units != NO_AMOUNT)).collect()
        };
        let (ours, theirs) = (units(&left, &amounts.left)?, units(&right, &amounts.right)?);
        let sum = |units: &[i64]| units.iter().map(|u| i128::from(*u)).sum::<i128>();
        if (sum(&ours) - sum(&theirs)).unsigned_abs() > amounts.tolerance.unsigned_abs().into() {
            return None;
        }
        let target = i64::try_from(sum(&ours)).ok()?;
        let fine = fineness(amounts, target, ours.iter().copied());
        let bits = prior + self.bits / self.links as f64 + fine;
        Some(Group { left, right, bits, margin: None, alternative: None, fee: None, vouched: None })
    }
}
