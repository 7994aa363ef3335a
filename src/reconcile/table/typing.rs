//! Columns of text to typed values: amounts, days, signs; and the reasons against rows that do not fit.
use super::{Cells, ColumnProfile, ColumnType, NO_AMOUNT, NO_DATE, Profile, RowError, SignedBy, Typed};
use crate::amount::{self, Decimal, DecimalStyle};
use crate::control::{Cancelled, Meter};
use crate::date::{self, DateStyle};
use crate::formats::is_missing;
use crate::reading::roles;
use crate::text;
use rayon::prelude::*;
use rustc_hash::FxHashMap;

/// The values of each column, the first reason against each row, and warnings about what was rounded.
pub(super) type TypedColumns = (Vec<Typed>, FxHashMap<usize, RowError>, Vec<String>);

pub(super) fn type_columns(
    cells: &Cells,
    lines: &[u32],
    profile: &Profile,
    meter: &Meter<'_>,
) -> Result<TypedColumns, Cancelled> {
    let columns: Vec<TypedColumn> = (0..cells.width)
        .into_par_iter()
        .map(|at| type_column(cells, lines.len(), at, &profile.columns[at], meter))
        .collect::<Result<_, _>>()?;
    let mut warnings = Vec::new();
    let mut bad: FxHashMap<usize, RowError> = FxHashMap::default();
    let mut typed = Vec::with_capacity(profile.columns.len());
    for (at, (values, errors, rounded)) in columns.into_iter().enumerate() {
        if let Some(Rounded { count, first, scale }) = rounded {
            let (name, amounts) = (&profile.columns[at].name, if count == 1 { "amount has" } else { "amounts have" });
            warnings.push(format!(
                "column {name:?}: {count} {amounts} more than {scale} decimals and {} rounded, for the largest leave no room (first: \
                 line {}, {:?})",
                if count == 1 { "is" } else { "are" },
                lines[first],
                cells.get(first, at)
            ));
        }
        for (row, reason) in errors {
            let name = &profile.columns[at].name;
            bad.entry(row).or_insert_with(|| RowError::new(u64::from(lines[row]), name, cells.get(row, at), &reason));
        }
        typed.push(values);
    }
    totals(cells, lines, &typed, profile, &mut bad);
    signs(cells, &mut typed, profile);
    Ok((typed, bad, warnings))
}

/// The values of a column, the reasons against rows, and what was rounded.
type TypedColumn = (Typed, Vec<(usize, String)>, Option<Rounded>);

/// Amounts that lost digits, because larger ones in their column need the room.
struct Rounded {
    count: usize,
    /// The first such row.
    first: usize,
    /// Decimals that are kept.
    scale: u8,
}

fn type_column(
    cells: &Cells,
    rows: usize,
    at: usize,
    column: &ColumnProfile,
    meter: &Meter<'_>,
) -> Result<TypedColumn, Cancelled> {
    let mut errors = Vec::new();
    let mut rounded: Option<Rounded> = None;
    let typed = match column.kind {
        ColumnType::Money | ColumnType::Number => {
            let style = column.decimal.unwrap_or(DecimalStyle::Point);
            let shift = column.minor_digits.unwrap_or(0);
            let parse = |cell: &str| {
                let value = amount::parse_either(cell, style)?.shortest();
                Some(Decimal {
                    scale: value.scale.checked_add(shift).filter(|scale| *scale <= amount::MAX_SCALE)?,
                    ..value
                })
            };
            let mut values: Vec<Option<Decimal>> = Vec::with_capacity(rows);
            for row in 0..rows {
                meter.check_at(row)?;
                let cell = cells.get(row, at);
                let value = if is_missing(cell) { None } else { parse(cell) };
                if value.is_none() && !is_missing(cell) {
                    errors.push((row, format!("not an amount like {}", column.format)));
                }
                values.push(value);
            }
            let wanted = values.iter().flatten().map(|d| d.scale).max().unwrap_or(2).max(2);
            // The noise of floats (0.30000000000000004) must not leave no room for the amounts beside it.
            let fits = |scale: u8| values.iter().flatten().all(|d| d.rounded(scale).is_some());
            let scale = (2..=wanted).rev().find(|scale| fits(*scale)).unwrap_or(2);
            let mut units = Vec::with_capacity(rows);
            for (row, value) in values.iter().enumerate() {
                let unit = value.map_or(Some(NO_AMOUNT), |d| d.rounded(scale));
                if unit.is_none() {
                    errors.push((row, format!("too large for an amount of {scale} decimals")));
                } else if value.is_some_and(|value| value.at_scale(scale).is_none()) {
                    rounded.get_or_insert(Rounded { count: 0, first: row, scale }).count += 1;
                }
                units.push(unit.unwrap_or(NO_AMOUNT));
            }
            Typed::Money { units, scale }
        }
        ColumnType::Date => {
            let style = column.date.unwrap_or(DateStyle::YearMonthDay);
            let day = |row: usize| {
                meter.check_at(row)?;
                let cell = cells.get(row, at);
                let day = date::parse(cell, style);
                if day.is_none() && !is_missing(cell) {
                    errors.push((row, format!("not a date like {}", column.format)));
                }
                Ok(day.unwrap_or(NO_DATE))
            };
            Typed::Date((0..rows).map(day).collect::<Result<_, Cancelled>>()?)
        }
        ColumnType::Text | ColumnType::Code => Typed::Text,
    };
    Ok((typed, errors, rounded))
}

