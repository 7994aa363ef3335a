//! What one file cannot decide, the other does: order of dates, decimal style, minor units, sign.
//!
//! Each open choice is tried against the other side (do the amounts meet, do the days of rows with equal amounts lie
//! together), and the reading that explains more wins when it wins clearly; else it is undecided, and said. Easy to
//! get wrong: two files with the same open choice are the same in either reading, which is no doubt at all.
use super::amounts::{DecimalStyle, MAX_SCALE};
use super::dates::DateStyle;
use super::signs::{flags, sides, signs};
use crate::control::{Cancelled, Control, Meter, Phase};
use crate::rules::{CompareKind, RuleSet};
use crate::table::{Column, ColumnRole, ColumnType, NO_AMOUNT, NO_DATE, Table, Typed};
use rustc_hash::FxHashMap;

/// Rows whose amounts must meet before they decide anything.
pub(super) const LEAST_TIES: usize = 3;
/// Days by which one order must lie nearer than another, in the mean.
const CLEARLY_NEARER: f64 = 2.0;
/// Differences above this are all the same: far.
const FAR_DAYS: i32 = 60;

/// Settles what is open in both tables; call it before rules are inferred or run. Columns that rules pair are tried
/// with their partner only.
///
/// # Errors
/// The [`Control`] said stop; the tables are of no use then.
pub fn settle(
    left: &mut Table,
    right: &mut Table,
    rules: Option<&RuleSet>,
    control: &dyn Control,
) -> Result<(), Cancelled> {
    let meter = Meter::start(control, Phase::Indexing, 0, 0)?;
    if rules.is_none() {
        whole_amounts(left, right);
    }
    let pairs = Pairs::new(left, right, rules);
    for (l, r) in &pairs.amounts {
        meter.check()?;
        decimals(left, *l, right, *r);
    }
    meter.check()?;
    // Both ways: either side may be the one in minor units.
    minor_units(left, right, &pairs.amounts, false);
    meter.check()?;
    minor_units(right, left, &pairs.amounts, true);
    for (l, r) in &pairs.amounts {
        meter.check()?;
        flags(left, *l, right, *r);
        meter.check()?;
        flags(right, *r, left, *l);
        meter.check()?;
        sides(left, *l, right, *r);
        sides(right, *r, left, *l);
    }
    meter.check()?;
    signs(left, right, &pairs.amounts);
    meter.check()?;
    let ties = ties(left, right, &pairs.amounts);
    meter.check()?;
    dates(left, right, &pairs, &ties);
    doubts(left, right);
    meter.check()
}

/// Columns that may be compared.
struct Pairs {
    amounts: Vec<(usize, usize)>,
    dates: Vec<(usize, usize)>,
}

impl Pairs {
    fn new(left: &Table, right: &Table, rules: Option<&RuleSet>) -> Self {
        if let Some(rules) = rules {
            let of = |kind: CompareKind| {
                let found = rules.compare.iter().filter(|compare| compare.kind == kind);
                found.filter_map(|c| Some((left.column_index(&c.left)?, right.column_index(&c.right)?))).collect()
            };
            return Self { amounts: of(CompareKind::Tolerance), dates: of(CompareKind::Window) };
        }
        let amounts = |table: &Table| -> Vec<usize> {
            let fits = |at: &usize| {
                let profile = &table.columns[*at].profile;
                matches!(table.columns[*at].typed, Typed::Money { .. })
                    && matches!(profile.role, None | Some(ColumnRole::Amount))
            };
            (0..table.columns.len()).filter(fits).collect()
        };
        let dates = |table: &Table| -> Vec<usize> {
            (0..table.columns.len()).filter(|at| matches!(table.columns[*at].typed, Typed::Date(_))).collect()
        };
        let cross = |a: Vec<usize>, b: Vec<usize>| a.iter().flat_map(|l| b.iter().map(|r| (*l, *r))).collect();
        Self { amounts: cross(amounts(left), amounts(right)), dates: cross(dates(left), dates(right)) }
    }
}

