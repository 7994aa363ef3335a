//! What all workbooks share: which sheets are read, their cells within bounds, and one sheet or several as a table.
//!
//! A sheet's header is found as in delimited text. Easy to get wrong: a small file can declare a giant sheet, so only cells
//! that hold something are kept, and what they and their table take is counted before it is there.
use super::csv::check_names;
use super::document::failed;
use super::format::{Heading, Sink};
use super::{ReadError, ReadOptions};
use crate::reading::header::{self, HEAD_ROWS, HeadRow, Layout};

/// Bytes of everything in a workbook, unpacked; and of the cells that are kept of it.
pub(super) const MAX_UNPACKED_BYTES: u64 = 512 << 20;
/// Days between the two epochs that workbooks count from.
pub(super) const DAYS_1904: f64 = 1462.0;
/// Cells of a table, the empty ones among them: rows by columns.
const MAX_TABLE_CELLS: usize = 64 << 20;

/// A cell with its text at `start..end` of its sheet.
struct Place {
    row: u32,
    column: u32,
    start: usize,
    end: usize,
}

/// The cells of a sheet that hold something.
pub(super) struct Grid {
    pub(super) name: String,
    places: Vec<Place>,
    text: String,
    sorted: bool,
}

impl Grid {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Rows in order, their cells in order; of two cells in one place the later counts.
    fn rows(&self) -> impl Iterator<Item = (u64, &[Place])> {
        self.places.chunk_by(|a, b| a.row == b.row).map(|places| (u64::from(places[0].row) + 1, places))
    }

    /// A row's texts up to its last cell; the strings of `cells` are used again.
    fn fill<'a>(&'a self, places: &[Place], cells: &mut Vec<&'a str>) {
        cells.clear();
        for place in places {
            cells.resize(place.column as usize + 1, "");
            cells[place.column as usize] = &self.text[place.start..place.end];
        }
    }
}

/// The sheets that were asked for: a name, or several by `/` between names and `*` for any part of them. No program lets
/// a sheet be called by these two.
struct Wanted<'a> {
    whole: &'a str,
    parts: Vec<&'a str>,
}

impl<'a> Wanted<'a> {
    fn new(whole: &'a str) -> Self {
        Self { whole, parts: whole.split('/').map(str::trim).collect() }
    }

    /// Whether their rows are to be told apart by a column.
    fn several(&self) -> bool {
        self.parts.len() > 1 || self.whole.contains('*')
    }

    fn is_named(&self, name: &str) -> bool {
        self.whole == name || self.parts.contains(&name)
    }

    fn takes(&self, name: &str) -> bool {
        self.is_named(name) || self.parts.iter().any(|part| fits(part, name))
    }

    /// The first name or pattern for which there is no sheet.
    fn missing(&self, names: &[String]) -> Option<&'a str> {
        if names.iter().any(|name| name == self.whole) {
            return None;
        }
        self.parts.iter().copied().find(|part| !names.iter().any(|name| part == name || fits(part, name)))
    }
}

/// Whether a name is the pattern, with anything in place of each `*`.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(begin) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(end)
}

/// Takes the cells of the sheets that are wanted.
pub(super) struct Sheets<'a> {
    options: &'a ReadOptions,
    wanted: Option<Wanted<'a>>,
    grids: Vec<Grid>,
    rows: usize,
    /// Bytes that may still be kept.
    room: usize,
}

impl<'a> Sheets<'a> {
    pub(super) fn new(options: &'a ReadOptions) -> Self {
        let wanted = options.reading.sheet.as_deref().map(Wanted::new);
        Self { options, wanted, grids: Vec::new(), rows: 0, room: MAX_UNPACKED_BYTES as usize }
    }

    /// Whether a sheet of that name is to be read: those that were asked for, else the first that has a cell.
    pub(super) fn wants(&self, name: &str) -> bool {
        match &self.wanted {
            Some(wanted) => wanted.takes(name),
            None => self.grids.iter().all(Grid::is_empty),
        }
    }

    /// A sheet begins; cells up to the next one are its own.
    pub(super) fn begin(&mut self, name: &str) {
        self.grids.retain(|grid| !grid.is_empty());
        self.grids.push(Grid { name: name.to_owned(), places: Vec::new(), text: String::new(), sorted: true });
    }

