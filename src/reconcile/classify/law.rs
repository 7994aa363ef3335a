//! Never `auto` what was not compared: `auto` means that nothing is left to do.
//!
//! Where both files have amounts, a pair whose amounts were not compared is for review, whatever else agrees; so it is
//! with dates that one file has and the other writes in a way that was not understood.
use crate::infer::{Comparing, EARLIER_RUN, RUNNING_BALANCE};
use crate::outcome::Side;
use crate::plan::Plan;
use crate::reading::{NameHint, currency};
use crate::table::{Column, ColumnType, NO_AMOUNT, Table};
use rayon::prelude::*;

/// What keeps pairs of a run from being settled without a person.
pub(crate) struct Law {
    amounts: bool,
    dates: bool,
    doubt: bool,
    currencies: Option<Currencies>,
}

/// The currency of each row of both sides, where it stands beside the amount or in a column that is not compared.
struct Currencies {
    left: Vec<Option<[u8; 3]>>,
    right: Vec<Option<[u8; 3]>>,
}

impl Currencies {
    /// `None` when the rules compare currencies, or a side says none.
    fn of(plan: &Plan, left: &Table, right: &Table) -> Option<Self> {
        let is_currency = |table: &Table, at: usize| NameHint::of(&table.columns[at].profile.name).currency;
        let compared = |(l, r): &(usize, usize)| is_currency(left, *l) && is_currency(right, *r);
        if plan.columns.iter().any(compared) {
            return None;
        }
        let (l, r) = plan.columns[plan.amount?];
        let of = |table: &Table, amount: usize| -> Option<Vec<Option<[u8; 3]>>> {
            let column = (0..table.columns.len()).find(|at| is_currency(table, *at));
            let of_row = |row: usize| {
                let beside = currency::mark(table.cell(row, amount));
                beside.or_else(|| column.and_then(|at| currency::mark(table.cell(row, at))))
            };
            let all: Vec<_> = (0..table.len()).into_par_iter().map(of_row).collect();
            all.iter().any(Option::is_some).then_some(all)
        };
        Some(Self { left: of(left, l)?, right: of(right, r)? })
    }

    fn differ(&self, l: usize, r: usize) -> bool {
        matches!((self.left[l], self.right[r]), (Some(own), Some(other)) if own != other)
    }
}

impl Law {
    /// Looks at what both files have and the plan does not compare; adds a warning for each.
    pub(crate) fn of(plan: &Plan, left: &Table, right: &Table, comparing: &mut Comparing) -> Self {
        // Balances and the columns of an earlier run are no amounts of a row. That nothing was found to compare a column
        // with excuses nothing.
        let counts = |side: Side, column: &Column| {
            let known = [RUNNING_BALANCE, EARLIER_RUN];
            let mut own = comparing.left_out.iter().filter(|out| out.side == side && out.column == column.profile.name);
            !own.any(|out| known.contains(&out.reason.as_str()))
        };
        let amounts = |side, table: &Table| {
            table.columns.iter().enumerate().any(|(at, c)| counts(side, c) && holds_amounts(table, at, c))
        };
        let readable_dates = |table: &Table| table.columns.iter().any(|c| c.profile.kind == ColumnType::Date);
        let any_dates =
            |table: &Table| table.columns.iter().any(|c| c.profile.kind == ColumnType::Date || is_unread_date(c));
        // Left out or not: what looks like amounts and was not read could have told pairs apart.
        let unread = |table: &Table| {
            let meant = |c: &&Column| c.profile.unread > 0 && !matches!(c.profile.kind, ColumnType::Date);
            table
                .columns
                .iter()
                .filter(meant)
                .any(|c| NameHint::of(&c.profile.name).money && c.profile.decimal.is_none())
        };
        let money = |table: &Table| unread(table) || table.columns.iter().any(|c| c.profile.kind == ColumnType::Money);
        let lost = (unread(left) && money(right)) || (unread(right) && money(left));
        let both = amounts(Side::Left, left) && amounts(Side::Right, right);
        let no_amounts = plan.amount.is_none() && (lost || both);
        let unread = any_dates(left) && any_dates(right) && readable_dates(left) != readable_dates(right);
        let no_dates = plan.date.is_none() && unread;
        if no_amounts {
            comparing
                .warnings
                .push("both files have amounts, but they are not compared: no pair is settled without a person".into());
        }
        if no_dates {
            comparing.warnings.push(
                "the dates of one file were not understood, so dates are not compared: no pair is settled without a person"
                    .into(),
            );
        }
        let doubts: Vec<&str> = [left, right].iter().filter_map(|table| table.reading().doubt()).collect();
        for doubt in &doubts {
            comparing.warnings.push(format!("{doubt}: no pair is settled without a person"));
        }
        let currencies = Currencies::of(plan, left, right);
        Self { amounts: no_amounts, dates: no_dates, doubt: !doubts.is_empty(), currencies }
    }

    /// Why a pair must not be settled without a person.
    pub(crate) fn forbids(&self, plan: &Plan, l: usize, r: usize) -> Option<&'static str> {
        if self.doubt {
            return Some("how a file is read is open");
        }
        if self.amounts {
            return Some("amounts were not compared");
        }
        if let Some(amounts) = plan.amounts()
            && (amounts.left[l] == NO_AMOUNT) != (amounts.right[r] == NO_AMOUNT)
        {
            return Some("one of the amounts is missing");
        }
        if self.currencies.as_ref().is_some_and(|currencies| currencies.differ(l, r)) {
            return Some("the currencies differ");
        }
        self.dates.then_some("dates were not compared")
    }
}

/// Amounts, read or written in a way that was not understood.
fn holds_amounts(table: &Table, at: usize, column: &Column) -> bool {
    match column.profile.kind {
        ColumnType::Money => true,
        ColumnType::Number => NameHint::of(&column.profile.name).money,
        ColumnType::Date => false,
        ColumnType::Text | ColumnType::Code => {
            let hint = NameHint::of(&column.profile.name);
            let filled = (0..table.len()).map(|row| table.cell(row, at)).filter(|cell| !cell.is_empty()).take(1000);
            let (mut all, mut alike) = (0, 0);
            for cell in filled {
                all += 1;
                alike += usize::from(looks_like_an_amount(cell));
            }
            all > 0 && !hint.code && 10 * alike >= 8 * all && (hint.money || alike == all)
        }
    }
}

/// Mostly digits, with a decimal separator before the last two or more of them.
fn looks_like_an_amount(cell: &str) -> bool {
    let digits = cell.chars().filter(char::is_ascii_digit).count();
    let separated = cell.char_indices().any(|(at, c)| {
        matches!(c, '.' | ',') && cell[at + 1..].chars().next().is_some_and(|next| next.is_ascii_digit())
    });
    let parts = cell.split(['.', ',', '-', '/']).filter(|part| part.chars().any(|c| c.is_ascii_digit())).count();
    digits >= 2 && 2 * digits >= cell.chars().filter(|c| !c.is_whitespace()).count() && separated && parts <= 3
}

/// A column that by its name and digits holds dates, but was not read as such.
fn is_unread_date(column: &Column) -> bool {
    let profile = &column.profile;
    let with_digits = profile.samples.iter().filter(|s| s.bytes().filter(u8::is_ascii_digit).count() >= 3).count();
    profile.kind != ColumnType::Date
        && profile.kind != ColumnType::Money
        && NameHint::of(&profile.name).date
        && !NameHint::of(&profile.name).person
        && !profile.samples.is_empty()
        && with_digits == profile.samples.len()
}