/// Whole amounts under names that say nothing look like numbers of documents. Where a file has no other amounts, the
/// column that holds the other side's amounts is one; where neither file has any, the two that hold the same figures
/// of very different lengths are.
fn whole_amounts(left: &mut Table, right: &mut Table) {
    let is_amount = |column: &Column| {
        matches!(column.typed, Typed::Money { .. }) && column.profile.role != Some(ColumnRole::Balance)
    };
    let amounts = |table: &Table| (0..table.columns.len()).filter(|at| is_amount(&table.columns[*at])).collect();
    let (ours, theirs): (Vec<usize>, Vec<usize>) = (amounts(left), amounts(right));
    match (ours.as_slice(), theirs.as_slice()) {
        ([], []) => {
            let spread = |figures: &[u128]| {
                let lengths = || figures.iter().map(|value| value.checked_ilog10().unwrap_or(0));
                lengths().max().unwrap_or(0) >= lengths().min().unwrap_or(0) + 2
            };
            let columns = |table: &Table| -> Vec<(usize, Vec<u128>)> {
                let all = (0..table.columns.len()).filter_map(|at| Some((at, table.figures_in(at)?)));
                all.filter(|(_, figures)| spread(figures)).collect()
            };
            let (mine, others) = (columns(left), columns(right));
            let pairs = mine.iter().flat_map(|l| others.iter().map(move |r| (meeting(&l.1, &r.1), l, r)));
            let best = pairs.max_by_key(|(met, _, _)| *met);
            if let Some((_, l, r)) = best.filter(|(met, l, r)| clearly(*met, 0, l.1.len().min(r.1.len()))) {
                left.make_amounts(l.0);
                right.make_amounts(r.0);
            }
        }
        ([], known) => whole_amounts_of(left, right, known),
        (known, []) => whole_amounts_of(right, left, known),
        _ => {}
    }
}

fn whole_amounts_of(own: &mut Table, other: &Table, known: &[usize]) {
    let theirs: Vec<Vec<u128>> = known.iter().map(|at| values(other, *at)).collect();
    let met = |at: usize| {
        let figures = own.figures_in(at)?;
        let met = theirs.iter().map(|theirs| (meeting(&figures, theirs), figures.len().min(theirs.len()))).max()?;
        clearly(met.0, 0, met.1).then_some((met.0, at))
    };
    if let Some((_, at)) = (0..own.columns.len()).filter_map(met).max_by_key(|(met, at)| (*met, std::cmp::Reverse(*at)))
    {
        own.make_amounts(at);
    }
}

/// The amounts of a column in units of `10^-18`, without sign; rows without one are left out.
pub(super) fn magnitudes(table: &Table, column: usize) -> Vec<(u128, bool, usize)> {
    let Typed::Money { units, scale } = &table.columns[column].typed else { return Vec::new() };
    let factor = 10_u128.pow(u32::from(MAX_SCALE - *scale));
    let filled = units.iter().enumerate().filter(|(_, value)| **value != NO_AMOUNT && **value != 0);
    filled.map(|(row, value)| (u128::from(value.unsigned_abs()) * factor, *value < 0, row)).collect()
}

/// How many values of one list the other has, each as often as it is there.
fn meeting(a: &[u128], b: &[u128]) -> usize {
    let mut counts: FxHashMap<u128, usize> = FxHashMap::default();
    b.iter().for_each(|value| *counts.entry(*value).or_default() += 1);
    let mut met = 0;
    for value in a {
        if let Some(count) = counts.get_mut(value).filter(|count| **count > 0) {
            *count -= 1;
            met += 1;
        }
    }
    met
}

fn values(table: &Table, column: usize) -> Vec<u128> {
    magnitudes(table, column).into_iter().map(|(value, _, _)| value).collect()
}

/// Enough values of the smaller side meet, and clearly more than in the other reading.
fn clearly(best: usize, other: usize, smaller: usize) -> bool {
    best >= LEAST_TIES.min(smaller.max(1)) && best * 10 >= smaller * 3 && best > 2 * other
}

/// `1.234`: whole thousands, or a value with three decimals.
fn decimals(left: &mut Table, l: usize, right: &mut Table, r: usize) {
    let (open_left, open_right) = (left.columns[l].profile.decimal_open, right.columns[r].profile.decimal_open);
    if open_left && open_right {
        // The same choice on both sides: equal stays equal in either reading.
        if meeting(&values(left, l), &values(right, r)) >= LEAST_TIES {
            left.decided(l, "both files write alike");
            right.decided(r, "both files write alike");
        }
        return;
    }
    decimal_style(left, l, right, r);
    decimal_style(right, r, left, l);
}

