//! Reads the items of an input in batches, ahead of the caller, in bounded memory.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use sha2::{Digest as _, Sha256};

use super::table::{TableError, TablePiece, TableReader};
use crate::lines::{BYTE_ORDER_MARK, LineReader};

/// A longer item is cut here: no identifier or pseudonym is this long, so it is rejected in either
/// case.
pub(super) const MAX_ITEM: usize = 4 * 1024;
/// A batch is closed at this size even when it has fewer items: the vault takes 16 MiB.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// How much is read at once.
const READ: usize = 1 << 20;

/// A place in an input: how many bytes stand before it, and their SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InputMark {
    /// Bytes before it.
    pub bytes: u64,
    /// SHA-256 of these bytes.
    pub digest: [u8; 32],
}

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

/// An input that knows the digest of what was taken from it.
pub struct DigestInput {
    inner: BufReader<Box<dyn Read + Send>>,
    taken: Sha256,
    bytes: u64,
}

impl DigestInput {
    /// Starts at the input's present position.
    pub fn new(input: impl Read + Send + 'static) -> Self {
        Self {
            inner: BufReader::with_capacity(READ, Box::new(input)),
            taken: Sha256::new(),
            bytes: 0,
        }
    }

    /// The present place.
    pub fn mark(&self) -> InputMark {
        InputMark {
            bytes: self.bytes,
            digest: self.taken.clone().finalize().into(),
        }
    }

    /// Goes on to a place where the input was left before.
    ///
    /// # Errors
    /// [`InputError::Changed`] if what stands before it is not what stood there.
    pub fn go_on_at(&mut self, mark: &InputMark) -> Result<(), InputError> {
        let changed = || InputError::Changed { bytes: mark.bytes };
        while self.bytes < mark.bytes {
            let there = self.fill_buf()?.len() as u64;
            if there == 0 {
                return Err(changed());
            }
            let step = there.min(mark.bytes - self.bytes);
            self.consume(usize::try_from(step).unwrap_or(usize::MAX));
        }
        if self.mark() == *mark {
            Ok(())
        } else {
            Err(changed())
        }
    }

    /// The first bytes, without taking them.
    ///
    /// # Errors
    /// Those of the input.
    pub fn first_bytes(&mut self) -> io::Result<&[u8]> {
        self.fill_buf()
    }
}

impl Read for DigestInput {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let taken = there.len().min(into.len());
        into[..taken].copy_from_slice(&there[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}

impl BufRead for DigestInput {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        loop {
            match self.inner.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(_) => break,
            }
        }
        Ok(self.inner.buffer())
    }

    fn consume(&mut self, amount: usize) {
        self.taken.update(&self.inner.buffer()[..amount]);
        self.bytes += amount as u64;
        self.inner.consume(amount);
    }
}

/// Some items of an input.
#[derive(Debug, Default)]
pub struct InputBatch {
    /// How many.
    pub count: usize,
    /// The items, each with LF.
    pub items: Vec<u8>,
    /// The line of the input in which each item begins, from 1.
    pub lines: Vec<u64>,
    /// The records around the items, where the input is a table.
    pub table: Option<TablePiece>,
    /// The place behind it.
    pub end: InputMark,
    /// Lines of the input before that place.
    pub end_line: u64,
    /// Bytes of the input that it took.
    pub taken: u64,
}

impl InputBatch {
    /// The items, without their LF.
    pub fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.items
            .split(|byte| *byte == b'\n')
            .take(self.count)
            .map(|item| item.strip_suffix(b"\r").unwrap_or(item))
    }

    /// Whether there is nothing to answer and nothing to write.
    fn is_empty(&self) -> bool {
        self.taken == 0 && self.table.as_ref().is_none_or(TablePiece::is_empty)
    }

    fn is_full(&self, most: usize) -> bool {
        let table = self.table.as_ref().map_or(0, TablePiece::len);
        self.count >= most || self.items.len() + table >= MAX_BYTES
    }

    /// Keeps what a text body would lose at its start: a single empty line reads as a body without
    /// a line, and a byte order mark is taken off although it is part of its line.
    fn keep_start(&mut self) {
        if self.items == b"\n" {
            self.items = b"\r\n".to_vec();
        }
        if self.items.starts_with(BYTE_ORDER_MARK) {
            self.items.splice(0..0, BYTE_ORDER_MARK.iter().copied());
        }
    }
}

/// How an input holds its items.
pub enum InputForm {
    /// One a line.
    Lines,
    /// In a column of a table whose header was read.
    Table(TableReader),
}

/// Reads batches off an input.
struct BatchReader {
    input: LineReader<DigestInput>,
    form: InputForm,
    most: usize,
    /// Lines taken so far.
    line: u64,
}

/// Starts to read batches of at most `most` items from where `input` stands; `line` lines stand
/// before it. The next batches are read while the caller works on one.
pub fn read_batches(
    input: DigestInput,
    form: InputForm,
    most: usize,
    line: u64,
) -> Receiver<Result<InputBatch, InputError>> {
    let (sender, receiver) = sync_channel(2);
    std::thread::spawn(move || {
        let begun = input.bytes > 0;
        let reader = BatchReader {
            input: LineReader::over(input, begun),
            form,
            most: most.max(1),
            line,
        };
        reader.send_all(&sender);
    });
    receiver
}

