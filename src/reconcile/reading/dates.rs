//! Date text to days since 1970-01-01, in the styles bank and ledger files use.
//!
//! Day-first and month-first look alike in most rows; the style is told from the whole column (and, where that does
//! not decide, from the other file). Only a value that can be read in one way, with a month's name or with the year in
//! front, is read whatever the style. Easy to get wrong: the time behind a date, of which nothing is kept.
use super::{digits, months};
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
    /// `24/10/17`: the year in front with two digits.
    ShortYearFirst,
    /// `17102024`
    CompactDayFirst,
    /// `10172024`
    CompactMonthFirst,
    /// `241017`, as SWIFT statements write it.
    CompactShort,
    /// `45582`: days since 1899-12-30, as spreadsheets count them.
    Serial,
    /// `1729123200`: seconds since 1970.
    Epoch,
    /// `1729123200000`: milliseconds since 1970.
    EpochMillis,
}

impl DateStyle {
    /// Every style, in the order of preference when several fit.
    pub const ALL: [Self; 13] = [
        Self::YearMonthDay,
        Self::DayMonthYear,
        Self::MonthDayYear,
        Self::DayNameYear,
        Self::NameDayYear,
        Self::Compact,
        Self::ShortYearFirst,
        Self::CompactDayFirst,
        Self::CompactMonthFirst,
        Self::CompactShort,
        Self::Serial,
        Self::Epoch,
        Self::EpochMillis,
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
            Self::ShortYearFirst => "yy/mm/dd",
            Self::CompactDayFirst => "ddmmyyyy",
            Self::CompactMonthFirst => "mmddyyyy",
            Self::CompactShort => "yymmdd",
            Self::Serial => "spreadsheet day number",
            Self::Epoch => "seconds since 1970",
            Self::EpochMillis => "milliseconds since 1970",
        }
    }

    /// Digits alone, which are a date only when something else says so.
    pub(crate) fn is_number(self) -> bool {
        self.is_compact() || matches!(self, Self::Serial | Self::Epoch | Self::EpochMillis)
    }

    /// Year, month and day without anything between them.
    pub(crate) fn is_compact(self) -> bool {
        matches!(self, Self::Compact | Self::CompactDayFirst | Self::CompactMonthFirst | Self::CompactShort)
    }
}

/// What a text says before its style decides.
enum Parts {
    /// Year, month and day, whatever the style.
    Clear(i32, i32, i32, DateStyle),
    /// Three numbers of at most two digits in front, and the length of the last.
    Open(i32, i32, i32, bool),
    /// Digits alone.
    Number(i64, usize),
}

/// Parses one date in the given style to days since 1970-01-01.
pub(crate) fn parse(text: &str, style: DateStyle) -> Option<i32> {
    if let Some((year, month, day)) = plain(text) {
        return days_from_civil(year, month, day);
    }
    match parts(&digits::western(text))? {
        Parts::Clear(year, month, day, _) => days_from_civil(year, month, day),
        Parts::Open(a, b, c, four) => open(a, b, c, four, style),
        Parts::Number(value, length) => number(value, length, style),
    }
}

/// Which styles read a value, one bit each in the order of [`DateStyle::ALL`].
pub(crate) fn fits(text: &str) -> u16 {
    if let Some((year, month, day)) = plain(text) {
        // The first bit is that of the year in front.
        return u16::from(days_from_civil(year, month, day).is_some());
    }
    fits_any(text)
}

/// The quick way for `2024-10-17`; `None` for everything else.
fn plain(text: &str) -> Option<(i32, i32, i32)> {
    let bytes: &[u8; 10] = text.as_bytes().try_into().ok()?;
    let number = |at: std::ops::Range<usize>| {
        bytes[at].iter().try_fold(0_i32, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i32::from(byte - b'0')))
    };
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    Some((number(0..4)?, number(5..7)?, number(8..10)?))
}

fn fits_any(text: &str) -> u16 {
    let Some(parts) = parts(&digits::western(text)) else { return 0 };
    let fits = |style: DateStyle| match &parts {
        Parts::Clear(year, month, day, own) => *own == style && days_from_civil(*year, *month, *day).is_some(),
        Parts::Open(a, b, c, four) => open(*a, *b, *c, *four, style).is_some(),
        Parts::Number(value, length) => number(*value, *length, style).is_some(),
    };
    DateStyle::ALL.iter().enumerate().fold(0, |mask, (at, style)| mask | u16::from(fits(*style)) << at)
}

/// The year that two digits stand for.
fn century(year: i32) -> i32 {
    if year < 70 { 2000 + year } else { 1900 + year }
}