fn decimal_style(own: &mut Table, at: usize, other: &Table, partner: usize) {
    let profile = &own.columns[at].profile;
    let Some(style) = profile.decimal.filter(|_| profile.decimal_open).map(DecimalStyle::other) else { return };
    let theirs = values(other, partner);
    let now = meeting(&values(own, at), &theirs);
    let Some(turned) = own.amounts_in(at, style) else { return };
    let turned_values = turned.magnitudes();
    let then = meeting(&turned_values, &theirs);
    let smaller = turned_values.len().min(theirs.len());
    if clearly(then, now, smaller) {
        own.retype_amounts(at, style, turned);
        own.decided(at, "the other file");
    } else if clearly(now, then, smaller) {
        own.decided(at, "the other file");
    }
}

/// Whole numbers that are cents of the other side's amounts.
fn minor_units(own: &mut Table, other: &Table, pairs: &[(usize, usize)], swapped: bool) {
    for (l, r) in pairs {
        let (at, partner) = if swapped { (*r, *l) } else { (*l, *r) };
        let whole = |table: &Table, at: usize| match &table.columns[at].typed {
            Typed::Money { units, scale } => {
                let one = 10_i64.pow(u32::from((*scale).min(18)));
                units.iter().all(|value| *value == NO_AMOUNT || value % one == 0)
            }
            _ => false,
        };
        if own.columns[at].profile.minor_digits.is_some() || own.options_scale || !whole(own, at) {
            continue;
        }
        let (mine, theirs) = (values(own, at), values(other, partner));
        let now = meeting(&mine, &theirs);
        for digits in [2_u8, 3] {
            let divided: Vec<u128> = mine.iter().map(|value| value / 10_u128.pow(u32::from(digits))).collect();
            if clearly(meeting(&divided, &theirs), now, mine.len().min(theirs.len())) {
                own.divide(at, digits);
                own.decided(at, "the other file");
                break;
            }
        }
    }
}

/// Rows with an amount that both sides have once.
fn ties(left: &Table, right: &Table, pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut best: Vec<(usize, usize)> = Vec::new();
    for (l, r) in pairs {
        let once = |list: Vec<(u128, bool, usize)>| {
            let mut rows: FxHashMap<u128, Option<usize>> = FxHashMap::default();
            for (value, _, row) in list {
                rows.entry(value).and_modify(|row| *row = None).or_insert(Some(row));
            }
            rows
        };
        let theirs = once(magnitudes(right, *r));
        let mine = once(magnitudes(left, *l)).into_iter();
        let mut tied: Vec<(usize, usize)> =
            mine.filter_map(|(value, row)| Some((row?, (*theirs.get(&value)?)?))).collect();
        if tied.len() > best.len() {
            tied.sort_unstable();
            best = tied;
        }
    }
    best
}

/// How far the days lie apart: of tied rows where there are some, else from the range of the other side.
fn distance(a: &[i32], b: &[i32], ties: &[(usize, usize)]) -> Option<f64> {
    let apart: Vec<i32> = ties
        .iter()
        .map(|(l, r)| (a[*l], b[*r]))
        .filter(|(x, y)| *x != NO_DATE && *y != NO_DATE)
        .map(|(x, y)| (x - y).abs().min(FAR_DAYS))
        .collect();
    let mean = |all: &[i32]| all.iter().map(|days| f64::from(*days)).sum::<f64>() / all.len() as f64;
    if apart.len() >= LEAST_TIES {
        return Some(mean(&apart));
    }
    let range = |days: &[i32]| {
        let filled = || days.iter().copied().filter(|day| *day != NO_DATE);
        Some((filled().min()?, filled().max()?))
    };
    let ((low_a, high_a), (low_b, high_b)) = (range(a)?, range(b)?);
    let outside = |days: &[i32], low: i32, high: i32| {
        let far: Vec<i32> = days
            .iter()
            .filter(|day| **day != NO_DATE)
            .map(|day| (low - day).max(day - high).clamp(0, FAR_DAYS))
            .collect();
        mean(&far)
    };
    Some(outside(a, low_b, high_b).max(outside(b, low_a, high_a)))
}

