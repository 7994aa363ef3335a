//! Rules for a file against itself: each column with itself, but for those that tell every row apart or none.
use super::comparing::{Compared, Comparing, LeftOut};
use super::facts::{self, Class, Column};
use crate::control::{Cancelled, Meter};
use crate::outcome::Side;
use crate::rules::{Compare, CompareKind, MAX_COMPARISONS, RuleSet};
use crate::table::{ColumnType, Table};

/// Infers rules to find the rows of a table that mean the same, and says what is left out.
pub(crate) fn infer_for_one(table: &Table, meter: &Meter<'_>) -> Result<(RuleSet, Comparing), Cancelled> {
    let facts = facts::one(table, meter)?;
    let mut comparing = Comparing::default();
    let mut compare = Vec::new();
    for column in &facts {
        match useless(table, column) {
            None if compare.len() < MAX_COMPARISONS => {
                let (rule, evidence) = comparison(column);
                let (left, right) = (rule.left.clone(), rule.right.clone());
                comparing.compared.push(Compared { kind: rule.kind, left, right, evidence });
                compare.push(rule);
            }
            reason => {
                let reason = reason.unwrap_or_else(|| format!("a run compares {MAX_COMPARISONS} columns at most"));
                for side in [Side::Left, Side::Right] {
                    comparing.left_out.push(LeftOut { side, column: column.name.to_owned(), reason: reason.clone() });
                }
            }
        }
    }
    let id = table.id_column().map(str::to_owned);
    Ok((RuleSet { left_id: id.clone(), right_id: id, compare, ..RuleSet::empty() }, comparing))
}

fn useless(table: &Table, column: &Column<'_>) -> Option<String> {
    let profile = column.profile;
    let names_rows = table.id_column() == Some(column.name);
    let is_key = profile.unique && profile.kind == ColumnType::Code && column.class == Class::Text;
    match () {
        () if column.useless.is_some() => column.useless.clone(),
        () if column.counts_rows => Some("it counts the rows".into()),
        () if names_rows && profile.unique => Some("it names the rows: no two are the same".into()),
        () if is_key => Some("no two rows have the same".into()),
        () if column.distinct < 2 => Some("one value in every row".into()),
        () => None,
    }
}

fn comparison(column: &Column<'_>) -> (Compare, String) {
    let rule = |kind| Compare::new(kind, column.name, column.name);
    let rule = match column.class {
        _ if column.is_currency() => rule(CompareKind::Exact),
        Class::Amount => Compare { tolerance: Some("0".into()), ..rule(CompareKind::Tolerance) },
        Class::Date => {
            let days = Some(5);
            Compare { before_days: days, after_days: days, ..rule(CompareKind::Window) }
        }
        Class::Text => rule(CompareKind::Fuzzy),
    };
    (rule, format!("{} different values in {} rows", column.distinct, column.filled))
}
