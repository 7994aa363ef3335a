//! The dialects that generated files are written in: what exports of banks and spreadsheets look like.

/// How a generated file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Dialect {
    /// Commas, `2024-10-17`, `1234.56`.
    #[default]
    Plain,
    /// Lines above the header, semicolons, `17.10.2024`, `1.234,56`, German column names.
    German,
    /// Commas, `10/17/2024`, `$1,234.56`.
    American,
    /// Commas, `17/10/2024`, money in and money out in two columns, a total in the last line.
    DebitCredit,
    /// Tabs in UTF-16 with a byte order mark, `20241017`, `1234.56`.
    Excel,
}

/// A name that is no dialect.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{name:?} is no dialect; known are plain, german, american, debit-credit, excel")]
pub struct DialectError {
    name: String,
}

impl std::str::FromStr for Dialect {
    type Err = DialectError;

    fn from_str(name: &str) -> Result<Self, DialectError> {
        Ok(match name {
            "plain" => Self::Plain,
            "german" => Self::German,
            "american" => Self::American,
            "debit-credit" => Self::DebitCredit,
            "excel" => Self::Excel,
            _ => return Err(DialectError { name: name.to_owned() }),
        })
    }
}

impl Dialect {
    pub(super) fn delimiter(self) -> u8 {
        match self {
            Self::German => b';',
            Self::Excel => b'\t',
            _ => b',',
        }
    }

    pub(super) fn is_utf16(self) -> bool {
        self == Self::Excel
    }

    pub(super) fn lines_above(self) -> &'static str {
        match self {
            Self::German => "\"Umsaetze des Kontos\";\"DE89370400440532013000\"\n\"Stand\";\"31.12.2024\"\n\n",
            _ => "",
        }
    }

    pub(super) fn has_two_amounts(self) -> bool {
        self == Self::DebitCredit
    }

    /// The dialect's name of a plain column.
    pub(super) fn column(self, plain: &'static str) -> &'static str {
        if self != Self::German {
            return plain;
        }
        match plain {
            "date" => "Buchungstag",
            "value_date" => "Valuta",
            "amount" => "Betrag",
            "currency" => "Waehrung",
            "reference" => "Beleg",
            "counterparty" => "Name",
            "memo" | "description" => "Verwendungszweck",
            other => other,
        }
    }

    /// A day since 1970-01-01 as text.
    pub(super) fn date(self, day: i32) -> String {
        let (year, month, day) = civil(day);
        match self {
            Self::Plain => format!("{year}-{month:02}-{day:02}"),
            Self::German => format!("{day:02}.{month:02}.{year}"),
            Self::American => format!("{month:02}/{day:02}/{year}"),
            Self::DebitCredit => format!("{day:02}/{month:02}/{year}"),
            Self::Excel => format!("{year}{month:02}{day:02}"),
        }
    }

    /// Cents as text; never negative here.
    pub(super) fn amount(self, cents: i64) -> String {
        let (units, cents) = (cents / 100, cents % 100);
        match self {
            Self::German => format!("{},{cents:02}", grouped(units, '.')),
            Self::American => format!("${}.{cents:02}", grouped(units, ',')),
            _ => format!("{units}.{cents:02}"),
        }
    }
}

fn grouped(units: i64, separator: char) -> String {
    let digits = units.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(separator);
        }
        out.push(digit);
    }
    out
}

/// Year, month and day of a day since 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms").
fn civil(day: i32) -> (i32, u32, u32) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i32::from(month <= 2);
    (year, month as u32, (of_year - (153 * from_march + 2) / 5 + 1) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_amounts_are_written_as_each_dialect_has_them() {
        let day = 20_013;
        let dates: Vec<String> = ["plain", "german", "american", "debit-credit", "excel"]
            .map(|d| d.parse::<Dialect>().unwrap().date(day))
            .into();
        assert_eq!(dates, ["2024-10-17", "17.10.2024", "10/17/2024", "17/10/2024", "20241017"]);
        assert_eq!(Dialect::German.amount(123_456_789), "1.234.567,89");
        assert_eq!(Dialect::American.amount(100_005), "$1,000.05");
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(
            "dutch".parse::<Dialect>().unwrap_err().to_string().split(';').next(),
            Some("\"dutch\" is no dialect")
        );
    }
}
