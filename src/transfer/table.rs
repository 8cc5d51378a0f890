//! A table of text (CSV, RFC 4180): one column is read and replaced, and every other byte stays as
//! it is. Quotes, line ends, blank lines, other encodings and the byte order mark of spreadsheets
//! are the file's own business; only the fields of the named column are looked into.
//!
//! Where fields begin and end is what `csv-core` says, the state machine of crate `csv`.

use std::io::BufRead;

use csv_core::ReadFieldResult;

use super::MAX_ITEM;
use super::fault::{InputError, TableError};
use crate::lines::BYTE_ORDER_MARK;

/// The most bytes of a record. A longer one lacks a quotation mark somewhere.
const MAX_RECORD: usize = 1 << 20;
/// The delimiters that are tried where none is named.
const USUAL: &[u8] = b",;\t|";
/// Stands for a line break within a field: an item is one line. No identifier has either.
const BROKEN: u8 = 0x0b;

/// Which column of a table is replaced, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePlan {
    /// The column's name in the header.
    pub column: String,
    /// The name of the new column; that of the old one if absent.
    pub name: Option<String>,
    /// Whether the old column stays, before the new one.
    pub keep: bool,
    /// The delimiter; if absent, the one of `,`, `;`, tab and `|` by which the header has the
    /// column.
    pub delimiter: Option<u8>,
}

/// Records of a table, as they stand in the input, with the places where new fields go.
#[derive(Debug, Default)]
pub struct TablePiece {
    /// New bytes that come first: the header.
    head: Vec<u8>,
    raw: Vec<u8>,
    /// The field of each item, as it stands in `raw`: start and end.
    fields: Vec<(usize, usize)>,
    keep: bool,
    delimiter: u8,
}

impl TablePiece {
    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty() && self.head.is_empty()
    }

    /// Writes the records with their new fields: `columns` for each item, as many as the header
    /// got.
    pub fn write<'a, C>(&self, new: impl Iterator<Item = C>, out: &mut Vec<u8>)
    where
        C: Iterator<Item = &'a [u8]>,
    {
        out.extend_from_slice(&self.head);
        let mut done = 0;
        for ((start, end), columns) in self.fields.iter().zip(new) {
            let old = &self.raw[*start..*end];
            out.extend_from_slice(&self.raw[done..*start]);
            write_fields(old, columns, self.keep, self.delimiter, out);
            done = *end;
        }
        out.extend_from_slice(&self.raw[done..]);
    }
}

/// Writes new fields, behind the old one if that stays. They are quoted where they have to be, and
/// where the old one is.
fn write_fields<'a>(
    old: &[u8],
    columns: impl Iterator<Item = &'a [u8]>,
    keep: bool,
    delimiter: u8,
    out: &mut Vec<u8>,
) {
    let mut is_first = true;
    if keep {
        out.extend_from_slice(old);
        is_first = false;
    }
    for column in columns {
        if !std::mem::replace(&mut is_first, false) {
            out.push(delimiter);
        }
        let special = |byte: &u8| matches!(byte, b'"' | b'\r' | b'\n') || *byte == delimiter;
        if old.starts_with(b"\"") || column.iter().any(special) {
            out.push(b'"');
            for byte in column {
                if *byte == b'"' {
                    out.push(b'"');
                }
                out.push(*byte);
            }
            out.push(b'"');
        } else {
            out.extend_from_slice(column);
        }
    }
}

/// One record as it was read.
struct RecordShape {
    /// How many fields it has.
    fields: usize,
    /// The wanted field in the piece's bytes.
    wanted: Option<(usize, usize)>,
}

/// Reads the records of a table whose header was read.
#[derive(Debug)]
pub struct TableReader {
    core: csv_core::Reader,
    delimiter: u8,
    column: usize,
    /// Fields of the header.
    header: usize,
    keep: bool,
    /// The new header; taken by the first piece.
    head: Vec<u8>,
    /// Line ends so far.
    line: u64,
    scratch: Box<[u8]>,
}

