//! Whether a whole file keeps within its bounds, in one pass that holds one record at a time.
//!
//! For whoever takes a file in and must say no before it is stored; what the values mean is left to `table`. Easy to
//! get wrong: a row ends at a line break outside of quotes, and only a CSV reader knows which those are.
use super::csv_text::{ReadError, ReadOptions};
use super::profile::Profile;
use std::io::Read;

/// Counts the rows of a file, the header not among them.
///
/// # Errors
/// [`ReadError::Limit`] names the bound that was passed (`max_rows`, or `max_field_bytes` with line and column);
/// [`ReadError::Io`] when the reader failed.
pub fn check_bounds(reader: impl Read, profile: &Profile, options: &ReadOptions) -> Result<u64, ReadError> {
    // Other formats keep their bounds while they are profiled, and are no text whose fields could be counted.
    if !matches!(profile.reading.format.as_str(), "" | "csv") {
        return Ok(profile.rows_seen);
    }
    let limits = options.limits;
    let encoding = encoding_rs::Encoding::for_label(profile.encoding.as_bytes());
    let text = encoding_rs_io::DecodeReaderBytesBuilder::new().encoding(encoding).build(reader);
    let mut csv = csv::ReaderBuilder::new()
        .delimiter(u8::try_from(profile.delimiter).unwrap_or(b','))
        .flexible(true)
        .has_headers(true)
        .from_reader(text);
    let passed = |at: String, limit, value| ReadError::Limit { name: options.name.clone(), at, limit, value };
    let mut record = csv::ByteRecord::new();
    let mut rows = 0;
    loop {
        match csv.read_byte_record(&mut record) {
            Ok(true) => rows += 1,
            Ok(false) => return Ok(rows),
            Err(error) => {
                let source = std::io::Error::other(error);
                return Err(ReadError::Io { name: options.name.clone(), source });
            }
        }
        if rows > limits.max_rows as u64 {
            return Err(passed(String::new(), "max_rows", limits.max_rows));
        }
        if let Some(column) = record.iter().position(|field| field.len() > limits.max_field_bytes) {
            let line = record.position().map_or(0, csv::Position::line);
            let column = profile.columns.get(column).map_or("", |column| column.name.as_str());
            let at = format!(", line {line}, column {column:?}");
            return Err(passed(at, "max_field_bytes", limits.max_field_bytes));
        }
    }
}