    /// A cell, counted from 0; an empty one takes no room.
    pub(super) fn cell(&mut self, row: u32, column: usize, text: &str) -> Result<(), ReadError> {
        let text = text.trim();
        let (Some(grid), false) = (self.grids.last_mut(), text.is_empty()) else { return Ok(()) };
        let options = self.options;
        let at = || format!(", sheet {:?}, cell {}", grid.name, address(row, column));
        let limit = |limit, value| ReadError::Limit { name: options.name.clone(), at: at(), limit, value };
        if column >= options.limits.max_columns {
            return Err(limit("max_columns", options.limits.max_columns));
        }
        if grid.places.last().is_none_or(|last| last.row != row) {
            self.rows += 1;
            // The header and the lines above it are no rows, and cannot be told apart yet.
            if self.rows > options.limits.max_rows.saturating_add(HEAD_ROWS) {
                return Err(limit("max_rows", options.limits.max_rows));
            }
        }
        let takes = text.len() + size_of::<Place>();
        self.room = self.room.checked_sub(takes).ok_or_else(|| {
            let reason = format!("the cells up to here hold more than {MAX_UNPACKED_BYTES} bytes; export it as CSV");
            failed(options, at(), reason)
        })?;
        let after = |last: &Place| (last.row, last.column as usize) < (row, column);
        grid.sorted &= grid.places.last().is_none_or(after);
        let start = grid.text.len();
        grid.text.push_str(text);
        grid.places.push(Place { row, column: column as u32, start, end: grid.text.len() });
        Ok(())
    }

    /// Gives the table of what was taken; `names` are all sheets of the workbook.
    pub(super) fn give(mut self, format: &str, names: &[String], sink: &mut dyn Sink) -> Result<(), ReadError> {
        if let Some(missing) = self.wanted.as_ref().and_then(|wanted| wanted.missing(names)) {
            let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(failed(self.options, String::new(), format!("no sheet {missing:?}; it has {there}")));
        }
        self.grids.retain(|grid| !grid.is_empty());
        for grid in self.grids.iter_mut().filter(|grid| !grid.sorted) {
            grid.places.sort_by_key(|place| (place.row, place.column));
        }
        if self.grids.is_empty() {
            let what = self
                .wanted
                .as_ref()
                .map_or("no sheet has a row".to_owned(), |wanted| format!("sheet {:?} has no row", wanted.whole));
            return Err(failed(self.options, String::new(), what));
        }
        match &self.wanted {
            Some(wanted) if wanted.several() => {
                let (tables, warnings) = alike(&self.grids, wanted, self.options)?;
                union(format, tables, warnings, self.options, sink)
            }
            _ => {
                let grid = &self.grids[0];
                let others: Vec<&str> = match self.wanted {
                    Some(_) => Vec::new(),
                    None => names.iter().filter(|name| **name != grid.name).map(String::as_str).collect(),
                };
                table(format, grid, &others, self.options, sink)
            }
        }
    }
}

/// `B7`
pub(super) fn address(row: u32, mut column: usize) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'A' + (column % 26) as u8));
        if column < 26 {
            break;
        }
        column = column / 26 - 1;
    }
    format!("{}{}", letters.iter().rev().collect::<String>(), u64::from(row) + 1)
}

/// Fifteen digits are what a spreadsheet keeps; behind them a float has noise.
pub(super) fn number_text(number: f64) -> String {
    let rounded: f64 = format!("{number:.14e}").parse().unwrap_or(number);
    rounded.to_string()
}

