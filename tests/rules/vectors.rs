//! The published vectors (`tests/vectors/*.json`): this implementation agrees with them, and so
//! does the independent one in Python (`tests/independent/`), which made them. What this one seals,
//! that one opens.

mod canonical;
mod derivation;
mod independent;
mod sealing;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cloison::code::Code;
use cloison::keys::{DomainScope, Key};
use cloison::register::TextForm;
use data_encoding::HEXLOWER;
use serde_json::Value;

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
