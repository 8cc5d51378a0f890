//! Tables of figures: a name to the left, numbers to the right below their titles.

use std::fmt;

/// A table with titles.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these titles; the first is that of the names.
    pub fn new<'t>(titles: impl Iterator<Item = &'t str>) -> Self {
        Self {
            rows: vec![titles.map(str::to_owned).collect()],
        }
    }

    /// Adds a row.
    pub fn row(&mut self, name: &str, cells: Vec<String>) {
        let mut row = vec![name.to_owned()];
        row.extend(cells);
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        for row in &self.rows {
            write!(f, "{:<1$}", row[0], widths[0])?;
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                write!(f, "  {cell:>width$}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_below_their_titles() {
        let mut table = Table::new(["sector", "asked", "n"].into_iter());
        table.row("health", vec!["1,000,000".to_owned(), "2".to_owned()]);
        assert_eq!(
            table.to_string(),
            "sector      asked  n\nhealth  1,000,000  2\n"
        );
    }
}
