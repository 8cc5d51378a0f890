//! Parsers of what comes back from elsewhere: tables and the progress beside them, places of the
//! log and its side records, manifests of backups, the vault's answers to a node, blocks of clients
//! who join.

use std::path::PathBuf;
use std::sync::LazyLock;

use cloison::audit::counted::CountedMembers;
use cloison::audit::resume::Resumption;
use cloison::backup::manifest::{BackupId, BackupManifest};
use cloison::backup::sealed::SealedManifest;
use cloison::execution::step::ActExchangeAnswer;
use cloison::http::problem::ProblemBody;
use cloison::joining::merge;
use cloison::journal::read::{PlaceEntry, PlaceFault, PlaceLog};
use cloison::jws;
use cloison::keys::{JournalSecret, Key};
use cloison::migrate::EpochPage;
use cloison::register;
use cloison::reidentify::Release;
use cloison::renewal::SegmentPage;
use cloison::restore::report::LostInterval;
use cloison::resumption::ResumeProofs;
use cloison::seal::journal::{JournalCipher, NamingEntry, record_digest};
use cloison::store::StateChanges;
use cloison::tlog::checkpoint::Checkpoint;
use cloison::tlog::tree::{MerkleTree, leaf_hash};
use cloison::transfer::input::{DigestInput, InputBatch, InputForm, read_batches};
use cloison::transfer::resume::TransferProgress;
use cloison::transfer::table::{TablePlan, TableReader};
use data_encoding::HEXLOWER;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{SIGNER, text};

// --- files in and out
// -------------------------------------------------------------------------------------------------

/// The batches of a table, where all of it is one.
fn table_of(bytes: &[u8], plan: &TablePlan) -> Option<Vec<InputBatch>> {
    let mut input = DigestInput::new(std::io::Cursor::new(bytes.to_vec()));
    let reader = TableReader::begin(&mut input, plan, &[""]).ok()?;
    let line = reader.line();
    let form = InputForm::Table(Box::new(reader));
    let batches = read_batches(input, form, 3, line);
    batches.into_iter().collect::<Result<_, _>>().ok()
}

/// Tables: with answers in place of its items it is a table again, of as many records.
pub fn table(bytes: &[u8]) {
    for (column, keep) in [("card", false), ("card", true), ("1", false)] {
        let plan = TablePlan {
            column: column.to_owned(),
            name: keep.then(|| "pseudonym".to_owned()),
            keep,
            delimiter: None,
        };
        let Some(batches) = table_of(bytes, &plan) else {
            continue;
        };
        let (mut out, mut items) = (vec![], 0);
        for batch in &batches {
            items += batch.count;
            assert_eq!(batch.each().count(), batch.count);
            assert_eq!(batch.lines.len(), batch.count);
            assert!(batch.lines.is_sorted());
            let piece = batch.table.as_ref().expect("it is of a table");
            let answers = (0..batch.count).map(|_| std::iter::once(&b"answer"[..]));
            piece.write(answers, &mut out);
        }
        // What is named by a number keeps its name, which may be another column's, too.
        if column == "1" {
            continue;
        }
        let again = TablePlan {
            column: plan.name.clone().unwrap_or(plan.column),
            name: None,
            keep: false,
            delimiter: None,
        };
        let batches = table_of(&out, &again).expect("what was written is a table");
        let answers: Vec<&[u8]> = batches.iter().flat_map(InputBatch::each).collect();
        assert_eq!(answers.len(), items);
        assert!(answers.iter().all(|answer| *answer == b"answer"));
    }
}

/// The progress beside a partial output.
pub fn progress(bytes: &[u8]) {
    let Some(read) = TransferProgress::read(bytes) else {
        return;
    };
    let again = TransferProgress::read(&read.to_bytes());
    assert_eq!(again.as_ref(), Some(&read));
    assert!(read.totals.accepted() <= read.totals.items);
    let _ = (read.read.mark(), read.written.mark());
}

