//! The published vectors (`tests/vectors/*.json`): this implementation agrees with them, and so
//! does the independent one in Python (`tests/independent/`), which made them. What this one seals,
//! that one opens.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use cloison::cli::spec;
use cloison::code::Code;
use cloison::identifier::{CheckDigit, LetterCase, Scheme, SchemeRules};
use cloison::keys::{
    AuditKey, AuditSecret, AuthoritySecret, DomainScope, IdentityKeys, IdentitySecret, Key,
    PrfOutput, SectorRootKey, SectorSecret, StoreKey, StoreSecret,
};
use cloison::pseudonym::{ParsedPseudonym, Pseudonym, TextWriter, parse};
use cloison::register::{AuthorityKey, Id, Suite, TextForm};
use cloison::seal::SealError;
use cloison::seal::chunk::{Chunk, ChunkBuilder, ChunkCipher, MAX_RECORDS};
use cloison::seal::mapping::{Mapping, MappingLocation, MappingSealer, RecordView};
use cloison::seal::segment::{AuthorityPrivateKey, OpenSegment, OpenedSegment};
use cloison::store::ChunkKey;
use data_encoding::HEXLOWER;
use ed25519_dalek::{SigningKey, VerifyingKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

// --- reading them -----------------------------------------------------------------------------------------------------

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn file(name: &str) -> Value {
    let path = root().join("tests/vectors").join(name);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The members of an array, never none: an emptied file must not pass.
fn each(value: &Value) -> impl Iterator<Item = &Value> {
    let array = value.as_array().expect("an array");
    assert!(!array.is_empty(), "there are vectors");
    array.iter()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn number(value: &Value) -> u32 {
    value
        .as_u64()
        .expect("a number")
        .try_into()
        .expect("32 bits")
}

fn bytes(value: &Value) -> Vec<u8> {
    HEXLOWER
        .decode(text(value).as_bytes())
        .expect("lower-case hexadecimal")
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().expect("the length")
}

fn key(value: &Value) -> Key {
    Key::take(&mut array(value))
}

fn form(name: &str) -> TextForm {
    match name {
        "bech32m" => TextForm::Bech32m,
        "uuid" => TextForm::Uuid,
        "hex" => TextForm::Hex,
        other => panic!("no text form {other}"),
    }
}

fn scope(value: &Value) -> DomainScope {
    let of = |member: &str| text(&value[member]).to_owned();
    DomainScope {
        controller: of("controller"),
        purpose: of("purpose"),
        period: of("period"),
    }
}

fn code(name: &Value) -> Code {
    serde_json::from_value(name.clone()).expect("a code")
}

// --- derivation -------------------------------------------------------------------------------------------------------

fn spec_derive(input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cloison"))
        .args(["spec", "derive"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output
}

#[test]
fn derivation_agrees() {
    let file = file("derivation.json");
    let mut input = String::new();
    for vector in each(&file["vectors"]) {
        let line = spec::derive(vector["input"].to_string().as_bytes()).unwrap();
        let ours: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ours, vector["output"], "{}", vector["name"]);
        input += &format!("{}\n", vector["input"]);
    }
    let output = spec_derive(input.as_bytes());
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let ours: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let theirs: Vec<&Value> = each(&file["vectors"])
        .map(|vector| &vector["output"])
        .collect();
    assert_eq!(ours.iter().collect::<Vec<_>>(), theirs);
}

#[test]
fn members_come_in_the_order_of_the_specification() {
    let file = file("derivation.json");
    let output = spec_derive(file["vectors"][0]["input"].to_string().as_bytes());
    let stdout = String::from_utf8(output.stdout).unwrap();
    let members = [
        "prk_id",
        "k_uti",
        "uti",
        "prk_sec",
        "k_path",
        "k_domain",
        "pseudonym",
        "person_handle",
        "text",
    ];
    let places: Vec<_> = members
        .iter()
        .map(|member| stdout.find(&format!("\"{member}\":")).expect(member))
        .collect();
    assert!(places.is_sorted());
}

#[test]
fn what_no_derivation_can_start_from_is_refused() {
    let file = file("derivation.json");
    for case in each(&file["must_fail"]) {
        let fault = spec::derive(text(&case["text"]).as_bytes());
        assert!(fault.is_err(), "{}", case["name"]);
    }
    for case in each(&file["must_fail"]).step_by(7) {
        let output = spec_derive(text(&case["text"]).as_bytes());
        assert_eq!(output.status.code(), Some(2), "{}", case["name"]);
        assert!(
            output.stdout.is_empty(),
            "nothing half done: {}",
            case["name"]
        );
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("error: "), "{said}");
        let secret = text(&file["vectors"][0]["input"]["identity_secret"]);
        assert!(
            !said.contains(secret) && !said.contains("AB123456"),
            "{said}"
        );
    }
    assert_eq!(spec_derive(b"\xff\xfe").status.code(), Some(2));
}

#[test]
fn different_inputs_never_meet() {
    let file = file("derivation.json");
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for vector in each(&file["vectors"]) {
        // The tag only shows in the text; it is not part of the derivation.
        let mut input = vector["input"].clone();
        input.as_object_mut().unwrap().remove("tag");
        if !inputs.contains(&input) {
            inputs.push(input);
            outputs.push(text(&vector["output"]["pseudonym"]));
        }
    }
    let all = outputs.len();
    outputs.sort_unstable();
    outputs.dedup();
    assert_eq!(outputs.len(), all);
}

// --- the specification ------------------------------------------------------------------------------------------------

#[test]
fn the_examples_of_the_specification_are_the_first_vectors() {
    let page = std::fs::read_to_string(root().join("docs/spec.md")).unwrap();
    let page: String = page.split_whitespace().collect(); // long values are spread over lines
    let (derivation, sealing) = (file("derivation.json"), file("sealing.json"));
    let mut values = Vec::new();
    let first = |list: &Value| list[0].clone();
    leaves(&first(&derivation["vectors"]), &mut values);
    leaves(&sealing["authorities"]["court"], &mut values);
    leaves(&first(&sealing["segments"]), &mut values);
    leaves(&first(&sealing["store_secrets"]), &mut values);
    leaves(&first(&sealing["chunks"]), &mut values);
    leaves(&sealing["audit"]["audit_secret"], &mut values);
    leaves(&first(&sealing["audit"]["tags"]), &mut values);
    let mapping = first(&sealing["mappings"]);
    assert_eq!(mapping["input"], derivation["vectors"][0]["input"]);
    leaves(&mapping["prf"], &mut values);
    leaves(&mapping["location"], &mut values);
    leaves(&sealing["segment_signing_key"], &mut values);
    leaves(&sealing["pinned"], &mut values);
    values.push("0004636e6965000841423132333435360000512b".into());
    assert!(values.len() > 40);
    for value in values.iter().filter(|value| value.len() > 12) {
        let value: String = value.split_whitespace().collect();
        assert!(
            page.contains(&value) || VECTOR_NAMES.contains(&value.as_str()),
            "docs/spec.md does not have {value}"
        );
    }
}

/// Names of vectors, which are no values.
const VECTOR_NAMES: [&str; 2] = ["asinthespecification", "oneauthority"];

fn leaves(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.push(text.clone()),
        Value::Array(array) => array.iter().for_each(|value| leaves(value, out)),
        Value::Object(object) => object.values().for_each(|value| leaves(value, out)),
        _ => {}
    }
}

#[test]
fn every_label_of_the_code_is_in_the_specification() {
    let page = std::fs::read_to_string(root().join("docs/spec.md")).unwrap();
    let (_, listed) = page.split_once(". Every label\n").unwrap();
    let mut found = 0;
    for room in [
        "src/keys/derive.rs",
        "src/seal/segment.rs",
        "src/seal/mapping.rs",
        "src/seal/chunk.rs",
    ] {
        let code = std::fs::read_to_string(root().join(room)).unwrap();
        for label in code
            .split('"')
            .filter(|text| text.starts_with("cloison/v1/"))
        {
            assert!(listed.contains(&format!("`{label}`")), "{room}: {label}");
            found += 1;
        }
    }
    assert!(found >= 15, "only {found} labels found");
}

// --- text forms and canonical form ------------------------------------------------------------------------------------

#[test]
fn text_forms_agree() {
    for vector in each(&file("text.json")["vectors"]) {
        let (tag, epoch) = (text(&vector["tag"]), number(&vector["epoch"]));
        let p = Pseudonym::from_bytes(array(&vector["pseudonym"]));
        assert_eq!(
            p.with_uuid_bits().as_bytes(),
            &array(&vector["uuid_pseudonym"])
        );
        for name in ["bech32m", "uuid", "hex"] {
            let form = form(name);
            let p = p.fixed_for(form);
            let theirs = text(&vector[name]);
            assert_eq!(TextWriter::new(form, tag, epoch).text(&p), theirs);
            let epoch_mod_32 = (name == "bech32m").then_some((epoch % 32) as u8);
            assert_eq!(
                parse(form, tag, theirs),
                Ok(ParsedPseudonym {
                    pseudonym: p,
                    form,
                    epoch_mod_32
                })
            );
        }
    }
}

#[test]
fn malformed_texts_are_refused_with_their_code() {
    for case in each(&file("text.json")["must_fail"]) {
        let refused = parse(
            form(text(&case["form"])),
            text(&case["tag"]),
            text(&case["text"]),
        );
        assert_eq!(
            refused,
            Err(code(&case["code"])),
            "{}: {}",
            case["form"],
            case["why"]
        );
    }
}

fn schemes(file: &Value) -> BTreeMap<&str, Scheme> {
    let scheme = |id: &str, rules: &Value| {
        let rules = SchemeRules {
            id: Id::parse(id).unwrap(),
            pattern: text(&rules["pattern"]).into(),
            separators: text(&rules["separators"]).into(),
            check: CheckDigit::parse(text(&rules["check"])).unwrap(),
            case: rules["case"]
                .as_str()
                .map_or(LetterCase::Fold, |case| LetterCase::parse(case).unwrap()),
        };
        Scheme::new(rules).unwrap()
    };
    file["schemes"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(id, rules)| (id.as_str(), scheme(id, rules)))
        .collect()
}

fn canonical(scheme: &Scheme, raw: &str) -> Result<String, Code> {
    let mut out = Vec::new();
    scheme
        .canonical(raw, &mut out)
        .map(|()| String::from_utf8(out).unwrap())
}

#[test]
fn canonical_forms_agree() {
    let file = file("canonical.json");
    let schemes = schemes(&file);
    let of = |case: &Value| canonical(&schemes[text(&case["scheme"])], text(&case["raw"]));
    for case in each(&file["vectors"]) {
        assert_eq!(
            of(case).as_deref(),
            Ok(text(&case["value"])),
            "{}: {}",
            case["scheme"],
            case["why"]
        );
    }
    for case in each(&file["must_fail"]) {
        assert_eq!(
            of(case),
            Err(code(&case["code"])),
            "{}: {}",
            case["scheme"],
            case["why"]
        );
    }
}

/// All of Unicode, one by one: against the rule as docs/spec.md words it, and against the
/// independent implementation by the digest over what becomes of each.
#[test]
fn every_code_point_is_removed_mapped_or_refused_as_the_rule_says() {
    let file = file("canonical.json");
    let schemes = schemes(&file);
    let spaces: Vec<char> = each(&file["spaces"])
        .map(|number| char::from_u32(number.as_u64().unwrap() as u32).unwrap())
        .collect();
    let by_the_rule = |character: char, keep: bool| {
        let shown = match character as u32 {
            full_width @ 0xff01..=0xff5e => char::from_u32(full_width - 0xfee0).unwrap(),
            _ => character,
        };
        match shown {
            shown if shown == '-' || spaces.contains(&shown) => Ok("A1".to_owned()),
            shown if shown.is_control() => Err(Code::IdentifierControl),
            shown if !shown.is_ascii() => Err(Code::IdentifierCharacter),
            shown if keep => Ok(format!("A{shown}1")),
            shown => Ok(format!("A{}1", shown.to_ascii_uppercase())),
        }
    };
    for (name, digest) in file["every_code_point"].as_object().unwrap() {
        let mut table = Sha256::new();
        for character in '\0'..=char::MAX {
            let found = canonical(&schemes[name.as_str()], &format!("A{character}1"));
            assert_eq!(
                found,
                by_the_rule(character, name == "any-kept"),
                "U+{:04X}",
                character as u32
            );
            let outcome = found.unwrap_or_else(|code| format!("!{code}"));
            table.update(format!("{:04X} {outcome}\n", character as u32));
        }
        assert_eq!(HEXLOWER.encode(&table.finalize()), text(digest), "{name}");
    }
}

// --- sealing ----------------------------------------------------------------------------------------------------------

fn kind(error: SealError) -> &'static str {
    match error {
        SealError::Format => "format",
        SealError::Signature => "signature",
        SealError::NotForThisKey => "not-for-this-key",
        SealError::Commitment => "commitment",
        SealError::PublicKey => "public-key",
        SealError::Open => "open",
        SealError::KeyVersion(_) => "key-version",
    }
}

fn authority(file: &Value, name: &str) -> AuthorityPrivateKey {
    let entry = &file["authorities"][name];
    let suite = Suite::from_number(entry["suite"].as_u64().unwrap()).unwrap();
    let key = AuthorityPrivateKey::derive(
        &AuthoritySecret(key(&entry["authority_secret"])),
        text(&entry["key_id"]),
        suite,
    );
    assert_eq!(
        HEXLOWER.encode(key.public()),
        text(&entry["public"]),
        "{name}"
    );
    key
}

fn pinned(file: &Value) -> Vec<VerifyingKey> {
    vec![VerifyingKey::from_bytes(&array(&file["pinned"])).unwrap()]
}

fn opened_segments(file: &Value) -> BTreeMap<&str, OpenedSegment> {
    each(&file["segments"])
        .map(|segment| {
            let mut by_each = each(&segment["sealed_to"]).map(|name| {
                let opened = OpenedSegment::open(
                    &bytes(&segment["record"]),
                    &authority(file, text(name)),
                    &pinned(file),
                );
                let opened = opened.unwrap_or_else(|error| panic!("{}: {error}", segment["name"]));
                assert_eq!(opened.id(), &array(&segment["id"]));
                assert_eq!(opened.sector().to_string(), text(&segment["sector"]));
                opened
            });
            let first = by_each.next().unwrap();
            by_each.for_each(drop);
            (text(&segment["name"]), first)
        })
        .collect()
}

fn open_record(
    record: &[u8],
    segment: &OpenedSegment,
    sector: &Value,
    epoch: &Value,
    scope: &DomainScope,
) -> Result<Mapping, SealError> {
    let sector = Uuid::parse_str(text(sector)).unwrap();
    RecordView::parse(record)?.open(segment, MappingLocation::new(sector, number(epoch), scope))
}

fn store_cipher(file: &Value) -> ChunkCipher {
    ChunkCipher::new(each(&file["store_secrets"]).map(|entry| {
        (
            number(&entry["version"]),
            StoreKey::new(&StoreSecret(key(&entry["store_secret"]))),
        )
    }))
}

#[test]
fn authority_keys_agree() {
    let file = file("sealing.json");
    for (name, entry) in file["authorities"].as_object().unwrap() {
        let private = authority(&file, name);
        assert_eq!(private.id(), text(&entry["key_id"]));
        assert_eq!(private.public(), bytes(&entry["public"]), "{name}");
    }
}

#[test]
fn segments_and_mappings_open() {
    let file = file("sealing.json");
    let segments = opened_segments(&file);
    for entry in each(&file["mappings"]) {
        let (input, record) = (&entry["input"], bytes(&entry["record"]));
        let sector = &input["path"][0];
        let segment = &segments[text(&entry["segment"])];
        let mapping =
            open_record(&record, segment, sector, &input["epoch"], &scope(input)).unwrap();
        assert_eq!(mapping.scheme, text(&input["scheme"]));
        assert_eq!(mapping.value.as_str(), text(&input["value"]));
        assert_eq!(mapping.first_seen, number(&entry["first_seen"]));

        // The record is the one that this implementation would have made, but for the ciphertext
        // that a fixed DEK made.
        let (p, nonce_part) = derived(input, form(text(&entry["text_form"])));
        assert_eq!(p.as_bytes(), &array(&entry["pseudonym"]));
        assert_eq!(RecordView::parse(&record).unwrap().pseudonym, p);
        assert_eq!(record[16..24], nonce_part);
        assert_eq!(record[24..28], number(&entry["counter"]).to_be_bytes());
        assert_eq!(RecordView::parse(&record).unwrap().to_bytes(), record);
    }
}

fn derived(input: &Value, form: TextForm) -> (Pseudonym, [u8; 8]) {
    let identity = IdentityKeys::new(&IdentitySecret(key(&input["identity_secret"])));
    let (scheme, value) = (text(&input["scheme"]), text(&input["value"]));
    let mut utis = Vec::new();
    identity.append_utis(scheme, [value.as_bytes()], &mut utis);
    let path: Vec<Uuid> = each(&input["path"])
        .map(|sector| Uuid::parse_str(text(sector)).unwrap())
        .collect();
    let tree = SectorRootKey::new(&SectorSecret(key(&input["sector_secret"]))).sector(&path);
    let prf = tree
        .domain(number(&input["epoch"]), &scope(input))
        .prf(&utis[0]);
    (
        prf.to_pseudonym().fixed_for(form),
        *prf.nonce_part().as_bytes(),
    )
}

#[test]
fn chunks_open() {
    let file = file("sealing.json");
    let (cipher, segments) = (store_cipher(&file), opened_segments(&file));
    for entry in each(&file["chunks"]) {
        let place = ChunkKey {
            sector: number(&entry["sector_number"]),
            epoch: number(&entry["epoch"]),
            sequence: number(&entry["sequence"]),
        };
        assert_eq!(place.to_bytes(), array::<16>(&entry["row_key"]));
        let chunk = cipher
            .unwrap(&place.to_bytes(), bytes(&entry["row"]))
            .unwrap();
        let segment = &segments[text(&entry["segment"])];
        assert_eq!(chunk.segment(), segment.id());
        let records: Vec<_> = chunk
            .records()
            .map(|record| record.unwrap().to_bytes())
            .collect();
        assert_eq!(
            records,
            each(&entry["records"]).map(bytes).collect::<Vec<_>>()
        );
        for record in chunk.records().map(Result::unwrap) {
            assert_eq!(
                chunk.find(&record.pseudonym).unwrap().unwrap().to_bytes(),
                record.to_bytes()
            );
            let location =
                MappingLocation::new(segment.sector(), number(&entry["epoch"]), chunk.scope());
            record.open(segment, location).unwrap();
        }
    }
}

#[test]
fn audit_tags_agree() {
    let file = file("sealing.json");
    let audit = AuditKey::new(&AuditSecret(key(&file["audit"]["audit_secret"])));
    for entry in each(&file["audit"]["tags"]) {
        let sector = Uuid::parse_str(text(&entry["sector"])).unwrap();
        let tag = audit.tag(sector, &Pseudonym::from_bytes(array(&entry["pseudonym"])));
        assert_eq!(tag, array(&entry["tag"]));
    }
}

#[test]
fn what_must_not_open_does_not() {
    let file = file("sealing.json");
    let (segments, cipher) = (opened_segments(&file), store_cipher(&file));
    for case in each(&file["must_fail"]["segments"]) {
        let key = authority(&file, text(&case["opened_with"]));
        let opened = OpenedSegment::open(&bytes(&case["record"]), &key, &pinned(&file)).map(drop);
        assert_eq!(
            opened.map_err(kind),
            Err(text(&case["error"])),
            "segment: {}",
            case["name"]
        );
    }
    for case in each(&file["must_fail"]["mappings"]) {
        let segment = &segments[text(&case["segment"])];
        let opened = open_record(
            &bytes(&case["record"]),
            segment,
            &case["sector"],
            &case["epoch"],
            &scope(case),
        );
        assert_eq!(
            opened.map(drop).map_err(kind),
            Err(text(&case["error"])),
            "mapping: {}",
            case["name"]
        );
    }
    for case in each(&file["must_fail"]["chunks"]) {
        let unwrapped = cipher.unwrap(&bytes(&case["row_key"]), bytes(&case["row"]));
        let all = |chunk: Chunk| chunk.records().try_for_each(|record| record.map(drop));
        assert_eq!(
            unwrapped.and_then(all).map_err(kind),
            Err(text(&case["error"])),
            "chunk: {}",
            case["name"]
        );
    }
}

// --- the independent implementation -----------------------------------------------------------------------------------

/// Runs a script of `tests/independent` in the environment of `ops/python-env`. No Python, no pass.
fn python(script: &str, arguments: &[&Path], input: &str) -> String {
    let environment = Command::new("sh")
        .arg(root().join("ops/python-env"))
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&environment.stderr);
    assert!(
        environment.status.success(),
        "the independent implementation needs Python; ops/python-env says:\n{said}"
    );
    let interpreter = PathBuf::from(String::from_utf8(environment.stdout).unwrap().trim());
    let mut child = Command::new(interpreter)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(root().join("tests/independent").join(script))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let written = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    written.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_independent_implementation_agrees_on_all_vectors() {
    let said = python("check.py", &[&root().join("tests/vectors")], "");
    let count: usize = said
        .trim()
        .strip_suffix(" values agree")
        .expect("its last word")
        .parse()
        .unwrap();
    assert!(count > 900, "only {count} values were compared");
}

#[test]
fn the_vectors_are_those_that_the_independent_implementation_makes() {
    let folder = tempfile::tempdir().unwrap();
    python("generate.py", &[folder.path()], "");
    let mut made: Vec<_> = folder
        .path()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    made.sort();
    assert_eq!(
        made,
        [
            "canonical.json",
            "derivation.json",
            "sealing.json",
            "text.json"
        ]
    );
    for name in made {
        let (theirs, ours) = (
            folder.path().join(&name),
            root().join("tests/vectors").join(&name),
        );
        let same = std::fs::read(ours).unwrap() == std::fs::read(theirs).unwrap();
        assert!(
            same,
            "tests/vectors/{} is not what generate.py makes",
            name.display()
        );
    }
}

#[test]
fn the_independent_implementation_opens_what_this_one_seals() {
    for (form_name, suite) in [("bech32m", Suite::X25519), ("uuid", Suite::XWing)] {
        seal_and_let_open(form_name, suite);
    }
}

/// Three batches in two segments of one sector, the last with every granularity, as the vault would
/// seal them.
fn seal_and_let_open(form_name: &str, suite: Suite) {
    let secret = || HEXLOWER.encode(Key::random().expose());
    let (identity_secret, sector_secret, store_secret, authority_secret) =
        (secret(), secret(), secret(), secret());
    let secret_key = |hex: &str| key(&json!(hex));
    let path = [Uuid::from_bytes([7; 16]), Uuid::from_bytes([9; 16])];
    let sector = path[1];

    let signer = SigningKey::from_bytes(&cloison::clock::random());
    let court = AuthorityPrivateKey::derive(
        &AuthoritySecret(secret_key(&authority_secret)),
        "court-2026",
        suite,
    );
    let other =
        AuthorityPrivateKey::derive(&AuthoritySecret(Key::random()), "other", Suite::X25519);
    let public = |private: &AuthorityPrivateKey| AuthorityKey {
        id: Id::parse(private.id()).unwrap(),
        suite: private.suite(),
        public: private.public().to_vec(),
    };
    let recipients = [public(&other), public(&court)];
    let now = "2026-11-22T08:00:00Z".parse().unwrap();
    let segments: Vec<_> = (0..2)
        .map(|_| OpenSegment::create(sector, &recipients.each_ref(), &signer, now).unwrap())
        .collect();

    let identity = IdentityKeys::new(&IdentitySecret(secret_key(&identity_secret)));
    let tree = SectorRootKey::new(&SectorSecret(secret_key(&sector_secret))).sector(&path);
    let cipher = ChunkCipher::new([(5, StoreKey::new(&StoreSecret(secret_key(&store_secret))))]);
    let all = DomainScope {
        controller: "cnss".into(),
        purpose: "billing".into(),
        period: "2026-11".into(),
    };
    let batches = [
        (0, 1, DomainScope::default(), "cnie", 1),
        (1, 1, DomainScope::default(), "idcs", 600),
        (1, 40, all, "cnie", 3),
    ];

    let (mut rows, mut expected) = (Vec::new(), Vec::new());
    for (sequence, (segment, epoch, scope, scheme, count)) in (1..).step_by(10).zip(batches) {
        let segment = &segments[segment];
        let values: Vec<String> = (0..count).map(|n| format!("AB{n:06}")).collect();
        let mut utis = Vec::new();
        identity.append_utis(scheme, values.iter().map(String::as_bytes), &mut utis);
        let domain = tree.domain(epoch, &scope);
        let mut sealer = MappingSealer::new(
            segment,
            MappingLocation::new(sector, epoch, &scope),
            scheme,
            20_779,
            values.len(),
        )
        .unwrap();
        let mut persons: Vec<_> = utis
            .iter()
            .map(|uti| domain.prf(uti))
            .zip(&values)
            .collect();
        let pseudonym = |prf: &PrfOutput| prf.to_pseudonym().fixed_for(form(form_name));
        for (run, sequence) in persons.chunks_mut(MAX_RECORDS).zip(sequence..) {
            run.sort_unstable_by_key(|(prf, _)| pseudonym(prf));
            let mut chunk = ChunkBuilder::new(segment.id(), &scope, run.len(), 1 << 16);
            for (prf, value) in run {
                sealer.seal(
                    pseudonym(prf),
                    prf.nonce_part(),
                    value.as_bytes(),
                    &mut chunk,
                );
                let pseudonym = HEXLOWER.encode(pseudonym(prf).as_bytes());
                expected.push(json!({"pseudonym": pseudonym, "scheme": scheme, "value": value, "first_seen": 20_779}));
            }
            let place = ChunkKey {
                sector: 1,
                epoch,
                sequence,
            }
            .to_bytes();
            let row = HEXLOWER.encode(&cipher.wrap(&place, chunk));
            rows.push(json!({"row_key": HEXLOWER.encode(&place), "row": row}));
        }
    }
    let given = json!({
        "identity_secret": identity_secret,
        "sector_secret": sector_secret,
        "path": path.map(|uuid| uuid.to_string()),
        "text_form": form_name,
        "authority_secret": authority_secret,
        "key_id": "court-2026",
        "suite": suite.number(),
        "store_secrets": {"5": store_secret},
        "pinned": [HEXLOWER.encode(signer.verifying_key().as_bytes())],
        "segments": segments.iter().map(|segment| HEXLOWER.encode(segment.record())).collect::<Vec<_>>(),
        "rows": rows,
    });
    let opened: Value = serde_json::from_str(&python("open.py", &[], &given.to_string())).unwrap();
    let sorted = |mappings: &[Value]| {
        let mut mappings: Vec<String> = mappings.iter().map(Value::to_string).collect();
        mappings.sort();
        mappings
    };
    assert_eq!(sorted(opened.as_array().unwrap()), sorted(&expected));
}
