//! Damaged files: a torn tail of the write-ahead log is what a crash leaves and is tolerated;
//! anything else is refused or answers with an error. What must never happen is that a store opens,
//! reads, and lacks something.

use std::fs;
use std::path::{Path, PathBuf};

use cloison::clock::Clock;
use cloison::store::{OrderKey, Store, StoreError};
use jiff::SignedDuration;

use super::world::{CALLERS, World, asked, card, long, order_for, release_of, tokenize};
use crate::common::copy_folder;

const OWNER: &str = "durable/vault";

/// A store with everything in it: tables and blobs (from a reopening), and a log with the rest.
fn lived_in() -> World {
    let world = World::new();
    for round in 0..2 {
        let vault = world.open();
        for caller in [0, 2, 4] {
            let items: Vec<_> = (round * 40..round * 40 + 70).map(card).collect();
            tokenize(&vault, CALLERS[caller], &items).unwrap();
        }
        let answer = tokenize(&vault, CALLERS[0], &[card(round), card(500 + round)]).unwrap();
        let texts: Vec<_> = answer
            .pseudonyms
            .iter()
            .map(|p| answer.writer.text(p))
            .collect();
        let now = world.clock.now();
        release_of(
            &vault,
            &asked(now, &order_for(now, "health", &texts), "health", &texts),
        )
        .unwrap();
        world.later(SignedDuration::from_mins(5));
    }
    world
}

/// All that can be read from a store through its own interface, in one value.
#[derive(PartialEq)]
struct Contents {
    chunks: Vec<([u8; 16], Vec<u8>)>,
    segments: Vec<Vec<u8>>,
    entries: Vec<(u64, Vec<u8>)>,
    rest: String,
}

