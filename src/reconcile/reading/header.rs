//! Where the rows of delimited text begin: the delimiter, the header, and the lines above it.
//!
//! The header is the line after which the rows have one shape and types. Easy to get wrong: a first line that holds
//! values like those below it is a row, and losing it would lose a transaction.
use super::{amounts, dates};
use crate::formats::is_missing;

/// Rows looked at.
pub(crate) const HEAD_ROWS: usize = 400;

/// A record of the head with its line.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct HeadRow {
    pub(crate) line: u64,
    pub(crate) cells: Vec<String>,
}

impl HeadRow {
    fn is_blank(&self) -> bool {
        self.cells.iter().all(|cell| cell.trim().is_empty())
    }
}

/// Where the rows begin and what their columns are called.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Layout {
    pub(crate) header_line: Option<u64>,
    /// The first line that may be a row.
    pub(crate) first_line: u64,
    pub(crate) names: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// The shape most rows have.
pub(crate) struct Shape {
    pub(crate) width: usize,
    /// Columns of amounts or dates.
    typed: Vec<Option<Kind>>,
    /// How well a delimiter explains the file.
    pub(crate) score: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Amount,
    Date,
}

fn fits(cell: &str, kind: Kind) -> bool {
    match kind {
        Kind::Amount => amounts::fits(cell) != 0,
        Kind::Date => dates::fits(cell) != 0,
    }
}

/// The shape of the rows, by the width that explains most of them.
pub(crate) fn shape(rows: &[HeadRow]) -> Shape {
    let filled: Vec<&HeadRow> = rows.iter().filter(|row| !row.is_blank()).collect();
    let mut widths: Vec<(usize, usize)> = Vec::new();
    for row in &filled {
        match widths.iter_mut().find(|(width, _)| *width == row.cells.len()) {
            Some((_, count)) => *count += 1,
            None => widths.push((row.cells.len(), 1)),
        }
    }
    let weight = |(width, count): &(usize, usize)| (*count as f64) * (*width as f64 + 0.1).log2();
    let (width, count) =
        widths.iter().copied().max_by(|a, b| weight(a).total_cmp(&weight(b)).then(b.0.cmp(&a.0))).unwrap_or((1, 0));
    let body: Vec<&HeadRow> = filled.iter().copied().filter(|row| row.cells.len() == width).collect();
    // The header and what stands above it may have the same width: the later half of the rows tells the types.
    let body = if body.len() > 1 { &body[(body.len() / 2).max(1)..] } else { &body[..] };
    let typed: Vec<Option<Kind>> = (0..width).map(|at| kind_of(body, at)).collect();
    let share = count as f64 / filled.len().max(1) as f64;
    let kinds = typed.iter().flatten().count() as f64;
    let score = if width < 2 { 0.0 } else { share * ((width as f64).log2() + 0.5 * kinds.min(6.0)) };
    Shape { width, typed, score }
}

fn kind_of(body: &[&HeadRow], at: usize) -> Option<Kind> {
    let cells = || body.iter().map(|row| row.cells[at].trim()).filter(|cell| !is_missing(cell));
    let total = cells().count();
    let enough = |kind| total > 0 && cells().filter(|cell| fits(cell, kind)).count() * 10 >= total * 8;
    if enough(Kind::Date) && !cells().all(|cell| amounts::fits(cell) != 0) {
        return Some(Kind::Date);
    }
    if enough(Kind::Amount) {
        return Some(Kind::Amount);
    }
    enough(Kind::Date).then_some(Kind::Date)
}

/// Finds header and names. `header` is the user's choice: a line, or 0 for none.
pub(crate) fn find(rows: &[HeadRow], shape: &Shape, header: Option<u64>) -> Result<Layout, (u64, String)> {
    let Some(first) = rows.iter().find(|row| !row.is_blank()) else {
        return Err((1, "the file is empty: a header line is needed".into()));
    };
    let begin = data_begin(rows, shape);
    let header_at =
        match header {
            Some(0) => None,
            Some(line) => {
                let at = rows.iter().position(|row| row.line == line);
                Some(at.ok_or_else(|| {
                    (line, "no header here: the line is not among the first rows of the file".to_owned())
                })?)
            }
            None => match begin {
                Some(begin) => header_above(rows, begin, shape),
                // Without amounts or dates below, the first row of full width is the header.
                None => rows.iter().position(|row| row.cells.len() == shape.width && !row.is_blank()),
            },
        };
    let body_from = header_at.map_or_else(|| begin.unwrap_or(0), |at| at + 1);
    let body: Vec<&HeadRow> = rows[body_from.min(rows.len())..].iter().filter(|row| !row.is_blank()).collect();
    let (names, mut warnings) = names(header_at.map(|at| &rows[at]), &body, shape.width);
    if header_at.is_none() && header.is_none() {
        let line = rows.get(body_from).map_or(first.line, |row| row.line);
        warnings.push(format!("no header: line {line} is taken as the first row, columns are numbered"));
    }
    let header_line = header_at.map(|at| rows[at].line);
    let first_line = header_line.map_or_else(|| rows.get(body_from).map_or(1, |row| row.line), |line| line + 1);
    Ok(Layout { header_line, first_line, names, warnings })
}

