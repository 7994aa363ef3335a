//! Rows that are equal in every cell settle each other, before anything is learnt.
//!
//! Two files have equal rows when they have the same columns, in any order. Repeated rows are paired one by one; a row
//! more on one side is left over. This is what makes a file match itself whatever is in it.
use super::table::Table;
use super::text;
use rayon::prelude::*;

/// The pairs of equal rows; `left_order` and `right_order` rank the rows by content.
pub(crate) fn equal_rows(left: &Table, right: &Table, left_order: &[u32], right_order: &[u32]) -> Vec<(u32, u32)> {
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
    let (mut l, mut r) = (0, 0);
    let mut pairs = Vec::new();
    while l < left.len() && r < right.len() {
        match left[l].0.cmp(&right[r].0) {
            std::cmp::Ordering::Less => l += 1,
            std::cmp::Ordering::Greater => r += 1,
            std::cmp::Ordering::Equal => {
                pairs.push((left[l].2, right[r].2));
                (l, r) = (l + 1, r + 1);
            }
        }
    }
    pairs
}
