//! What a file looks like: delimiter, encoding, and for every column its type, style and a sketch of its values.
//!
//! Reads at most [`PROFILE_BYTES`] of the head, so a profile of a huge file is cheap and its `unique` is only a
//! promise about that head; [`super::read`] checks the whole file. A wrong type here is the costliest mistake of
//! the engine: a column is typed only when nearly all its values parse, or when its name says so too.
use super::amount::{self, DecimalStyle};
use super::csv_text::{self, ReadError, ReadOptions};
use super::date::{self, DateStyle};
use super::text;
use rustc_hash::FxHashSet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::Read;

/// How much of a file a profile looks at.
pub const PROFILE_BYTES: usize = 8 << 20;
/// Hashes kept per sketch: containment is then known to about 3 %.
const SKETCH: usize = 512;
const SAMPLES: usize = 5;

/// What the values of a column are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Decimal amounts, kept as exact integers.
    Money,
    /// Other decimals, kept the same way.
    Number,
    /// Calendar days.
    Date,
    /// Words.
    Text,
    /// Identifiers: references, phone numbers, postcodes.
    Code,
}

/// One column as the profile saw it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ColumnProfile {
    /// The header.
    pub name: String,
    /// The inferred type.
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// The style in words, e.g. `yyyy-mm-dd` or `1.234,56`; empty for text.
    #[serde(default)]
    pub format: String,
    /// No value seen twice, and none empty.
    pub unique: bool,
    /// Values that are not empty.
    pub non_empty: u64,
    /// Different values.
    #[serde(default)]
    pub distinct: u64,
    /// Mean number of tokens of a value that is not empty.
    #[serde(default)]
    pub tokens: f32,
    /// A few values, the first different ones.
    pub samples: Vec<String>,
    /// The style of decimals, for money and numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimal: Option<DecimalStyle>,
    /// The style of dates, for dates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<DateStyle>,
    /// Smallest hashes of the values and of their tokens, with the number of different tokens; see `overlap`.
    #[serde(default)]
    #[schemars(skip)]
    pub(crate) sketch: Sketches,
}

/// Bottom-k sketches of a column.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sketches {
    values: Vec<u32>,
    tokens: Vec<u32>,
    distinct_tokens: u64,
}

/// What a file looks like.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Profile {
    /// Field separator.
    pub delimiter: char,
    /// Encoding label, e.g. `UTF-8` or `windows-1252`.
    pub encoding: String,
    /// Rows the profile looked at.
    pub rows_seen: u64,
    /// The columns, in file order.
    pub columns: Vec<ColumnProfile>,
}

impl Profile {
    /// The column that names a row: the first unique one, of codes and text before amounts and dates.
    pub fn id_column(&self) -> Option<&str> {
        let unique = || self.columns.iter().filter(|c| c.unique);
        let is_name = |c: &&ColumnProfile| matches!(c.kind, ColumnType::Code | ColumnType::Text);
        unique().find(is_name).or_else(|| unique().next()).map(|c| c.name.as_str())
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&ColumnProfile> {
        self.columns.iter().find(|c| c.name == name)
    }
}

/// Looks at the head of a CSV file.
///
/// # Errors
/// The file has no header, repeats a column name, or cannot be read.
pub fn profile(mut reader: impl Read, options: &ReadOptions) -> Result<Profile, ReadError> {
    let mut bytes = Vec::new();
    reader
        .by_ref()
        .take(PROFILE_BYTES as u64)
        .read_to_end(&mut bytes)
        .map_err(|source| ReadError::Io { name: options.name.clone(), source })?;
    if bytes.len() == PROFILE_BYTES {
        // The last line is likely cut; so may be its last character.
        let end = memchr::memrchr(b'\n', &bytes).map_or(bytes.len(), |at| at + 1);
        bytes.truncate(end);
    }
    profile_bytes(&bytes, options)
}

pub(crate) fn profile_bytes(bytes: &[u8], options: &ReadOptions) -> Result<Profile, ReadError> {
    let (text, encoding) = csv_text::decode(bytes, options)?;
    let delimiter = options.delimiter.unwrap_or_else(|| csv_text::sniff_delimiter(&text));
    let mut reader = csv_text::reader(&text, delimiter);
    let header = csv_text::header(&mut reader, options)?;
    let mut seen: Vec<Values> = header.iter().map(|_| Values::default()).collect();
    let mut record = csv::StringRecord::new();
    let mut rows = 0;
    while let Ok(true) = reader.read_record(&mut record) {
        if record.len() != header.len() {
            continue;
        }
        rows += 1;
        for (values, cell) in seen.iter_mut().zip(record.iter()) {
            values.see(cell.trim());
        }
    }
    let columns = header.into_iter().zip(seen).map(|(name, values)| values.finish(name, rows, options)).collect();
    Ok(Profile { delimiter: char::from(delimiter), encoding, rows_seen: rows, columns })
}

/// Statistics of one column while its values go by.
#[derive(Default)]
struct Values {
    non_empty: u64,
    repeated: bool,
    distinct: FxHashSet<u64>,
    tokens: FxHashSet<u64>,
    token_count: u64,
    samples: Vec<String>,
    with_digit: u64,
    one_word: u64,
    fractional: u64,
    /// Every value up to a bound, to try types on.
    trial: Vec<String>,
}

/// Values a type is tried on; later ones are checked when the file is read.
const TRIAL: usize = 5_000;

impl Values {
    fn see(&mut self, cell: &str) {
        if csv_text::is_missing(cell) {
            return;
        }
        self.non_empty += 1;
        if self.distinct.insert(text::hash(&text::compact(cell))) {
            if self.samples.len() < SAMPLES {
                self.samples.push(cell.chars().take(120).collect());
            }
        } else {
            self.repeated = true;
        }
        let mut count = 0;
        text::tokens(cell, |token| {
            count += 1;
            self.tokens.insert(text::hash(token));
        });
        self.token_count += count;
        self.with_digit += u64::from(cell.bytes().any(|b| b.is_ascii_digit()));
        self.one_word += u64::from(!cell.contains(' '));
        self.fractional += u64::from(cell.bytes().rev().take(3).any(|b| b == b'.' || b == b','));
        if self.trial.len() < TRIAL {
            self.trial.push(cell.to_owned());
        }
    }

