//! The corpus of the fuzz targets, replayed: every file through its parser, as it is and changed in
//! ways that a fixed seed chooses. `ops/test-long fuzz` looks for more.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::parsers::PARSERS;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz")
        .join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let name = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    entries.map(|entry| name(entry.unwrap().path())).collect()
}

#[test]
fn every_parser_has_a_target_and_a_corpus_and_the_other_way_round() {
    let parsers: BTreeSet<String> = PARSERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(parsers.len(), PARSERS.len(), "no name twice");
    assert_eq!(names(&folder("fuzz_targets")), parsers);
    assert_eq!(names(&folder("corpus")), parsers);
    let manifest: toml::Table = fs::read_to_string(folder("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let targets = manifest["bin"].as_array().unwrap().iter();
    let targets: BTreeSet<String> = targets
        .map(|bin| bin["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(targets, parsers);
    for name in parsers {
        let target = folder("fuzz_targets").join(format!("{name}.rs"));
        let text = fs::read_to_string(target).unwrap();
        assert!(text.contains(&format!("parsers::{name}(bytes)")), "{name}");
    }
}

/// Pseudo-random numbers from a fixed seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

/// What parsers stumble over.
const PIECES: [&[u8]; 14] = [
    b"",
    b"\0",
    b"\r\n",
    b"\n\n",
    b"\"",
    b"[[[[",
    b"{\"a\":",
    b"-1",
    b"18446744073709551616",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\xe2\x80\xae",
    b"=",
];

/// The bytes with one to four changes: a bit flipped, a piece put in, a part cut out, doubled, or
/// taken from the other file.
fn changed(bytes: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let (a, b) = (random.below(bytes.len() + 1), random.below(bytes.len() + 1));
        let part = a.min(b)..a.max(b);
        match random.below(6) {
            0 if a < bytes.len() => bytes[a] ^= 1 << random.below(8),
            1 => drop(bytes.splice(a..a, PIECES[random.below(PIECES.len())].to_vec())),
            2 => drop(bytes.drain(part)),
            3 => bytes.truncate(a),
            4 if bytes.len() < 1 << 16 => {
                let double = bytes[part].to_vec();
                drop(bytes.splice(a..a, double));
            }
            _ => {
                let from = random.below(other.len() + 1);
                let to = from + random.below(other.len() - from + 1).min(64);
                drop(bytes.splice(part, other[from..to].to_vec()));
            }
        }
    }
    bytes
}

fn holds(name: &str, parser: fn(&[u8]), file: &Path, bytes: &[u8]) -> bool {
    let done = catch_unwind(AssertUnwindSafe(|| parser(bytes)));
    if done.is_err() {
        let (file, input) = (file.display(), bytes.escape_ascii());
        println!("{name} fails on this, made from {file}: {input}");
    }
    done.is_ok()
}

/// The files of a parser's corpus, and what they hold.
fn corpus(name: &str) -> (Vec<PathBuf>, Vec<Vec<u8>>) {
    let entries = fs::read_dir(folder("corpus").join(name)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts = files.iter().map(|file| fs::read(file).unwrap()).collect();
    (files, texts)
}

/// Every file of a parser's corpus and changes of it; false at the first one on which it fails.
fn replay(name: &str, parser: fn(&[u8])) -> bool {
    let (files, texts) = corpus(name);
    let mut random = Random(0);
    files.iter().zip(&texts).all(|(file, bytes)| {
        // As much work for a large file as for a small one.
        let changes = (100_000 / (bytes.len() + 1)).clamp(20, 200);
        let mut change = || {
            let other = &texts[random.below(texts.len())];
            holds(name, parser, file, &changed(bytes, other, &mut random))
        };
        holds(name, parser, file, bytes) && (0..changes).all(|_| change())
    })
}

#[test]
fn the_corpus_and_changes_of_it_hold() {
    let failed: Vec<&str> = PARSERS
        .iter()
        .filter(|(name, parser)| !replay(name, *parser))
        .map(|(name, _)| *name)
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}

/// So many changes as are asked for, of one parser's corpus or of all. `ops/test-long changes` runs
/// it.
#[test]
fn many_changes_of_the_corpus_hold() {
    let told = |name: &str| std::env::var(format!("CLOISON_TEST_{name}")).ok();
    let number = |name: &str| told(name).map(|text| text.parse::<u64>().expect(name));
    let Some(inputs) = number("INPUTS") else {
        eprintln!("not run: ops/test-long changes runs it");
        return;
    };
    let seed = number("SEED").unwrap_or_else(|| u64::from_be_bytes(cloison::clock::random()) >> 16);
    let only = told("PARSER");
    let mut failed = vec![];
    for (name, parser) in PARSERS {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let (files, texts) = corpus(name);
        let (mut random, began) = (Random(seed), std::time::Instant::now());
        let holds = (0..inputs).all(|_| {
            let n = random.below(files.len());
            let (one, other) = (&texts[n], &texts[random.below(texts.len())]);
            let once = changed(one, other, &mut random);
            holds(
                name,
                *parser,
                &files[n],
                &changed(&once, other, &mut random),
            )
        });
        eprintln!(
            "{name}: {inputs} inputs of CLOISON_TEST_SEED={seed} in {:?}: {holds}",
            began.elapsed()
        );
        failed.extend((!holds).then_some(*name));
    }
    assert!(failed.is_empty(), "{failed:?}");
}
