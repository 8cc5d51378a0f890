//! The request: written by the vault, read by the identity source.

use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    HEAD, MAX_CANONICAL, MAX_PART_HEAD, MAX_PARTS, MAX_VALUES, RequestNonce, UtiBatch, UtiContext,
    UtiKind, UtisError, VERSION,
};
use crate::id::Id;
use crate::keys::lp;
use crate::seal::SealReader;

const TOKENIZE: u8 = 1;
const MIGRATE: u8 = 2;
const RESEAL: u8 = 3;
const RIGHTS: u8 = 4;
const LINK: u8 = 5;
const PROBE: u8 = 6;
const PERSON_KEY: u8 = 7;

/// The byte of a kind of UTIs.
const fn byte_of(kind: UtiKind) -> u8 {
    match kind {
        UtiKind::Tokenize => TOKENIZE,
        UtiKind::Migrate => MIGRATE,
        UtiKind::Reseal => RESEAL,
        UtiKind::Rights => RIGHTS,
        UtiKind::Link => LINK,
    }
}

// --- written
// ----------------------------------------------------------------------------------------------------------

/// The bytes before the parts of a request.
///
/// # Panics
/// When there are no parts, or more than [`MAX_PARTS`].
pub fn request_head(nonce: &RequestNonce, parts: usize) -> [u8; HEAD] {
    assert!((1..=MAX_PARTS).contains(&parts), "the caller counts parts");
    let mut head = [VERSION; HEAD];
    head[1..17].copy_from_slice(nonce);
    head[17..].copy_from_slice(&(parts as u16).to_be_bytes());
    head
}

/// One part of a request, as bytes that are wiped.
pub struct EncodedPart {
    bytes: Zeroizing<Vec<u8>>,
    answers: usize,
}

impl EncodedPart {
    /// Asks for the UTIs of values.
    ///
    /// # Panics
    /// When there is no value, or more than [`MAX_VALUES`].
    pub fn values(context: UtiContext<'_>, batch: UtiBatch<'_>) -> Self {
        let count = batch.ends.len();
        assert!(
            (1..=MAX_VALUES).contains(&count),
            "the caller counts values"
        );
        let length = batch.ends.last().map_or(0, |end| *end as usize);
        let (by, scheme) = (context.by.as_str(), batch.scheme);
        let mut part = Self::head(
            byte_of(context.kind),
            context.sector,
            (by, scheme),
            (count, length),
        );
        batch.each().for_each(|value| lp(&mut part.bytes, value));
        part
    }

    /// Asks for the check value of the identity secret.
    pub fn probe() -> Self {
        Self::head(PROBE, Uuid::nil(), ("", ""), (0, 0))
    }

    /// Asks for the person-handle key of a sector.
    pub fn person_key(sector: Uuid) -> Self {
        Self::head(PERSON_KEY, sector, ("", ""), (0, 0))
    }

    /// A part without its values, with room for them: how many they are, and their bytes together.
    fn head(
        kind: u8,
        sector: Uuid,
        (by, scheme): (&str, &str),
        (values, length): (usize, usize),
    ) -> Self {
        let room = MAX_PART_HEAD + 2 * values + length;
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        bytes.push(kind);
        bytes.extend_from_slice(sector.as_bytes());
        lp(&mut bytes, by.as_bytes());
        lp(&mut bytes, scheme.as_bytes());
        bytes.extend_from_slice(&(values as u32).to_be_bytes());
        Self {
            bytes,
            answers: values.max(1),
        }
    }

    /// How many times 32 bytes answer it.
    pub fn answers(&self) -> usize {
        self.answers
    }

    /// The bytes of the part.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of the part, which wipe themselves.
    pub fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.bytes
    }
}

// --- read
// -------------------------------------------------------------------------------------------------------------

/// A request as the identity source reads it.
#[derive(Debug)]
pub struct UtiRequest<'a> {
    /// To be repeated in the answer.
    pub nonce: RequestNonce,
    /// What is asked for, at least one.
    pub parts: Vec<UtiPart<'a>>,
}

/// One part of a request.
#[derive(Debug)]
pub enum UtiPart<'a> {
    /// The UTIs of values.
    Values {
        /// For what.
        kind: UtiKind,
        /// The sector's UUID.
        sector: Uuid,
        /// For whom, as [`UtiContext::by`].
        by: Id,
        /// The scheme's id.
        scheme: Id,
        /// What the vault says are canonical values of the scheme.
        values: PartValues<'a>,
    },
    /// The check value of the identity secret.
    Probe,
    /// The person-handle key of a sector.
    PersonKey(
        /// The sector's UUID.
        Uuid,
    ),
}

