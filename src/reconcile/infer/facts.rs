//! What the columns of two whole files hold: values, words, and what makes a column useless for comparing.
//!
//! Values and words are kept as hashes with the rows that have them. Of large files only those whose hash falls in a
//! fixed share of all hashes are kept, the same share on both sides, so that what two columns have in common is seen in
//! full among the kept. Row order changes nothing.
use super::comparing::{EARLIER_RUN, RUNNING_BALANCE};
use crate::control::{Cancelled, Meter};
use crate::formats::is_missing;
use crate::reading::NameHint;
use crate::report::UNMATCHED_HEADER;
use crate::table::{ColumnProfile, ColumnRole, ColumnType, NO_AMOUNT, NO_DATE, Table, Typed};
use crate::text;
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

/// Values kept of a column, about.
const KEPT: usize = 20_000;

/// The columns of both files.
pub(super) struct Facts<'a> {
    pub(super) left: Vec<Column<'a>>,
    pub(super) right: Vec<Column<'a>>,
}

/// How a column is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    Amount,
    Date,
    Text,
}

/// Where a value or word occurs: one of its rows, and how many rows have it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) row: u32,
    pub(super) rows: u32,
}

/// One column.
pub(super) struct Column<'a> {
    pub(super) at: usize,
    pub(super) name: &'a str,
    pub(super) profile: &'a ColumnProfile,
    pub(super) class: Class,
    pub(super) filled: usize,
    /// Different values, estimated when only a share is kept.
    pub(super) distinct: usize,
    /// Mean words of a value.
    pub(super) words: f64,
    pub(super) values: FxHashMap<u64, Place>,
    pub(super) tokens: FxHashMap<u64, Place>,
    /// Values of two words or more, whatever the order of the words: `Abbott, Anna` and `Anna Abbott`.
    pub(super) bags: FxHashMap<u64, Place>,
    /// One in `2^share` of the values and words is kept.
    share: u32,
    /// Words of a fifth of the rows or more (of those looked at): they tell nothing apart.
    pub(super) common: FxHashSet<u64>,
    /// Integers one after the other: they count rows and say nothing of the other file.
    pub(super) counts_rows: bool,
    /// Why it is not compared, whatever the other file has.
    pub(super) useless: Option<String>,
}

/// Looks at every column of both files.
pub(super) fn both<'a>(left: &'a Table, right: &'a Table, meter: &Meter<'_>) -> Result<Facts<'a>, Cancelled> {
    let rows = left.len().max(right.len());
    Ok(Facts { left: of(left, rows, meter)?, right: of(right, rows, meter)? })
}

/// Looks at every column of a file alone.
pub(super) fn one<'a>(table: &'a Table, meter: &Meter<'_>) -> Result<Vec<Column<'a>>, Cancelled> {
    of(table, table.len(), meter)
}

fn of<'a>(table: &'a Table, rows: usize, meter: &Meter<'_>) -> Result<Vec<Column<'a>>, Cancelled> {
    let share = (rows / KEPT).max(1).next_power_of_two().trailing_zeros();
    let mut columns: Vec<Column<'_>> =
        (0..table.columns.len()).into_par_iter().map(|at| column(table, at, share, meter)).collect::<Result<_, _>>()?;
    mark_own_output(&mut columns);
    mark_balances(table, &mut columns);
    mark_roles(&mut columns);
    Ok(columns)
}

