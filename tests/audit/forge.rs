//! Logs as files, true ones to begin with.

use std::fs;
use std::path::{Path, PathBuf};

use cloison::audit::origin::TrustedLogKey;
use cloison::audit::source::LogFolder;
use cloison::audit::verify::{self, LogExpectations, LogsReport};
use cloison::tlog::checkpoint::Checkpoint;
use cloison::tlog::path::LogResource;
use cloison::tlog::source::LogSource;
use cloison::tlog::tree::{self, MerkleTree, leaf_hash};
use ed25519_dalek::SigningKey;

pub const ORIGIN: &str = "cloison/test/vault/2026";

/// The log's own key.
pub fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// An entry as the writer writes them.
pub fn entry(n: u64) -> Vec<u8> {
    let (minute, second) = (n / 60 % 60, n % 60);
    format!(
        "{{\"actor\":\"client-{n}\",\"code\":\"forbidden\",\"count\":1,\"event\":\"refuse\",\"operation\":\"tokenize\",\
         \"time\":\"2026-11-22T10:{minute:02}:{second:02}.000Z\"}}"
    )
    .into_bytes()
}

pub fn entries(size: u64) -> Vec<Vec<u8>> {
    (0..size).map(entry).collect()
}

/// A log in a folder.
pub struct Log {
    pub folder: tempfile::TempDir,
    pub size: u64,
}

impl Log {
    /// A true log of that many entries.
    pub fn new(size: u64) -> Self {
        Self::of(&entries(size))
    }

    /// A log of these entries, signed by its key.
    pub fn of(entries: &[Vec<u8>]) -> Self {
        let log = Self {
            folder: tempfile::tempdir().unwrap(),
            size: entries.len() as u64,
        };
        write(log.path(), ORIGIN, &key(), entries);
        log
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        assert!(path.exists(), "{name}");
        path
    }

    pub fn checkpoint(&self) -> Vec<u8> {
        fs::read(self.file("checkpoint")).unwrap()
    }

    /// Replaces the entries of the bundle that holds entry `n` and leaves everything else as it
    /// was.
    pub fn edit(&self, n: u64, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
        let index = n / 256;
        let first = index * 256;
        let width = (self.size - first).min(256);
        let mut entries: Vec<_> = (first..first + width).map(entry).collect();
        change(&mut entries);
        fs::write(
            self.file(&LogResource::Entries(index, width as u16).to_string()),
            bundle(&entries),
        )
        .unwrap();
    }

    /// Checks it with its key.
    pub fn verify(&self) -> LogsReport {
        self.verify_with(&LogExpectations::default())
    }

    /// The same, and what else is wanted.
    pub fn verify_with(&self, wanted: &LogExpectations) -> LogsReport {
        verify_folder(self.path(), wanted)
    }

    /// Everything that is wrong with it, as people read it.
    pub fn findings(&self) -> Vec<String> {
        findings(&self.verify())
    }

    pub fn findings_with(&self, seen: &[u8]) -> Vec<String> {
        findings(&self.verify_with(&LogExpectations {
            seen: vec![seen.to_vec()],
            ..LogExpectations::default()
        }))
    }
}

pub fn verify_folder(path: &Path, wanted: &LogExpectations) -> LogsReport {
    let mut wanted = wanted.clone();
    if wanted.keys.is_empty() {
        wanted.keys.push(TrustedLogKey::Any(key().verifying_key()));
    }
    let source: Box<dyn LogSource> = Box::new(LogFolder(path.to_owned()));
    verify::all(&*source, &wanted, &mut |_, _, _| {}).unwrap()
}

pub fn findings(report: &LogsReport) -> Vec<String> {
    assert_eq!(report.is_good(), report.all_findings().next().is_none());
    report
        .all_findings()
        .map(|(_, finding)| finding.to_string())
        .collect()
}

pub fn bundle(entries: &[Vec<u8>]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|entry| [&(entry.len() as u16).to_be_bytes()[..], entry].concat())
        .collect()
}

/// Writes a log as a server has it.
pub fn write(path: &Path, origin: &str, key: &SigningKey, entries: &[Vec<u8>]) -> Checkpoint {
    let put = |resource: LogResource, bytes: &[u8]| {
        let path = path.join(resource.to_string());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let mut tree = MerkleTree::default();
    for entry in entries {
        tree.push(leaf_hash(entry), |id, hashes| {
            put(LogResource::Tile(id, 256), &tree::tile_bytes(hashes));
        });
    }
    for (id, width) in tree::edge_tiles(tree.size()) {
        put(
            LogResource::Tile(id, width),
            &tree::tile_bytes(tree.edge(id.level)),
        );
    }
    for (index, chunk) in entries.chunks(256).enumerate() {
        put(
            LogResource::Entries(index as u64, chunk.len() as u16),
            &bundle(chunk),
        );
    }
    let checkpoint = Checkpoint {
        origin: origin.to_owned(),
        size: tree.size(),
        root: tree.root(),
    };
    put(LogResource::Checkpoint, checkpoint.sign(key).as_bytes());
    checkpoint
}
