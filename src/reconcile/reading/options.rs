//! What a user says about how one side is read: `[left]` and `[right]` of the rules, and the flags of the command line.
//!
//! Everything is optional; what is given is believed, and a wrong name or value is refused with what is known. Easy
//! to get wrong: columns are named as the file names them, after the header was found.
use super::dates::DateStyle;
use crate::rules::RuleError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a side is read; what is left out is recognised.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SideReading {
    /// Line of the header, from 1; 0 when the file has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<u64>,
    /// Lines to leave out at the beginning; the header is looked for below them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<u64>,
    /// Field separator: one character, or `tab`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<String>,
    /// Encoding label such as `utf-8`, `windows-1252` or `utf-16le`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// The decimal separator: `.` or `,`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimal: Option<String>,
    /// The order of dates: `dmy`, `mdy` or `ymd`.
    #[serde(default, alias = "dates", skip_serializing_if = "Option::is_none")]
    pub date: Option<DateOrder>,
    /// `flip` turns the signs of all amounts round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign: Option<Sign>,
    /// Column of what went out; with `credit` it becomes one signed amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debit: Option<String>,
    /// Column of what came in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<String>,
    /// Column that says by a word whether an amount went out or came in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
    /// Digits of minor units: 2 reads 12345 as 123.45; 0 takes amounts as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<u8>,
    /// Column that names a row; `line` names rows by their line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Sheet of a workbook, by name; the first with rows by default. Several as one source: `Jan/Feb`, `*`, `2026-*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// Statement of a file that holds several, by its account or its own name; all of them by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
}

/// The order of day, month and year.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DateOrder {
    /// Day first.
    Dmy,
    /// Month first.
    Mdy,
    /// Year first.
    Ymd,
}

/// What is done with signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// As the file has them.
    Keep,
    /// Turned round.
    Flip,
}

impl DateOrder {
    /// The style of numeric dates in this order.
    pub(crate) fn style(self) -> DateStyle {
        match self {
            Self::Dmy => DateStyle::DayMonthYear,
            Self::Mdy => DateStyle::MonthDayYear,
            Self::Ymd => DateStyle::ShortYearFirst,
        }
    }
}

impl SideReading {
    /// Nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These options, and those of `other` where these say nothing.
    pub fn or(&self, other: &Self) -> Self {
        let text = |a: &Option<String>, b: &Option<String>| a.clone().or_else(|| b.clone());
        Self {
            header: self.header.or(other.header),
            skip: self.skip.or(other.skip),
            delimiter: text(&self.delimiter, &other.delimiter),
            encoding: text(&self.encoding, &other.encoding),
            decimal: text(&self.decimal, &other.decimal),
            date: self.date.or(other.date),
            sign: self.sign.or(other.sign),
            debit: text(&self.debit, &other.debit),
            credit: text(&self.credit, &other.credit),
            flag: text(&self.flag, &other.flag),
            scale: self.scale.or(other.scale),
            id: text(&self.id, &other.id),
            sheet: text(&self.sheet, &other.sheet),
            statement: text(&self.statement, &other.statement),
        }
    }

    /// Sets one option by its name, as the command line gives it.
    ///
    /// # Errors
    /// An unknown name or a value that does not fit, with what is known.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = |what: &str| value.parse::<u64>().map_err(|_| format!("{value:?} is not {what}"));
        let text = || Some(value.to_owned());
        match name {
            "header" if value == "none" => self.header = Some(0),
            "header" => self.header = Some(number("a line number or `none`")?),
            "skip" => self.skip = Some(number("a number of lines")?),
            "delimiter" => self.delimiter = text(),
            "encoding" => self.encoding = text(),
            "decimal" => self.decimal = text(),
            "date" | "dates" => {
                self.date = Some(match value {
                    "dmy" => DateOrder::Dmy,
                    "mdy" => DateOrder::Mdy,
                    "ymd" => DateOrder::Ymd,
                    _ => return Err(format!("{value:?} is not dmy, mdy or ymd")),
                });
            }
            "sign" => {
                self.sign = Some(match value {
                    "keep" => Sign::Keep,
                    "flip" => Sign::Flip,
                    _ => return Err(format!("{value:?} is not keep or flip")),
                });
            }
            "debit" => self.debit = text(),
            "credit" => self.credit = text(),
            "flag" => self.flag = text(),
            "scale" => {
                let digits = number("a number of digits")?;
                self.scale = Some(u8::try_from(digits).unwrap_or(u8::MAX));
            }
            "id" => self.id = text(),
            "sheet" => self.sheet = text(),
            "statement" => self.statement = text(),
            _ => return Err(format!("unknown option {name:?}")),
        }
        match (&self.debit, &self.credit) {
            // Given one after the other on a command line.
            (Some(_), None) | (None, Some(_)) => Ok(()),
            _ => self.validate("").map_err(|error| error.reason),
        }
    }

    /// Checks what types cannot.
    pub(crate) fn validate(&self, path: &str) -> Result<(), RuleError> {
        let fail = |key: &str, reason: String| Err(RuleError::new(format!("{path}.{key}"), reason));
        if let Some(text) = &self.delimiter
            && self.delimiter_byte().is_none()
        {
            return fail("delimiter", format!("{text:?} is not one ASCII character or `tab`"));
        }
        if let Some(label) = &self.encoding
            && encoding_rs::Encoding::for_label(label.as_bytes()).is_none()
        {
            return fail(
                "encoding",
                format!("{label:?} is not a known encoding, such as utf-8, windows-1252 or utf-16le"),
            );
        }
        if let Some(text) = &self.decimal
            && !matches!(text.as_str(), "." | ",")
        {
            return fail("decimal", format!("{text:?} is not \".\" or \",\""));
        }
        if self.scale.is_some_and(|digits| digits > 8) {
            return fail("scale", "0 to 8 digits".into());
        }
        if self.credit.is_some() != self.debit.is_some() {
            let missing = if self.credit.is_some() { "debit" } else { "credit" };
            return fail(missing, "debit and credit are given together".into());
        }
        Ok(())
    }

    /// The separator as a byte; `None` when none, or no possible one, is given.
    pub(crate) fn delimiter_byte(&self) -> Option<u8> {
        match self.delimiter.as_deref()? {
            "tab" | "\\t" | "\t" => Some(b'\t'),
            text => match text.as_bytes() {
                [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r' | 0) => Some(*byte),
                _ => None,
            },
        }
    }
}