fn open(a: i32, b: i32, c: i32, four: bool, style: DateStyle) -> Option<i32> {
    let last = if four { c } else { century(c) };
    match style {
        DateStyle::DayMonthYear => days_from_civil(last, b, a),
        DateStyle::MonthDayYear => days_from_civil(last, a, b),
        DateStyle::ShortYearFirst if !four => days_from_civil(century(a), b, c),
        _ => None,
    }
}

fn number(value: i64, length: usize, style: DateStyle) -> Option<i32> {
    let small = |value: i64| i32::try_from(value).ok();
    match (style, length) {
        (DateStyle::Compact, 8) => {
            days_from_civil(small(value / 10_000)?, small(value / 100 % 100)?, small(value % 100)?)
        }
        (DateStyle::CompactDayFirst, 8) => {
            days_from_civil(small(value % 10_000)?, small(value / 10_000 % 100)?, small(value / 1_000_000)?)
        }
        (DateStyle::CompactMonthFirst, 8) => {
            days_from_civil(small(value % 10_000)?, small(value / 1_000_000)?, small(value / 10_000 % 100)?)
        }
        (DateStyle::CompactShort, 6) => {
            days_from_civil(century(small(value / 10_000)?), small(value / 100 % 100)?, small(value % 100)?)
        }
        // 1954 to 2119; the day before 1900-03-01 that spreadsheets miscount is far away.
        (DateStyle::Serial, 5) if (20_000..80_000).contains(&value) => small(value - 25_569),
        (DateStyle::Epoch, 9 | 10) => small(value / 86_400),
        (DateStyle::EpochMillis, 12 | 13) => small(value / 86_400_000),
        _ => None,
    }
}

/// A run of digits or of letters.
#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    digits: bool,
    end: usize,
}

fn next_word(text: &str, from: usize) -> Option<Word<'_>> {
    let start = from + text[from..].find(char::is_alphanumeric)?;
    let digits = text[start..].starts_with(|c: char| c.is_ascii_digit());
    let of_kind = |c: char| if digits { c.is_ascii_digit() } else { c.is_alphabetic() };
    let end = text[start..].find(|c| !of_kind(c)).map_or(text.len(), |at| start + at);
    // Anything else alphanumeric (digits of other scripts) is a word of its own, of which nothing is known.
    let end = end.max(start + text[start..].chars().next().map_or(1, char::len_utf8));
    Some(Word { text: &text[start..end], digits, end })
}

fn parts(text: &str) -> Option<Parts> {
    let text = text.trim();
    if text.len() > 64 || !text.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    if text.starts_with(['-', '+', '(']) {
        return None;
    }
    let (mut found, mut month, mut at) = ([(0_i32, 0_usize); 3], None, 0);
    let mut count = 0;
    while count < 3 {
        let word = next_word(text, at)?;
        let gap = text[at..word.end - word.text.len()].trim();
        if !gap.chars().all(|c| matches!(c, '-' | '/' | '.' | ',' | ' ' | '\u{a0}' | '年' | '月' | '日' | '\''))
            || gap.len() > 3
        {
            return None;
        }
        at = word.end;
        if word.digits {
            let rest = &text[at..];
            if count == 0 && (rest.is_empty() || ends_date(rest) || word.text.len() >= 12) && word.text.len() >= 5 {
                return alone(word.text, rest);
            }
            if rest.starts_with(':') || word.text.len() > 4 {
                return None;
            }
            found[count] = (word.text.parse().ok()?, word.text.len());
            count += 1;
        } else if let Some(named) =
            months::month(word.text).filter(|_| month.is_none() && !(count == 0 && is_day_name(text, word)))
        {
            month = Some(count);
            found[count] = (named, 0);
            count += 1;
        } else if !(count == 0 && months::is_weekday(word.text) || is_filler(word.text)) {
            return None;
        }
    }
    if !is_time(&text[at..]) {
        return None;
    }
    let [(a, a_len), (b, b_len), (c, c_len)] = found;
    let century = |year: i32, length: usize| match length {
        4 => Some(year),
        2 => Some(century(year)),
        _ => None,
    };
    match month {
        Some(0) => Some(Parts::Clear(century(c, c_len)?, a, b, DateStyle::NameDayYear)),
        Some(1) if a_len == 4 => Some(Parts::Clear(a, b, c, DateStyle::DayNameYear)),
        Some(1) => Some(Parts::Clear(century(c, c_len)?, b, a, DateStyle::DayNameYear)),
        Some(_) => None,
        None if a_len == 4 && b_len <= 2 && c_len <= 2 => Some(Parts::Clear(a, b, c, DateStyle::YearMonthDay)),
        None if a_len <= 2 && b_len <= 2 && (c_len == 4 || c_len == 2) => Some(Parts::Open(a, b, c, c_len == 4)),
        None => None,
    }
}

