//! What must hold of every parser that faces the outside, whatever bytes it is given: it does not
//! panic; what it reads has a bounded size; what it reads writes back to one spelling, and that
//! spelling reads as the same.
//!
//! Each function panics where a property fails. `cargo fuzz` calls them with bytes that it looks
//! for (`ops/test-long fuzz`), and `tests/rules/fuzz.rs` with the files of `corpus/` and with
//! mutations of these. A new parser takes a function and a line of [`PARSERS`] here, a target, and
//! a folder of the corpus; the test says which of them is missing.

mod recovery;

use std::path::Path;
use std::sync::LazyLock;

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use cloison::code::Code;
use cloison::config::{ClientConfig, FileKind, NodeConfig, VaultConfig, WitnessConfig};
use cloison::epoch::statement::DestructionPayload;
use cloison::http::data::JsonBatch;
use cloison::http::tls::Validity;
use cloison::identifier::{MAX_CANONICAL, MAX_RAW, Scheme};
use cloison::inspection::decision::{InspectionClosing, InspectionDecision};
use cloison::inspection::report::ReportStatement;
use cloison::json::JsonObject;
use cloison::jws;
use cloison::keys::shares::{MAX_SHARES, ShareFile, ShareSet};
use cloison::keys::{Key, StoreKey, StoreSecret};
use cloison::lines::{self, LineReader};
use cloison::order::act::ActPayload;
use cloison::order::life::OrderLife;
use cloison::order::{OrderPayload, RequestPayload, examine};
use cloison::pseudonym::{self, TextForm, TextWriter};
use cloison::register::sign::RegisterStatement;
use cloison::register::{self, Fault, Register};
use cloison::rights::request::ErasureRequest;
use cloison::seal::SealError;
use cloison::seal::chunk::ChunkCipher;
use cloison::seal::mapping::RecordView;
use cloison::seal::pairs::{self, PairsHead};
use cloison::seal::record::SegmentRecord;
use cloison::statement::{Statement, UnverifiedStatement};
use cloison::store::{
    ChunkKey, CopiesRow, CopyRow, MigrationRow, NameField, OrderKey, RowField, Shard, TagPlace,
};
use cloison::suspension::SuspensionPayload;
use cloison::tlog::checkpoint::Checkpoint;
use cloison::tlog::note::{MAX_NOTE, SignatureKind, SignedNote, Verifier};
use cloison::tlog::path::LogResource;
use cloison::tlog::proof::{is_consistent, is_included};
use cloison::tlog::proof_file::ProofFile;
use cloison::tlog::source::split_bundle;
use cloison::tlog::tree::{empty_root, leaf_hash, tile_bytes, tile_hashes};
use cloison::tlog::witness::{CheckpointSubmission, MAX_PROOF};
use cloison::tokenize::MAX_ITEMS;
use cloison::utis::{
    EncodedPart, MAX_PARTS, MAX_VALUES, PartOutcome, UtiAnswer, UtiBatch, UtiContext, UtiPart,
    UtiRequest, request_head,
};
use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use uuid::Uuid;

pub use recovery::{answers, entry, joining, journal, manifest, progress, side_record, table};

/// What holds whatever bytes a parser is given; it panics where it does not.
pub type Property = fn(&[u8]);

/// Every parser by the name of its target and of its folder of the corpus.
pub const PARSERS: &[(&str, Property)] = &[
    ("act", act),
    ("answers", answers),
    ("bundle", bundle),
    ("certificate", certificate),
    ("checkpoint", checkpoint),
    ("chunk", chunk),
    ("client_config", client_config),
    ("closing", closing),
    ("cosignature", cosignature),
    ("decision", decision),
    ("destruction", destruction),
    ("entry", entry),
    ("erasure", erasure),
    ("identifier", identifier),
    ("joining", joining),
    ("journal", journal),
    ("json", json),
    ("json_batch", json_batch),
    ("jws", jws),
    ("lines", lines),
    ("manifest", manifest),
    ("mapping", mapping),
    ("node_config", node_config),
    ("note", note),
    ("order", order),
    ("pairs", pairs),
    ("progress", progress),
    ("proof_file", proof_file),
    ("pseudonym", pseudonym),
    ("register", register),
    ("report", report),
    ("request", request),
    ("rows", rows),
    ("segment", segment),
    ("shares", shares),
    ("side_record", side_record),
    ("suspension", suspension),
    ("table", table),
    ("text_batch", text_batch),
    ("tile", tile),
    ("uti_answer", uti_answer),
    ("uti_request", uti_request),
    ("vault_config", vault_config),
    ("verifier", verifier),
    ("witness_config", witness_config),
];

