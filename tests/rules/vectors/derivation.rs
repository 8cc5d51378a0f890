//! Derived keys and pseudonyms, and the specification that words them.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use cloison::cli::spec;
use serde_json::Value;

use super::{each, file, root, text};

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
