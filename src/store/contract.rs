//! The contract of an engine, as checks that any engine can be put through: what
//! [`rows`](super::rows) promises.
//!
//! A check gets an empty folder and a [`ContractSubject`], which says how the engine is opened
//! there and how another process is started that opens it too. The other process calls
//! [`write_until_killed`].

mod crash;
mod order;

use std::path::Path;
use std::process::Command;

pub use crash::write_until_killed;

use super::columns::{AUDIT, ColumnName, INDEX, META};
use super::rows::{RowEngine, ScanRange, ScanStep};
use super::{ChunkKey, PARTITIONED, StoreError};

/// An engine under test.
pub struct ContractSubject<'a, E> {
    /// Opens the engine's rows in a folder.
    pub open: &'a dyn Fn(&Path) -> Result<E, StoreError>,
    /// A process that opens the rows in that folder and, if it can, calls [`write_until_killed`]
    /// with its standard output. If it cannot, it ends with a failure.
    pub writer: &'a dyn Fn(&Path) -> Command,
}

/// How an engine breaks the contract, or why a check could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ContractBreach {
    /// It did something else than it should.
    #[error("{0}")]
    Broken(String),
    /// It failed.
    #[error(transparent)]
    Engine(#[from] StoreError),
    /// The other process could not be run.
    #[error("the other process: {0}")]
    Process(#[from] std::io::Error),
}

/// One check, in an empty folder.
pub type ContractCheck<E> = fn(&ContractSubject<'_, E>, &Path) -> Result<(), ContractBreach>;

/// A row's key and value.
type RowBytes = (Vec<u8>, Vec<u8>);

/// Every check with its name.
pub fn checks<E: RowEngine>() -> [(&'static str, ContractCheck<E>); 10] {
    [
        (
            "a batch takes effect at its commit, in the order of its entries",
            batch::<E>,
        ),
        ("a scan goes up in the order of bytes", order::scan::<E>),
        ("a scan skips and stops", order::skip_and_stop::<E>),
        ("the last row has the highest key", order::last::<E>),
        (
            "sorted keys are read in their order",
            order::read_sorted::<E>,
        ),
        (
            "a partition is deleted and its neighbours are not",
            partition::<E>,
        ),
        ("rows are loaded and kept", load::<E>),
        (
            "a scan shows whole batches while others are committed",
            crash::scan_while_written::<E>,
        ),
        ("what was acknowledged survives a kill", crash::kill::<E>),
        ("a second opener is refused", crash::second_opener::<E>),
    ]
}

/// Breaks the contract unless `held`.
fn expect(held: bool, otherwise: impl FnOnce() -> String) -> Result<(), ContractBreach> {
    if held {
        Ok(())
    } else {
        Err(ContractBreach::Broken(otherwise()))
    }
}

/// All rows of a range.
fn rows<E: RowEngine>(
    engine: &E,
    column: ColumnName,
    range: ScanRange<'_>,
) -> Result<Vec<RowBytes>, StoreError> {
    let mut rows = vec![];
    engine.scan(column, range, |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        Ok::<_, StoreError>(ScanStep::Next)
    })?;
    Ok(rows)
}

/// Commits rows whose values are their keys.
fn put_keys<E: RowEngine>(
    engine: &E,
    column: ColumnName,
    keys: &[&[u8]],
) -> Result<(), StoreError> {
    let mut batch = E::Batch::default();
    keys.iter()
        .for_each(|key| engine.put(&mut batch, column, key, key));
    engine.commit(batch)
}

fn batch<E: RowEngine>(
    subject: &ContractSubject<'_, E>,
    folder: &Path,
) -> Result<(), ContractBreach> {
    let column = META.name;
    let engine = (subject.open)(folder)?;
    put_keys(&engine, column, &[b"deleted", b"in range", b"replaced"])?;
    let mut batch = E::Batch::default();
    engine.delete(&mut batch, column, b"deleted");
    engine.delete(&mut batch, column, b"was never there");
    engine.put(&mut batch, column, b"replaced", b"first");
    engine.put(&mut batch, column, b"replaced", b"second");
    engine.put(&mut batch, column, b"in range, early", b"");
    engine.delete_range(&mut batch, column, b"in range", b"in rangf");
    engine.put(&mut batch, column, b"in range, late", b"");
    engine.put(&mut batch, AUDIT.name, b"replaced", b"in another column");
    let before = rows(&engine, column, ScanRange::ALL)?;
    expect(before.len() == 3, || {
        format!("{before:?} before the commit")
    })?;
    // A batch that is dropped leaves nothing.
    engine.put(&mut E::Batch::default(), column, b"dropped", b"");
    engine.commit(batch)?;
    engine.commit(E::Batch::default())?;
    let expected = [
        (b"in range, late".to_vec(), vec![]),
        (b"replaced".to_vec(), b"second".to_vec()),
    ];
    let after = rows(&engine, column, ScanRange::ALL)?;
    expect(after == expected, || format!("{after:?} after the commit"))?;
    let other = engine.read(AUDIT.name, b"replaced")?;
    expect(other.as_deref() == Some(b"in another column"), || {
        format!("{other:?} in the other column")
    })?;
    drop(engine);
    let reopened = rows(&(subject.open)(folder)?, column, ScanRange::ALL)?;
    expect(reopened == expected, || {
        format!("{reopened:?} after reopening")
    })
}

fn partition<E: RowEngine>(
    subject: &ContractSubject<'_, E>,
    folder: &Path,
) -> Result<(), ContractBreach> {
    const GONE: (u32, u32) = (7, 1);
    let engine = (subject.open)(folder)?;
    let partitions = [
        (6, u32::MAX),
        (7, 0),
        GONE,
        (7, 2),
        (7, 256),
        (8, 0),
        (8, 1),
    ];
    let key = |(sector, epoch), sequence| {
        ChunkKey {
            sector,
            epoch,
            sequence,
        }
        .to_bytes()
    };
    for column in PARTITIONED {
        let keys: Vec<_> = partitions
            .iter()
            .flat_map(|id| [key(*id, 0), key(*id, 1), key(*id, u32::MAX)])
            .collect();
        put_keys(
            &engine,
            column,
            &keys.iter().map(|key| &key[..]).collect::<Vec<_>>(),
        )?;
    }
    let mut batch = E::Batch::default();
    engine.delete_partition(&mut batch, GONE);
    let kept = key(GONE, 5);
    engine.put(&mut batch, PARTITIONED[0], &kept, &kept);
    engine.commit(batch)?;
    for (place, column) in PARTITIONED.into_iter().enumerate() {
        let left = rows(&engine, column, ScanRange::ALL)?;
        let of_gone: Vec<_> = left
            .iter()
            .filter(|(key, _)| key[..8] == kept[..8])
            .collect();
        // One was put after the deletion, in the first column.
        let expected = usize::from(place == 0);
        expect(of_gone.len() == expected, || {
            format!("{of_gone:?} left in {}", column.as_str())
        })?;
        let others = left.len() - expected;
        expect(others == 3 * (partitions.len() - 1), || {
            format!("{others} other rows in {}", column.as_str())
        })?;
    }
    Ok(())
}

fn load<E: RowEngine>(
    subject: &ContractSubject<'_, E>,
    folder: &Path,
) -> Result<(), ContractBreach> {
    let engine = (subject.open)(folder)?;
    put_keys(&engine, INDEX.name, &[&[0, 0, 0, 5], &[1]])?;
    let numbers = || (0..1_000_u32).map(|n| (n.to_be_bytes(), n.to_le_bytes()));
    engine.load(INDEX.name, numbers())?;
    let mut batch = E::Batch::default();
    engine.delete(&mut batch, INDEX.name, &7_u32.to_be_bytes());
    engine.commit(batch)?;
    drop(engine);
    let engine = (subject.open)(folder)?;
    let found = rows(&engine, INDEX.name, ScanRange::ALL)?;
    let loaded = numbers().filter(|(key, _)| *key != 7_u32.to_be_bytes());
    let expected: Vec<_> = loaded
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .chain([(vec![1], vec![1])])
        .collect();
    expect(found == expected, || {
        format!("{} rows, or others than were loaded", found.len())
    })
}
