//! Decimal text to exact minor units and back.
//!
//! Amounts never touch floating point. A file writes decimals in one style per column (`1,234.56` or `1.234,56`);
//! the style is told from the whole column, because `1,234` alone is ambiguous. Easy to get wrong: a sign is given
//! once (minus, parentheses or Dr); two of them are a value that nobody can read.
use super::{currency, digits as scripts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which character separates the fraction in a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecimalStyle {
    /// `1,234.56`
    Point,
    /// `1.234,56`
    Comma,
}

impl DecimalStyle {
    /// The style in words for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Point => "1,234.56",
            Self::Comma => "1.234,56",
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Point => Self::Comma,
            Self::Comma => Self::Point,
        }
    }
}

/// More fraction digits than this are refused: 18 are what the finest currency in use (wei) has.
pub(crate) const MAX_SCALE: u8 = 18;

/// A parsed decimal: `units / 10^scale`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Decimal {
    /// The digits, signed.
    pub units: i64,
    /// Number of fraction digits.
    pub scale: u8,
}

impl Decimal {
    /// The value in units of `10^-scale`; `None` when digits would be lost or it overflows.
    pub(crate) fn at_scale(self, scale: u8) -> Option<i64> {
        if scale < self.scale {
            let divisor = 10_i64.checked_pow(u32::from(self.scale - scale))?;
            return (self.units % divisor == 0).then_some(self.units / divisor);
        }
        self.units.checked_mul(10_i64.checked_pow(u32::from(scale - self.scale))?)
    }

    /// The value in units of `10^-scale`, digits below rounded away from zero at one half; `None` when it overflows.
    pub(crate) fn rounded(self, scale: u8) -> Option<i64> {
        if scale >= self.scale {
            return self.at_scale(scale);
        }
        let divisor = 10_i64.checked_pow(u32::from(self.scale - scale))?;
        let (whole, rest) = (self.units / divisor, self.units % divisor);
        Some(if rest.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2) {
            whole + self.units.signum()
        } else {
            whole
        })
    }

    /// The same value with as few fraction digits as it needs.
    pub(crate) fn shortest(mut self) -> Self {
        while self.scale > 0 && self.units % 10 == 0 {
            self.units /= 10;
            self.scale -= 1;
        }
        self
    }
}

/// Characters that may stand between groups of digits in either style.
const GROUPS: [char; 10] = ['\'', '\u{2019}', '`', ' ', '\u{a0}', '\u{2007}', '\u{202f}', '\u{2009}', '_', '\u{66c}'];

/// Digits with at most one point or comma and a minus in front, as nearly all files write amounts.
struct Plain {
    negative: bool,
    units: i64,
    /// Digits before the separator.
    whole: usize,
    /// The separator, and the digits behind it.
    fraction: Option<(u8, u8)>,
}

/// The quick way for plain amounts; `None` for everything else, which may be an amount all the same.
fn plain(text: &str) -> Option<Plain> {
    let bytes = text.as_bytes();
    let (negative, digits) = match bytes.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, bytes),
    };
    // Eighteen digits fit, whatever they are.
    if digits.len() > 18 || !digits.first()?.is_ascii_digit() {
        return None;
    }
    let (mut units, mut separator) = (0_i64, None);
    for (at, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => units = units * 10 + i64::from(byte - b'0'),
            b'.' | b',' if separator.is_none() => separator = Some((at, *byte)),
            _ => return None,
        }
    }
    let whole = separator.map_or(digits.len(), |(at, _)| at);
    let fraction = separator.map(|(at, byte)| (byte, (digits.len() - at - 1) as u8));
    Some(Plain { negative, units, whole, fraction })
}

impl Plain {
    /// Whether the separator may stand between groups of digits.
    fn grouped(&self) -> bool {
        self.whole <= 3 && self.fraction.is_some_and(|(_, digits)| digits == 3)
    }

    fn read(&self, style: DecimalStyle) -> Option<Decimal> {
        let scale = match self.fraction {
            None => 0,
            Some((b'.', digits)) if style == DecimalStyle::Point => digits,
            Some((b',', digits)) if style == DecimalStyle::Comma => digits,
            Some(_) if self.grouped() => 0,
            Some(_) => return None,
        };
        Some(Decimal { units: if self.negative { -self.units } else { self.units }, scale })
    }

    fn fits(&self) -> u8 {
        let own = match self.fraction {
            None => return 3,
            Some((b'.', _)) => 1,
            Some(_) => 2,
        };
        // Nought is nought in either style.
        if self.grouped() { 3 | u8::from(self.units != 0) << 2 } else { own }
    }
}