/// `mar 5 March 2026` (Tuesday in Spanish): a word that is both is a weekday when a month follows.
fn is_day_name(text: &str, word: Word<'_>) -> bool {
    if !months::is_weekday(word.text) {
        return false;
    }
    let mut at = word.end;
    let mut numbers = 0;
    while let Some(next) = next_word(text, at) {
        if !next.digits && months::month(next.text).is_some() {
            return true;
        }
        numbers += usize::from(next.digits);
        if numbers == 3 && !text[..word.end].contains(':') {
            // Three numbers behind it are a date of their own: `mar 03/05/2026`.
            return !text[word.end..next.end].contains(':') && next.text.len() != 2;
        }
        at = next.end;
    }
    false
}

/// Digits alone, and perhaps the time behind them.
fn alone(digits: &str, rest: &str) -> Option<Parts> {
    if !is_time(rest) && !rest.strip_prefix('.').is_some_and(|fraction| fraction.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    if digits.len() == 14 && digits.starts_with(['1', '2']) {
        return Some(Parts::Number(digits[..8].parse().ok()?, 8));
    }
    Some(Parts::Number(digits.parse().ok()?, digits.len()))
}

fn ends_date(rest: &str) -> bool {
    rest.starts_with(['T', 't', ' ', '.', '[']) && !rest.starts_with(". ")
}

/// Words between the parts of a date in some languages: `5th of March`, `5 de marzo de 2026`.
fn is_filler(word: &str) -> bool {
    const WORDS: [&str; 13] = ["st", "nd", "rd", "th", "of", "de", "del", "di", "er", "den", "d", "the", "do"];
    WORDS.iter().any(|filler| word.eq_ignore_ascii_case(filler)) || matches!(word, "年" | "月" | "日")
}

/// What may follow a date: nothing, a dot, a time of day, a zone.
fn is_time(rest: &str) -> bool {
    let rest = rest.trim_matches(|c: char| matches!(c, '.' | ',' | ' ' | '日' | '\u{a0}' | '/'));
    if rest.is_empty() {
        return true;
    }
    let behind_t = rest.starts_with(['T', 't']) && rest[1..].starts_with(|c: char| c.is_ascii_digit());
    if !rest.contains(':') && !behind_t && !rest.starts_with('[') {
        return matches!(rest, "г" | "г." | "Z");
    }
    let mut words = rest.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    words.all(|word| {
        const ZONES: [&str; 14] = ["t", "z", "am", "pm", "a", "p", "m", "utc", "gmt", "cet", "cest", "uhr", "h", "est"];
        ZONES.iter().any(|zone| word.eq_ignore_ascii_case(zone)) || rest.starts_with('[')
    })
}

/// Days since 1970-01-01 of a proleptic Gregorian date (the era algorithm of H. Hinnant).
pub(crate) fn days_from_civil(year: i32, month: i32, day: i32) -> Option<i32> {
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
pub(crate) fn sniff_style<'a>(values: impl Iterator<Item = &'a str>) -> (DateStyle, usize) {
    let mut tally = DateTally::default();
    values.for_each(|value| tally.see(fits(value)));
    tally.best()
}

/// How many values each style reads.
#[derive(Clone, Default, Debug)]
pub(crate) struct DateTally {
    counts: [u64; DateStyle::ALL.len()],
}

impl DateTally {
    pub(crate) fn see(&mut self, fits: u16) {
        if fits != 0 {
            for (at, count) in self.counts.iter_mut().enumerate() {
                *count += u64::from(fits >> at & 1);
            }
        }
    }

    pub(crate) fn of(&self, style: DateStyle) -> u64 {
        DateStyle::ALL.iter().position(|other| *other == style).map_or(0, |at| self.counts[at])
    }

    /// The style to read the column in, and how many of its values can then be read: those that are clear whatever
    /// the style count for each.
    pub(crate) fn best(&self) -> (DateStyle, usize) {
        let mut best = (DateStyle::YearMonthDay, 0);
        for style in DateStyle::ALL {
            let all = self.readable(style);
            if self.of(style) > 0 && all > best.1 {
                best = (style, all);
            }
        }
        (best.0, usize::try_from(best.1).unwrap_or(usize::MAX))
    }

    /// How many values can be read when the column is read in this style.
    pub(crate) fn readable(&self, style: DateStyle) -> u64 {
        let clear = [DateStyle::YearMonthDay, DateStyle::DayNameYear, DateStyle::NameDayYear];
        let others: u64 = clear.iter().filter(|other| **other != style).map(|other| self.of(*other)).sum();
        self.of(style) + others
    }

    /// Styles that read as much as the best one does, when which one it is cannot be told from this column.
    pub(crate) fn rivals(&self, best: DateStyle) -> Vec<DateStyle> {
        let orders: [&[DateStyle]; 2] = [
            &[DateStyle::DayMonthYear, DateStyle::MonthDayYear, DateStyle::ShortYearFirst],
            &[DateStyle::CompactDayFirst, DateStyle::CompactMonthFirst],
        ];
        let Some(order) = orders.into_iter().find(|order| order.contains(&best)) else { return Vec::new() };
        // A style that misses one value in fifty is still in the running: that value may be a typing mistake.
        let enough = |style: &DateStyle| *style != best && self.of(*style) * 50 >= self.of(best) * 49;
        order.iter().copied().filter(enough).collect()
    }
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
            ("2024-10-17 00:00:00 +0000", DateStyle::YearMonthDay),
            ("2024.10.17.", DateStyle::YearMonthDay),
            ("2024年10月17日", DateStyle::YearMonthDay),
            ("17.10.2024", DateStyle::DayMonthYear),
            ("17. 10. 2024", DateStyle::DayMonthYear),
            ("17/10/24", DateStyle::DayMonthYear),
            ("17-10-2024 / 00:00", DateStyle::DayMonthYear),
            ("10/17/2024", DateStyle::MonthDayYear),
            ("10/17/2024 09:14:02 PM", DateStyle::MonthDayYear),
            ("17-Oct-2024", DateStyle::DayNameYear),
            ("Thu 17 Oct 2024", DateStyle::DayNameYear),
            ("17. Oktober 2024", DateStyle::DayNameYear),
            ("17 de octubre de 2024", DateStyle::DayNameYear),
            ("October 17, 2024", DateStyle::NameDayYear),
            ("Oct 17th, 2024", DateStyle::NameDayYear),
            ("20241017", DateStyle::Compact),
            ("20241017T081500Z", DateStyle::Compact),
            ("20241017081500", DateStyle::Compact),
            ("17102024", DateStyle::CompactDayFirst),
            ("10172024", DateStyle::CompactMonthFirst),
            ("241017", DateStyle::CompactShort),
            ("24/10/17", DateStyle::ShortYearFirst),
            ("45582", DateStyle::Serial),
            ("45582.375", DateStyle::Serial),
            ("1729152900", DateStyle::Epoch),
            ("1729152900000", DateStyle::EpochMillis),
        ] {
            assert_eq!(parse(text, style), day, "{text}");
        }
        for bad in ["2024-13-01", "2023-02-29", "2024-02-30", "soon", "2024-1", "", "1.234,56", "-5", "10:15", "17 Oct"]
        {
            assert_eq!(parse(bad, DateStyle::YearMonthDay), None, "{bad:?} must not parse");
        }
        assert_eq!(parse("05. März 2026", DateStyle::DayNameYear), days_from_civil(2026, 3, 5));
        assert_eq!(parse("mar 5 mar 2026", DateStyle::DayNameYear), days_from_civil(2026, 3, 5));
    }

    #[test]
    fn the_quick_way_reads_what_the_long_one_reads() {
        for text in ["2024-10-17", "2024-02-30", "0000-01-01", "9999-12-31", "2024-1a-17", "20241-0-17", "2024-13-01"] {
            assert_eq!(fits(text), fits_any(text), "{text}");
        }
    }

    #[test]
    fn one_impossible_month_decides_between_day_first_and_month_first() {
        assert_eq!(sniff_style(["01/02/2024", "13/02/2024"].into_iter()).0, DateStyle::DayMonthYear);
        assert_eq!(sniff_style(["01/02/2024", "02/13/2024"].into_iter()).0, DateStyle::MonthDayYear);
    }

    #[test]
    fn a_year_in_front_is_read_among_dates_of_another_order() {
        let (style, fits) = sniff_style(["27/03/2026", "2026-03-09", "04/03/2026"].into_iter());
        assert_eq!((style, fits), (DateStyle::DayMonthYear, 3));
        assert_eq!(parse("2026-03-09", style), days_from_civil(2026, 3, 9));
    }
}