/// Rows looked at from the beginning and the end for totals and balances carried over.
const EDGE_ROWS: usize = 5;
const TOTAL_WORDS: &str = "total totals totale totaux totaal totalt summe gesamt gesamtsumme zwischensumme suma sum soma subtotal saldo     balance closing opening endsaldo anfangssaldo kontostand carried osszesen razem celkem yhteensa";

/// Rows at either end without a date where all others have one, that name a total or hold the sum.
fn totals(cells: &Cells, lines: &[u32], typed: &[Typed], profile: &Profile, bad: &mut FxHashMap<usize, RowError>) {
    let rows = lines.len();
    let mut dates = typed.iter().filter_map(|typed| if let Typed::Date(days) = typed { Some(days) } else { None });
    let full = |days: &&Vec<i32>| {
        let missing = days.iter().filter(|day| **day == NO_DATE).count();
        missing * 10 <= rows || (missing <= 2 && rows >= missing + 2)
    };
    let Some(days) = dates.find(full) else { return };
    let edge = |row: &usize| *row < EDGE_ROWS.min(rows) || *row + EDGE_ROWS >= rows;
    for row in (0..rows).filter(edge).filter(|row| days[*row] == NO_DATE) {
        let words = (0..cells.width).any(|at| names_total(cells.get(row, at)));
        let sums = typed.iter().any(|typed| match typed {
            Typed::Money { units, .. } if units[row] != NO_AMOUNT && units[row] != 0 && rows > 2 => {
                let others = units.iter().enumerate().filter(|(other, value)| *other != row && **value != NO_AMOUNT);
                others.map(|(_, value)| i128::from(*value)).sum::<i128>() == i128::from(units[row])
            }
            _ => false,
        });
        if words || sums {
            let shown: Vec<&str> = (0..cells.width).map(|at| cells.get(row, at)).collect();
            let shown = shown.join(&profile.delimiter.to_string());
            bad.insert(
                row,
                RowError::new(u64::from(lines[row]), "", &shown, "a total or balance, no record: it has no date"),
            );
        }
    }
}

fn names_total(cell: &str) -> bool {
    let (mut words, mut found) = (0, false);
    text::tokens(cell, |token| {
        words += 1;
        found |= TOTAL_WORDS.split_whitespace().any(|word| word == token);
    });
    found && words <= 4
}

/// Gives amounts the sign that stands in other columns, and turns those that are to be turned.
fn signs(cells: &Cells, typed: &mut Vec<Typed>, profile: &Profile) {
    let at = |name: &str| profile.columns.iter().position(|column| column.name == name);
    for (target, column) in profile.columns.iter().enumerate() {
        match &column.signed_by {
            Some(SignedBy::Flag { column: flag }) => {
                let (Some(flag), Some(Typed::Money { units, .. })) = (at(flag), typed.get_mut(target)) else {
                    continue;
                };
                for (row, value) in units.iter_mut().enumerate().filter(|(_, value)| **value != NO_AMOUNT) {
                    if roles::says_debit(cells.get(row, flag)) == Some(true) {
                        *value = -value.abs();
                    }
                }
            }
            Some(SignedBy::Columns { debit, credit, negative }) => {
                let (Some(debit), Some(credit)) = (at(debit), at(credit)) else { continue };
                let signed = signed(&typed[debit], &typed[credit], *negative, cells.ends.len() / cells.width.max(1));
                typed.push(signed);
            }
            None => {}
        }
    }
    for (column, typed) in profile.columns.iter().zip(typed.iter_mut()) {
        if let (true, Typed::Money { units, .. }) = (column.flipped, typed) {
            units.iter_mut().filter(|value| **value != NO_AMOUNT).for_each(|value| *value = -*value);
        }
    }
}

/// What came in less what went out; nothing where both are empty.
fn signed(debit: &Typed, credit: &Typed, negative: bool, rows: usize) -> Typed {
    let scale_of = |typed: &Typed| if let Typed::Money { scale, .. } = typed { *scale } else { 2 };
    let scale = scale_of(debit).max(scale_of(credit));
    let value = |typed: &Typed, row: usize| match typed {
        Typed::Money { units, scale: own } if units[row] != NO_AMOUNT => {
            units[row].checked_mul(10_i64.pow(u32::from(scale - own)))
        }
        _ => None,
    };
    let of = |row: usize| match (value(debit, row), value(credit, row)) {
        (None, None) => NO_AMOUNT,
        (out, came) => {
            let out = out.unwrap_or(0);
            came.unwrap_or(0).saturating_sub(if negative { -out } else { out })
        }
    };
    Typed::Money { units: (0..rows).map(of).collect(), scale }
}