/// Columns that the amount was made of or follows into.
fn mark_roles(columns: &mut [Column<'_>]) {
    for column in columns.iter_mut().filter(|column| column.useless.is_none() && !column.profile.is_compared()) {
        column.useless = match column.profile.role {
            Some(ColumnRole::Balance) => Some(RUNNING_BALANCE.to_owned()),
            Some(role) => Some(format!("it is in the signed amount ({})", role.as_str())),
            None => None,
        };
    }
}

/// The key by which two cells have the same value; `None` for a missing one.
pub(super) fn value_key(table: &Table, at: usize, row: usize, scratch: &mut String) -> Option<u64> {
    match &table.columns[at].typed {
        Typed::Money { units, scale } => (units[row] != NO_AMOUNT).then(|| amount_key(units[row], *scale)),
        Typed::Date(days) => (days[row] != NO_DATE).then(|| text::mix(days[row] as u64)),
        Typed::Text => {
            let cell = table.cell(row, at);
            if is_missing(cell) {
                return None;
            }
            scratch.clear();
            text::compact_into(cell, scratch);
            (!scratch.is_empty()).then(|| text::hash(text::without_leading_zeros(scratch)))
        }
    }
}

/// Equal for equal amounts of any scale.
fn amount_key(mut units: i64, mut scale: u8) -> u64 {
    while scale > 0 && units % 10 == 0 {
        units /= 10;
        scale -= 1;
    }
    text::combine(units as u64, u64::from(scale))
}

fn column<'a>(table: &'a Table, at: usize, share: u32, meter: &Meter<'_>) -> Result<Column<'a>, Cancelled> {
    let profile = &table.columns[at].profile;
    let class = match &table.columns[at].typed {
        Typed::Money { .. } => Class::Amount,
        Typed::Date(_) => Class::Date,
        Typed::Text => Class::Text,
    };
    let keep = |hash: u64| hash.trailing_zeros() >= share;
    let mut out = Column {
        at,
        name: &profile.name,
        profile,
        class,
        filled: 0,
        distinct: 0,
        words: 0.0,
        values: FxHashMap::default(),
        tokens: FxHashMap::default(),
        bags: FxHashMap::default(),
        share,
        common: FxHashSet::default(),
        counts_rows: counts_rows(table, at),
        useless: None,
    };
    let (mut scratch, mut seen, mut words) = (String::new(), Vec::new(), 0_usize);
    let (mut looked_at, mut often): (usize, FxHashMap<u64, usize>) = (0, FxHashMap::default());
    for row in 0..table.len() {
        meter.check_at(row)?;
        let Some(value) = value_key(table, at, row, &mut scratch) else { continue };
        out.filled += 1;
        if keep(value) {
            out.values.entry(value).or_insert(Place { row: row as u32, rows: 0 }).rows += 1;
        }
        if class == Class::Text {
            seen.clear();
            token_keys(table.cell(row, at), &mut seen);
            words += seen.len();
            seen.sort_unstable();
            seen.dedup();
            let bag = seen.iter().fold(0, |bag, token| text::combine(bag, *token));
            if seen.len() >= 2 && keep(bag) {
                out.bags.entry(bag).or_insert(Place { row: row as u32, rows: 0 }).rows += 1;
            }
            if keep(value) {
                looked_at += 1;
                seen.iter().for_each(|token| *often.entry(*token).or_default() += 1);
            }
            for token in seen.iter().filter(|token| keep(**token)) {
                out.tokens.entry(*token).or_insert(Place { row: row as u32, rows: 0 }).rows += 1;
            }
        }
    }
    let is_common = |(_, rows): &(u64, usize)| *rows >= 3 && 5 * rows >= looked_at;
    out.common = often.into_iter().filter(is_common).map(|(token, _)| token).collect();
    out.distinct = out.values.len() << share;
    out.words = words as f64 / out.filled.max(1) as f64;
    if out.filled == 0 {
        out.useless = Some("empty".into());
    } else if out.distinct < 2 && class == Class::Text && share == 0 && !NameHint::of(out.name).currency {
        out.useless = Some("one value in every row".into());
    }
    Ok(out)
}

/// The words of a cell as hashes; of numbers without leading zeros.
pub(super) fn token_keys(cell: &str, out: &mut Vec<u64>) {
    text::tokens(cell, |token| out.push(text::hash(text::without_leading_zeros(token))));
}

/// Whole numbers that rise by one from row to row, or the same numbers in another order.
fn counts_rows(table: &Table, at: usize) -> bool {
    const LEAST: usize = 4;
    if table.len() < LEAST || matches!(table.columns[at].typed, Typed::Date(_)) {
        return false;
    }
    let (mut low, mut high) = (u64::MAX, 0);
    for row in 0..table.len() {
        let cell = table.cell(row, at);
        if cell.is_empty() || cell.len() > 9 || !cell.bytes().all(|b| b.is_ascii_digit()) {
            return false;
        }
        let Ok(number) = cell.parse::<u64>() else { return false };
        low = low.min(number);
        high = high.max(number);
    }
    // From 0 or 1 with hardly a gap; a key of invoices starts elsewhere.
    low <= 2 && high - low < (table.len() + table.len() / 4) as u64 && table.columns[at].profile.unique
}

/// The report's own columns in front of a file's: a second pass over what a first one left.
fn mark_own_output(columns: &mut [Column<'_>]) {
    let is_own = columns.len() > UNMATCHED_HEADER.len()
        && (columns[0].name == "left_id" || columns[0].name == "right_id")
        && columns[1..].iter().zip(UNMATCHED_HEADER).all(|(column, own)| column.name == own);
    if is_own {
        for column in &mut columns[..=UNMATCHED_HEADER.len()] {
            column.useless = Some(EARLIER_RUN.into());
        }
    }
}

/// A column that is the one before it plus an amount of its row, from either end of the file.
fn mark_balances(table: &Table, columns: &mut [Column<'_>]) {
    let money = |at: usize| match &table.columns[at].typed {
        Typed::Money { units, scale } => Some((units.as_slice(), *scale)),
        _ => None,
    };
    let rows = table.len();
    if rows < 4 {
        return;
    }
    for at in 0..columns.len() {
        let Some((balance, scale)) = money(at) else { continue };
        let is_of = |other: usize| {
            let Some((amounts, other_scale)) = money(other).filter(|_| other != at) else { return false };
            if other_scale != scale {
                return false;
            }
            let holds = |before: usize, row: usize, amount: usize| {
                [balance[before], balance[row], amounts[amount]].iter().all(|units| *units != NO_AMOUNT)
                    && balance[before].checked_add(amounts[amount]) == Some(balance[row])
                    && amounts[amount] != 0
            };
            let down = (1..rows).filter(|row| holds(row - 1, *row, *row)).count();
            let up = (1..rows).filter(|row| holds(*row, row - 1, row - 1)).count();
            10 * down.max(up) >= 8 * (rows - 1)
        };
        if (0..columns.len()).any(is_of) {
            columns[at].useless = Some(RUNNING_BALANCE.into());
        }
    }
}

impl Column<'_> {
    /// Text, compared word by word or as a code.
    pub(super) fn is_text(&self) -> bool {
        self.class == Class::Text
    }

    /// Three letters that name a currency in every row.
    pub(super) fn is_currency(&self) -> bool {
        let code = |s: &String| s.len() == 3 && s.bytes().all(|b| b.is_ascii_alphabetic());
        let samples = &self.profile.samples;
        let codes = self.is_text() && self.distinct <= 200 && !samples.is_empty() && samples.iter().all(code);
        let upper = samples.iter().all(|s| s.bytes().all(|b| b.is_ascii_uppercase()));
        codes && (NameHint::of(self.name).currency || (upper && self.distinct <= 40 && self.filled > 100))
    }

    /// Money rather than another number.
    pub(super) fn is_money(&self) -> bool {
        self.profile.kind == ColumnType::Money
    }

    /// The share of the different values of this column that the other has too, and of its words.
    pub(super) fn overlap(&self, other: &Column<'_>) -> (f64, f64) {
        let share = |a: &FxHashMap<u64, Place>, b: &FxHashMap<u64, Place>| {
            a.keys().filter(|key| b.contains_key(key)).count() as f64 / a.len().max(1) as f64
        };
        (share(&self.values, &other.values), share(&self.tokens, &other.tokens))
    }

    /// The share of the rows of the shorter file that a word which each file has once ties to the other; nought when
    /// hardly any word does. Where most of a ledger is not paid yet, it says more than the share of all words.
    pub(super) fn tied(&self, other: &Column<'_>) -> f64 {
        const LEAST: usize = 3;
        let once = |places: &FxHashMap<u64, Place>, key: &u64| places.get(key).is_some_and(|place| place.rows == 1);
        let rows: FxHashSet<u32> = self
            .tokens
            .iter()
            .filter(|(key, place)| place.rows == 1 && once(&other.tokens, key))
            .map(|(_, place)| place.row)
            .collect();
        if rows.len() < LEAST {
            return 0.0;
        }
        let smaller = self.filled.min(other.filled);
        ((rows.len() << self.share) as f64 / smaller.max(1) as f64).min(1.0)
    }
}