/// A day number as `2026-03-05`; the time of day is left out.
pub(super) fn day_text(serial: f64) -> String {
    let days = serial.floor() as i64;
    // The last day of the year 9999, which is where spreadsheets end.
    if !(0..=2_958_465).contains(&days) {
        return number_text(serial);
    }
    let days = days - 25_569 + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Header and names of a sheet.
fn layout(grid: &Grid, options: &ReadOptions) -> Result<Layout, ReadError> {
    let skip = options.reading.skip.unwrap_or(0);
    let mut cells = Vec::new();
    let wide = grid.places.iter().map(|place| place.column as usize + 1).max().unwrap_or(0);
    let head = grid.rows().filter(|(line, _)| *line > skip).take(HEAD_ROWS).map(|(line, places)| {
        grid.fill(places, &mut cells);
        cells.resize(wide, "");
        HeadRow { line, cells: cells.iter().map(|cell| (*cell).to_owned()).collect() }
    });
    let head: Vec<HeadRow> = head.collect();
    let shape = header::shape(&head);
    let layout = header::find(&head, &shape, options.reading.header).map_err(|(line, reason)| ReadError::Header {
        name: options.name.clone(),
        line,
        reason: format!("sheet {:?}: {reason}", grid.name),
    })?;
    check_names(&layout, options)?;
    Ok(layout)
}

/// Refuses a table of more cells than are read, wherever the empty ones are.
fn check_cells(rows: usize, columns: usize, place: String, options: &ReadOptions) -> Result<(), ReadError> {
    if rows.saturating_mul(columns) <= MAX_TABLE_CELLS {
        return Ok(());
    }
    let reason = format!("{rows} rows of {columns} columns are more than {MAX_TABLE_CELLS} cells; export it as CSV");
    Err(failed(options, place, reason))
}

/// A row with cells where the header has none.
fn too_wide(line: u64, place: &str, cells: &[&str], width: usize, sink: &mut dyn Sink) -> Result<(), ReadError> {
    let reason = format!("{} cells where the header has {width}", cells.len());
    sink.bad(line, place, &cells[..cells.len().min(4)].join(" | "), &reason)
}

fn table(
    format: &str,
    grid: &Grid,
    others: &[&str],
    options: &ReadOptions,
    sink: &mut dyn Sink,
) -> Result<(), ReadError> {
    let layout = layout(grid, options)?;
    check_cells(grid.rows().count(), layout.names.len(), format!(", sheet {:?}", grid.name), options)?;
    let mut warnings = layout.warnings.clone();
    if !others.is_empty() {
        warnings.push(format!("sheet {:?} is read, and not {}", grid.name, others.join(", ")));
    }
    sink.heading(Heading {
        format: format.to_owned(),
        header_line: layout.header_line,
        skipped_above: layout.header_line.unwrap_or(layout.first_line) - 1,
        names: layout.names.clone(),
        warnings,
        ..Heading::default()
    })?;
    let width = layout.names.len();
    let mut cells = Vec::new();
    for (line, places) in grid.rows().filter(|(line, _)| *line >= layout.first_line) {
        grid.fill(places, &mut cells);
        if cells.len() > width {
            too_wide(line, &address(places[0].row, width), &cells, width, sink)?;
            continue;
        }
        cells.resize(width, "");
        sink.row(line, &cells)?;
    }
    Ok(())
}

/// Sheets with their layout, and warnings about those that were left out.
type Alike<'g> = (Vec<(&'g Grid, Layout)>, Vec<String>);

/// The sheets that are of one table: they share half of their columns with the one that most are like. One that is not is
/// left out with a warning, and refused when it was asked for by its name.
fn alike<'g>(grids: &'g [Grid], wanted: &Wanted<'_>, options: &ReadOptions) -> Result<Alike<'g>, ReadError> {
    let (mut tables, mut warnings) = (Vec::new(), Vec::new());
    for grid in grids {
        match layout(grid, options) {
            Ok(layout) => tables.push((grid, layout)),
            Err(error) if wanted.is_named(&grid.name) => return Err(error),
            Err(error) => warnings.push(format!("sheet {:?} is left out: {error}", grid.name)),
        }
    }
    let share = |a: &Layout, b: &Layout| {
        let common = a.names.iter().filter(|name| b.names.contains(name)).count();
        common * 2 >= a.names.len().max(b.names.len())
    };
    // The first of those that most are like, of these the widest: a cover has one column.
    let like = |at: &usize| {
        let own = &tables[*at].1;
        (tables.iter().filter(|(_, other)| share(own, other)).count(), own.names.len())
    };
    let Some(base) = (0..tables.len()).rev().max_by_key(like) else {
        return Err(failed(options, String::new(), warnings.join("; ")));
    };
    let base = tables[base].1.clone();
    let (kept, others): (Vec<_>, Vec<_>) = tables.into_iter().partition(|(_, layout)| share(&base, layout));
    for (grid, layout) in others {
        let reason = format!("its columns are {} where others have {}", layout.names.join(", "), base.names.join(", "));
        if wanted.is_named(&grid.name) {
            return Err(failed(options, format!(", sheet {:?}", grid.name), reason));
        }
        warnings.push(format!("sheet {:?} is left out: {reason}", grid.name));
    }
    Ok((kept, warnings))
}