/// A block by which a client asks to join: what is merged is a sound register.
pub fn joining(bytes: &[u8]) {
    let Some(block) = text(bytes) else { return };
    let register = include_str!("../../keys-example/register.toml");
    let files = [("block.toml".to_owned(), block.to_owned())];
    match merge(register, &files) {
        Ok(merged) => {
            let read = register::parse(&merged.text).expect("the merged text is sound");
            assert_eq!(read.version, merged.before.version + 1);
        }
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
}

// --- backups and places
// -----------------------------------------------------------------------------------------------

/// Manifests of backups and the clear parts of sealed ones, as signed texts and as payloads; ids of
/// backups.
pub fn manifest(bytes: &[u8]) {
    let draft = jws::draft(bytes);
    let text = text(bytes).unwrap_or_default();
    for manifest in [text, &draft] {
        if let Ok(read) = BackupManifest::read_unverified(manifest) {
            let written = jws::draft(&read.payload());
            assert_eq!(BackupManifest::read_unverified(&written), Ok(read.clone()));
            let _ = (read.length(), read.log.position());
        }
        let signed = BackupManifest::read(manifest, &SIGNER.verifying_key());
        assert!(signed.is_err(), "nobody signed it");
        if let Ok(read) = SealedManifest::read_unverified(manifest) {
            let written = jws::draft(&read.payload());
            assert_eq!(SealedManifest::read_unverified(&written), Ok(read));
        }
        let signed = SealedManifest::read(manifest, &SIGNER.verifying_key());
        assert!(signed.is_err(), "nobody signed it");
    }
    if let Some(id) = BackupId::parse(text) {
        assert_eq!(id.as_str(), text, "it has one spelling");
    }
}

const OWNER: &str = "fuzz/vault";
const ORIGIN: &str = "cloison/fuzz/vault/2026";

/// A place on a disk, with a checkpoint over a small log: its folder, and that log.
struct HonestPlace {
    folder: PathBuf,
    entries: [(Vec<u8>, Vec<u8>); 3],
}

static PLACE: LazyLock<HonestPlace> = LazyLock::new(|| {
    let record = b"a sealed record".to_vec();
    let named = format!(
        r#"{{"event":"act","journal":"{}","time":"2026-11-28T08:00:00Z"}}"#,
        HEXLOWER.encode(&record_digest(&record))
    );
    let plain = |event: &str| format!(r#"{{"event":"{event}","time":"2026-11-28T08:00:00Z"}}"#);
    let entries = [
        (plain("start").into_bytes(), vec![]),
        (named.into_bytes(), record),
        (plain("stop").into_bytes(), vec![]),
    ];
    let mut tree = MerkleTree::default();
    for (entry, _) in &entries {
        tree.push(leaf_hash(entry), |_, _| {});
    }
    let checkpoint = Checkpoint {
        origin: ORIGIN.to_owned(),
        size: tree.size(),
        root: tree.root(),
    };
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    let folder = parent.join(format!("cloison-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("2026")).expect("a folder for what is tried");
    std::fs::write(folder.join("checkpoint"), checkpoint.sign(&SIGNER)).expect("it is written");
    HonestPlace { folder, entries }
});

/// A segment of a place: what it yields is the log that the checkpoint signs, or nothing counts.
pub fn journal(bytes: &[u8]) {
    let HonestPlace { folder, entries } = &*PLACE;
    let segment = folder.join("2026/00000000000000000000.journal");
    std::fs::write(&segment, bytes).expect("it is written");
    let mut found = vec![];
    let read = PlaceLog::open(folder, OWNER, &SIGNER.verifying_key(), None).and_then(|place| {
        place.each(|entry: PlaceEntry<'_>| {
            let record = entry.record.unwrap_or_default().to_vec();
            found.push((entry.entry.to_vec(), record));
            Ok::<(), PlaceFault>(())
        })
    });
    match read {
        Ok(()) => assert_eq!(&found[..], entries, "the log that the checkpoint signs"),
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
}

/// Side records: sealed, and what is in them.
pub fn side_record(bytes: &[u8]) {
    let secret = JournalSecret(Key::take(&mut [3; 32]));
    let cipher = JournalCipher::new(&[(1, secret)]);
    let entry = NamingEntry {
        origin: ORIGIN,
        index: 1,
    };
    assert!(cipher.open(entry, bytes).is_err(), "nobody sealed it");
    let sealed = cipher.seal(entry, bytes);
    assert_eq!(cipher.open(entry, &sealed).as_deref(), Ok(bytes));
    let Ok(changes) = StateChanges::read(bytes.to_vec()) else {
        return;
    };
    let mut written = StateChanges::default();
    for change in changes.iter() {
        written.push(change.expect("it was read"));
    }
    assert_eq!(written.as_bytes(), bytes, "it has one spelling");
}

/// Entries as they are counted, for reports.
pub fn entry(bytes: &[u8]) {
    let mut lost = LostInterval::default();
    for _ in 0..2 {
        lost.count(bytes);
    }
    assert!(lost.rows().count() <= 1);
    let _ = lost.total();
    let _ = CountedMembers::read(bytes);
}

// --- the vault's answers
// ----------------------------------------------------------------------------------------------

fn answer<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(bytes) else {
        return;
    };
    let written = serde_json::to_vec(&read).expect("what was read can be written");
    let again: T = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(serde_json::to_vec(&again).ok(), Some(written));
}

/// What a vault answers a node.
pub fn answers(bytes: &[u8]) {
    answer::<Release>(bytes);
    answer::<EpochPage>(bytes);
    answer::<SegmentPage>(bytes);
    answer::<ActExchangeAnswer>(bytes);
    answer::<ResumeProofs>(bytes);
    let _ = serde_json::from_slice::<ProblemBody<'_>>(bytes);
    if let Some(proof) = text(bytes) {
        assert_eq!(Resumption::of(proof, &SIGNER.verifying_key()), None);
    }
}
