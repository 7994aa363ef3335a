//! Parts that only the other parts vouch for: a payment names one invoice and pays others of the same counterparty.
//!
//! Such a part says nothing about the total itself. Easy to get wrong: an answer with such parts has every row that the
//! total names, and none of them is tied more strongly than the row that vouches for it.
use super::find::{Link, Loose, MIN_TEXT_BITS, gap};
use crate::compare::{Comparator, Words};
use crate::control::{Cancelled, Meter};
use crate::outcome::Side;
use crate::plan::Plan;
use rustc_hash::{FxHashMap, FxHashSet};

/// Rows with one text above which it ties nothing.
const MOST_ROWS: usize = 64;
/// Such parts of one total, the nearest days first.
const MOST_PARTS: usize = 12;

/// A column of the parts' side whose equal texts tie rows.
struct Column<'a> {
    at: usize,
    words: &'a Words,
    /// Loose rows by their text.
    rows: FxHashMap<u64, Vec<u32>>,
}

/// Links from totals, rows of `side`, to loose rows that share a text with a row which the total names, and that no total
/// names themselves. `links` are those of the totals, `rank` is the place of each part by content.
pub(super) fn find(
    plan: &Plan,
    loose: &Loose,
    links: &[Link],
    (side, rank): (Side, &[u32]),
    days: u32,
    meter: &Meter<'_>,
) -> Result<Vec<Link>, Cancelled> {
    let mut anchors: Vec<&Link> = links.iter().filter(|link| link.named).collect();
    anchors.sort_unstable_by_key(|link| (link.total, rank[link.part as usize]));
    let (parts, open) = if side == Side::Left { (Side::Right, &loose.right) } else { (Side::Left, &loose.left) };
    let columns = columns(plan, (parts, open), &anchors);
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let named: FxHashSet<u32> = anchors.iter().map(|link| link.part).collect();
    let totals: FxHashSet<u32> = anchors.iter().map(|link| link.total).collect();
    let direct = links.iter().filter(|link| totals.contains(&link.total)).map(|link| (link.total, link.part));
    let mut known: FxHashSet<(u32, u32)> = direct.collect();
    let mut found = Vec::new();
    for anchors in anchors.chunk_by(|a, b| a.total == b.total) {
        meter.check()?;
        let total = anchors[0].total;
        let mut of_total = Vec::new();
        for column in &columns {
            for (anchor, bits) in vouching(plan, column, anchors, side) {
                let rows = &column.rows[&column.words.value[anchor as usize]];
                for part in rows.iter().filter(|part| !named.contains(part)) {
                    let by = Some(column.at as u8);
                    let link = Link { total, part: *part, bits, text: bits, named: false, by };
                    let gap = gap(plan, link.rows(side));
                    if gap <= days && same_keys(plan, parts, anchor, *part) && known.insert((total, *part)) {
                        of_total.push((gap, rank[*part as usize], link));
                    }
                }
            }
        }
        of_total.sort_unstable_by_key(|(gap, rank, _)| (*gap, *rank));
        found.extend(of_total.into_iter().take(MOST_PARTS).map(|(_, _, link)| link));
    }
    Ok(found)
}

/// For each text of the named rows the strongest of them, with the bits that it vouches with.
fn vouching(plan: &Plan, column: &Column<'_>, anchors: &[&Link], side: Side) -> Vec<(u32, f64)> {
    let comparator = &plan.comparators[column.at];
    let mut best: Vec<(u32, f64)> = Vec::new();
    for anchor in anchors {
        let words = column.words;
        let at = anchor.part as usize;
        let bits = rarity(words, at).min(anchor.text).min(anchor.bits);
        let (l, r) = anchor.rows(side);
        // A name may be absent from a description; one that stands in a column of its own and differs contradicts.
        let contradicted = !matches!(comparator, Comparator::NameIn(_)) && comparator.level(l, r, &plan.lexicon) == 1;
        let crowded = column.rows.get(&words.value[at]).is_none_or(|rows| rows.len() > MOST_ROWS);
        if words.is_missing(at) || crowded || contradicted || bits < MIN_TEXT_BITS {
            continue;
        }
        match best.iter_mut().find(|(other, _)| words.value[*other as usize] == words.value[at]) {
            Some(known) if known.1 < bits => *known = (anchor.part, bits),
            Some(_) => {}
            None => best.push((anchor.part, bits)),
        }
    }
    best
}

/// The texts that are no references, with the loose rows of each that a named row has.
fn columns<'a>(plan: &'a Plan, (parts, open): (Side, &[bool]), anchors: &[&Link]) -> Vec<Column<'a>> {
    let kinds = plan.comparators.iter().enumerate().map(|(at, comparator)| (at, comparator.kind()));
    let texts = kinds.filter(|(_, kind)| kind.is_text() && !kind.is_code());
    texts
        .filter_map(|(at, kind)| {
            let words = kind.words(parts)?;
            let filled = |row: u32| !words.is_missing(row as usize);
            let mut rows: FxHashMap<u64, Vec<u32>> =
                anchors.iter().filter(|a| filled(a.part)).map(|a| (words.value[a.part as usize], Vec::new())).collect();
            if rows.is_empty() {
                return None;
            }
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
fn rarity(words: &Words, row: usize) -> f64 {
    (words.value.len() as f64 / f64::from(words.rows_of[row].max(1))).log2()
}

/// Whether two rows of one side agree in all that a pair must agree in, such as the currency.
fn same_keys(plan: &Plan, side: Side, a: u32, b: u32) -> bool {
    plan.comparators.iter().filter(|comparator| matches!(comparator, Comparator::Equal(_))).all(|comparator| {
        let words = comparator.kind().words(side);
        words.is_none_or(|words| words.value[a as usize] == words.value[b as usize])
    })
}