/// The first row whose cells are like those below it.
fn data_begin(rows: &[HeadRow], shape: &Shape) -> Option<usize> {
    let like_data = |row: &HeadRow| {
        let near = row.cells.len() == shape.width;
        let mut counts = (0, 0);
        for (cell, kind) in row.cells.iter().zip(&shape.typed) {
            if let Some(kind) = kind.filter(|_| !is_missing(cell.trim())) {
                counts.0 += usize::from(fits(cell.trim(), kind));
                counts.1 += 1;
            }
        }
        near && counts.0 > 0 && counts.0 * 2 >= counts.1
    };
    (0..rows.len()).find(|at| {
        let next = rows[*at..].iter().filter(|row| !row.is_blank()).take(6);
        let (same, total) = next.fold((0, 0), |(same, total), row| (same + usize::from(like_data(row)), total + 1));
        like_data(&rows[*at]) && same * 2 >= total
    })
}

/// The nearest row above the first data row that names columns.
fn header_above(rows: &[HeadRow], begin: usize, shape: &Shape) -> Option<usize> {
    let named = |row: &HeadRow| row.cells.iter().filter(|cell| !cell.trim().is_empty()).count();
    // Rows before the first typical one must not be taken for lines above the table: a full row is its header already.
    let filled = || (0..begin).filter(|at| !rows[*at].is_blank());
    let full = |at: &usize| rows[*at].cells.len() == shape.width && named(&rows[*at]) + 1 >= shape.width.max(2);
    if (shape.width >= 3 || filled().all(|at| rows[at].cells.len() == shape.width))
        && let Some(at) = filled().find(full)
    {
        return Some(at);
    }
    let above = (0..begin).rev().filter(|at| !rows[*at].is_blank());
    above.take(3).find(|at| {
        let row = &rows[*at];
        let width = row.cells.len();
        // A trailing delimiter may stand in the header only, or in the rows only.
        let fits_rows = width == shape.width || width + 1 == shape.width || width == shape.width + 1;
        fits_rows && named(row) * 2 >= shape.width.min(width) && (named(row) > 1 || shape.width == 1)
    })
}

fn names(header: Option<&HeadRow>, body: &[&HeadRow], width: usize) -> (Vec<String>, Vec<String>) {
    let mut warnings = Vec::new();
    let given: Vec<String> = match header {
        Some(row) => row.cells.iter().map(|name| unspread(name.trim()).trim().to_owned()).collect(),
        None => Vec::new(),
    };
    let body_width = body.iter().filter(|row| row.cells.len() == width).map(|row| row.cells.len()).max().unwrap_or(0);
    let mut total = given.len().max(body_width).max(usize::from(header.is_none()) * width);
    let used = |at: usize| body.iter().any(|row| row.cells.get(at).is_some_and(|cell| !cell.trim().is_empty()));
    let unnamed = |at: usize| given.get(at).is_none_or(String::is_empty);
    while total > 1 && header.is_some() && unnamed(total - 1) && !used(total - 1) {
        total -= 1;
    }
    let mut names: Vec<String> = Vec::with_capacity(total);
    for at in 0..total {
        let wanted = match given.get(at) {
            Some(name) if !name.is_empty() => name.clone(),
            _ => format!("column {}", at + 1),
        };
        if header.is_some() && unnamed(at) && used(at) {
            warnings.push(format!("column {} has no name in the header", at + 1));
        }
        let mut name = wanted.clone();
        let mut copy = 2;
        while names.contains(&name) {
            name = format!("{wanted} ({copy})");
            copy += 1;
        }
        if name != wanted {
            warnings.push(format!("two columns are called {wanted:?}; the later is {name:?} here"));
        }
        names.push(name);
    }
    (names, warnings)
}

/// `="0012"`, as spreadsheets are made to keep text as it is.
pub(crate) fn unspread(cell: &str) -> &str {
    cell.strip_prefix("=\"").and_then(|rest| rest.strip_suffix('"')).unwrap_or(cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(text: &str) -> Layout {
        let row = |(at, line): (usize, &str)| HeadRow {
            line: at as u64 + 1,
            cells: line.split(';').map(str::to_owned).collect(),
        };
        let rows: Vec<HeadRow> = text.lines().enumerate().map(row).collect();
        find(&rows, &shape(&rows), None).unwrap()
    }

    #[test]
    fn lines_above_the_header_are_left_out() {
        let found = layout(
            "Statement\nAccount;12\n\nDate;Text;Amount;\n01.02.2026;a;1,00;\n02.02.2026;b;2,00;\n03.02.2026;c;3,00;",
        );
        assert_eq!((found.header_line, found.first_line), (Some(4), 5));
        assert_eq!(found.names, ["Date", "Text", "Amount"], "an unnamed empty last column is no column");
    }

    #[test]
    fn a_first_line_like_those_below_is_a_row() {
        let found = layout("01.02.2026;a;1,00\n02.02.2026;b;2,00\n03.02.2026;c;3,00");
        assert_eq!((found.header_line, found.first_line), (None, 1));
        assert_eq!(found.names, ["column 1", "column 2", "column 3"]);
        assert!(found.warnings[0].contains("no header"));
    }

    #[test]
    fn equal_names_are_told_apart_and_a_trailing_delimiter_in_the_header_alone_is_ignored() {
        let found = layout("Date;Betrag;Betrag;\n01.02.2026;1,00;x\n02.02.2026;2,00;y\n03.02.2026;2,00;y");
        assert_eq!(found.names, ["Date", "Betrag", "Betrag (2)"]);
    }

    #[test]
    fn text_alone_has_its_header_on_the_first_line() {
        let found = layout("name;city\nAnna;Rome\nBo;Oslo");
        assert_eq!((found.header_line, found.names.as_slice()), (Some(1), &["name".to_owned(), "city".into()][..]));
    }
}