/// The register of the example: its schemes, sectors and authorities.
static REGISTER: LazyLock<Register> = LazyLock::new(|| {
    let text = include_str!("../../keys-example/register.toml");
    register::parse(text).expect("the example's register is sound")
});

/// A key that signs nothing but what is tried here.
static SIGNER: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&[7; 32]));

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

// --- identifiers, pseudonyms, batches
// ---------------------------------------------------------------------------------

fn canonical(scheme: &Scheme, raw: &str) {
    let mut value = b"before".to_vec();
    if scheme.canonical(raw, &mut value).is_err() {
        assert_eq!(value, b"before", "a refusal leaves nothing behind");
        return;
    }
    let value = value.split_off(b"before".len());
    assert!(raw.len() <= MAX_RAW && (1..=MAX_CANONICAL).contains(&value.len()));
    let mut again = vec![];
    let canonical = text(&value).expect("a canonical value is ASCII");
    assert_eq!(scheme.canonical(canonical, &mut again), Ok(()));
    assert_eq!(value, again, "a canonical value is its own canonical form");
}

/// The canonical form of an identifier, under every scheme of the example.
pub fn identifier(bytes: &[u8]) {
    let Some(raw) = text(bytes) else { return };
    REGISTER.schemes.values().for_each(|s| canonical(s, raw));
}

/// The text forms of a pseudonym.
pub fn pseudonym(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    for form in [TextForm::Bech32m, TextForm::Uuid, TextForm::Hex] {
        for tag in ["sante", "ab", "abcdefghijkl"] {
            if let Ok(read) = pseudonym::parse(form, tag, text) {
                let epoch = read.epoch_mod_32.unwrap_or_default().into();
                let writer = TextWriter::new(form, tag, epoch);
                assert_eq!(writer.text(&read.pseudonym), text, "it has one spelling");
                assert!(text.len() <= TextWriter::MAX_LEN);
            }
        }
    }
    for sector in REGISTER.sectors.values() {
        let _ = sector.parse_pseudonym(text);
    }
}

/// Lines: a text at once, the same text read piece by piece, lists and files of one entry.
pub fn lines(bytes: &[u8]) {
    let whole: Vec<&[u8]> = lines::of(bytes).collect();
    let mut reader = LineReader::new(bytes);
    let (mut pieces, mut line) = (vec![], vec![]);
    while reader
        .next_line(&mut line, usize::MAX)
        .expect("of memory")
        .is_some()
    {
        pieces.push(std::mem::take(&mut line));
    }
    // `lines::of` takes a single line end for no line, and the client never sends one.
    if lines::without_mark(bytes) != b"\n" {
        assert_eq!(whole, pieces, "both readers agree on what a line is");
    }
    let entries = lines::entries(bytes);
    for entry in entries.iter().flatten() {
        assert!(entry.line <= whole.len() && !entry.text.is_empty());
        let alone = [lines::BYTE_ORDER_MARK, entry.text.as_bytes()].concat();
        assert_eq!(lines::only(&alone), Some(entry.text));
    }
    if let Some(only) = lines::only(bytes) {
        assert_eq!(entries.expect("it was read").len(), 1);
        assert_eq!(only, only.trim());
    }
    match lines::text(bytes.to_vec()) {
        Ok(read) => assert_eq!(read.as_bytes(), lines::without_mark(bytes)),
        Err(fault) => assert!(fault.line >= 1),
    }
}

/// A batch as text: lines, each of them an identifier.
pub fn text_batch(bytes: &[u8]) {
    for line in lines::of(bytes).take(MAX_ITEMS + 1) {
        assert!(!line.contains(&b'\n'));
        identifier(line);
    }
}

/// A batch as JSON.
pub fn json_batch(bytes: &[u8]) {
    let Ok(batch) = JsonBatch::read(bytes) else {
        return;
    };
    let mut items = 0;
    for item in batch.identifiers() {
        items += 1;
        assert!(
            item.is_ok_and(|raw| raw.len() <= bytes.len()) || item == Err(Code::IdentifierNotText)
        );
    }
    assert!(items <= MAX_ITEMS + 1);
    let whole: Result<serde_json::Value, _> = serde_json::from_slice(bytes);
    if let Ok(whole) = whole {
        assert!(whole.is_object());
    }
}