/// Parses one amount: sign, parentheses, Cr or Dr, currency sign or code on either side, grouping, exponent.
pub(crate) fn parse(text: &str, style: DecimalStyle) -> Option<Decimal> {
    match plain(text) {
        Some(plain) => plain.read(style),
        None if currency::is_other_word(text) => None,
        None => parse_any(text, style),
    }
}

fn parse_any(text: &str, style: DecimalStyle) -> Option<Decimal> {
    let text = &*scripts::western(text);
    let (body, negative) = strip(text)?;
    let (body, exponent) = split_exponent(body)?;
    let value = digits(body, style)?;
    let value = scaled(value, exponent)?;
    Some(Decimal { units: if negative { -value.units } else { value.units }, scale: value.scale })
}

/// Which styles read a value: bit 1 for point, bit 2 for comma; bit 4 when both do and differ.
pub(crate) fn fits(text: &str) -> u8 {
    match plain(text) {
        Some(plain) => plain.fits(),
        None if currency::is_other_word(text) => 0,
        None => fits_any(text),
    }
}

fn fits_any(text: &str) -> u8 {
    let text = &*scripts::western(text);
    let Some((body, _)) = strip(text) else { return 0 };
    // No number begins with a letter, whatever stood before it.
    if !body.starts_with(|c: char| c.is_ascii_digit() || c == '.' || c == ',') {
        return 0;
    }
    let Some((body, exponent)) = split_exponent(body) else { return 0 };
    let of = |style| digits(body, style).and_then(|value| scaled(value, exponent));
    let (point, comma) = (of(DecimalStyle::Point), of(DecimalStyle::Comma));
    let differ = matches!((point, comma), (Some(a), Some(b)) if a.shortest() != b.shortest());
    u8::from(point.is_some()) | u8::from(comma.is_some()) << 1 | u8::from(differ) << 2
}

/// A value in the column's style, or in the other one when only that can read it: `12.50` among `1.234,56`.
pub(crate) fn parse_either(text: &str, style: DecimalStyle) -> Option<Decimal> {
    parse(text, style).or_else(|| parse(text, style.other()))
}

/// Takes everything off that is not the number, and says whether it is negative.
fn strip(text: &str) -> Option<(&str, bool)> {
    let text = blank(text);
    // A quote in front keeps a spreadsheet from taking the cell for something else.
    let mut body = text.strip_prefix('\'').unwrap_or(text);
    let (mut minus, mut plus, mut debit, mut parentheses, mut currencies) = (0, 0, false, false, 0);
    loop {
        let before = body;
        let between = |open, close| body.strip_prefix(open).and_then(|rest: &str| rest.strip_suffix(close));
        if let Some(inner) = between('(', ')').or_else(|| between('<', '>')) {
            if parentheses {
                return None;
            }
            parentheses = true;
            body = inner;
        }
        if let Some(rest) = body.strip_prefix(is_minus).or_else(|| body.strip_suffix(is_minus)) {
            minus += 1;
            body = rest;
        } else if let Some(rest) = body.strip_prefix('+').or_else(|| body.strip_suffix('+')) {
            plus += 1;
            body = rest;
        }
        if let Some((rest, is_debit)) = strip_side(body) {
            debit |= is_debit;
            body = rest;
        }
        if let Some(rest) = currency::strip(body) {
            currencies += 1;
            body = rest;
        }
        body = blank(body);
        if body == before {
            break;
        }
    }
    if minus + plus > 1 || currencies > 2 {
        return None;
    }
    Some((body, minus > 0 || parentheses || debit))
}

fn blank(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{200e}' || c == '\u{200f}')
}

fn is_minus(c: char) -> bool {
    matches!(c, '-' | '\u{2212}' | '\u{2012}' | '\u{2013}' | '\u{fe63}' | '\u{ff0d}')
}

