//! A part of a table, chosen by what its rows hold and never by where they stand.
use super::{Cells, Column, Table, Typed};

impl Table {
    /// The table with at most `rows` of its rows, in file order. Which ones depends on the content of the rows alone: the same ones
    /// from the same file in any order, and those of a smaller sample are among those of a larger one.
    pub fn sample(&self, rows: usize) -> Self {
        let rank = self.content_order(&self.content_hashes());
        let kept: Vec<u32> = (0..self.len() as u32).filter(|row| (rank[*row as usize] as usize) < rows).collect();
        let mut part = self.with_rows(&kept);
        if part.len() < self.len() {
            part.profile.reading.sampled_from = Some(self.len() as u64);
        }
        part
    }

    /// The table with these rows, in this order.
    pub(crate) fn with_rows(&self, rows: &[u32]) -> Self {
        let columns = self.columns.iter().map(|column| {
            let typed = match &column.typed {
                Typed::Money { units, scale } => {
                    Typed::Money { units: rows.iter().map(|row| units[*row as usize]).collect(), scale: *scale }
                }
                Typed::Date(days) => Typed::Date(rows.iter().map(|row| days[*row as usize]).collect()),
                Typed::Text => Typed::Text,
            };
            Column { profile: column.profile.clone(), typed }
        });
        Self {
            name: self.name.clone(),
            profile: self.profile.clone(),
            columns: columns.collect(),
            errors: self.errors.clone(),
            error_count: self.error_count,
            options_sign: self.options_sign,
            options_scale: self.options_scale,
            id_column: self.id_column,
            cells: self.cells.of_rows(rows),
            derived: self.derived.of_rows(rows),
            lines: rows.iter().map(|row| self.lines[*row as usize]).collect(),
        }
    }
}

impl Cells {
    fn of_rows(&self, rows: &[u32]) -> Self {
        let mut kept = Self { width: self.width, ..Self::default() };
        for row in rows {
            for column in 0..self.width {
                // Fits: it is a part of what fitted.
                kept.push(self.get(*row as usize, column));
            }
        }
        kept
    }
}