// --- what people sign
// -------------------------------------------------------------------------------------------------

/// Strict JSON objects.
pub fn json(bytes: &[u8]) {
    if JsonObject::parse(bytes).is_ok() {
        let lax: serde_json::Value = serde_json::from_slice(bytes).expect("strict JSON is JSON");
        assert!(lax.is_object());
    }
}

/// Signed texts of the strict form.
pub fn jws(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    for typ in [
        register::sign::TYP,
        OrderPayload::TYP,
        ActPayload::TYP,
        RequestPayload::TYP,
        InspectionDecision::TYP,
        InspectionClosing::TYP,
        ErasureRequest::TYP,
        DestructionPayload::TYP,
        ReportStatement::TYP,
        SuspensionPayload::TYP,
        cloison::backup::manifest::TYP,
    ] {
        let Ok(read) = jws::parse(text, typ) else {
            continue;
        };
        assert!(text.len() <= jws::MAX_TEXT && read.signers().count() <= jws::MAX_SIGNATURES);
        let written = read.to_text();
        let again = jws::parse(&written, typ).expect("its canonical spelling reads");
        assert_eq!(written, again.to_text());
        assert_eq!(read.payload(), again.payload());
        assert!(read.signers().eq(again.signers()));
        for kid in read.signers() {
            assert!(!read.verify(kid, &SIGNER.verifying_key()));
        }
        assert!(
            jws::add_signature(&written, typ, "fuzz", &SIGNER).is_ok()
                || read.signers().count() == jws::MAX_SIGNATURES
        );
    }
}

/// A statement: as a signed text, and as a payload alone, which is what most changed bytes reach.
fn statement<S: Statement>(bytes: &[u8]) {
    payload::<S>(bytes);
    let Some(text) = text(bytes) else { return };
    if let Ok(read) = jws::parse(text, S::TYP) {
        payload::<S>(read.payload());
    }
    if let Ok(read) = UnverifiedStatement::<S>::read(text) {
        assert!(text.len() <= S::MAX_TEXT);
        assert!(read.claimed_signers().count() <= jws::MAX_SIGNATURES);
    }
}

fn payload<S: Statement>(bytes: &[u8]) {
    if let Ok(says) = S::read(bytes) {
        let written = says.write().expect("what was read can be written");
        let again = S::read(&written).expect("what was written can be read");
        assert_eq!(again.write().as_ref(), Ok(&written), "it has one spelling");
    }
}

/// Orders, also step by step through every rule.
pub fn order(bytes: &[u8]) {
    statement::<OrderPayload>(bytes);
    let now = Timestamp::from_second(1_795_348_800).expect("in 2026");
    let draft = jws::draft(bytes);
    for order in [text(bytes).unwrap_or_default(), &draft] {
        assert!(!examine(order, &REGISTER, now).is_empty());
    }
}

/// Acts upon orders.
pub fn act(bytes: &[u8]) {
    statement::<ActPayload>(bytes);
}

/// Officers' requests.
pub fn request(bytes: &[u8]) {
    statement::<RequestPayload>(bytes);
}

/// Decisions that open an inspection.
pub fn decision(bytes: &[u8]) {
    statement::<InspectionDecision>(bytes);
}

/// Statements that close one.
pub fn closing(bytes: &[u8]) {
    statement::<InspectionClosing>(bytes);
}

/// Signatures under the report of an inspection.
pub fn report(bytes: &[u8]) {
    statement::<ReportStatement>(bytes);
}

/// Requests for erasure.
pub fn erasure(bytes: &[u8]) {
    statement::<ErasureRequest>(bytes);
}

/// Statements that something is to be destroyed.
pub fn destruction(bytes: &[u8]) {
    statement::<DestructionPayload>(bytes);
}

/// Statements that shut a register entry out, or let it in again.
pub fn suspension(bytes: &[u8]) {
    statement::<SuspensionPayload>(bytes);
}

// --- register and configurations
// --------------------------------------------------------------------------------------

/// Faults name lines of the text, in its order, and there is one at least.
fn faults(text: &str, faults: &[Fault]) {
    let lines = text.split('\n').count();
    assert!(!faults.is_empty());
    assert!(faults.iter().all(|fault| (1..=lines).contains(&fault.line)));
    assert!(faults.is_sorted_by_key(|fault| fault.line));
    assert!(faults.iter().all(|fault| !fault.to_string().is_empty()));
}

