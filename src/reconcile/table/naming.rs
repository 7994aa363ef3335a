//! The column that names the rows of a table.
//!
//! Easy to get wrong: a hash may be shared by two texts, so rows of one hash are compared before they repeat each other.
use super::Table;
use crate::formats::{ReadError, ReadOptions};
use crate::text;

/// The id column asked for, which must be unique; else the first unique one of single words. Free text, dates and
/// amounts name no row: without a key the line does.
pub(super) fn choose_id(table: &Table, options: &ReadOptions) -> Result<Option<usize>, ReadError> {
    if let Some(name) = options.id_column.as_ref().or(options.reading.id.as_ref()) {
        if name == "line" && table.column_index(name).is_none() {
            return Ok(None);
        }
        let column = table.column_index(name).ok_or_else(|| ReadError::NoColumn {
            name: options.name.clone(),
            column: name.clone(),
            available: table.columns.iter().map(|c| c.profile.name.as_str()).collect::<Vec<_>>().join(", "),
        })?;
        return match repeated(table, column) {
            None => Ok(Some(column)),
            Some((first, row)) => Err(ReadError::IdRepeated {
                name: options.name.clone(),
                line: table.line(row),
                column: name.clone(),
                value: table.cell(row, column).to_owned(),
                first_line: table.line(first),
            }),
        };
    }
    let columns = table.columns.iter().enumerate().filter(|(_, column)| column.profile.names_rows());
    Ok(columns.map(|(at, _)| at).find(|at| repeated(table, *at).is_none()))
}

/// The first two rows with the same value: of all rows that repeat another the first, and the row it repeats.
fn repeated(table: &Table, column: usize) -> Option<(usize, usize)> {
    let hash = |row: usize| text::hash(table.cell(row, column));
    let mut hashes: Vec<(u64, u32)> = (0..table.len()).map(|row| (hash(row), row as u32)).collect();
    hashes.sort_unstable();
    let mut found: Option<(usize, usize)> = None;
    for group in hashes.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1) {
        // Rows stand in order; texts of one hash may differ.
        for (at, (_, later)) in group.iter().enumerate() {
            let cell = table.cell(*later as usize, column);
            if let Some((_, earlier)) = group[..at].iter().find(|(_, row)| table.cell(*row as usize, column) == cell) {
                let pair = (*earlier as usize, *later as usize);
                found = Some(found.filter(|known| known.1 <= pair.1).unwrap_or(pair));
                break;
            }
        }
    }
    found
}
