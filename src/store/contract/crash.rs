//! Other threads and other processes: what is shown while rows are written, what a kill leaves, who
//! is let in.

use std::io::{BufRead as _, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{ContractBreach, ContractSubject, expect, rows};
use crate::store::StoreError;
use crate::store::columns::{AUDIT, ColumnName, META};
use crate::store::rows::{RowEngine, ScanRange};

/// Rows of each batch, in each of two columns.
const ROWS: u32 = 8;
const COLUMNS: [ColumnName; 2] = [META.name, AUDIT.name];
/// Bytes of each value: large enough that a batch is written in several pieces.
const VALUE: usize = 10_000;
/// What a line of the writer begins with that acknowledges a batch; its number stands behind.
const ACKNOWLEDGED: &str = "acknowledged ";
/// Batches that are acknowledged before the kill, for each round.
const BATCHES: [u32; 3] = [1, 7, 40];

/// Commits batches until the process is killed or an error comes, and writes a line to `output` for
/// each that was committed.
///
/// # Errors
/// The engine's, or that `output` takes no more.
pub fn write_until_killed<E: RowEngine>(
    engine: &E,
    mut output: impl Write,
) -> Result<(), ContractBreach> {
    let written = rows(engine, COLUMNS[0], ScanRange::ALL)?.len();
    let next = u32::try_from(written).unwrap_or(u32::MAX) / ROWS;
    for number in next.. {
        put_numbered(engine, number)?;
        writeln!(output, "{ACKNOWLEDGED}{number}")?;
        output.flush()?;
    }
    Ok(())
}

fn put_numbered<E: RowEngine>(engine: &E, number: u32) -> Result<(), StoreError> {
    let mut batch = E::Batch::default();
    for column in COLUMNS {
        for row in 0..ROWS {
            let key = [number.to_be_bytes(), row.to_be_bytes()].concat();
            engine.put(&mut batch, column, &key, &[number as u8; VALUE]);
        }
    }
    engine.commit(batch)
}

/// The number of batches that a column shows; each must be whole.
fn whole_batches<E: RowEngine>(engine: &E, column: ColumnName) -> Result<u32, ContractBreach> {
    let found = rows(engine, column, ScanRange::ALL)?;
    for ((key, value), place) in found.iter().zip(0..) {
        let (number, row) = (place / ROWS, place % ROWS);
        let expected = [number.to_be_bytes(), row.to_be_bytes()].concat();
        let whole = *key == expected && *value == [number as u8; VALUE];
        expect(whole, || {
            format!(
                "row {row} of batch {number} is missing or damaged in {}",
                column.as_str()
            )
        })?;
    }
    let count = u32::try_from(found.len()).unwrap_or(u32::MAX);
    expect(count % ROWS == 0, || {
        format!(
            "a scan of {} shows a part of batch {}",
            column.as_str(),
            count / ROWS
        )
    })?;
    Ok(count / ROWS)
}

pub(super) fn scan_while_written<E: RowEngine>(
    subject: &ContractSubject<'_, E>,
    folder: &Path,
) -> Result<(), ContractBreach> {
    const WRITTEN: u32 = 30;
    let engine = (subject.open)(folder)?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let written = (0..WRITTEN).try_for_each(|number| {
                put_numbered(&engine, number)?;
                // Committed, and so shown to every read that begins now.
                let key = [number.to_be_bytes(), [0; 4]].concat();
                let shown = engine.read(COLUMNS[1], &key)?.is_some();
                expect(shown, || {
                    format!("batch {number} is not shown after its commit")
                })
            });
            done.store(true, Ordering::Release);
            written
        });
        let mut before = 0;
        let read = || -> Result<(), ContractBreach> {
            while !done.load(Ordering::Acquire) {
                let first = whole_batches(&engine, COLUMNS[0])?;
                // The other column was written in the same batches, and is looked at later.
                let second = whole_batches(&engine, COLUMNS[1])?;
                expect(before <= first && first <= second, || {
                    format!("{before}, {first}, then {second} batches")
                })?;
                before = first;
            }
            Ok(())
        };
        let read = { read }();
        let written = writer
            .join()
            .unwrap_or_else(|_| Err(ContractBreach::Broken("the writer panicked".into())));
        written.and(read)
    })
}

pub(super) fn kill<E: RowEngine>(
    subject: &ContractSubject<'_, E>,
    folder: &Path,
) -> Result<(), ContractBreach> {
    for batches in BATCHES {
        let mut writer = (subject.writer)(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = BufReader::new(writer.stdout.take().expect("it is piped"));
        let mut last = None;
        let lines = output.lines().map_while(Result::ok);
        let numbers = lines.filter_map(|line| line.strip_prefix(ACKNOWLEDGED)?.parse::<u32>().ok());
        for (number, count) in numbers.zip(1..) {
            last = Some(number);
            if count >= batches {
                // The next batch is under way by now. What is acknowledged before the end is read,
                // too.
                writer.kill()?;
            }
        }
        writer.wait()?;
        let last =
            last.ok_or_else(|| ContractBreach::Broken("the writer acknowledged nothing".into()))?;
        let engine = (subject.open)(folder)?;
        let counts = [
            whole_batches(&engine, COLUMNS[0])?,
            whole_batches(&engine, COLUMNS[1])?,
        ];
        expect(counts[0] == counts[1], || {
            format!("{counts:?} batches in two columns after a kill")
        })?;
        expect(counts[0] > last, || {
            format!("batch {last} was acknowledged, and {} are there", counts[0])
        })?;
        expect(counts[0] <= last + 2, || {
            format!("batch {last} was the last, and {} are there", counts[0])
        })?;
    }
    Ok(())
}

pub(super) fn second_opener<E: RowEngine>(
    subject: &ContractSubject<'_, E>,
    folder: &Path,
) -> Result<(), ContractBreach> {
    let engine = (subject.open)(folder)?;
    let refused = |second: Result<E, StoreError>| match second {
        Err(StoreError::InUse(_)) => Ok(()),
        Err(error) => Err(ContractBreach::Engine(error)),
        Ok(_) => Err(ContractBreach::Broken("a second opener was let in".into())),
    };
    refused((subject.open)(folder))?;
    let other = (subject.writer)(folder).stdin(Stdio::null()).output()?;
    let words = String::from_utf8_lossy(&other.stdout);
    expect(
        !other.status.success() && !words.contains(ACKNOWLEDGED),
        || format!("another process was let in: {words}"),
    )?;
    // Neither took the lock away.
    refused((subject.open)(folder))?;
    put_numbered(&engine, 0)?;
    drop(engine);
    (subject.open)(folder)
        .map(drop)
        .map_err(ContractBreach::Engine)
}
