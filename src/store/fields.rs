//! The fields that keys and values are made of, and the bytes of each: numbers in network order, so
//! that they sort as numbers.

use std::borrow::Cow;

use uuid::Uuid;

/// A key, a value, or a part of one.
pub trait RowField: ToOwned {
    /// Its bytes.
    fn bytes(&self) -> Cow<'_, [u8]>;

    /// Reads one off the front of `bytes`; `None` where they are not one.
    fn read_front(bytes: &mut &[u8]) -> Option<Self::Owned>;

    /// Reads bytes that are one field and nothing else.
    fn read(mut bytes: &[u8]) -> Option<Self::Owned> {
        Self::read_front(&mut bytes).filter(|_| bytes.is_empty())
    }

    /// The same of bytes that the reader owns.
    fn read_owned(bytes: Vec<u8>) -> Option<Self::Owned> {
        Self::read(&bytes)
    }
}

impl RowField for () {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&[])
    }

    fn read_front(_: &mut &[u8]) -> Option<()> {
        Some(())
    }
}

impl<const N: usize> RowField for [u8; N] {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self)
    }

    fn read_front(bytes: &mut &[u8]) -> Option<Self> {
        let (field, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(*field)
    }
}

/// Bytes up to the end.
impl RowField for [u8] {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self)
    }

    fn read_front(bytes: &mut &[u8]) -> Option<Vec<u8>> {
        Some(std::mem::take(bytes).to_vec())
    }

    fn read_owned(bytes: Vec<u8>) -> Option<Vec<u8>> {
        Some(bytes)
    }
}

/// Text up to the end.
impl RowField for str {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.as_bytes())
    }

    fn read_front(bytes: &mut &[u8]) -> Option<String> {
        std::str::from_utf8(std::mem::take(bytes))
            .ok()
            .map(str::to_owned)
    }
}

impl RowField for String {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.as_bytes())
    }

    fn read_front(bytes: &mut &[u8]) -> Option<Self> {
        <str as RowField>::read_front(bytes)
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl RowField for $number {
            fn bytes(&self) -> Cow<'_, [u8]> {
                Cow::Owned(self.to_be_bytes().to_vec())
            }

            fn read_front(bytes: &mut &[u8]) -> Option<Self> {
                <[u8; size_of::<Self>()]>::read_front(bytes).map(Self::from_be_bytes)
            }
        }
    )*};
}

numbers!(u8, u32, u64, i64);

impl RowField for Uuid {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.as_bytes())
    }

    fn read_front(bytes: &mut &[u8]) -> Option<Self> {
        <[u8; 16]>::read_front(bytes).map(Self::from_bytes)
    }
}

/// A name of any length within a key: its text, then a zero byte, which no id has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameField(pub String);

impl NameField {
    /// The field of that name.
    pub fn of(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl RowField for NameField {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Owned([self.0.as_bytes(), &[0]].concat())
    }

    fn read_front(bytes: &mut &[u8]) -> Option<Self> {
        let (name, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == 0)?);
        *bytes = &rest[1..];
        Some(Self(std::str::from_utf8(name).ok()?.to_owned()))
    }
}

impl<A, B> RowField for (A, B)
where
    A: RowField<Owned = A> + Clone,
    B: RowField<Owned = B> + Clone,
{
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Owned([self.0.bytes(), self.1.bytes()].concat())
    }

    fn read_front(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::read_front(bytes)?, B::read_front(bytes)?))
    }
}

impl<A, B, C> RowField for (A, B, C)
where
    A: RowField<Owned = A> + Clone,
    B: RowField<Owned = B> + Clone,
    C: RowField<Owned = C> + Clone,
{
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Owned([self.0.bytes(), self.1.bytes(), self.2.bytes()].concat())
    }

    fn read_front(bytes: &mut &[u8]) -> Option<Self> {
        Some((
            A::read_front(bytes)?,
            B::read_front(bytes)?,
            C::read_front(bytes)?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_reads_back_and_takes_no_byte_too_many_or_too_few() {
        let key = (NameField::of("court"), Uuid::from_bytes([7; 16]), 3_u32);
        let bytes = key.bytes().into_owned();
        assert_eq!(bytes, [&b"court\0"[..], &[7; 16], &[0, 0, 0, 3]].concat());
        assert_eq!(<(NameField, Uuid, u32)>::read(&bytes), Some(key));
        for wrong in [
            &bytes[..bytes.len() - 1],
            &[&bytes[..], &[0]].concat(),
            &bytes[..3],
            &[],
        ] {
            assert_eq!(<(NameField, Uuid, u32)>::read(wrong), None);
        }
    }
}
