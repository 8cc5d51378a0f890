//! What may be wrong with an input. Nothing of its contents is repeated.

use std::io;

/// Why an input cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The operating system says so.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// A table is not one, or lacks the column.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The input is shorter than what was read of it before, or begins otherwise.
    #[error("is not the input that was begun with: its first {bytes} bytes are others now")]
    Changed {
        /// How many were read before.
        bytes: u64,
    },
}

/// Why a table cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// There is no header.
    #[error("is empty: it has no header that names columns")]
    Empty,
    /// The header lacks the column. It is not repeated, because a file without a header has
    /// identifiers there.
    #[error(
        "its first line has no column `{column}` (in a file of another encoding than UTF-8, name the column by its number)"
    )]
    NoColumn {
        /// The column.
        column: String,
    },
    /// The header has the column twice.
    #[error("its first line has the column `{column}` twice")]
    TwoColumns {
        /// The column.
        column: String,
    },
    /// The header has a column with the new name already.
    #[error("its first line already has a column `{name}`")]
    NameTaken {
        /// The new name.
        name: String,
    },
    /// Its lines end with CR alone.
    #[error("its lines end with CR alone, as those of old Macintoshes do")]
    LineEnds,
    /// A record has another number of fields than the header.
    #[error("line {line} has {fields} columns, and the first line has {header}")]
    Ragged {
        /// The line in which the record begins.
        line: u64,
        /// Its fields.
        fields: usize,
        /// The header's.
        header: usize,
    },
    /// A record is too long.
    #[error(
        "the record that begins in line {line} is longer than 1 MiB: a quotation mark may be missing there"
    )]
    Endless {
        /// The line in which it begins.
        line: u64,
    },
    /// A name in the header has a quotation mark within, so that it is not certain where the header
    /// ends.
    #[error("a quotation mark stands within a name of its first line, which may end anywhere then")]
    HeaderQuote,
    /// The last record ends within quotation marks.
    #[error("ends within the quotation marks that begin in line {line}: the file may be cut short")]
    Cut {
        /// The line in which the record begins.
        line: u64,
    },
}
