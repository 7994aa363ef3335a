//! Date text to days since 1970-01-01 and back, in the styles bank and ledger files use.
//!
//! Day-first and month-first look alike in most rows; the style is sniffed over the whole column and a value
//! that does not fit it is a bad value, never reinterpreted alone.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a column writes its dates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DateStyle {
    /// `2024-10-17`, `2024/10/17`, also followed by a time.
    YearMonthDay,
    /// `17.10.2024`, `17/10/24`
    DayMonthYear,
    /// `10/17/2024`
    MonthDayYear,
    /// `17 Oct 2024`, `17-Oct-24`
    DayNameYear,
    /// `Oct 17, 2024`
    NameDayYear,
    /// `20241017`
    Compact,
}

impl DateStyle {
    /// Every style, in the order of preference when several fit.
    pub const ALL: [Self; 6] = [
        Self::YearMonthDay,
        Self::DayMonthYear,
        Self::MonthDayYear,
        Self::DayNameYear,
        Self::NameDayYear,
        Self::Compact,
    ];

    /// The style in words for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::YearMonthDay => "yyyy-mm-dd",
            Self::DayMonthYear => "dd/mm/yyyy",
            Self::MonthDayYear => "mm/dd/yyyy",
            Self::DayNameYear => "dd Mon yyyy",
            Self::NameDayYear => "Mon dd, yyyy",
            Self::Compact => "yyyymmdd",
        }
    }
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Parses one date in the given style to days since 1970-01-01.
pub fn parse(text: &str, style: DateStyle) -> Option<i32> {
    let text = text.trim();
    if style == DateStyle::Compact {
        if text.len() != 8 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number = |range: std::ops::Range<usize>| text[range].parse::<i32>().ok();
        return days_from_civil(number(0..4)?, number(4..6)?, number(6..8)?);
    }
    let named = matches!(style, DateStyle::DayNameYear | DateStyle::NameDayYear);
    let date = match text.find(['T', 't']) {
        Some(at) if !named && at >= 8 => &text[..at],
        _ if !named => text.split(' ').next().unwrap_or(text),
        _ => text,
    };
    let mut parts = date.split(['-', '/', '.', ' ', ',']).filter(|part| !part.is_empty());
    let (a, b, c) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (year, month, day) = match style {
        DateStyle::YearMonthDay => (a, b, c),
        DateStyle::DayMonthYear | DateStyle::DayNameYear => (c, b, a),
        DateStyle::MonthDayYear | DateStyle::NameDayYear => (c, a, b),
        DateStyle::Compact => return None,
    };
    let month = if named { month_by_name(month)? } else { small(month)? };
    days_from_civil(year_of(year, style)?, month, small(day)?)
}

fn small(text: &str) -> Option<i32> {
    (text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn year_of(text: &str, style: DateStyle) -> Option<i32> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let year: i32 = text.parse().ok()?;
    match text.len() {
        4 => Some(year),
        // Two-digit years only at the end, where they cannot be a day; 70..99 are of the last century.
        2 if style != DateStyle::YearMonthDay => Some(if year < 70 { 2000 + year } else { 1900 + year }),
        _ => None,
    }
}

fn month_by_name(text: &str) -> Option<i32> {
    let lower = text.get(..3)?.to_ascii_lowercase();
    let at = MONTHS.iter().position(|name| *name == lower)?;
    Some(i32::try_from(at).ok()? + 1)
}

/// Days since 1970-01-01 of a proleptic Gregorian date (the era algorithm of H. Hinnant).
pub fn days_from_civil(year: i32, month: i32, day: i32) -> Option<i32> {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let last = match month {
        2 => 28 + i32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=last).contains(&day) || !(1..=9999).contains(&year) {
        return None;
    }
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y - era * 400;
    let doy = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    Some(era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468)
}

/// The style that parses most of the values, and how many it parses.
pub fn sniff_style<'a>(values: impl Iterator<Item = &'a str> + Clone) -> (DateStyle, usize) {
    let mut best = (DateStyle::YearMonthDay, 0);
    for style in DateStyle::ALL {
        let fits = values.clone().filter(|value| parse(value, style).is_some()).count();
        if fits > best.1 {
            best = (style, fits);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_every_style_become_the_same_day() {
        let day = days_from_civil(2024, 10, 17);
        assert_eq!(day, Some(20_013));
        for (text, style) in [
            ("2024-10-17", DateStyle::YearMonthDay),
            ("2024-10-17T08:15:00Z", DateStyle::YearMonthDay),
            ("2024/10/17 08:15", DateStyle::YearMonthDay),
            ("17.10.2024", DateStyle::DayMonthYear),
            ("17/10/24", DateStyle::DayMonthYear),
            ("10/17/2024", DateStyle::MonthDayYear),
            ("17-Oct-2024", DateStyle::DayNameYear),
            ("October 17, 2024", DateStyle::NameDayYear),
            ("20241017", DateStyle::Compact),
        ] {
            assert_eq!(parse(text, style), day, "{text}");
        }
        for bad in ["2024-13-01", "2023-02-29", "2024-02-30", "soon", "2024-1", ""] {
            assert_eq!(parse(bad, DateStyle::YearMonthDay), None, "{bad:?} must not parse");
        }
    }

    #[test]
    fn one_impossible_month_decides_between_day_first_and_month_first() {
        assert_eq!(sniff_style(["01/02/2024", "13/02/2024"].into_iter()).0, DateStyle::DayMonthYear);
        assert_eq!(sniff_style(["01/02/2024", "02/13/2024"].into_iter()).0, DateStyle::MonthDayYear);
    }
}