/// Registers.
pub fn register(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    match register::parse(text) {
        Ok(register) => {
            let states = RegisterStatement::of(&register);
            assert_eq!(states.digest, register::sign::digest_of(bytes));
            assert!(JsonObject::parse(&states.payload()).is_ok());
        }
        Err(found) => faults(text, &found),
    }
}

fn config<C>(bytes: &[u8], parse: impl Fn(&str, &Path) -> Result<C, Vec<Fault>>) {
    let Some(text) = text(bytes) else { return };
    let _ = FileKind::of(text);
    if let Err(found) = parse(text, Path::new("/etc/cloison")) {
        faults(text, &found);
    }
}

/// The vault's configuration.
pub fn vault_config(bytes: &[u8]) {
    config(bytes, VaultConfig::parse);
}

/// An authority node's configuration.
pub fn node_config(bytes: &[u8]) {
    config(bytes, NodeConfig::parse);
}

/// A client's configuration.
pub fn client_config(bytes: &[u8]) {
    config(bytes, ClientConfig::parse);
}

/// A witness's configuration.
pub fn witness_config(bytes: &[u8]) {
    config(bytes, WitnessConfig::parse);
}

// --- what is sealed and stored
// ----------------------------------------------------------------------------------------

/// Segment records.
pub fn segment(bytes: &[u8]) {
    let pinned = [SIGNER.verifying_key()];
    assert!(
        SegmentRecord::read(bytes, &pinned).is_err(),
        "nobody signed it"
    );
    let Ok(record) = SegmentRecord::unverified(bytes) else {
        return;
    };
    let signed = record.sign(&SIGNER).expect("it has at most 255 recipients");
    assert_eq!(signed.len(), bytes.len());
    assert_eq!(signed[..signed.len() - 64], bytes[..bytes.len() - 64]);
    assert_eq!(SegmentRecord::read(&signed, &pinned), Ok(record));
}

/// Mapping records.
pub fn mapping(bytes: &[u8]) {
    if let Ok(record) = RecordView::parse(bytes) {
        assert_eq!(record.to_bytes(), bytes, "it has one spelling");
    }
}

/// The first storage secret of `tests/vectors/sealing.json`, and its `k_store`.
const STORE_SECRET: &[u8] = b"d9d18135db7b409b39643741cf4dc1f9f745b88928abc2f46bd0789beaa182fe";
const K_STORE: &[u8] = b"41e11818ca4563d763e7b055e9a9fffdd0268ab9f17692b331b5823684dfae67";

fn digits(text: &[u8]) -> [u8; 32] {
    let bytes = HEXLOWER.decode(text).expect("hexadecimal digits");
    bytes.try_into().expect("32 bytes")
}

/// A row that opens, whatever its plaintext is: format, version of the key, nonce, ciphertext.
fn wrapped(plain: &[u8]) -> Vec<u8> {
    let nonce = [5; 24];
    let payload = Payload {
        msg: plain,
        aad: b"row",
    };
    let sealed = XChaCha20Poly1305::new(&digits(K_STORE).into()).encrypt(&nonce.into(), payload);
    let sealed = sealed.expect("a short message seals");
    [&[1, 0, 0, 0, 1][..], &nonce, &sealed].concat()
}

/// Chunk records: bytes as a row, and bytes as the plaintext of a row that opens.
pub fn chunk(bytes: &[u8]) {
    let secret = StoreSecret(Key::take(&mut digits(STORE_SECRET)));
    let cipher = ChunkCipher::new([(1, StoreKey::new(&secret))]);
    assert!(cipher.unwrap(b"row", bytes.to_vec()).is_err());
    let chunk = match cipher.unwrap(b"row", wrapped(bytes)) {
        Err(fault) => return assert_eq!(fault, SealError::Format, "the row opens"),
        Ok(chunk) => chunk,
    };
    let mut records = 0;
    for record in chunk.records() {
        let Ok(record) = record else { break };
        records += record.to_bytes().len();
        let found = chunk.find(&record.pseudonym).expect("it stands there");
        assert!(found.is_some());
    }
    assert!(records <= bytes.len());
}

/// Pages of a migration's pairs.
pub fn pairs(bytes: &[u8]) {
    let Ok(head) = PairsHead::read(bytes) else {
        return;
    };
    let public = [9; 32];
    let sealed = pairs::seal(head, &public, b"").expect("a key of X25519");
    assert_eq!(PairsHead::read(&sealed), Ok(head));
    let length = sealed.len() - 32 - 16;
    assert_eq!(sealed[..length], bytes[..length], "it has one spelling");
}