/// `1,250.00 Cr`, `Dr 5`, `12,00 S`: the side of the account, and whether it is the debit one.
fn strip_side(text: &str) -> Option<(&str, bool)> {
    const WORDS: [(&str, bool); 10] = [
        ("cr.", false),
        ("dr.", true),
        ("cr", false),
        ("dr", true),
        ("db", true),
        ("c", false),
        ("d", true),
        ("h", false),
        ("s", true),
        ("k", false),
    ];
    if let Some((rest, inner)) = text.strip_suffix(')').and_then(|rest| rest.rsplit_once('(')) {
        let inner = inner.trim().trim_end_matches('.');
        let known = WORDS.iter().find(|(word, _)| word.len() > 1 && inner.eq_ignore_ascii_case(word));
        return known.filter(|_| !rest.is_empty()).map(|(_, debit)| (rest.trim_end(), *debit));
    }
    for (word, debit) in WORDS {
        let Some(at) = text.len().checked_sub(word.len()).filter(|at| text.is_char_boundary(*at)) else { continue };
        // A single letter counts only behind a blank, or as a capital behind cents (`12,34S`): `12.34x` is no amount,
        // `5 m` is none either, and a K behind figures is a thousand.
        let apart = |c: char| c.is_ascii_digit() && word.len() > 1 || c.is_whitespace();
        let glued = || word != "k" && text[at..].bytes().all(|b| b.is_ascii_uppercase()) && ends_in_cents(&text[..at]);
        if text[at..].eq_ignore_ascii_case(word) && (text[..at].ends_with(apart) || glued()) {
            return Some((text[..at].trim_end(), debit));
        }
        if word.len() > 1 && text.is_char_boundary(word.len()) && text[..word.len()].eq_ignore_ascii_case(word) {
            let rest = &text[word.len()..];
            if rest.starts_with(|c: char| c.is_ascii_digit() || c.is_whitespace()) {
                return Some((rest.trim_start(), debit));
            }
        }
    }
    None
}

fn ends_in_cents(text: &str) -> bool {
    let mut last = text.bytes().rev();
    let two = last.by_ref().take(2).filter(u8::is_ascii_digit).count() == 2;
    two && matches!(last.next(), Some(b'.' | b','))
}

/// `1.23E+04`, as spreadsheets write long numbers. Only with a sign behind the capital letter: `1e5` is a code.
fn split_exponent(body: &str) -> Option<(&str, i32)> {
    let Some(at) = body.find('E') else { return Some((body, 0)) };
    let exponent = &body[at + 1..];
    let digits = exponent.strip_prefix(['+', '-'])?;
    if digits.is_empty() || digits.len() > 2 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((&body[..at], exponent.parse().ok()?))
}

fn scaled(value: Decimal, exponent: i32) -> Option<Decimal> {
    if exponent == 0 {
        return Some(value);
    }
    let scale = i32::from(value.scale) - exponent;
    if scale >= 0 {
        return u8::try_from(scale).ok().filter(|scale| *scale <= MAX_SCALE).map(|scale| Decimal { scale, ..value });
    }
    let units = value.units.checked_mul(10_i64.checked_pow(scale.unsigned_abs())?)?;
    Some(Decimal { units, scale: 0 })
}

/// Digits, groups and the fraction.
fn digits(body: &str, style: DecimalStyle) -> Option<Decimal> {
    let (point, group) = match style {
        DecimalStyle::Point => ('.', ','),
        DecimalStyle::Comma => (',', '.'),
    };
    let (mut units, mut scale, mut seen_point, mut digits, mut since_group) = (0_i64, 0_u8, false, 0_u32, None);
    // Zeros at the end of a fraction are kept aside: they matter for the scale, and must not overflow the digits.
    for c in body.chars() {
        if let Some(digit) = c.to_digit(10) {
            units = units.checked_mul(10)?.checked_add(i64::from(digit))?;
            digits += 1;
            if seen_point {
                scale += 1;
                if scale > MAX_SCALE {
                    return None;
                }
            } else if let Some(count) = since_group.as_mut() {
                *count += 1;
            }
        } else if c == point && !seen_point {
            if since_group.is_some_and(|count| count != 3) {
                return None;
            }
            seen_point = true;
        } else if (c == group || GROUPS.contains(&c)) && !seen_point && digits > 0 {
            // Two digits too, for the Indian grouping 12,34,567; and at most three before the first group.
            if since_group.map_or(digits > 3, |count| count != 3 && count != 2) {
                return None;
            }
            since_group = Some(0);
        } else {
            return None;
        }
    }
    if digits == 0 || (!seen_point && since_group.is_some_and(|count| count != 3)) {
        return None;
    }
    Some(Decimal { units, scale })
}