impl TableReader {
    /// Reads the header. Each answer has as many columns as `suffixes`, and each new column the new
    /// name with its suffix.
    ///
    /// # Errors
    /// [`TableError`]; those of the input.
    pub fn begin(
        input: &mut impl BufRead,
        plan: &TablePlan,
        suffixes: &[&str],
    ) -> Result<Self, InputError> {
        let header = raw_header(input)?;
        let mut candidates = match plan.delimiter {
            Some(delimiter) => vec![delimiter],
            None => USUAL.to_vec(),
        };
        let width = |delimiter: &u8| names(&header, *delimiter).count();
        let widest = candidates.iter().copied().rev().max_by_key(width);
        candidates.retain(|delimiter| {
            names(&header, *delimiter).any(|name| is_named(&name, &plan.column))
        });
        // A number names a column where no column has it as a name.
        let number = plan.column.parse::<usize>().ok();
        if let (true, Some(number), Some(delimiter)) = (candidates.is_empty(), number, widest)
            && (1..=width(&delimiter)).contains(&number)
        {
            candidates.push(delimiter);
        }
        let Some(delimiter) = candidates.first().copied() else {
            let column = plan.column.clone();
            return Err(TableError::NoColumn { column }.into());
        };
        check_header(&header, delimiter)?;
        let mut reader = Self {
            core: core(delimiter),
            delimiter,
            column: 0,
            header: 0,
            keep: plan.keep,
            head: vec![],
            line: 0,
            scratch: vec![0; MAX_ITEM].into_boxed_slice(),
        };
        reader.take_header(&header, plan, suffixes)?;
        Ok(reader)
    }

    /// Lines of the input before the next record.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The delimiter.
    pub fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// A piece to put records into; the first one has the new header.
    pub(super) fn first_piece(&mut self) -> TablePiece {
        TablePiece {
            head: std::mem::take(&mut self.head),
            keep: self.keep,
            delimiter: self.delimiter,
            ..TablePiece::default()
        }
    }

    /// Leaves the new header out: it was written before. `line` lines stand before the next record.
    pub fn go_on_at(&mut self, line: u64) {
        self.head = vec![];
        self.line = line;
    }

    fn take_header(
        &mut self,
        header: &[u8],
        plan: &TablePlan,
        suffixes: &[&str],
    ) -> Result<(), TableError> {
        let all: Vec<Vec<u8>> = names(header, self.delimiter).collect();
        let mut places = (0..all.len()).filter(|place| is_named(&all[*place], &plan.column));
        let (first, second) = (places.next(), places.next());
        let column = plan.column.clone();
        let by_number = || {
            let number = plan.column.parse::<usize>().ok()?;
            number.checked_sub(1).filter(|place| *place < all.len())
        };
        let Some(first) = first.or_else(by_number) else {
            return Err(TableError::NoColumn { column });
        };
        if second.is_some() {
            return Err(TableError::TwoColumns { column });
        }
        (self.column, self.header) = (first, all.len());
        let name = plan
            .name
            .as_ref()
            .map_or(&all[first][..], |name| name.as_bytes());
        let new: Vec<Vec<u8>> = suffixes
            .iter()
            .map(|suffix| [name, suffix.as_bytes()].concat())
            .collect();
        let is_taken = |name: &&Vec<u8>| {
            let same =
                |(place, old): (usize, &Vec<u8>)| (plan.keep || place != first) && old == *name;
            all.iter().enumerate().any(same)
        };
        if let Some(name) = new.iter().find(is_taken) {
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(TableError::NameTaken { name });
        }
        self.line = 1;
        let (start, end) = field_at(header, self.delimiter, first);
        let mut head = header[..start].to_vec();
        let columns = new.iter().map(Vec::as_slice);
        write_fields(
            &header[start..end],
            columns,
            self.keep,
            self.delimiter,
            &mut head,
        );
        head.extend_from_slice(&header[end..]);
        self.head = head;
        Ok(())
    }

