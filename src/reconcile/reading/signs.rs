//! Signs that one file leaves open and the other decides: by a column of words, by two columns, or turned as a whole.
use super::roles;
use super::settle::{LEAST_TIES, magnitudes};
use crate::table::{ColumnType, NO_AMOUNT, SignedBy, Table, Typed};
use rustc_hash::{FxHashMap, FxHashSet};

/// Most different words of a column that may say which amounts went out.
const MOST_FLAGS: u64 = 12;

/// Amounts that one side has once, with the row and whether it is below nought, beside the sign of the equal amounts
/// on the other side, where those agree.
fn signs_of_equals(own: &Table, at: usize, other: &Table, partner: usize) -> Vec<(usize, bool, bool)> {
    let mut theirs: FxHashMap<u128, Option<bool>> = FxHashMap::default();
    for (value, below, _) in magnitudes(other, partner) {
        theirs.entry(value).and_modify(|sign| *sign = sign.filter(|sign| *sign == below)).or_insert(Some(below));
    }
    let mut mine: FxHashMap<u128, Option<(usize, bool)>> = FxHashMap::default();
    for (value, below, row) in magnitudes(own, at) {
        mine.entry(value).and_modify(|found| *found = None).or_insert(Some((row, below)));
    }
    let of = |(value, found): (u128, Option<(usize, bool)>)| {
        let (row, below) = found?;
        Some((row, below, (*theirs.get(&value)?)?))
    };
    mine.into_iter().filter_map(of).collect()
}

/// A column of few words that goes with the sign of the equal amounts on the other side, where this side has none:
/// `Uttag` and `Insättning`, `1` and `2`.
pub(super) fn flags(own: &mut Table, at: usize, other: &Table, partner: usize) {
    let profile = &own.columns[at].profile;
    if own.options_sign || profile.signed_by.is_some() || magnitudes(own, at).iter().any(|(_, below, _)| *below) {
        return;
    }
    let equals = signs_of_equals(own, at, other, partner);
    let below = equals.iter().filter(|(_, _, theirs)| *theirs).count();
    if below < LEAST_TIES || equals.len() - below < LEAST_TIES {
        return;
    }
    let fits = |column: &usize| {
        let profile = &own.columns[*column].profile;
        matches!(profile.kind, ColumnType::Text | ColumnType::Code)
            && (2..=MOST_FLAGS).contains(&profile.distinct)
            && profile.role.is_none()
            && equals.len() as u64 >= 3 * profile.distinct
    };
    let mut best: Option<(usize, u64, usize, FxHashSet<String>)> = None;
    for column in (0..own.columns.len()).filter(fits) {
        let mut words: FxHashMap<&str, [usize; 2]> = FxHashMap::default();
        for (row, _, theirs) in &equals {
            words.entry(own.cell(*row, column)).or_default()[usize::from(*theirs)] += 1;
        }
        let against: usize = words.values().map(|[above, below]| *above.min(below)).sum();
        let known = (0..own.len()).filter(|row| words.contains_key(own.cell(*row, column))).count();
        if against * 20 > equals.len() || known * 20 < own.len() * 19 {
            continue;
        }
        let distinct = own.columns[column].profile.distinct;
        if best.as_ref().is_none_or(|found| (against, distinct) < (found.0, found.1)) {
            let out = words.iter().filter(|(_, [above, below])| below > above).map(|(word, _)| (*word).to_owned());
            best = Some((against, distinct, column, out.collect()));
        }
    }
    if let Some((_, _, column, out)) = best {
        let went_out: Vec<bool> = (0..own.len()).map(|row| out.contains(own.cell(row, column))).collect();
        own.sign_by(at, column, &went_out);
        own.decided(at, "the other file");
    }
}

/// Columns of two whose order nobody named: when all of both have one sign on the other side, they are amounts in two
/// places and not what went out and what came in.
pub(super) fn sides(own: &mut Table, at: usize, other: &Table, partner: usize) {
    let Some(SignedBy::Columns { debit, credit, .. }) = &own.columns[at].profile.signed_by else { return };
    if own.options_sign || roles::named(debit, credit) {
        return;
    }
    let Some(debit) = own.column_index(debit) else { return };
    let Typed::Money { units, .. } = &own.columns[debit].typed else { return };
    let out = |row: usize| units[row] != NO_AMOUNT && units[row] != 0;
    // By column and whether the signs agree.
    let mut counts = [[0_usize; 2]; 2];
    for (row, below, theirs) in signs_of_equals(own, at, other, partner) {
        counts[usize::from(out(row))][usize::from(below == theirs)] += 1;
    }
    let clear = |[against, agree]: [usize; 2], agrees: bool| {
        let (more, less) = if agrees { (agree, against) } else { (against, agree) };
        more >= 2 && more >= 4 * less
    };
    if [false, true].into_iter().any(|way| clear(counts[0], way) && clear(counts[1], !way)) {
        let rows: Vec<bool> = (0..own.len()).map(out).collect();
        own.turn_rows(at, &rows);
        own.decided(at, "the other file");
    }
}

/// What goes out on one side comes in on the other.
pub(super) fn signs(left: &mut Table, right: &mut Table, pairs: &[(usize, usize)]) {
    if left.options_sign || right.options_sign {
        return;
    }
    let mut flipped: Vec<usize> = Vec::new();
    for (l, r) in pairs {
        if flipped.contains(r) {
            continue;
        }
        let (a, b) = (magnitudes(left, *l), magnitudes(right, *r));
        let (mut same, mut opposite) = (0_usize, 0_usize);
        let unique = |list: &[(u128, bool, usize)]| {
            let mut seen: FxHashMap<u128, Option<bool>> = FxHashMap::default();
            for (value, below, _) in list {
                seen.entry(*value).and_modify(|sign| *sign = sign.filter(|sign| sign == below)).or_insert(Some(*below));
            }
            seen
        };
        let theirs = unique(&b);
        for (value, sign) in unique(&a) {
            if let (Some(mine), Some(Some(other))) = (sign, theirs.get(&value)) {
                if mine == *other { same += 1 } else { opposite += 1 }
            }
        }
        let smaller = a.len().min(b.len());
        if opposite >= 2 && opposite >= 4 * same && (opposite + same) * 10 >= smaller * 2 {
            // The right side turns, unless the left one is made of two columns whose order nobody named.
            right.flip(*r);
            right.decided(*r, "the other file");
            flipped.push(*r);
        } else if same > 0 && opposite * 2 >= same && opposite >= LEAST_TIES {
            let (name, other) = (left.columns[*l].profile.name.clone(), right.columns[*r].profile.name.clone());
            right.warn(format!(
                "{opposite} amounts have the opposite sign of an equal amount on the other side, {same} the same ({name} and {other}); \
                 say sign = \"flip\" if all are turned"
            ));
        }
    }
}