impl UtiPart<'_> {
    /// How many times 32 bytes answer it.
    pub fn answers(&self) -> usize {
        match self {
            Self::Values { values, .. } => values.count,
            Self::Probe | Self::PersonKey(_) => 1,
        }
    }
}

/// The values of a part, each of 1 to 64 bytes.
#[derive(Clone, Copy)]
pub struct PartValues<'a> {
    /// `LP(value)…`, of which every length was checked.
    bytes: &'a [u8],
    count: usize,
}

impl std::fmt::Debug for PartValues<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} values", self.count)
    }
}

impl<'a> PartValues<'a> {
    /// Reads `count` values off the front of `reader`.
    fn read(reader: &mut SealReader<'a>, count: usize) -> Result<Self, UtisError> {
        let start = reader.0;
        for _ in 0..count {
            let length = reader.lp()?.len();
            if !(1..=MAX_CANONICAL).contains(&length) {
                return Err(UtisError::Form);
            }
        }
        let bytes = &start[..start.len() - reader.0.len()];
        Ok(Self { bytes, count })
    }

    /// How many, at least one.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.count
    }

    /// `LP(value)` of each, one after the other: for a digest over them.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.bytes;
        (0..self.count).map(move |_| {
            let (length, tail) = rest.split_at(2);
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            let (value, tail) = tail.split_at(length);
            rest = tail;
            value
        })
    }
}

impl<'a> UtiRequest<'a> {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`UtisError::Version`], [`UtisError::TooLarge`], [`UtisError::Form`].
    pub fn read(body: &'a [u8]) -> Result<Self, UtisError> {
        let mut reader = SealReader(body);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(UtisError::Version(version));
        }
        let nonce = reader.array()?;
        let count = usize::from(u16::from_be_bytes(reader.array()?));
        match count {
            0 => return Err(UtisError::Form),
            1..=MAX_PARTS => {}
            _ => return Err(UtisError::TooLarge),
        }
        let mut parts = Vec::new();
        let mut room = MAX_VALUES;
        for _ in 0..count {
            let part = UtiPart::read(&mut reader, room)?;
            room -= part.values();
            parts.push(part);
        }
        reader.end()?;
        Ok(Self { nonce, parts })
    }
}

impl<'a> UtiPart<'a> {
    fn values(&self) -> usize {
        match self {
            Self::Values { values, .. } => values.count,
            Self::Probe | Self::PersonKey(_) => 0,
        }
    }