    /// Reads a record into a piece, and its item into `items`. Returns the line in which the record
    /// begins; `None` at the end of the input.
    pub(super) fn next_record(
        &mut self,
        input: &mut impl BufRead,
        piece: &mut TablePiece,
        items: &mut Vec<u8>,
    ) -> Result<Option<u64>, InputError> {
        let (before, item) = (piece.raw.len(), items.len());
        let shape = self.read_record(input, &mut piece.raw, items)?;
        let raw = &piece.raw[before..];
        let blank = raw
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        let line = self.line + 1 + line_ends(&raw[..blank]);
        self.line += line_ends(raw);
        let Some(RecordShape { fields, wanted }) = shape else {
            return Ok(None);
        };
        let (Some(field), true) = (wanted, fields == self.header) else {
            let header = self.header;
            let error = TableError::Ragged {
                line,
                fields,
                header,
            };
            return Err(error.into());
        };
        items.truncate(item + MAX_ITEM);
        for byte in &mut items[item..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = BROKEN;
            }
        }
        piece.fields.push(field);
        Ok(Some(line))
    }

    /// Reads up to the end of a record. Nothing if only blank lines were left.
    fn read_record(
        &mut self,
        input: &mut impl BufRead,
        raw: &mut Vec<u8>,
        item: &mut Vec<u8>,
    ) -> Result<Option<RecordShape>, InputError> {
        let (begin, mut start) = (raw.len(), raw.len());
        let mut shape = RecordShape {
            fields: 0,
            wanted: None,
        };
        loop {
            let there = input.fill_buf()?;
            let is_end = there.is_empty();
            let (result, taken, made) = self.core.read_field(there, &mut self.scratch);
            raw.extend_from_slice(&there[..taken]);
            input.consume(taken);
            if shape.fields == self.column {
                item.extend_from_slice(&self.scratch[..made]);
            }
            if raw.len() - begin > MAX_RECORD {
                let line = self.line + 1;
                return Err(TableError::Endless { line }.into());
            }
            match result {
                ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
                ReadFieldResult::End => return Ok(None),
                ReadFieldResult::Field { record_end } => {
                    let ended = usize::from(!is_end && raw.len() > start);
                    let blank = if shape.fields == 0 {
                        blank(&raw[start..])
                    } else {
                        0
                    };
                    let (from, to) = (start + blank, raw.len() - ended);
                    if is_end && is_cut(&raw[from..to]) {
                        let line = self.line + 1;
                        return Err(TableError::Cut { line }.into());
                    }
                    if shape.fields == self.column {
                        shape.wanted = Some((from, to));
                    }
                    shape.fields += 1;
                    start = raw.len();
                    if record_end {
                        return Ok(Some(shape));
                    }
                }
            }
        }
    }
}

fn core(delimiter: u8) -> csv_core::Reader {
    csv_core::ReaderBuilder::new().delimiter(delimiter).build()
}

/// Line ends and a byte order mark before a record.
fn blank(raw: &[u8]) -> usize {
    let mark = if raw.starts_with(BYTE_ORDER_MARK) {
        BYTE_ORDER_MARK.len()
    } else {
        0
    };
    let ends = raw[mark..].iter();
    mark + ends
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count()
}

/// Whether a field at the end of the input lacks its closing quotation mark.
fn is_cut(field: &[u8]) -> bool {
    let marks = field.iter().filter(|byte| **byte == b'"').count();
    field.starts_with(b"\"") && !marks.is_multiple_of(2)
}

