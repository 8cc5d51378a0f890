//! Lines of what people write: lists, batches, files of secrets.
//!
//! One rule for all of them. A UTF-8 byte order mark at the start is dropped, because spreadsheets
//! and editors of Windows write one. A line ends with LF or CR LF, and the last one may lack its
//! end. What an empty line means depends on the text: in a batch ([`of`], [`LineReader`]) it is an
//! item, which is empty; in a list ([`entries`]) and in a file of one secret ([`only`]) it does not
//! count, nor do the spaces around an entry, the no-break space among them.

use std::io::{self, BufRead, BufReader, Read};

/// U+FEFF in UTF-8.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A text without the byte order mark that may stand before it.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// Removes the byte order mark of a text in place, so that no second copy of a secret is made.
pub fn drop_mark(text: &mut Vec<u8>) {
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len());
    }
}

/// A line without the CR of its CR LF; the LF is gone already.
fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The lines of a text, without their ends. An empty text and a single LF have none.
pub fn of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = without_mark(text);
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let most = if text.is_empty() { 0 } else { usize::MAX };
    text.split(|byte| *byte == b'\n')
        .take(most)
        .map(without_return)
}

/// A line is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not UTF-8")]
pub struct NotUtf8 {
    /// Its number, from 1.
    pub line: usize,
}

/// An entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListLine<'t> {
    /// The number of its line, from 1.
    pub line: usize,
    /// The text of the line, without the spaces around it.
    pub text: &'t str,
}

/// The entries of a list: its lines, without those that are empty or only spaces.
///
/// # Errors
/// [`NotUtf8`], for the first such line.
pub fn entries(text: &[u8]) -> Result<Vec<ListLine<'_>>, NotUtf8> {
    let entry = |(line, bytes)| match str::from_utf8(bytes) {
        Ok(text) => Ok(ListLine {
            line,
            text: text.trim(),
        }),
        Err(_) => Err(NotUtf8 { line }),
    };
    let all = (1..).zip(of(text)).map(entry);
    all.filter(|entry| !entry.is_ok_and(|entry| entry.text.is_empty()))
        .collect()
}

/// The entry of a text that has exactly one.
pub fn only(text: &[u8]) -> Option<&str> {
    match entries(text).ok()?[..] {
        [entry] => Some(entry.text),
        _ => None,
    }
}

/// A whole text.
///
/// # Errors
/// [`NotUtf8`], with the line of the first byte that is not.
pub fn text(mut bytes: Vec<u8>) -> Result<String, NotUtf8> {
    drop_mark(&mut bytes);
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        NotUtf8 {
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        }
    })
}

/// Reads lines from an input of any length, in bounded memory.
#[derive(Debug)]
pub struct LineReader<B> {
    input: B,
    begun: bool,
}

impl<R: Read> LineReader<BufReader<R>> {
    /// Starts at the input's present position.
    pub fn new(input: R) -> Self {
        Self::over(BufReader::with_capacity(1 << 20, input), false)
    }
}

impl<B: BufRead> LineReader<B> {
    /// Reads on in an input with a buffer of its own. `begun`: its start was read before, where a
    /// byte order mark may stand.
    pub fn over(input: B, begun: bool) -> Self {
        Self { input, begun }
    }

    /// The input.
    pub fn get_ref(&self) -> &B {
        &self.input
    }

    /// The input.
    pub fn get_mut(&mut self) -> &mut B {
        &mut self.input
    }

