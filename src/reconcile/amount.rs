//! Decimal text to exact minor units and back.
//!
//! Amounts never touch floating point. A file writes decimals in one style per column (`1,234.56` or
//! `1.234,56`); the style is sniffed from the column, because `1,234` alone is ambiguous.
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

/// More fraction digits than this are refused: no currency has them and sums could overflow.
pub const MAX_SCALE: u8 = 6;

/// A parsed decimal: `units / 10^scale`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decimal {
    /// The digits, signed.
    pub units: i64,
    /// Number of fraction digits.
    pub scale: u8,
}

impl Decimal {
    /// The value in units of `10^-scale`; `None` when digits would be lost or it overflows.
    pub fn at_scale(self, scale: u8) -> Option<i64> {
        if scale < self.scale {
            let divisor = 10_i64.checked_pow(u32::from(self.scale - scale))?;
            return (self.units % divisor == 0).then_some(self.units / divisor);
        }
        self.units.checked_mul(10_i64.checked_pow(u32::from(scale - self.scale))?)
    }
}

/// Parses one amount: optional sign, parentheses or trailing minus, currency sign or code, grouping.
pub fn parse(text: &str, style: DecimalStyle) -> Option<Decimal> {
    let mut body = text.trim();
    let mut negative = false;
    if let Some(inner) = body.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        negative = true;
        body = inner.trim();
    }
    body = strip_currency(body);
    if let Some(rest) = body.strip_suffix('-') {
        negative = !negative;
        body = rest.trim_end();
    }
    if let Some(rest) = body.strip_prefix(['-', '\u{2212}']) {
        negative = !negative;
        body = rest.trim_start();
    } else if let Some(rest) = body.strip_prefix('+') {
        body = rest.trim_start();
    }
    body = strip_currency(body);
    let (point, groups): (char, &[char]) = match style {
        DecimalStyle::Point => ('.', &[',', '\'', ' ', '\u{a0}', '\u{202f}', '_']),
        DecimalStyle::Comma => (',', &['.', '\'', ' ', '\u{a0}', '\u{202f}', '_']),
    };
    let (mut units, mut scale, mut seen_point, mut digits, mut since_group) = (0_i64, 0_u8, false, 0_u32, None);
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
        } else if groups.contains(&c) && !seen_point && digits > 0 {
            // Two digits too, for the Indian grouping 12,34,567.
            if since_group.is_some_and(|count| count != 3 && count != 2) {
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
    Some(Decimal { units: if negative { -units } else { units }, scale })
}

fn strip_currency(text: &str) -> &str {
    let text = text.trim_matches(['€', '$', '£', '¥', ' ', '\u{a0}']);
    let is_code = |code: &str| code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase());
    if text.len() > 3 && text.is_char_boundary(3) && is_code(&text[..3]) {
        return text[3..].trim_start();
    }
    if text.len() > 3 && text.is_char_boundary(text.len() - 3) && is_code(&text[text.len() - 3..]) {
        return text[..text.len() - 3].trim_end();
    }
    text
}

/// Guesses the style from a column's values by the values that leave no doubt; `Point` without any.
pub fn sniff_style<'a>(values: impl Iterator<Item = &'a str>) -> DecimalStyle {
    let (mut point, mut comma) = (0_u32, 0_u32);
    for value in values {
        let last_point = value.rfind('.');
        let last_comma = value.rfind(',');
        let digits_after = |at: usize| value[at + 1..].chars().filter(char::is_ascii_digit).count();
        match (last_point, last_comma) {
            (Some(p), Some(c)) if p > c => point += 2,
            (Some(_), Some(_)) => comma += 2,
            (Some(p), None) if digits_after(p) != 3 => point += 1,
            (None, Some(c)) if digits_after(c) != 3 => comma += 1,
            _ => {}
        }
    }
    if comma > point { DecimalStyle::Comma } else { DecimalStyle::Point }
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

    #[test]
    fn amounts_keep_every_digit_in_both_styles() {
        let point = |text| parse(text, DecimalStyle::Point).and_then(|d| d.at_scale(2));
        assert_eq!(point("1,234.56"), Some(123_456));
        assert_eq!(point("(12.5)"), Some(-1_250));
        assert_eq!(point("12.50-"), Some(-1_250));
        assert_eq!(point("€ -0.01"), Some(-1));
        assert_eq!(point("EUR 7"), Some(700));
        assert_eq!(parse("1.234.567,8", DecimalStyle::Comma).and_then(|d| d.at_scale(2)), Some(123_456_780));
        for bad in ["", "abc", "1.2.3", "12,34", "1,23,4", "--5-", "9999999999999999999", "1e5", "12.34x"] {
            assert_eq!(point(bad), None, "{bad:?} must not parse");
        }
        assert_eq!(format(-5, 2), "-0.05");
        assert_eq!(format(i64::MIN, 2), "-92233720368547758.08");
    }

    #[test]
    fn the_style_of_a_column_is_decided_by_its_clear_values() {
        assert_eq!(sniff_style(["1,234", "5,10"].into_iter()), DecimalStyle::Comma);
        assert_eq!(sniff_style(["1,234", "5.10"].into_iter()), DecimalStyle::Point);
    }
}