/// Several sheets as one table, whose last column names the sheet. Rows are numbered on from sheet to sheet.
fn union(
    format: &str,
    tables: Vec<(&Grid, Layout)>,
    mut warnings: Vec<String>,
    options: &ReadOptions,
    sink: &mut dyn Sink,
) -> Result<(), ReadError> {
    let mut names: Vec<String> = Vec::new();
    for name in tables.iter().flat_map(|(_, layout)| &layout.names) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    for name in &names {
        let without = tables.iter().filter(|(_, layout)| !layout.names.contains(name));
        let without: Vec<&str> = without.map(|(grid, _)| grid.name.as_str()).collect();
        if !without.is_empty() {
            warnings.push(format!("column {name:?} is not in {}; it is empty there", without.join(", ")));
        }
    }
    let own = (1..).map(|copy| if copy == 1 { "sheet".to_owned() } else { format!("sheet ({copy})") });
    let own = own.filter(|name| !names.contains(name)).take(1);
    names.extend(own.collect::<Vec<_>>());
    let rows = tables.iter().map(|(grid, _)| grid.rows().count()).sum();
    check_cells(rows, names.len(), String::new(), options)?;
    let (mut begins, mut end) = (Vec::new(), 0);
    for (grid, layout) in &tables {
        begins.push(end);
        end += grid.rows().last().map_or(0, |(line, _)| line);
        warnings.extend(layout.warnings.iter().map(|warning| format!("sheet {:?}: {warning}", grid.name)));
    }
    let numbered =
        tables.iter().zip(&begins).map(|((grid, _), begin)| format!("{:?} is line {}", grid.name, begin + 1));
    warnings.push(format!("sheets are read as one: row 1 of {}", numbered.collect::<Vec<_>>().join(", of ")));
    let first = &tables[0].1;
    sink.heading(Heading {
        format: format.to_owned(),
        header_line: first.header_line,
        skipped_above: first.header_line.unwrap_or(first.first_line) - 1,
        names: names.clone(),
        warnings,
        ..Heading::default()
    })?;
    let mut cells = Vec::new();
    for ((grid, layout), begin) in tables.iter().zip(begins) {
        let at: Vec<usize> =
            layout.names.iter().map(|name| names.iter().position(|n| n == name).unwrap_or(0)).collect();
        let mut row = vec![""; names.len()];
        row[names.len() - 1] = &grid.name;
        for (line, places) in grid.rows().filter(|(line, _)| *line >= layout.first_line) {
            grid.fill(places, &mut cells);
            if cells.len() > at.len() {
                let place = format!("{}!{}", grid.name, address(places[0].row, at.len()));
                too_wide(begin + line, &place, &cells, at.len(), sink)?;
                continue;
            }
            at.iter().for_each(|column| row[*column] = "");
            cells.iter().zip(&at).for_each(|(cell, column)| row[*column] = cell);
            sink.row(begin + line, &row)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_the_names_that_fit_it() {
        for (pattern, name) in
            [("*", "May"), ("*", ""), ("M*", "May"), ("*y", "May"), ("2*-*6", "2026-06"), ("a*a", "aa")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("M*", "June"), ("*y", "May 2"), ("a*a", "a"), ("May", "may"), ("*x*x*", "x")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn cells_are_called_as_a_spreadsheet_calls_them() {
        let found = [(0, 0), (6, 25), (0, 26), (9, 16_383)].map(|(row, column)| address(row, column));
        assert_eq!(found, ["A1", "Z7", "AA1", "XFD10"]);
    }
}
