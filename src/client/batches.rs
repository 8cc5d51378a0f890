//! Reads lines of any input in batches, ahead of the caller, by a thread in bounded memory.

use std::io::{self, Read};
use std::sync::mpsc;

use crate::lines::{BYTE_ORDER_MARK, LineReader};

/// A longer line is cut here: no identifier is this long, so it is rejected in either case.
const MAX_LINE: usize = 4 * 1024;
/// A batch is closed at this size even when it has fewer lines: the vault takes 16 MiB.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Some lines of the input.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LineBatch {
    /// How many.
    pub(super) lines: usize,
    /// The lines, each with its line end.
    pub(super) bytes: Vec<u8>,
    /// Bytes of the input that they took.
    pub(super) taken: u64,
}

/// Reads batches off an input.
pub(super) struct LineBatches<R> {
    input: LineReader<R>,
    lines: usize,
}

impl<R: Read> LineBatches<R> {
    fn new(input: R, lines: usize) -> Self {
        Self {
            input: LineReader::new(input),
            lines,
        }
    }

    /// Batches of `lines` lines; the next ones are read while the caller works on one.
    pub(super) fn read_ahead(input: R, lines: usize) -> impl Iterator<Item = io::Result<LineBatch>>
    where
        R: Send + 'static,
    {
        let (sender, receiver) = mpsc::sync_channel(2);
        std::thread::spawn(move || {
            for batch in LineBatches::new(input, lines) {
                let last = batch.is_err();
                if sender.send(batch).is_err() || last {
                    return;
                }
            }
        });
        receiver.into_iter()
    }

    /// Appends the next line to `batch`; false at the end of the input.
    fn line(&mut self, batch: &mut LineBatch) -> io::Result<bool> {
        let Some(taken) = self.input.next_line(&mut batch.bytes, MAX_LINE)? else {
            return Ok(false);
        };
        batch.taken += taken;
        batch.bytes.push(b'\n');
        batch.lines += 1;
        Ok(true)
    }
}

impl<R: Read> Iterator for LineBatches<R> {
    type Item = io::Result<LineBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut batch = LineBatch::default();
        while batch.lines < self.lines && batch.bytes.len() < MAX_BYTES {
            match self.line(&mut batch) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Some(Err(error)),
            }
        }
        if batch.bytes == b"\n" {
            // A body of one empty line reads as a body without a line, so that line keeps a line
            // end of two bytes.
            batch.bytes = b"\r\n".to_vec();
        }
        if batch.bytes.starts_with(BYTE_ORDER_MARK) {
            // The vault takes one off the start of a body, and this one stood within the input: it
            // is part of its line.
            batch.bytes.splice(0..0, BYTE_ORDER_MARK.iter().copied());
        }
        (batch.lines > 0).then_some(Ok(batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(input: &[u8], lines: usize) -> Vec<String> {
        LineBatches::new(input, lines)
            .map(|batch| String::from_utf8(batch.unwrap().bytes).unwrap())
            .collect()
    }

    #[test]
    fn lines_stay_in_order_and_none_is_lost() {
        assert_eq!(texts(b"a\nb\nc\nd\ne", 2), ["a\nb\n", "c\nd\n", "e\n"]);
        assert_eq!(texts(b"a\n\nb\n", 10), ["a\n\nb\n"]);
        assert_eq!(texts(b"", 10), [""; 0]);
        assert_eq!(texts(b"\n", 10), ["\r\n"]);
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
        let batches: Vec<_> = LineBatches::new(&input[..], 10)
            .map(Result::unwrap)
            .collect();
        assert_eq!((batches.len(), batches[0].lines), (1, 2));
        assert_eq!(batches[0].bytes.len(), MAX_LINE + 1 + 2);
        assert_eq!(batches[0].taken, input.len() as u64);
    }

    #[test]
    fn a_batch_is_closed_before_it_is_too_large() {
        let input = vec![b'x'; 100]
            .into_iter()
            .chain([b'\n'])
            .cycle()
            .take(101 * 200_000)
            .collect::<Vec<_>>();
        let batches: Vec<_> = LineBatches::new(&input[..], 1_000_000)
            .map(Result::unwrap)
            .collect();
        assert!(
            batches
                .iter()
                .all(|batch| batch.bytes.len() < MAX_BYTES + MAX_LINE + 2)
        );
        assert_eq!(
            batches.iter().map(|batch| batch.lines).sum::<usize>(),
            200_000
        );
    }

    #[test]
    fn a_broken_input_is_told_once() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        let all: Vec<_> = LineBatches::read_ahead(Broken, 2).collect();
        assert_eq!(all.len(), 1);
        assert!(all[0].is_err());
    }
}