/// Requests of a vault to an identity source.
pub fn uti_request(bytes: &[u8]) {
    let Ok(request) = UtiRequest::read(bytes) else {
        return;
    };
    assert!(request.parts.len() <= MAX_PARTS);
    let mut written = request_head(&request.nonce, request.parts.len()).to_vec();
    let mut count = 0;
    for part in &request.parts {
        let again = match part {
            UtiPart::Probe => EncodedPart::probe(),
            UtiPart::PersonKey(sector) => EncodedPart::person_key(*sector),
            UtiPart::Values {
                kind,
                sector,
                by,
                scheme,
                values,
            } => {
                count += values.len();
                let mut arena = vec![];
                let add = |value: &[u8]| {
                    assert!((1..=MAX_CANONICAL).contains(&value.len()));
                    arena.extend_from_slice(value);
                    arena.len() as u32
                };
                let ends: Vec<u32> = values.iter().map(add).collect();
                let context = UtiContext {
                    kind: *kind,
                    sector: *sector,
                    by,
                };
                let batch = UtiBatch {
                    scheme: scheme.as_str(),
                    values: &arena,
                    ends: &ends,
                };
                EncodedPart::values(context, batch)
            }
        };
        assert_eq!(again.answers(), part.answers());
        written.extend_from_slice(again.bytes());
    }
    assert!(count <= MAX_VALUES);
    assert_eq!(written, bytes, "it has one spelling");
}

/// Answers of an identity source: how many parts, the answers that each of them waits for, the
/// answer.
pub fn uti_answer(bytes: &[u8]) {
    let Some((parts, rest)) = bytes.split_first() else {
        return;
    };
    let Some((counts, answer)) = rest.split_at_checked(usize::from(*parts)) else {
        return;
    };
    let counts: Vec<usize> = counts.iter().map(|count| usize::from(*count)).collect();
    let Some(nonce) = answer.get(1..17) else {
        return;
    };
    let nonce = nonce.try_into().expect("16 bytes");
    let Ok(read) = UtiAnswer::read(answer, &nonce, &counts) else {
        return;
    };
    assert!(answer.len() <= UtiAnswer::most_bytes(&counts));
    assert_eq!(read.parts.len(), counts.len());
    let mut rest = &answer[19..];
    for (outcome, count) in read.parts.iter().zip(&counts) {
        let mut utis = vec![];
        let length = match outcome.append_utis(&mut utis) {
            Ok(()) => {
                assert_eq!(utis.len(), *count);
                5 + 32 * count
            }
            Err(refusal) => {
                assert!(utis.is_empty() && matches!(outcome, PartOutcome::Refused(_)));
                7 + refusal.code().as_str().len()
            }
        };
        rest = &rest[length..];
    }
    assert!(rest.is_empty(), "nothing is left over");
}

fn row<T: RowField<Owned = T> + Clone>(bytes: &[u8]) {
    if let Some(read) = T::read(bytes) {
        assert_eq!(read.bytes(), bytes, "it has one spelling");
    }
}

/// The fields of rows, and the texts that rows hold.
pub fn rows(bytes: &[u8]) {
    row::<(NameField, Uuid, u32)>(bytes);
    row::<(NameField, OrderKey, u32)>(bytes);
    row::<(u64, String)>(bytes);
    row::<ChunkKey>(bytes);
    row::<CopiesRow>(bytes);
    row::<CopyRow>(bytes);
    row::<MigrationRow>(bytes);
    row::<OrderKey>(bytes);
    row::<Shard>(bytes);
    row::<TagPlace>(bytes);
    if let Some(shard) = text(bytes).and_then(Shard::parse) {
        assert_eq!(shard.to_string().as_bytes(), bytes);
    }
    if let Some(life) = OrderLife::from_bytes(bytes) {
        let written = life.to_bytes();
        let again = OrderLife::from_bytes(&written).expect("what was written can be read");
        assert_eq!(again.to_bytes(), written);
    }
}

/// Shares of secrets, in their sets and files.
pub fn shares(bytes: &[u8]) {
    if let Ok(set) = ShareSet::from_json(bytes) {
        assert!(set.threshold <= set.custodians.len() && set.custodians.len() <= MAX_SHARES);
        let written = set.to_json();
        let again = ShareSet::from_json(written.as_bytes()).expect("what was written can be read");
        assert_eq!((again.to_json(), again.digest()), (written, set.digest()));
    }
    if let Ok(file) = ShareFile::from_json(bytes) {
        let written = file.into_json();
        let again = ShareFile::from_json(&written).expect("what was written can be read");
        assert_eq!(again.into_json(), written);
    }
}