    /// Reads a part off the front of `reader`, which may have so many values.
    fn read(reader: &mut SealReader<'a>, room: usize) -> Result<Self, UtisError> {
        let kind = reader.u8()?;
        let sector = Uuid::from_bytes(reader.array()?);
        let (by, scheme) = (reader.text()?, reader.text()?);
        let count = reader.u32()? as usize;
        let kind = match kind {
            TOKENIZE => UtiKind::Tokenize,
            MIGRATE => UtiKind::Migrate,
            RESEAL => UtiKind::Reseal,
            RIGHTS => UtiKind::Rights,
            LINK => UtiKind::Link,
            PROBE | PERSON_KEY => {
                let is_bare = by.is_empty() && scheme.is_empty() && count == 0;
                return match kind {
                    PROBE if is_bare && sector.is_nil() => Ok(Self::Probe),
                    PERSON_KEY if is_bare => Ok(Self::PersonKey(sector)),
                    _ => Err(UtisError::Form),
                };
            }
            _ => return Err(UtisError::Form),
        };
        if count > room {
            return Err(UtisError::TooLarge);
        }
        if count == 0 {
            return Err(UtisError::Form);
        }
        let id = |text| Id::parse(text).ok_or(UtisError::Form);
        Ok(Self::Values {
            kind,
            sector,
            by: id(by)?,
            scheme: id(scheme)?,
            values: PartValues::read(reader, count)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTOR: Uuid = Uuid::from_bytes([7; 16]);

    fn id(text: &str) -> Id {
        Id::parse(text).unwrap()
    }

    fn part(values: &[&str]) -> EncodedPart {
        let ends = values.iter().scan(0, |end, value| {
            *end += value.len() as u32;
            Some(*end)
        });
        let (arena, ends, by) = (values.concat(), ends.collect::<Vec<_>>(), id("cnss-batch"));
        let context = UtiContext {
            kind: UtiKind::Tokenize,
            sector: SECTOR,
            by: &by,
        };
        let batch = UtiBatch {
            scheme: "cnie",
            values: arena.as_bytes(),
            ends: &ends,
        };
        EncodedPart::values(context, batch)
    }

    fn body(parts: &[EncodedPart]) -> Vec<u8> {
        let mut body = request_head(&[9; 16], parts.len()).to_vec();
        parts
            .iter()
            .for_each(|part| body.extend_from_slice(part.bytes()));
        body
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let parts = [
            part(&["AB123456", "X1"]),
            EncodedPart::probe(),
            EncodedPart::person_key(SECTOR),
        ];
        assert_eq!(parts.each_ref().map(EncodedPart::answers), [2, 1, 1]);
        let body = body(&parts);
        let request = UtiRequest::read(&body).unwrap();
        assert_eq!(request.nonce, [9; 16]);
        let [values, probe, key] = &request.parts[..] else {
            panic!("three parts");
        };
        let UtiPart::Values {
            kind,
            sector,
            by,
            scheme,
            values,
        } = values
        else {
            panic!("the first has values");
        };
        assert_eq!((*kind, *sector), (UtiKind::Tokenize, SECTOR));
        assert_eq!((by, scheme), (&id("cnss-batch"), &id("cnie")));
        let read: Vec<&[u8]> = values.iter().collect();
        assert_eq!(read, [&b"AB123456"[..], b"X1"]);
        assert_eq!(format!("{values:?}"), "2 values");
        assert!(matches!(probe, UtiPart::Probe));
        assert!(matches!(key, UtiPart::PersonKey(SECTOR)));
    }

    #[test]
    fn a_request_that_is_cut_or_has_more_than_it_says_is_refused_whole() {
        let whole = body(&[part(&["AB123456", "X1"]), part(&["Z9"])]);
        for end in 0..whole.len() {
            assert_eq!(
                UtiRequest::read(&whole[..end]).unwrap_err(),
                UtisError::Form
            );
        }
        let longer = [&whole[..], b"\0"].concat();
        assert_eq!(UtiRequest::read(&longer).unwrap_err(), UtisError::Form);
        let mut other = whole.clone();
        other[0] = 2;
        assert_eq!(UtiRequest::read(&other).unwrap_err(), UtisError::Version(2));
    }

    #[test]
    fn counts_beyond_the_limits_cost_nothing_to_refuse() {
        let head = |parts: u16| {
            let mut head = request_head(&[9; 16], 1).to_vec();
            head[17..].copy_from_slice(&parts.to_be_bytes());
            head
        };
        assert_eq!(UtiRequest::read(&head(0)).unwrap_err(), UtisError::Form);
        let many = head(MAX_PARTS as u16 + 1);
        assert_eq!(UtiRequest::read(&many).unwrap_err(), UtisError::TooLarge);

        let mut values = body(&[part(&["X1"])]);
        let count = values.len() - 4 - 4;
        values[count..count + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(UtiRequest::read(&values).unwrap_err(), UtisError::TooLarge);
        values[count..count + 4].copy_from_slice(&0_u32.to_be_bytes());
        assert_eq!(UtiRequest::read(&values).unwrap_err(), UtisError::Form);

        // The limit is over all parts.
        let half = vec!["X1"; MAX_VALUES / 2];
        UtiRequest::read(&body(&[part(&half), part(&half)])).unwrap();
        let over = body(&[part(&half), part(&half), part(&["X1"])]);
        assert_eq!(UtiRequest::read(&over).unwrap_err(), UtisError::TooLarge);
    }

    #[test]
    fn a_part_that_is_not_of_its_kind_is_refused() {
        let refused = |part: EncodedPart| {
            assert_eq!(
                UtiRequest::read(&body(&[part])).unwrap_err(),
                UtisError::Form
            );
        };
        refused(part(&[""]));
        refused(part(&[&"X".repeat(MAX_CANONICAL + 1)]));
        refused(EncodedPart::head(0, SECTOR, ("a", "b"), (0, 0)));
        refused(EncodedPart::head(8, SECTOR, ("", ""), (0, 0)));
        refused(EncodedPart::head(PROBE, SECTOR, ("", ""), (0, 0)));
        refused(EncodedPart::head(PERSON_KEY, SECTOR, ("a", ""), (0, 0)));
        refused(EncodedPart::head(PERSON_KEY, SECTOR, ("", "a"), (0, 0)));
        for (by, scheme) in [("", "cnie"), ("a", ""), ("A", "cnie"), ("a", "é")] {
            let mut part = EncodedPart::head(TOKENIZE, SECTOR, (by, scheme), (1, 1));
            lp(&mut part.bytes, b"X");
            refused(part);
        }
    }
}
