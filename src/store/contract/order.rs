//! The order of rows, and which of them a read shows.

use std::path::Path;

use super::{ContractBreach, ContractSubject, expect, put_keys, rows};
use crate::store::StoreError;
use crate::store::columns::{AUDIT, META};
use crate::store::rows::{RowEngine, ScanRange, ScanStep};

/// Keys in their order.
const KEYS: [&[u8]; 9] = [
    &[0],
    &[0, 0],
    &[0, 255],
    b"a",
    b"a\0",
    b"aa",
    b"b",
    &[127, 1],
    &[255, 255, 255],
];

/// The engine with these keys in one column, put in another order.
fn filled<E: RowEngine>(
    subject: &ContractSubject<'_, E>,
    folder: &Path,
) -> Result<E, ContractBreach> {
    let engine = (subject.open)(folder)?;
    let mut keys = KEYS;
    keys.reverse();
    keys.swap(2, 6);
    put_keys(&engine, META.name, &keys)?;
    Ok(engine)
}

pub(super) fn scan<E: RowEngine>(
    subject: &ContractSubject<'_, E>,
    folder: &Path,
) -> Result<(), ContractBreach> {
    let engine = filled(subject, folder)?;
    let prefixed = ScanRange {
        from: b"a\0",
        prefix: b"a",
        once: true,
    };
    let ranges: [(ScanRange<'_>, &[&[u8]]); 6] = [
        (ScanRange::ALL, &KEYS),
        (ScanRange::ALL.once(), &KEYS),
        (ScanRange::of(b"a"), &KEYS[3..6]),
        (ScanRange::from(b"aaa"), &KEYS[6..]),
        (prefixed, &KEYS[4..6]),
        (ScanRange::of(b"c"), &[]),
    ];
    for (range, expected) in ranges {
        let found = rows(&engine, META.name, range)?;
        let as_put = found.iter().all(|(key, value)| key == value);
        let keys: Vec<&[u8]> = found.iter().map(|(key, _)| &key[..]).collect();
        expect(as_put && keys == expected, || {
            format!("{range:?} shows {found:?}")
        })?;
    }
    Ok(())
}

pub(super) fn skip_and_stop<E: RowEngine>(
    subject: &ContractSubject<'_, E>,
    folder: &Path,
) -> Result<(), ContractBreach> {
    let engine = filled(subject, folder)?;
    let mut seen = vec![];
    engine.scan(META.name, ScanRange::ALL, |key, _| {
        seen.push(key.to_vec());
        Ok::<_, StoreError>(match key {
            // To a key that is there, and to one that is not.
            [0] => ScanStep::SkipTo(b"a".to_vec()),
            b"a" => ScanStep::SkipTo(b"ab".to_vec()),
            [127, 1] => ScanStep::Stop,
            _ => ScanStep::Next,
        })
    })?;
    let expected: [&[u8]; 4] = [&[0], b"a", b"b", &[127, 1]];
    expect(seen == expected, || format!("{seen:?} was shown"))?;
    let failed = engine.scan(META.name, ScanRange::ALL, |_, _| {
        Err(StoreError::Corrupt("contract"))
    });
    expect(
        matches!(failed, Err(StoreError::Corrupt("contract"))),
        || format!("{failed:?} where the caller failed"),
    )
}

pub(super) fn last<E: RowEngine>(
    subject: &ContractSubject<'_, E>,
    folder: &Path,
) -> Result<(), ContractBreach> {
    let engine = filled(subject, folder)?;
    let (last, none) = (engine.last(META.name)?, engine.last(AUDIT.name)?);
    let expected = KEYS[KEYS.len() - 1].to_vec();
    expect(last == Some((expected.clone(), expected)), || {
        format!("{last:?} is the last row")
    })?;
    expect(none.is_none(), || {
        format!("{none:?} is the last row of an empty column")
    })
}

pub(super) fn read_sorted<E: RowEngine>(
    subject: &ContractSubject<'_, E>,
    folder: &Path,
) -> Result<(), ContractBreach> {
    let engine = filled(subject, folder)?;
    let numbers = |n: u16| n.is_multiple_of(3).then(|| n.to_be_bytes());
    let stored: Vec<_> = (0..3_000).filter_map(numbers).collect();
    put_keys(
        &engine,
        AUDIT.name,
        &stored.iter().map(|key| &key[..]).collect::<Vec<_>>(),
    )?;
    let mut found = vec![];
    let asked: Vec<_> = (0..3_000_u16).map(u16::to_be_bytes).collect();
    engine.read_sorted(AUDIT.name, &asked, |value| {
        found.push(value.map(<[u8]>::to_vec));
        Ok(())
    })?;
    let expected: Vec<_> = (0..3_000).map(|n| numbers(n).map(Vec::from)).collect();
    expect(found == expected, || {
        format!("{} values, or others than were put", found.len())
    })
}