// --- the log
// ----------------------------------------------------------------------------------------------------------

/// Signed notes.
pub fn note(bytes: &[u8]) {
    let Ok(note) = SignedNote::parse(bytes) else {
        return;
    };
    assert!(bytes.len() <= MAX_NOTE && note.text().ends_with('\n'));
    assert!(bytes.starts_with(note.text().as_bytes()));
    let key = SIGNER.verifying_key();
    for name in note.claimed() {
        for kind in [SignatureKind::Log, SignatureKind::Cosigner] {
            let verifier = Verifier::new(name, kind, key);
            let _ = (note.time_of(&verifier), note.line_of(&verifier));
            assert_ne!(note.is_signed_by(&verifier), Ok(true), "nobody signed it");
        }
    }
    let _ = note.cosigner(&key);
}

/// Verifier keys.
pub fn verifier(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(read) = Verifier::parse(text) {
        assert_eq!(read.to_string(), text, "it has one spelling");
    }
}

/// Checkpoints, signed and as the text that is signed.
pub fn checkpoint(bytes: &[u8]) {
    if let Some(read) = text(bytes).and_then(Checkpoint::parse) {
        assert!(bytes.starts_with(read.text().as_bytes()));
        assert_eq!(Checkpoint::parse(&read.text()).as_ref(), Some(&read));
        let signed = read.sign(&SIGNER);
        if let Ok((again, _)) = Checkpoint::open(signed.as_bytes(), &SIGNER.verifying_key()) {
            assert_eq!(again, read);
        }
    }
    if let Ok((read, note)) = Checkpoint::read(bytes) {
        assert!(note.text().starts_with(&read.text()));
    }
}

/// Proof files.
pub fn proof_file(bytes: &[u8]) {
    let Some(file) = text(bytes).and_then(|text| ProofFile::parse(text).ok()) else {
        return;
    };
    assert_eq!(file.text().as_bytes(), bytes, "it has one spelling");
    assert!(file.path.len() <= MAX_PROOF);
    assert!(
        file.check(&SIGNER.verifying_key()).is_err(),
        "nobody signed it"
    );
    if let Ok(claimed) = file.claimed() {
        let leaf = leaf_hash(&file.entry);
        let _ = is_included(&leaf, file.index, claimed.size, &file.path, &claimed.root);
    }
}

/// Submissions to a witness.
pub fn cosignature(bytes: &[u8]) {
    let Some(submission) = CheckpointSubmission::parse(bytes) else {
        return;
    };
    assert_eq!(submission.text().as_bytes(), bytes, "it has one spelling");
    assert!(submission.proof.len() <= MAX_PROOF);
    if let Ok((new, _)) = Checkpoint::read(submission.note.as_bytes()) {
        let heads = ((submission.old, empty_root()), (new.size, new.root));
        let _ = is_consistent(heads.0, heads.1, &submission.proof);
    }
}

/// Tiles, and the paths under which they are asked for.
pub fn tile(bytes: &[u8]) {
    if let Some(hashes) = tile_hashes(bytes) {
        assert_eq!(tile_bytes(&hashes), bytes);
    }
    if let Some(resource) = text(bytes).and_then(LogResource::parse) {
        assert_eq!(
            resource.to_string().as_bytes(),
            bytes,
            "it has one spelling"
        );
    }
}

/// Bundles of entries.
pub fn bundle(bytes: &[u8]) {
    if let Some(entries) = split_bundle(bytes) {
        let written = entries.iter().flat_map(|entry| {
            let length = u16::try_from(entry.len()).expect("it has two bytes");
            [&length.to_be_bytes()[..], entry].concat()
        });
        assert_eq!(written.collect::<Vec<u8>>(), bytes, "it has one spelling");
    }
}

// --- TLS
// --------------------------------------------------------------------------------------------------------------

/// From when until when a certificate counts.
pub fn certificate(bytes: &[u8]) {
    if let Some(validity) = Validity::of(&CertificateDer::from(bytes)) {
        let counts = validity.check(validity.from).is_ok();
        assert_eq!(counts, validity.from <= validity.until);
        assert_eq!(Validity::of(&CertificateDer::from(bytes)), Some(validity));
    }
}
