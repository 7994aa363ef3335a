//! Parts that only another part vouches for: a payment names one invoice and pays others of the same counterparty.
//!
//! Such a part says nothing about the total itself. Easy to get wrong: it may only be in an answer together with the row
//! that vouches for it, and is never tied more strongly than that row is.
use super::find::{Link, Loose, MIN_TEXT_BITS, near};
use crate::compare::{Comparator, Words};
use crate::outcome::Side;
use crate::plan::Plan;
use rustc_hash::{FxHashMap, FxHashSet};

/// Rows with one text above which it ties nothing.
const MOST_ROWS: usize = 64;

/// A column of the parts' side whose equal texts tie rows.
struct Column<'a> {
    at: usize,
    words: &'a Words,
    /// Loose rows by their text.
    rows: FxHashMap<u64, Vec<u32>>,
}

/// Links from the totals, rows of `side`, to loose rows that share a text with a row which the total names.
pub(super) fn find(plan: &Plan, loose: &Loose, links: &[Link], side: Side, days: u32) -> Vec<Link> {
    let anchors: Vec<&Link> = links.iter().filter(|link| link.named).collect();
    if anchors.is_empty() {
        return Vec::new();
    }
    let parts = if side == Side::Left { Side::Right } else { Side::Left };
    let open = if parts == Side::Left { &loose.left } else { &loose.right };
    let columns = columns(plan, parts, open, &anchors);
    if columns.is_empty() {
        return Vec::new();
    }
    let named: FxHashSet<u32> = anchors.iter().map(|link| link.total).collect();
    let mut known: FxHashSet<(u32, u32)> =
        links.iter().filter(|link| named.contains(&link.total)).map(|link| (link.total, link.part)).collect();
    let mut found = Vec::new();
    for anchor in anchors {
        for column in &columns {
            let text = column.words.value[anchor.part as usize];
            let bits = rarity(column.words, anchor.part).min(anchor.text);
            let rows = column.rows.get(&text).map_or(&[][..], Vec::as_slice);
            if bits < MIN_TEXT_BITS || rows.len() > MOST_ROWS {
                continue;
            }
            for part in rows {
                let (l, r) = if side == Side::Left { (anchor.total, *part) } else { (*part, anchor.total) };
                let fits = near(plan, l as usize, r as usize, days) && same_keys(plan, parts, anchor.part, *part);
                if fits && known.insert((anchor.total, *part)) {
                    let by = Some((anchor.part, column.at));
                    found.push(Link { total: anchor.total, part: *part, bits, text: bits, named: false, by });
                }
            }
        }
    }
    found
}

/// The texts that are no references, with the loose rows of each that a named row has.
fn columns<'a>(plan: &'a Plan, parts: Side, open: &[bool], anchors: &[&Link]) -> Vec<Column<'a>> {
    let kinds = plan.comparators.iter().enumerate().map(|(at, comparator)| (at, comparator.kind()));
    let texts = kinds.filter(|(_, kind)| kind.is_text() && !kind.is_code());
    texts
        .filter_map(|(at, kind)| {
            let words = kind.words(parts)?;
            let filled = |row: u32| !words.is_missing(row as usize);
            let mut rows: FxHashMap<u64, Vec<u32>> =
                anchors.iter().filter(|a| filled(a.part)).map(|a| (words.value[a.part as usize], Vec::new())).collect();
            for row in (0..open.len() as u32).filter(|row| open[*row as usize] && filled(*row)) {
                if let Some(of_text) = rows.get_mut(&words.value[row as usize]) {
                    of_text.push(row);
                }
            }
            Some(Column { at, words, rows })
        })
        .collect()
}

/// Bits by which the text of a row stands out in its column.
fn rarity(words: &Words, row: u32) -> f64 {
    (words.value.len() as f64 / f64::from(words.rows_of[row as usize].max(1))).log2()
}

/// Whether two rows of one side agree in all that a pair must agree in, such as the currency.
fn same_keys(plan: &Plan, side: Side, a: u32, b: u32) -> bool {
    plan.comparators.iter().filter(|comparator| matches!(comparator, Comparator::Equal(_))).all(|comparator| {
        let words = comparator.kind().words(side);
        words.is_none_or(|words| words.value[a as usize] == words.value[b as usize])
    })
}