impl BatchReader {
    fn send_all(mut self, sender: &SyncSender<Result<InputBatch, InputError>>) {
        loop {
            let batch = self.next_batch();
            let is_last = match &batch {
                Ok(batch) if batch.is_empty() => return,
                Ok(_) => false,
                Err(_) => true,
            };
            if sender.send(batch).is_err() || is_last {
                return;
            }
        }
    }

    fn next_batch(&mut self) -> Result<InputBatch, InputError> {
        let before = self.input.get_ref().bytes;
        let mut batch = InputBatch::default();
        if let InputForm::Table(table) = &mut self.form {
            batch.table = Some(table.first_piece());
        }
        while !batch.is_full(self.most) && self.next_item(&mut batch)? {}
        batch.end = self.input.get_ref().mark();
        batch.taken = batch.end.bytes - before;
        batch.end_line = self.line;
        batch.keep_start();
        Ok(batch)
    }

    /// Appends the next item to the batch; false at the end of the input.
    fn next_item(&mut self, batch: &mut InputBatch) -> Result<bool, InputError> {
        let there = match (&mut self.form, &mut batch.table) {
            (InputForm::Table(table), Some(piece)) => {
                match table.next_record(self.input.get_mut(), piece, &mut batch.items)? {
                    Some(line) => {
                        batch.lines.push(line);
                        true
                    }
                    None => false,
                }
            }
            _ => {
                let there = self.input.next_line(&mut batch.items, MAX_ITEM)?.is_some();
                if there {
                    self.line += 1;
                    batch.lines.push(self.line);
                }
                there
            }
        };
        if there {
            batch.items.push(b'\n');
            batch.count += 1;
        }
        if let InputForm::Table(table) = &self.form {
            self.line = table.line();
        }
        Ok(there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(input: &[u8], most: usize) -> Vec<InputBatch> {
        let input = DigestInput::new(io::Cursor::new(input.to_vec()));
        let all = read_batches(input, InputForm::Lines, most, 0);
        all.into_iter().map(Result::unwrap).collect()
    }

    fn texts(input: &[u8], most: usize) -> Vec<String> {
        let text = |batch: InputBatch| String::from_utf8(batch.items).unwrap();
        batches(input, most).into_iter().map(text).collect()
    }

    #[test]
    fn lines_stay_in_order_and_none_is_lost() {
        assert_eq!(texts(b"a\nb\nc\nd\ne", 2), ["a\nb\n", "c\nd\n", "e\n"]);
        assert_eq!(texts(b"a\n\nb\n", 10), ["a\n\nb\n"]);
        assert_eq!(texts(b"", 10), [""; 0]);
        assert_eq!(texts(b"\n", 10), ["\r\n"]);
        let all = batches(b"a\r\n\nb", 2);
        assert_eq!(
            (&all[0].lines[..], &all[1].lines[..]),
            (&[1, 2][..], &[3][..])
        );
        assert_eq!(
            all[1].end.digest,
            <[u8; 32]>::from(Sha256::digest(b"a\r\n\nb"))
        );
    }

    #[test]
    fn a_mark_within_the_input_stays_whatever_the_size_of_a_batch() {
        let input = "\u{feff}a\r\n\u{feff}b\n".as_bytes();
        assert_eq!(texts(input, 1), ["a\n", "\u{feff}\u{feff}b\n"]);
        assert_eq!(texts(input, 2), ["a\n\u{feff}b\n"]);
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory_and_one_place() {
        let mut input = vec![b'x'; 3_000_000];
        input.extend_from_slice(b"\nb\n");
        let all = batches(&input, 10);
        assert_eq!((all.len(), all[0].count), (1, 2));
        assert_eq!(all[0].items.len(), MAX_ITEM + 1 + 2);
        assert_eq!(all[0].taken, input.len() as u64);
    }

    #[test]
    fn a_batch_is_closed_before_it_is_too_large() {
        let line = vec![b'x'; 100].into_iter().chain([b'\n']);
        let input: Vec<u8> = line.cycle().take(101 * 200_000).collect();
        let all = batches(&input, 1_000_000);
        let most = MAX_BYTES + MAX_ITEM + 2;
        assert!(all.iter().all(|batch| batch.items.len() < most));
        assert_eq!(all.iter().map(|batch| batch.count).sum::<usize>(), 200_000);
    }

    #[test]
    fn an_input_goes_on_where_it_was_left_and_only_if_it_is_the_same() {
        let all = batches(b"a\nb\nc\n", 2);
        let mark = all[0].end;
        let mut input = DigestInput::new(&b"a\nb\nc\n"[..]);
        input.go_on_at(&mark).unwrap();
        let rest = read_batches(input, InputForm::Lines, 9, 2);
        let rest: Vec<_> = rest.into_iter().map(Result::unwrap).collect();
        assert_eq!((&rest[0].items[..], rest[0].lines[0]), (&b"c\n"[..], 3));
        for other in [&b"a\nx\nc\n"[..], b"a\n", b""] {
            let mut input = DigestInput::new(other);
            assert!(matches!(
                input.go_on_at(&mark),
                Err(InputError::Changed { bytes: 4 })
            ));
        }
    }

    #[test]
    fn a_broken_input_is_told_once() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        let all = read_batches(DigestInput::new(Broken), InputForm::Lines, 2, 0);
        let all: Vec<_> = all.into_iter().collect();
        assert_eq!(all.len(), 1);
        assert!(all[0].is_err());
    }
}