/// Line ends in a piece of text. A CR LF is one, and so is a CR or a LF alone; a CR at the very end
/// counts with the LF that comes next, if one does.
fn line_ends(raw: &[u8]) -> u64 {
    raw.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// The header as it stands in the input, up to its LF (or the end); line ends within quotation
/// marks do not end it.
fn raw_header(input: &mut impl BufRead) -> Result<Vec<u8>, InputError> {
    let (mut raw, mut quoted) = (vec![], false);
    loop {
        let there = input.fill_buf()?;
        let mut end = None;
        for (place, byte) in there.iter().enumerate() {
            match byte {
                b'"' => quoted = !quoted,
                b'\n' if !quoted => {
                    end = Some(place + 1);
                    break;
                }
                _ => {}
            }
        }
        let (taken, is_end) = (end.unwrap_or(there.len()), there.is_empty());
        raw.extend_from_slice(&there[..taken]);
        input.consume(taken);
        if raw.len() > MAX_RECORD {
            return Err(TableError::Endless { line: 1 }.into());
        }
        if end.is_some() || is_end {
            return match blank(&raw) {
                blank if blank == raw.len() => Err(TableError::Empty.into()),
                _ if has_lone_return(&raw) => Err(TableError::LineEnds.into()),
                _ => Ok(raw),
            };
        }
    }
}

/// Whether a line ends with CR alone, as those of old Macintoshes do.
fn has_lone_return(raw: &[u8]) -> bool {
    let mut quoted = false;
    raw.windows(2).any(|pair| {
        quoted ^= pair[0] == b'"';
        !quoted && pair[0] == b'\r' && pair[1] != b'\n'
    })
}

/// Reads a whole table, so that a fault is told before anything is sent. Returns how many records
/// it has.
///
/// # Errors
/// [`TableError`]; those of the input.
pub fn check(
    input: &mut impl BufRead,
    plan: &TablePlan,
    suffixes: &[&str],
) -> Result<u64, InputError> {
    let mut table = TableReader::begin(input, plan, suffixes)?;
    let (mut records, mut item) = (0, vec![]);
    loop {
        let mut piece = TablePiece::default();
        item.clear();
        if table.next_record(input, &mut piece, &mut item)?.is_none() {
            return Ok(records);
        }
        records += 1;
    }
}

/// Whether a header's name is the one that is asked for, but for spaces around it.
fn is_named(name: &[u8], wanted: &str) -> bool {
    name.trim_ascii() == wanted.trim().as_bytes()
}

/// The names in a header.
fn names(header: &[u8], delimiter: u8) -> impl Iterator<Item = Vec<u8>> {
    let mut core = core(delimiter);
    let (mut rest, mut scratch) = (header.to_vec(), vec![0; header.len() + 1]);
    let mut done = false;
    std::iter::from_fn(move || {
        let mut name = vec![];
        while !done {
            let (result, taken, made) = core.read_field(&rest, &mut scratch);
            name.extend_from_slice(&scratch[..made]);
            rest.drain(..taken);
            match result {
                ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
                ReadFieldResult::End => done = true,
                ReadFieldResult::Field { record_end } => {
                    done = record_end;
                    return Some(name);
                }
            }
        }
        None
    })
}

/// Checks that a header is one record and no more. A stray quotation mark would otherwise take the
/// records up to the next one into the header, and what is in the header is written as it is.
fn check_header(header: &[u8], delimiter: u8) -> Result<(), TableError> {
    let (mut core, mut scratch) = (core(delimiter), vec![0; header.len() + 1]);
    let (mut at, mut start) = (0, 0);
    loop {
        let (result, taken, _) = core.read_field(&header[at..], &mut scratch);
        at += taken;
        match result {
            ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
            ReadFieldResult::Field { record_end: false } => start = at,
            ReadFieldResult::Field { record_end: true } | ReadFieldResult::End => {
                let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
                return if !header[at..].iter().all(is_line_end) {
                    Err(TableError::HeaderQuote)
                } else if is_cut(&header[start + blank(&header[start..at])..at]) {
                    Err(TableError::Cut { line: 1 })
                } else {
                    Ok(())
                };
            }
        }
    }
}

/// Where a field of a header stands.
fn field_at(header: &[u8], delimiter: u8, wanted: usize) -> (usize, usize) {
    let (mut core, mut scratch) = (core(delimiter), vec![0; header.len() + 1]);
    let (mut at, mut start, mut field) = (0, 0, 0);
    loop {
        let (result, taken, _) = core.read_field(&header[at..], &mut scratch);
        let is_end = at == header.len();
        at += taken;
        match result {
            ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
            ReadFieldResult::End => return (at, at),
            ReadFieldResult::Field { .. } => {
                if field == wanted {
                    let from = start
                        + if field == 0 {
                            blank(&header[start..at])
                        } else {
                            0
                        };
                    return (from, at - usize::from(!is_end && at > start));
                }
                (field, start) = (field + 1, at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::transfer::input::{DigestInput, InputBatch, InputForm, read_batches};

    fn plan(column: &str) -> TablePlan {
        TablePlan {
            column: column.to_owned(),
            name: None,
            keep: false,
            delimiter: None,
        }
    }

    fn read(input: &[u8], plan: &TablePlan, most: usize) -> Result<Vec<InputBatch>, String> {
        let mut input = DigestInput::new(Cursor::new(input.to_vec()));
        let table = TableReader::begin(&mut input, plan, &[""]).map_err(|e| e.to_string())?;
        let all = read_batches(input, InputForm::Table(Box::new(table)), most, 1);
        let whole: Result<Vec<_>, InputError> = all.into_iter().collect();
        whole.map_err(|error| error.to_string())
    }

    /// The items, and the table with each item in lower case.
    fn lowered(input: &[u8], plan: &TablePlan, most: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
        let (mut items, mut out) = (vec![], vec![]);
        for batch in read(input, plan, most).unwrap() {
            let new: Vec<Vec<u8>> = batch.each().map(<[u8]>::to_ascii_lowercase).collect();
            let columns = new.iter().map(|item| std::iter::once(&item[..]));
            batch.table.as_ref().unwrap().write(columns, &mut out);
            items.extend(batch.each().map(<[u8]>::to_vec));
        }
        (items, out)
    }

    const EXCEL: &[u8] = b"\xef\xbb\xbfnom;\"CIN\";note\r\n\
        Sa\xefd;AB1;\"a;b\r\nc \"\"d\"\"\"\r\n\r\n\
        \xc9lise;\"CD2\";\r\n\
        x;;y";

    /// What stands in the header is written as it is, so no record may be taken for a part of it.
    #[test]
    fn a_stray_quotation_mark_takes_no_record_into_the_header() {
        for (input, fault) in [
            (
                "card,na\"me\nAB1,x\nAB2,y\"\nAB3,z\n",
                TableError::HeaderQuote,
            ),
            ("card,na\"me\nAB1,x\n", TableError::HeaderQuote),
            ("\"card", TableError::Cut { line: 1 }),
            ("card,\"na\"me\"\nAB1,x\n", TableError::HeaderQuote),
        ] {
            let refused = read(input.as_bytes(), &plan("card"), 10).map(drop);
            assert_eq!(refused, Err(fault.to_string()), "{input}");
        }
        let (items, _) = lowered(b"card,\"na\"\"me\"\nAB1,x\n", &plan("card"), 10);
        assert_eq!(items, [b"AB1"]);
    }

    #[test]
    fn only_the_column_changes_and_every_other_byte_stays() {
        for most in [1, 2, 100] {
            let (items, out) = lowered(EXCEL, &plan("CIN"), most);
            assert_eq!(items, [&b"AB1"[..], b"CD2", b""]);
            let wanted = b"\xef\xbb\xbfnom;\"CIN\";note\r\n\
                Sa\xefd;ab1;\"a;b\r\nc \"\"d\"\"\"\r\n\r\n\
                \xc9lise;\"cd2\";\r\n\
                x;;y";
            assert_eq!(out, wanted, "{}", String::from_utf8_lossy(&out));
        }
        let named = TablePlan {
            name: Some("pseudo".into()),
            keep: true,
            ..plan("CIN")
        };
        let (_, out) = lowered(EXCEL, &named, 2);
        assert!(out.starts_with(b"\xef\xbb\xbfnom;\"CIN\";\"pseudo\";note\r\nSa\xefd;AB1;ab1;"));
        assert!(out.ends_with(b"\xc9lise;\"CD2\";\"cd2\";\r\nx;;;y"));
    }

    #[test]
    fn lines_are_told_as_an_editor_counts_them() {
        let all = read(EXCEL, &plan("CIN"), 100).unwrap();
        assert_eq!(all[0].lines, [2, 5, 6]);
    }

    #[test]
    fn a_column_is_named_by_number_in_another_encoding_and_with_spaces_around_it() {
        for (input, column) in [
            (&b"nom;num\xe9ro\nx;1\n"[..], "2"),
            (b"nom; id \nx;1\n", "id"),
            (b"2;nom\n1;x\n", "2"),
        ] {
            let mut input = input;
            assert_eq!(
                check(&mut input, &plan(column), &[""]).unwrap(),
                1,
                "{column}"
            );
        }
        let mut input = &b"nom;num\xe9ro\nx;1\n"[..];
        assert!(check(&mut input, &plan("3"), &[""]).is_err());
    }

    #[test]
    fn first_and_last_columns_and_any_line_end() {
        for (input, wanted) in [
            (&b"id,x\nA,1\nB,2\n"[..], &b"id,x\na,1\nb,2\n"[..]),
            (b"x\tid\r\n1\tA\r\n2\tB", b"x\tid\r\n1\ta\r\n2\tb"),
            (b"id\nA\n\n\nB\n\n", b"id\na\n\n\nb\n\n"),
            (b"\xef\xbb\xbf\"id\"\n\"A\"", b"\xef\xbb\xbf\"id\"\n\"a\""),
            (b"id\n", b"id\n"),
            (b"id", b"id"),
        ] {
            for most in [1, 9] {
                let (_, out) = lowered(input, &plan("id"), most);
                let shown = String::from_utf8_lossy(&out);
                assert_eq!(out, wanted, "{shown}");
            }
        }
    }

    #[test]
    fn a_line_break_in_an_item_makes_no_second_item() {
        let (items, _) = lowered(b"id\n\"A\r\nB\"\nC\n", &plan("id"), 9);
        assert_eq!(items, [&b"A\x0b\x0bB"[..], b"C"]);
    }

    #[test]
    fn what_is_wrong_with_a_table_is_said_without_its_contents() {
        for (input, column, says) in [
            (&b""[..], "id", "is empty"),
            (b"AB123456;x\n", "id", "no column `id`"),
            (b"id,id\n1,2\n", "id", "`id` twice"),
            (
                b"id,x\n1,2\n1\n",
                "id",
                "line 3 has 1 columns, and the first line has 2",
            ),
            (b"id,x\n1,2,3\n", "id", "line 2 has 3 columns"),
            (b"id,x\r1,2\r", "id", "CR alone"),
            (b"id,x\n1,\"ab\nc", "id", "begin in line 2"),
        ] {
            let said = read(input, &plan(column), 9).unwrap_err();
            assert!(said.contains(says) && !said.contains("AB123456"), "{said}");
        }
        let taken = TablePlan {
            name: Some("x".into()),
            ..plan("id")
        };
        assert!(
            read(b"id,x\n", &taken, 9)
                .unwrap_err()
                .contains("already has")
        );
        let mut endless = b"id\n\"".to_vec();
        endless.resize(3 << 20, b'x');
        assert!(
            read(&endless, &plan("id"), 9)
                .unwrap_err()
                .contains("1 MiB")
        );
    }
}