fn read(world: &World, path: &Path) -> Result<Contents, StoreError> {
    let store = Store::open(path, OWNER)?;
    let cipher = world.cipher();
    let mut chunks = vec![];
    let mut segments = vec![];
    store.each_chunk::<StoreError>(|key, row| {
        chunks.push((key.to_bytes(), row.clone()));
        let chunk = cipher
            .unwrap(&key.to_bytes(), row)
            .map_err(|_| StoreError::Corrupt("chunk"))?;
        segments.push(
            store
                .segment(chunk.segment())?
                .expect("a chunk's segment is there"),
        );
        Ok(())
    })?;
    let epochs = store.all_epochs()?;
    let orders: Vec<_> = store
        .audit_from(0, usize::MAX)?
        .iter()
        .filter_map(|(_, entry)| {
            let entry: serde_json::Value = serde_json::from_slice(entry).unwrap();
            Some(OrderKey::new(
                entry["authority"].as_str()?,
                entry["order"].as_str()?.parse().unwrap(),
            ))
        })
        .map(|order| Ok((store.order_digest(&order)?, store.order_pairs(&order)?)))
        .collect::<Result<_, StoreError>>()?;
    let day = cloison::clock::day_of(super::world::dawn());
    let rest = (
        store.sector_numbers()?,
        epochs,
        store.all_frozen()?,
        orders,
        store.register()?,
        store.clock_mark()?,
        store.quota_used("cnss", day)?,
    );
    Ok(Contents {
        chunks,
        segments,
        entries: store.audit_from(0, usize::MAX)?,
        rest: format!("{rest:?}"),
    })
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// Files in which nothing is kept: what RocksDB tells people, and what it only writes.
fn holds_nothing(file: &Path) -> bool {
    let name = file.file_name().unwrap().to_str().unwrap();
    name.starts_with("LOG") || name.starts_with("OPTIONS") || name == "LOCK" || name == "IDENTITY"
}

fn newest_log(path: &Path) -> PathBuf {
    files(path)
        .into_iter()
        .rfind(|file| file.extension().is_some_and(|end| end == "log"))
        .unwrap()
}

/// One flipped byte anywhere: refused, an error when it is read, or it did not matter.
#[test]
fn a_flipped_byte_is_never_silent() {
    let world = lived_in();
    let original = read_copy(&world);
    let scratch = tempfile::tempdir().unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    let mut seen = [0; 2];
    for file in files(&world.store())
        .iter()
        .filter(|file| !holds_nothing(file))
    {
        let bytes = fs::read(file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        kinds.insert(
            file.extension()
                .map_or(name, |end| end.to_str().unwrap())
                .to_owned(),
        );
        let tries = if long() { 200 } else { 6 };
        for n in 0..tries.min(bytes.len()) {
            let at = bytes.len() * n / tries + n % 7;
            let Some(byte) = bytes.get(at) else { continue };
            let flipped = byte ^ [0x01, 0x80, 0xff][n % 3];
            let path = scratch.path().join("store");
            let _ = fs::remove_dir_all(&path);
            copy_folder(&world.store(), &path);
            let mut damaged = bytes.clone();
            damaged[at] = flipped;
            fs::write(path.join(name), damaged).unwrap();
            match read(&world, &path) {
                Err(error) => {
                    assert!(
                        !matches!(error, StoreError::InUse(_)),
                        "{name} at {at}: called in use"
                    );
                    seen[0] += 1;
                }
                Ok(found) => {
                    assert!(
                        found == original,
                        "{name}, byte {at} of {}: something is missing",
                        bytes.len()
                    );
                    seen[1] += 1;
                }
            }
        }
    }
    for kind in ["sst", "blob", "log", "CURRENT"] {
        assert!(
            kinds.contains(kind),
            "a store that was lived in has a {kind} file: {kinds:?}"
        );
    }
    assert!(seen[0] > seen[1], "most flips are found: {seen:?}");
}

fn read_copy(world: &World) -> Contents {
    let scratch = tempfile::tempdir().unwrap();
    copy_folder(&world.store(), scratch.path());
    read(world, scratch.path()).unwrap()
}

/// Every header of the write-ahead log, each of its seven bytes, each bit: a length that grew must
/// not pass for the torn end of the log.
#[test]
fn a_flipped_length_does_not_pass_for_a_torn_tail() {
    let world = lived_in();
    let original = read_copy(&world);
    let scratch = tempfile::tempdir().unwrap();
    let log = newest_log(&world.store());
    let bytes = fs::read(&log).unwrap();
    let headers = headers(&bytes);
    assert!(headers.len() > 5, "several records");
    for (n, header) in headers.iter().enumerate() {
        for byte in 4..7 {
            for bit in 0..8 {
                if !long() && (n + byte + bit) % 5 != 0 {
                    continue;
                }
                let path = scratch.path().join("store");
                let _ = fs::remove_dir_all(&path);
                copy_folder(&world.store(), &path);
                let mut damaged = bytes.clone();
                damaged[header + byte] ^= 1 << bit;
                fs::write(path.join(log.file_name().unwrap()), damaged).unwrap();
                if let Ok(found) = read(&world, &path) {
                    assert!(
                        found == original,
                        "record {n} of {}, byte {byte}, bit {bit}: lost",
                        headers.len()
                    );
                }
            }
        }
    }
}

/// Where the records of a write-ahead log begin: blocks of 32 KiB, records of crc(4) ‖
/// length(u16le) ‖ type(1) ‖ payload.
fn headers(bytes: &[u8]) -> Vec<usize> {
    let mut headers = vec![];
    let mut at = 0;
    while at + 7 <= bytes.len() {
        if 32_768 - at % 32_768 < 7 {
            at += 32_768 - at % 32_768;
            continue;
        }
        headers.push(at);
        // Types 5 to 8 have four bytes more.
        let more = if (5..=8).contains(&bytes[at + 6]) {
            4
        } else {
            0
        };
        at += 7 + more + usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
    }
    headers
}

/// A crash tears the last record: the store opens, and has all that came before it.
#[test]
fn a_torn_tail_is_what_a_crash_leaves() {
    let world = lived_in();
    let original = read_copy(&world);
    let scratch = tempfile::tempdir().unwrap();
    let log = newest_log(&world.store());
    let bytes = fs::read(&log).unwrap();
    let last = *headers(&bytes).last().unwrap();
    let step = if long() {
        1
    } else {
        1 + (bytes.len() - last) / 12
    };
    for cut in (last..bytes.len()).step_by(step) {
        let path = scratch.path().join("store");
        let _ = fs::remove_dir_all(&path);
        copy_folder(&world.store(), &path);
        fs::write(path.join(log.file_name().unwrap()), &bytes[..cut]).unwrap();
        let found = read(&world, &path)
            .unwrap_or_else(|error| panic!("cut at {cut} of {}: {error}", bytes.len()));
        // The last record holds one entry at most: the last release, or the log's checkpoint after
        // it, which is none.
        assert!(original.entries.starts_with(&found.entries), "cut at {cut}");
        assert!(
            found.entries.len() + 1 >= original.entries.len(),
            "cut at {cut}: {}",
            found.entries.len()
        );
        assert!(found.chunks == original.chunks && found.segments == original.segments);
    }
}

/// A data file that is gone is missed; all but the newest write-ahead log, of which only a witness
/// outside knows.
#[test]
fn a_missing_file_is_missed() {
    let world = lived_in();
    let scratch = tempfile::tempdir().unwrap();
    let newest = newest_log(&world.store());
    for file in files(&world.store())
        .iter()
        .filter(|file| !holds_nothing(file) && **file != newest)
    {
        let path = scratch.path().join("store");
        let _ = fs::remove_dir_all(&path);
        copy_folder(&world.store(), &path);
        let name = file.file_name().unwrap();
        fs::remove_file(path.join(name)).unwrap();
        assert!(
            read(&world, &path).is_err(),
            "{} is gone and nobody misses it",
            name.display()
        );
        // And the refusal must not have cleared away what was still there.
        fs::copy(file, path.join(name)).unwrap();
        read(&world, &path)
            .unwrap_or_else(|error| panic!("{} was put back: {error}", name.display()));
    }
}