fn dates(left: &mut Table, right: &mut Table, pairs: &Pairs, ties: &[(usize, usize)]) {
    let open = |table: &Table, at: usize| !table.columns[at].profile.date_rivals.is_empty();
    let columns = |side: usize| {
        let mut all: Vec<usize> = pairs.dates.iter().map(|pair| if side == 0 { pair.0 } else { pair.1 }).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    for side in [0, 1] {
        for at in columns(side) {
            let table = if side == 0 { &*left } else { &*right };
            if !open(table, at) {
                continue;
            }
            let partners = pairs.dates.iter().filter(|pair| if side == 0 { pair.0 == at } else { pair.1 == at });
            let partners: Vec<usize> = partners.map(|pair| if side == 0 { pair.1 } else { pair.0 }).collect();
            if side == 0 {
                date_order(left, at, right, &partners, ties);
            } else {
                let turned: Vec<(usize, usize)> = ties.iter().map(|(l, r)| (*r, *l)).collect();
                date_order(right, at, left, &partners, &turned);
            }
        }
    }
}

/// How far the days lie apart in an order of one column, and the order of the partner where that is open, too.
type Order = (f64, DateStyle, Option<(usize, DateStyle)>);

/// Tries the orders of one column against the columns of the other side.
fn date_order(own: &mut Table, at: usize, other: &mut Table, partners: &[usize], ties: &[(usize, usize)]) {
    let profile = &own.columns[at].profile;
    let Some(current) = profile.date else { return };
    let mut styles: Vec<DateStyle> = vec![current];
    styles.extend(&profile.date_rivals);
    // The nearest distance of each order, with the order of the partner that gives it.
    let mut found: Vec<Order> = Vec::new();
    for style in &styles {
        let Some(days) = own.dates_in(at, *style) else { continue };
        for partner in partners {
            let theirs = &other.columns[*partner].profile;
            let Some(their_style) = theirs.date else { continue };
            let mut their_styles = vec![their_style];
            their_styles.extend(&theirs.date_rivals);
            for their_style in their_styles {
                let Some(their_days) = other.dates_in(*partner, their_style) else { continue };
                if let Some(far) = distance(&days, &their_days, ties) {
                    let partner = (!theirs.date_rivals.is_empty()).then_some((*partner, their_style));
                    found.push((far, *style, partner));
                }
            }
        }
    }
    // Stable: of equal distances the order that the column itself suggests first.
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    let Some(best) = found.first().copied() else { return };
    let rival = found.iter().find(|(_, style, _)| *style != best.1).copied();
    let clear = rival.is_none_or(|rival| rival.0 - best.0 >= CLEARLY_NEARER);
    let same = rival.is_some_and(|rival| rival.0 == best.0 && best.0 == 0.0);
    if clear || same {
        let by = if same && !clear { "it makes no difference" } else { "the other file" };
        own.retype_dates(at, best.1);
        own.decided(at, by);
        if let Some((partner, style)) = best.2 {
            other.retype_dates(partner, style);
            other.decided(partner, by);
        }
    }
}

/// Says what stayed open where it matters.
fn doubts(left: &mut Table, right: &mut Table) {
    let has = |table: &Table, date: bool| {
        table
            .columns
            .iter()
            .any(|c| if date { c.profile.kind == ColumnType::Date } else { matches!(c.typed, Typed::Money { .. }) })
    };
    let (dates, amounts) = (has(left, true) && has(right, true), has(left, false) && has(right, false));
    for table in [left, right] {
        for at in 0..table.columns.len() {
            let profile = &table.columns[at].profile;
            let name = &profile.name;
            if dates && let (Some(style), Some(rival)) = (profile.date, profile.date_rivals.first()) {
                let text = format!(
                    "{}: column {name:?} may be {} or {}, and neither file decides; say date = \"dmy\" or \"mdy\"",
                    table.name,
                    style.describe(),
                    rival.describe()
                );
                table.doubt(text);
            } else if amounts
                && profile.decimal_open
                && let Some(style) = profile.decimal
            {
                let text = format!(
                    "{}: column {name:?} may be {} or {}, and neither file decides; say decimal = \".\" or \",\"",
                    table.name,
                    style.describe(),
                    style.other().describe()
                );
                table.doubt(text);
            }
        }
    }
}
