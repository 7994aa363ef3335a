//! What columns are for: debit and credit, a flag for the sign, a running balance.
//!
//! Debit and credit become one signed amount, a column of its own that no file has. Easy to get wrong: names alone
//! decide nothing; a pair of columns must be used in turns, and a balance must follow from the amounts.
use super::amounts::{self, DecimalStyle};
use super::names::NameHint;
use super::options::Sign;
use super::understood::{BalanceProof, ColumnReading, Reading};
use crate::formats::{ReadError, ReadOptions, is_missing};
use crate::table::{ColumnProfile, ColumnRole, ColumnType, HeadRows, SignedBy};
use crate::text;

const DEBIT_WORDS: &str = "d dr db s debit debet soll af out ut ud dbit withdrawal lastschrift belastung cargo debe dare w expense - uscita \
    addebito ausgang ausgabe paidout moneyout debito wn winien obciazenie";
const CREDIT_WORDS: &str = "c cr h k credit kredit haben bij in inn ind crdt deposit gutschrift abono haber avere income + entrata accredito \
    eingang einnahme paidin moneyin credito ma uznanie";

/// Finds roles from the first rows; adds the column of signed amounts where it is made of two.
pub(crate) fn find(
    columns: &mut Vec<ColumnProfile>,
    head: &dyn HeadRows,
    options: &ReadOptions,
) -> Result<Option<BalanceProof>, ReadError> {
    let given = &options.reading;
    for name in [&given.debit, &given.credit, &given.flag].into_iter().flatten() {
        position(columns, name, options)?;
    }
    for column in columns.iter_mut().filter(|column| is_money(column)) {
        column.minor_digits = given.scale.filter(|digits| *digits > 0);
    }
    let hints: Vec<NameHint> = columns.iter().map(|column| NameHint::of(&column.name)).collect();
    let mut values: Vec<Vec<Option<i128>>> =
        columns.iter().enumerate().map(|(at, c)| amounts_of(c, at, head)).collect();
    let pair = match (&given.debit, &given.credit) {
        (Some(debit), Some(credit)) => {
            let pair = (position(columns, debit, options)?, position(columns, credit, options)?);
            for at in [pair.0, pair.1] {
                // Believed, also where the column was too sparse to be told.
                if !is_money(&columns[at]) {
                    columns[at].kind = ColumnType::Money;
                    columns[at].decimal = Some(DecimalStyle::Point);
                    values[at] = amounts_of(&columns[at], at, head);
                }
            }
            Some(pair)
        }
        _ => sides(columns, &hints, &values),
    };
    if let Some((debit, credit)) = pair {
        values.push(sign_by_sides(columns, &values, debit, credit));
    } else {
        sign_by_flag(columns, &hints, &mut values, head, options)?;
    }
    let proof = balances(columns, &hints, &values);
    if given.sign == Some(Sign::Flip) {
        let flips = |c: &ColumnProfile| {
            is_money(c) && !matches!(c.role, Some(ColumnRole::Balance | ColumnRole::Debit | ColumnRole::Credit))
        };
        columns.iter_mut().filter(|column| flips(column)).for_each(|column| column.flipped = true);
    }
    Ok(proof)
}

fn is_money(column: &ColumnProfile) -> bool {
    matches!(column.kind, ColumnType::Money | ColumnType::Number)
}