    fn finish(self, name: String, rows: u64, options: &ReadOptions) -> ColumnProfile {
        let (kind, decimal, date) = match options.types.get(&name) {
            Some(kind) => self.styles(*kind).unwrap_or_else(|| self.infer(&name)),
            None => self.infer(&name),
        };
        let format = match (kind, decimal, date) {
            (ColumnType::Date, _, Some(style)) => style.describe().to_owned(),
            (ColumnType::Money | ColumnType::Number, Some(DecimalStyle::Comma), _) => "1.234,56".to_owned(),
            (ColumnType::Money | ColumnType::Number, _, _) => "1,234.56".to_owned(),
            _ => String::new(),
        };
        ColumnProfile {
            name,
            kind,
            format,
            unique: !self.repeated && self.non_empty == rows && rows > 0,
            non_empty: self.non_empty,
            distinct: self.distinct.len() as u64,
            tokens: self.token_count as f32 / self.non_empty.max(1) as f32,
            samples: self.samples,
            decimal,
            date,
            sketch: Sketches {
                values: bottom(&self.distinct),
                distinct_tokens: self.tokens.len() as u64,
                tokens: bottom(&self.tokens),
            },
        }
    }

    /// The styles of a type that was asked for; `None` when most values are nothing of the kind, so that the mistake
    /// is reported once as a wrong rule and not once for every row.
    fn styles(&self, kind: ColumnType) -> Option<(ColumnType, Option<DecimalStyle>, Option<DateStyle>)> {
        let values = || self.trial.iter().map(String::as_str);
        let enough = |fits: usize| 2 * fits >= self.trial.len();
        match kind {
            ColumnType::Money | ColumnType::Number => {
                let style = amount::sniff_style(values());
                let fits = values().filter(|value| amount::parse(value, style).is_some()).count();
                enough(fits).then_some((kind, Some(style), None))
            }
            ColumnType::Date => {
                let (style, fits) = date::sniff_style(values());
                enough(fits).then_some((kind, None, Some(style)))
            }
            ColumnType::Text | ColumnType::Code => Some((kind, None, None)),
        }
    }