/// Writes minor units as plain decimal text, for people and files.
pub fn format(units: i64, scale: u8) -> String {
    let divisor = 10_u64.pow(u32::from(scale));
    let sign = if units < 0 { "-" } else { "" };
    let units = units.unsigned_abs();
    if scale == 0 {
        return format!("{sign}{units}");
    }
    format!("{sign}{}.{:0width$}", units / divisor, units % divisor, width = usize::from(scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(text: &str) -> Option<i64> {
        parse(text, DecimalStyle::Point).and_then(|d| d.at_scale(2))
    }

    fn comma(text: &str) -> Option<i64> {
        parse(text, DecimalStyle::Comma).and_then(|d| d.at_scale(2))
    }

    #[test]
    fn amounts_keep_every_digit_in_both_styles() {
        assert_eq!(point("1,234.56"), Some(123_456));
        assert_eq!(point("(12.5)"), Some(-1_250));
        assert_eq!(point("12.50-"), Some(-1_250));
        assert_eq!(point("€ -0.01"), Some(-1));
        assert_eq!(point("EUR 7"), Some(700));
        assert_eq!(comma("1.234.567,8"), Some(123_456_780));
        for bad in ["", "abc", "1.2.3", "12,34", "1,23,4", "--5-", "9999999999999999999", "1e5", "12.34x", "-5-", "+-5"]
        {
            assert_eq!(point(bad), None, "{bad:?} must not parse");
        }
        assert_eq!(format(-5, 2), "-0.05");
        assert_eq!(format(i64::MIN, 2), "-92233720368547758.08");
    }

    #[test]
    fn an_amount_is_read_with_the_sign_and_currency_of_any_bank() {
        for text in [
            "-1,234.56",
            "−1,234.56",
            "1,234.56-",
            "(1,234.56)",
            "$(1,234.56)",
            "($1,234.56)",
            "-$1,234.56",
            "$-1,234.56",
            "₹-1,234.56",
            "A$ -1,234.56",
            "CHF -1’234.56",
            "1 234.56 Dr",
            "1,234.56DR",
            "Dr 1,234.56",
            "-1,234.56 CHF",
            "-1\u{202f}234.56 kr",
            "Rs. -1,234.56",
            "US$ (1,234.56)",
            "1,234.56 USD Dr",
            "-1.23456E+03",
            "<1,234.56>",
            "1,234.56D",
            "1,234.56 (Dr)",
            "1,234.56(DR.)",
            "'-1,234.56",
            "-1\u{2007}234.56",
            "－１，２３４．５６",
        ] {
            assert_eq!(point(text), Some(-123_456), "{text}");
        }
        for text in [
            "R$ 1.234,56",
            "1 234,56 kr",
            "1 234,56 zł",
            "1.234,56 €",
            "1.234,56 H",
            "+1.234,56",
            "1 234,56 Kč",
            "1.234,56 TL",
        ] {
            assert_eq!(comma(text), Some(123_456), "{text}");
        }
        assert_eq!(point("₹12,34,567.00"), Some(123_456_700));
        assert_eq!(point("1,250.00 Cr"), Some(125_000));
        assert_eq!(point("1.23E+04"), Some(1_230_000));
        assert_eq!(parse("0.00000001 BTC", DecimalStyle::Point), Some(Decimal { units: 1, scale: 8 }));
    }

    #[test]
    fn only_a_value_that_both_styles_read_differently_is_ambiguous() {
        assert_eq!(fits("1.234"), 7);
        assert_eq!(fits("1234.5"), 1);
        assert_eq!(fits("1144.781"), 1, "four digits before a group are no group");
        assert_eq!(fits("1.234,5"), 2);
        assert_eq!(fits("1234"), 3);
        assert_eq!(fits("x"), 0);
    }

    #[test]
    fn the_quick_way_reads_what_the_long_one_reads() {
        let mut texts: Vec<String> = Vec::new();
        let parts = ["", "0", "7", "12", "000", "123", "1234", "123456", "999999999999999", "1234567890123456789"];
        for sign in ["", "-", "+", "--", "("] {
            for whole in parts {
                for separator in ["", ".", ",", "..", ".1.", ",1,", " "] {
                    texts.extend(parts.iter().map(|fraction| format!("{sign}{whole}{separator}{fraction}")));
                }
            }
        }
        for word in
            ["EUR", "Eur", "R", "R$", "US$", "kr.", "Cr", "dr.", "DB", "L", "INV", "INV-", "Rs.", "E+", "x", "d"]
        {
            for number in ["1", " 12.50", "-3", ".5", "", " c", "1.000,5 S", "7 EUR", "E+03"] {
                texts.extend([format!("{word}{number}"), format!("{number}{word}"), format!("({word}{number})")]);
            }
        }
        for text in texts {
            assert_eq!(fits(&text), fits_any(&text), "{text:?}");
            for style in [DecimalStyle::Point, DecimalStyle::Comma] {
                assert_eq!(parse(&text, style), parse_any(&text, style), "{text:?} {style:?}");
            }
        }
    }
}