fn position(columns: &[ColumnProfile], name: &str, options: &ReadOptions) -> Result<usize, ReadError> {
    columns.iter().position(|column| column.name == name).ok_or_else(|| ReadError::NoColumn {
        name: options.name.clone(),
        column: name.to_owned(),
        available: columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

/// The amounts of a column in units of `10^-18`, which holds every scale.
fn amounts_of(column: &ColumnProfile, at: usize, head: &dyn HeadRows) -> Vec<Option<i128>> {
    if !is_money(column) {
        return Vec::new();
    }
    let style = column.decimal.unwrap_or(DecimalStyle::Point);
    let value = |row| {
        let parsed = amounts::parse_either(head.cell(row, at), style)?;
        Some(i128::from(parsed.units) * 10_i128.pow(u32::from(amounts::MAX_SCALE - parsed.scale)))
    };
    (0..head.rows()).map(value).collect()
}

/// The columns of what went out and what came in.
fn sides(columns: &[ColumnProfile], hints: &[NameHint], values: &[Vec<Option<i128>>]) -> Option<(usize, usize)> {
    let usable = |at: usize| is_money(&columns[at]) || columns[at].non_empty == 0;
    let all = || (0..columns.len()).filter(|at| usable(*at));
    let named = all().filter(|at| hints[*at].debit).find_map(|debit| {
        let credit = all().find(|at| hints[*at].credit && in_turns(&values[debit], &values[*at], 10))?;
        Some((debit, credit))
    });
    let both = |(a, b): (usize, usize)| is_money(&columns[a]) || is_money(&columns[b]);
    if let Some(pair) = named.filter(|pair| both(*pair)) {
        return Some(pair);
    }
    // Without names, only what is used strictly in turns, both of them.
    let unnamed = |at: &usize| columns[*at].name.starts_with("column ") && is_money(&columns[*at]);
    let used = |at: usize| values[at].iter().flatten().any(|value| *value != 0);
    let mut found =
        all().filter(unnamed).flat_map(|a| all().filter(unnamed).filter(move |b| *b > a).map(move |b| (a, b)));
    let unnamed = found.find(|(a, b)| {
        let filled =
            (0..values[*a].len()).filter(|row| values[*a][*row].is_some() || values[*b][*row].is_some()).count();
        used(*a) && used(*b) && filled >= 4 && filled == values[*a].len() && in_turns(&values[*a], &values[*b], 100)
    });
    unnamed.or_else(|| sides_by_use(columns, hints, values))
}

/// Two columns under names that nobody knows, of which each row uses one and never both: what went out and what came
/// in, when no other column can be the amount. Which is which, the other file says; see `settle`.
fn sides_by_use(columns: &[ColumnProfile], hints: &[NameHint], values: &[Vec<Option<i128>>]) -> Option<(usize, usize)> {
    let count =
        |at: usize, wanted: fn(i128) -> bool| values[at].iter().flatten().filter(|value| wanted(**value)).count();
    let one_sign = |at: usize| {
        let (above, below) = (count(at, |value| value > 0), count(at, |value| value < 0));
        above + below > 0 && above.min(below) == 0
    };
    let money: Vec<usize> = (0..columns.len()).filter(|at| is_money(&columns[*at])).collect();
    let candidates: Vec<usize> = money.iter().copied().filter(|at| !hints[*at].balance && one_sign(*at)).collect();
    let rows = values.iter().map(Vec::len).max().unwrap_or(0);
    let of = |at: usize, row: usize| values[at][row].filter(|value| *value != 0);
    let pairs = candidates.iter().flat_map(|a| candidates.iter().filter(move |b| *b > a).map(move |b| (*a, *b)));
    for (a, b) in pairs {
        let used = (0..rows).filter(|row| of(a, *row).is_some() || of(b, *row).is_some()).count();
        // A line in ten may be an opening balance or a note.
        if used < 4 || used * 10 < rows * 9 || !in_turns(&values[a], &values[b], rows + 1) {
            continue;
        }
        let signed = |row: usize| match (of(a, row), of(b, row)) {
            (None, None) => None,
            (out, came) => Some(came.map_or(0, i128::abs) - out.map_or(0, i128::abs)),
        };
        let signed: Vec<Option<i128>> = (0..rows).map(signed).collect();
        let follows = |at: usize| walk(&signed, &values[at]).is_some();
        // Whatever else is there in every row is the amount, unless it follows from these two.
        let other = |at: &usize| *at != a && *at != b && !hints[*at].balance && !follows(*at);
        if money.iter().filter(|at| other(at)).any(|at| count(*at, |value| value != 0) * 10 >= rows * 9) {
            continue;
        }
        let turned = hints[a].credit || hints[b].debit;
        return Some(if turned { (b, a) } else { (a, b) });
    }
    None
}

/// Whether the names of both columns say what they are.
pub(crate) fn named(debit: &str, credit: &str) -> bool {
    NameHint::of(debit).debit && NameHint::of(credit).credit
}

/// Whether at most one of two columns is used in each row, but for one row in `of`.
fn in_turns(a: &[Option<i128>], b: &[Option<i128>], of: usize) -> bool {
    let used = |value: Option<&Option<i128>>| value.copied().flatten().is_some_and(|value| value != 0);
    let rows = a.len().max(b.len());
    let both = (0..rows).filter(|row| used(a.get(*row)) && used(b.get(*row))).count();
    both * of <= rows
}

fn sign_by_sides(
    columns: &mut Vec<ColumnProfile>,
    values: &[Vec<Option<i128>>],
    debit: usize,
    credit: usize,
) -> Vec<Option<i128>> {
    let below = values[debit].iter().flatten().filter(|value| **value < 0).count();
    let negative = below * 2 > values[debit].iter().flatten().filter(|value| **value != 0).count();
    let rows = values[debit].len().max(values[credit].len());
    let of = |at: usize, row: usize| values[at].get(row).copied().flatten();
    let signed = |row: usize| match (of(debit, row), of(credit, row)) {
        (None, None) => None,
        (out, came) => Some(came.unwrap_or(0) - if negative { -out.unwrap_or(0) } else { out.unwrap_or(0) }),
    };
    let signed: Vec<Option<i128>> = (0..rows).map(signed).collect();
    columns[debit].role = Some(ColumnRole::Debit);
    columns[credit].role = Some(ColumnRole::Credit);
    let taken = |name: &str| columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    let mut name = if taken("amount") { "signed amount".to_owned() } else { "amount".to_owned() };
    let mut copy = 2;
    while taken(&name) {
        name = format!("signed amount ({copy})");
        copy += 1;
    }
    let (out, came) = (&columns[debit], &columns[credit]);
    let signed_by = SignedBy::Columns { debit: out.name.clone(), credit: came.name.clone(), negative };
    let column = ColumnProfile {
        name,
        kind: ColumnType::Money,
        format: DecimalStyle::Point.describe().to_owned(),
        unique: false,
        non_empty: out.non_empty.max(came.non_empty).max(signed.iter().flatten().count() as u64),
        distinct: out.distinct + came.distinct,
        tokens: 2.0,
        samples: out.samples.iter().chain(&came.samples).take(5).cloned().collect(),
        decimal: Some(DecimalStyle::Point),
        date: None,
        date_rivals: Vec::new(),
        decimal_open: false,
        role: Some(ColumnRole::Amount),
        signed_by: Some(signed_by),
        flipped: false,
        minor_digits: None,
        unread: 0,
        sketch: out.sketch.merged(&came.sketch),
    };
    columns.push(column);
    signed
}

fn sign_by_flag(
    columns: &mut [ColumnProfile],
    hints: &[NameHint],
    values: &mut [Vec<Option<i128>>],
    head: &dyn HeadRows,
    options: &ReadOptions,
) -> Result<(), ReadError> {
    let flag = match &options.reading.flag {
        Some(name) => Some(position(columns, name, options)?),
        None => (0..columns.len()).find(|at| is_flag(*at, columns, head)),
    };
    let positive = |at: &usize| {
        is_money(&columns[*at]) && values[*at].iter().flatten().all(|value| *value >= 0) && !hints[*at].balance
    };
    let amounts = || (0..columns.len()).filter(positive);
    let Some(flag) = flag else { return Ok(()) };
    // A balance that never falls below nought is no amount: the amount is what it follows from.
    let follows = |at: &usize| {
        let signed = signed_by(&values[*at], flag, head);
        (0..columns.len()).any(|other| other != *at && walk(&signed, &values[other]).is_some())
    };
    let named = || amounts().find(|at| hints[*at].money);
    let Some(amount) = amounts().find(follows).or_else(named).or_else(|| amounts().next()) else { return Ok(()) };
    columns[flag].role = Some(ColumnRole::Flag);
    columns[amount].signed_by = Some(SignedBy::Flag { column: columns[flag].name.clone() });
    values[amount] = signed_by(&values[amount], flag, head);
    Ok(())
}

/// Amounts with a minus where the flag says that they went out.
fn signed_by(amounts: &[Option<i128>], flag: usize, head: &dyn HeadRows) -> Vec<Option<i128>> {
    let went_out = |row: usize| says_debit(head.cell(row, flag)) == Some(true);
    amounts
        .iter()
        .enumerate()
        .map(|(row, value)| value.map(|value| if went_out(row) { -value } else { value }))
        .collect()
}

/// A column of a few words that all say debit or credit, both of them or under a name that says as much.
fn is_flag(at: usize, columns: &[ColumnProfile], head: &dyn HeadRows) -> bool {
    let column = &columns[at];
    if !matches!(column.kind, ColumnType::Text | ColumnType::Code) || column.distinct > 4 || head.rows() == 0 {
        return false;
    }
    let (mut debits, mut credits) = (0, 0);
    for row in 0..head.rows() {
        match says_debit(head.cell(row, at)) {
            Some(true) => debits += 1,
            Some(false) => credits += 1,
            None => return false,
        }
    }
    debits > 0 && credits > 0
}

/// Whether a flag says that the amount went out; `None` when it says neither.
pub(crate) fn says_debit(cell: &str) -> Option<bool> {
    let cell = cell.trim();
    let mut word = String::new();
    if matches!(cell, "-" | "+") {
        word.push_str(cell);
    } else {
        text::tokens(cell, |token| word.extend(token.chars().filter(|c| c.is_alphabetic())));
    }
    let among = |list: &str| list.split_whitespace().any(|known| known == word);
    if among(DEBIT_WORDS) {
        return Some(true);
    }
    if among(CREDIT_WORDS) {
        return Some(false);
    }
    let hint = NameHint::of(cell);
    (hint.debit != hint.credit).then_some(hint.debit)
}

/// Finds the columns that hold the running balance: by proof, or by name beside another amount.
fn balances(columns: &mut [ColumnProfile], hints: &[NameHint], values: &[Vec<Option<i128>>]) -> Option<BalanceProof> {
    let free = |column: &ColumnProfile| {
        is_money(column) && !matches!(column.role, Some(ColumnRole::Debit | ColumnRole::Credit))
    };
    let money: Vec<usize> = (0..columns.len()).filter(|at| free(&columns[*at])).collect();
    let mut proof: Option<BalanceProof> = None;
    let mut found = Vec::new();
    for balance in &money {
        if columns[*balance].role.is_some() {
            continue;
        }
        let follows = money.iter().filter(|at| *at != balance).filter_map(|at| walk(&values[*at], &values[*balance]));
        if let Some(Walk { holds, breaks, .. }) = follows.max_by_key(|walk| walk.holds) {
            found.push(*balance);
            if proof.is_none() {
                proof = Some(BalanceProof {
                    column: columns[*balance].name.clone(),
                    holds,
                    breaks,
                    first_break: None,
                    gaps: Vec::new(),
                });
            }
        }
    }
    let named = |at: &usize| hints.get(*at).is_some_and(|hint| hint.balance);
    // A file of balances alone has nothing else to compare.
    if money.iter().any(|at| !named(at) && !found.contains(at) && columns[*at].non_empty > 0) {
        found.extend(money.iter().filter(|at| named(at)));
        for at in found {
            columns[at].role = Some(ColumnRole::Balance);
        }
        return proof;
    }
    None
}

/// How a balance follows from the amounts.
pub(crate) struct Walk {
    pub(crate) holds: u64,
    pub(crate) breaks: u64,
    /// The rows before which something is missing, and how much; the first of them when there are very many.
    pub(crate) gaps: Vec<(usize, i128)>,
}

/// Breaks of a balance that are named one by one.
const MAX_GAPS: usize = 1_000;

/// How many balances follow from the one before (or after, in files with the newest first) and the amount; `None`
/// when too few do for it to be a balance.
pub(crate) fn walk(amounts: &[Option<i128>], balances: &[Option<i128>]) -> Option<Walk> {
    let rows: Vec<(usize, i128, i128)> = amounts
        .iter()
        .zip(balances)
        .enumerate()
        .filter_map(|(row, (amount, balance))| Some((row, (*amount)?, (*balance)?)))
        .collect();
    if rows.len() < 4 || rows.iter().filter(|(_, amount, _)| *amount != 0).count() * 2 < rows.len() {
        return None;
    }
    let gap = |pair: &[(usize, i128, i128)], newest_first: bool, sign: i128| {
        let (earlier, later) = if newest_first { (pair[1], pair[0]) } else { (pair[0], pair[1]) };
        later.2 - earlier.2 - later.1 * sign
    };
    let count = |newest, sign| rows.windows(2).filter(|pair| gap(pair, newest, sign) == 0).count() as u64;
    let ways = [(false, 1), (true, 1), (false, -1), (true, -1)];
    let (newest, sign) = ways.into_iter().max_by_key(|(newest, sign)| count(*newest, *sign))?;
    let (holds, pairs) = (count(newest, sign), rows.len() as u64 - 1);
    let broken = rows.windows(2).filter(|pair| gap(pair, newest, sign) != 0);
    let gaps = broken.take(MAX_GAPS).map(|pair| (pair[1].0, gap(pair, newest, sign))).collect();
    (holds * 10 >= pairs * 7).then_some(Walk { holds, breaks: pairs - holds, gaps })
}

/// Puts what was found of the columns into the reading.
pub(crate) fn describe(columns: &[ColumnProfile], reading: &mut Reading) {
    reading.columns.clear();
    for column in columns {
        let plain = matches!(column.kind, ColumnType::Text | ColumnType::Code);
        if plain && column.role.is_none() && column.unread == 0 {
            continue;
        }
        let runner_up = match (column.date, column.date_rivals.first(), column.decimal) {
            (Some(_), Some(rival), _) => Some(rival.describe().to_owned()),
            (None, _, Some(style)) if column.decimal_open => Some(style.other().describe().to_owned()),
            _ => None,
        };
        if plain && column.unread > 0 {
            let what = if NameHint::of(&column.name).date { "dates" } else { "amounts" };
            reading.warnings.push(format!(
                "column {:?} looks like {what} and {} of {} values cannot be read (first: {:?}); it is read as text",
                column.name,
                column.unread,
                column.non_empty,
                column.samples.first().map_or("", String::as_str)
            ));
        }
        reading.columns.push(ColumnReading {
            name: column.name.clone(),
            kind: column.kind,
            style: if plain { "text".to_owned() } else { column.format.clone() },
            role: column.role,
            runner_up,
            decided_by: None,
            flipped: column.flipped,
            minor_digits: column.minor_digits,
            unread: if plain { column.unread } else { 0 },
        });
    }
    let empty = columns.iter().filter(|column| column.non_empty == 0 && !is_missing(&column.name)).count();
    if empty > 0 && empty == columns.len() && reading.format == "csv" && !columns.is_empty() {
        reading.warnings.push("no row has a value".to_owned());
    }
}