    /// The rules of thumb: a share of 0.98 must parse, or 0.5 when the name promises the type too.
    fn infer(&self, name: &str) -> (ColumnType, Option<DecimalStyle>, Option<DateStyle>) {
        let name = NameHint::of(name);
        let values = || self.trial.iter().map(String::as_str);
        let total = self.trial.len();
        if total == 0 {
            return (ColumnType::Text, None, None);
        }
        let share = |count: usize| count as f64 / total as f64;
        let (style, dates) = date::sniff_style(values());
        // Eight digits are a date only when every one is and the name says so: birth dates are identifiers, and
        // a typo in one must not cost the row.
        let date_bar = match style {
            DateStyle::Compact if !name.date => 2.0,
            DateStyle::Compact => 1.0,
            _ if name.date => 0.5,
            _ => 0.9,
        };
        if share(dates) >= date_bar && !name.person {
            return (ColumnType::Date, None, Some(style));
        }
        let decimal = amount::sniff_style(values());
        let numbers = values().filter(|value| amount::parse(value, decimal).is_some()).count();
        let fractional = self.fractional as f64 / self.non_empty.max(1) as f64;
        if name.money && !name.code && share(numbers) >= 0.5 {
            return (ColumnType::Money, Some(decimal), None);
        }
        if share(numbers) >= 0.98 && fractional >= 0.3 && !name.code {
            let kind = if fractional >= 0.95 { ColumnType::Money } else { ColumnType::Number };
            return (kind, Some(decimal), None);
        }
        let words = self.token_count as f64 / self.non_empty.max(1) as f64;
        let digits = self.with_digit as f64 / self.non_empty.max(1) as f64;
        let one_word = self.one_word as f64 / self.non_empty.max(1) as f64;
        let code = digits >= 0.6 && words <= 4.0 && one_word >= 0.7;
        (if code { ColumnType::Code } else { ColumnType::Text }, None, None)
    }
}

fn bottom(hashes: &FxHashSet<u64>) -> Vec<u32> {
    let mut all: Vec<u32> = hashes.iter().map(|h| (h >> 32) as u32).collect();
    all.sort_unstable();
    all.dedup();
    all.truncate(SKETCH);
    all
}

/// The estimated share of the different values (and of the different tokens) of `a` that `b` has too.
pub(crate) fn overlap(a: &ColumnProfile, b: &ColumnProfile) -> (f64, f64) {
    let values = contained(&a.sketch.values, a.distinct, &b.sketch.values, b.distinct);
    let tokens = contained(&a.sketch.tokens, a.sketch.distinct_tokens, &b.sketch.tokens, b.sketch.distinct_tokens);
    (values, tokens)
}

/// Bottom-k estimate of |A ∩ B| / |A| (Beyer et al., 2007).
fn contained(a: &[u32], size_a: u64, b: &[u32], size_b: u64) -> f64 {
    if a.is_empty() || b.is_empty() {
        return 0.0;
    }
    let (mut i, mut j, mut union, mut both) = (0, 0, 0_u32, 0_u32);
    while (union as usize) < SKETCH && (i < a.len() || j < b.len()) {
        let next = match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) => x.min(y),
            (Some(x), None) => x,
            (None, Some(y)) => y,
            (None, None) => break,
        };
        let (in_a, in_b) = (a.get(i) == Some(next), b.get(j) == Some(next));
        i += usize::from(in_a);
        j += usize::from(in_b);
        both += u32::from(in_a && in_b);
        union += 1;
    }
    let jaccard = f64::from(both) / f64::from(union.max(1));
    let intersection = jaccard * (size_a + size_b) as f64 / (1.0 + jaccard);
    (intersection / size_a.max(1) as f64).min(1.0)
}

/// What a header says about its column, in the few words headers share across banks and ledgers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameHint {
    pub(crate) money: bool,
    pub(crate) date: bool,
    pub(crate) code: bool,
    pub(crate) currency: bool,
    pub(crate) person: bool,
}

impl NameHint {
    pub(crate) fn of(name: &str) -> Self {
        let mut words = Vec::new();
        text::tokens(&split_camel(name), |t| words.push(t.to_owned()));
        let any = |list: &[&str]| words.iter().any(|w| list.contains(&w.as_str()));
        Self {
            money: any(&[
                "amount", "amt", "debit", "credit", "total", "balance", "price", "value", "sum", "net", "gross",
                "betrag", "montant", "importe", "bedrag", "saldo", "fee", "cost", "paid", "payment",
            ]) && !any(&["date", "day", "id", "no", "number", "method", "type", "currency", "ref", "reference"]),
            date: any(&["date", "day", "datum", "fecha", "data", "booked", "posted", "valuta", "time", "timestamp"]),
            code: any(&[
                "id",
                "no",
                "nr",
                "number",
                "code",
                "ref",
                "reference",
                "phone",
                "zip",
                "postcode",
                "iban",
                "account",
            ]),
            currency: any(&["currency", "ccy", "cur", "curr", "devise", "waehrung", "moneda", "valuta"]),
            person: any(&["birth", "dob", "born", "birthday", "birthdate"]),
        }
    }
}

fn split_camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut lower = false;
    for c in name.chars() {
        if c.is_uppercase() && lower {
            out.push(' ');
        }
        lower = c.is_lowercase();
        out.push(c);
    }
    out
}