    /// Appends the next line to `line`, without its end and at most `most` bytes of it. Returns how
    /// many bytes of the input it took; `None` at the end of the input.
    ///
    /// # Errors
    /// Those of the input.
    pub fn next_line(&mut self, line: &mut Vec<u8>, most: usize) -> io::Result<Option<u64>> {
        let start = line.len();
        let (mut taken, mut ended) = (0, false);
        while !ended {
            let chunk = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            if chunk.is_empty() {
                break;
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let text = &chunk[..end.unwrap_or(chunk.len())];
            let room = most.saturating_sub(line.len() - start);
            line.extend_from_slice(&text[..text.len().min(room)]);
            let consumed = end.map_or(chunk.len(), |end| end + 1);
            ended = end.is_some();
            self.input.consume(consumed);
            taken += consumed as u64;
        }
        if !std::mem::replace(&mut self.begun, true) && line[start..].starts_with(BYTE_ORDER_MARK) {
            line.drain(start..start + BYTE_ORDER_MARK.len());
        }
        if !ended && line.len() == start {
            return Ok(None);
        }
        line.truncate(start + without_return(&line[start..]).len());
        Ok(Some(taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<Vec<u8>> {
        let (mut reader, mut lines) = (LineReader::new(text), vec![]);
        loop {
            let mut line = vec![];
            match reader.next_line(&mut line, 100).unwrap() {
                Some(_) => lines.push(line),
                None => return lines,
            }
        }
    }

    #[test]
    fn lines_end_where_people_expect() {
        for (text, lines) in [
            (&b""[..], &[][..]),
            (b"a", &["a"]),
            (b"a\nb", &["a", "b"]),
            (b"a\nb\n", &["a", "b"]),
            (b"a\r\nb\r\n", &["a", "b"]),
            (b"a\r\nb\r", &["a", "b"]),
            (b"a\n\nb\n", &["a", "", "b"]),
            (b"\n\n", &["", ""]),
            (b"\r\n", &[""]),
            (b"a\rb\n", &["a\rb"]),
        ] {
            assert_eq!(
                of(text).collect::<Vec<_>>(),
                lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>()
            );
            assert_eq!(read(text), of(text).map(<[u8]>::to_vec).collect::<Vec<_>>());
            let marked = [BYTE_ORDER_MARK, text].concat();
            assert_eq!(
                of(&marked).collect::<Vec<_>>(),
                of(text).collect::<Vec<_>>(),
                "a mark changes nothing"
            );
        }
        assert_eq!(of(b"\n").count(), 0);
        assert_eq!(read(&[BYTE_ORDER_MARK, b"a\r\n"].concat()), [b"a"]);
        assert_eq!(read(BYTE_ORDER_MARK).len(), 0);
    }

    #[test]
    fn a_mark_counts_at_the_start_only() {
        let text = "\u{feff}a\n\u{feff}b\n".as_bytes();
        assert_eq!(
            of(text).collect::<Vec<_>>(),
            [&b"a"[..], "\u{feff}b".as_bytes()]
        );
        assert_eq!(read(text), [b"a".to_vec(), "\u{feff}b".as_bytes().to_vec()]);
    }

    #[test]
    fn a_list_has_entries_with_their_lines() {
        let list = "\u{feff}\u{a0}one \r\n\r\n \u{a0}\n\ttwo\u{202f}".as_bytes();
        assert_eq!(
            entries(list),
            Ok(vec![
                ListLine {
                    line: 1,
                    text: "one"
                },
                ListLine {
                    line: 4,
                    text: "two"
                }
            ])
        );
        assert_eq!(entries(b"one\n\n\xff\ntwo"), Err(NotUtf8 { line: 3 }));
        assert_eq!(NotUtf8 { line: 3 }.to_string(), "line 3 is not UTF-8");
    }

    #[test]
    fn one_entry_is_one_entry() {
        assert_eq!(only("\u{feff}\r\none\r\n".as_bytes()), Some("one"));
        assert_eq!(
            (only(b""), only(b"one\ntwo"), only(b"\xff")),
            (None, None, None)
        );
    }

    #[test]
    fn a_text_says_where_it_is_not_utf_8() {
        assert_eq!(text("\u{feff}é\r\n".as_bytes().to_vec()).unwrap(), "é\r\n");
        assert_eq!(
            text(b"a\nb\n\xe9t\xe9\n".to_vec()),
            Err(NotUtf8 { line: 3 })
        );
    }
}
