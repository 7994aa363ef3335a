//! Rows that are equal in every cell settle each other, before anything is learnt.
//!
//! Two files have equal rows when they have the same columns, in any order. Repeated rows are paired one by one; a row
//! more on one side is left over, and its like are for review. This is what makes a file match itself whatever is in it.
use super::Edge;
use crate::table::Table;
use crate::text;
use rayon::prelude::*;

/// Two equal rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EqualRows {
    pub(crate) l: u32,
    pub(crate) r: u32,
    /// Both files have the row the same number of times.
    pub(crate) even: bool,
}

impl EqualRows {
    /// Gain of a pair of equal rows, more than any other has; the even ones are known by it.
    pub(crate) const EVEN: i64 = i64::MAX;
    pub(crate) const UNEVEN: i64 = i64::MAX - 1;

    /// As a chosen pair.
    pub(crate) fn edge(self) -> Edge {
        Edge { l: self.l, r: self.r, gain: if self.even { Self::EVEN } else { Self::UNEVEN } }
    }
}

/// The pairs of equal rows; `left_order` and `right_order` rank the rows by content.
pub(crate) fn equal_rows(left: &Table, right: &Table, left_order: &[u32], right_order: &[u32]) -> Vec<EqualRows> {
    let names = |table: &Table| {
        let mut names: Vec<(String, usize)> =
            table.columns.iter().enumerate().map(|(at, c)| (c.profile.name.clone(), at)).collect();
        names.sort();
        names
    };
    let (left_names, right_names) = (names(left), names(right));
    if !left_names.iter().map(|n| &n.0).eq(right_names.iter().map(|n| &n.0)) {
        return Vec::new();
    }
    let keyed = |table: &Table, names: &[(String, usize)], order: &[u32]| {
        let key = |row: usize| {
            let cells = names.iter().map(|(_, column)| text::hash(table.cell(row, *column)));
            (cells.fold(0, text::combine), order[row], row as u32)
        };
        let mut keys: Vec<(u64, u32, u32)> = (0..table.len()).into_par_iter().map(key).collect();
        keys.par_sort_unstable();
        keys
    };
    let (left, right) = (keyed(left, &left_names, left_order), keyed(right, &right_names, right_order));
    let run = |keys: &[(u64, u32, u32)], from: usize| keys[from..].iter().take_while(|k| k.0 == keys[from].0).count();
    let (mut l, mut r) = (0, 0);
    let mut pairs = Vec::new();
    while l < left.len() && r < right.len() {
        match left[l].0.cmp(&right[r].0) {
            std::cmp::Ordering::Less => l += 1,
            std::cmp::Ordering::Greater => r += 1,
            std::cmp::Ordering::Equal => {
                let (ours, theirs) = (run(&left, l), run(&right, r));
                let both = left[l..l + ours].iter().zip(&right[r..r + theirs]);
                pairs.extend(both.map(|(l, r)| EqualRows { l: l.2, r: r.2, even: ours == theirs }));
                (l, r) = (l + ours, r + theirs);
            }
        }
    }
    pairs
}
