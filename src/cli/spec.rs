//! `cloison spec`: the conformance kit for implementers of `docs/spec.md`.
//!
//! It reads made-up secrets and prints every intermediate value of the derivation. It opens no
//! file, no socket and no vault.

use std::io::{self, Read, Write as _};

use clap::Subcommand;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::identifier::MAX_CANONICAL;
use crate::keys::{
    DomainScope, IdentityKeys, IdentitySecret, Key, PersonKey, SectorRootKey, SectorSecret,
};
use crate::lines;
use crate::pseudonym::{TextWriter, is_tag};
use crate::register::{Id, TextForm};
use crate::terminal::{CommandError, output_error};

/// Most bytes on standard input.
const MAX_INPUT: u64 = 16 << 20;

/// Check another implementation of docs/spec.md against this one
#[derive(Debug, Subcommand)]
pub enum SpecCommand {
    /// Derive a pseudonym from made-up secrets and print every value on the way, JSON in and JSON
    /// out
    #[command(
        long_about = "Derive a pseudonym from made-up secrets and print every value on the way.\n\n\
        Standard input: JSON objects, one after the other, each\n  \
        {\"identity_secret\":HEX,\"sector_secret\":HEX,\"path\":[UUID,…],\"epoch\":N,\"controller\":\"\",\"purpose\":\"\",\
        \"period\":\"\",\"scheme\":ID,\"value\":\"…\",\"tag\":\"…\"}\n\
        with the value in canonical form. Standard output: one line of JSON for each. Never give it the secrets of a \
        real deployment.",
        after_long_help = "Example:\n  cloison spec derive < cases.json"
    )]
    Derive,
}

/// Runs the command on standard input and output.
///
/// # Errors
/// When standard input is not what the command takes; then nothing is printed.
pub fn run(command: SpecCommand) -> Result<(), CommandError> {
    let SpecCommand::Derive = command;
    let mut input = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_INPUT + 1)
        .read_to_end(&mut input)
        .map_err(|error| {
            CommandError::new(
                format_args!("standard input: {error}"),
                "check where the input comes from",
            )
        })?;
    if input.len() as u64 > MAX_INPUT {
        return Err(CommandError::usage(
            "more than 16 MiB on standard input",
            "send it in parts",
        ));
    }
    let lines = derive(&input).map_err(|fault| {
        CommandError::usage(fault, "see `cloison spec derive --help` for the input")
    })?;
    let mut out = io::stdout().lock();
    out.write_all(lines.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| output_error(&error))
}

/// Derives each JSON object of `input` and returns one line of JSON for each.
///
/// # Errors
/// What is wrong with the input, without repeating any of it. One bad object fails all of them.
pub fn derive(input: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(lines::without_mark(input))
        .map_err(|_| "standard input is not UTF-8")?;
    let mut lines = String::new();
    let objects = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    for (index, object) in objects.enumerate() {
        let output = object
            .map_err(|error| safe_words(&error))
            .and_then(|object| derive_object(object.get()));
        let output = output.map_err(|fault| format!("input {}: {fault}", index + 1))?;
        lines.push_str(&serde_json::to_string(&output).map_err(|error| error.to_string())?);
        lines.push('\n');
    }
    if lines.is_empty() {
        Err("standard input has no JSON object".into())
    } else {
        Ok(lines)
    }
}

fn derive_object(object: &str) -> Result<DerivationTrace, String> {
    if !object.starts_with('{') {
        return Err("not a JSON object".into()); // an array of the right values in the right order would pass, too
    }
    serde_json::from_str::<DerivationCase>(object)
        .map_err(|error| safe_words(&error))?
        .derive()
}

/// An error of `serde_json` without what it quotes of the input.
fn safe_words(error: &serde_json::Error) -> String {
    let whole = error.to_string();
    let words = whole.split(" at line ").next().unwrap_or_default();
    let own = [
        "missing field",
        "duplicate field",
        "expected",
        "trailing",
        "EOF",
    ];
    match words.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None if own.iter().any(|start| words.starts_with(start)) => words.to_owned(),
        None => "not JSON".to_owned(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DerivationCase {
    identity_secret: String,
    sector_secret: String,
    path: Vec<String>,
    epoch: u32,
    #[serde(default)]
    controller: String,
    #[serde(default)]
    purpose: String,
    #[serde(default)]
    period: String,
    scheme: String,
    value: String,
    tag: String,
}

#[derive(Serialize)]
struct DerivationTrace {
    prk_id: String,
    k_uti: String,
    uti: String,
    prk_sec: String,
    k_path: Vec<String>,
    k_domain: String,
    pseudonym: String,
    person_handle: String,
    text: TextForms,
}

#[derive(Serialize)]
struct TextForms {
    bech32m: String,
    uuid: String,
    hex: String,
}

impl DerivationCase {
    fn derive(self) -> Result<DerivationTrace, String> {
        self.check()?;
        let path: Vec<Uuid> = self
            .path
            .iter()
            .map(|text| sector(text))
            .collect::<Result<_, _>>()?;
        let last = *path
            .last()
            .ok_or("path: at least one sector; the person handle is that of the last")?;

        let identity = IdentityKeys::new(&IdentitySecret(secret(
            "identity_secret",
            &self.identity_secret,
        )?));
        let mut utis = Vec::new();
        identity.append_utis(&self.scheme, [self.value.as_bytes()], &mut utis);
        let uti = &utis[0];
        let person = PersonKey::new(&identity.person_key_of(last));

        let root = SectorRootKey::new(&SectorSecret(secret("sector_secret", &self.sector_secret)?));
        let tree = path.iter().fold(vec![root.root()], |mut keys, &uuid| {
            keys.push(keys[keys.len() - 1].child(uuid));
            keys
        });
        let scope = DomainScope {
            controller: self.controller,
            purpose: self.purpose,
            period: self.period,
        };
        let domain = tree[tree.len() - 1].domain(self.epoch, &scope);
        let pseudonym = domain.prf(uti).to_pseudonym();
        let text =
            |form| TextWriter::new(form, &self.tag, self.epoch).text(&pseudonym.fixed_for(form));

        Ok(DerivationTrace {
            prk_id: HEXLOWER.encode(identity.prk().expose()),
            k_uti: HEXLOWER.encode(identity.uti_key().expose()),
            uti: HEXLOWER.encode(uti.expose()),
            prk_sec: HEXLOWER.encode(root.expose()),
            k_path: tree
                .iter()
                .map(|key| HEXLOWER.encode(key.expose()))
                .collect(),
            k_domain: HEXLOWER.encode(domain.expose()),
            pseudonym: HEXLOWER.encode(pseudonym.as_bytes()),
            person_handle: HEXLOWER.encode(&person.handle(uti)),
            text: TextForms {
                bech32m: text(TextForm::Bech32m),
                uuid: text(TextForm::Uuid),
                hex: text(TextForm::Hex),
            },
        })
    }

    /// Checks what the register guarantees elsewhere.
    fn check(&self) -> Result<(), String> {
        let id = |text: &str| Id::parse(text).is_some();
        for (member, good, rule) in [
            ("scheme", id(&self.scheme), "1 to 64 of a-z, 0-9 and '-'"),
            (
                "controller",
                self.controller.is_empty() || id(&self.controller),
                "empty, or 1 to 64 of a-z, 0-9 and '-'",
            ),
            (
                "purpose",
                self.purpose.is_empty() || id(&self.purpose),
                "empty, or 1 to 64 of a-z, 0-9 and '-'",
            ),
            (
                "period",
                self.period.is_empty() || is_period(&self.period),
                "empty, a year (2026) or a month (2026-11)",
            ),
            (
                "value",
                is_canonical(&self.value),
                "1 to 64 printable ASCII characters without a space",
            ),
            ("tag", is_tag(&self.tag), "2 to 12 of a-z"),
        ] {
            if !good {
                return Err(format!("{member}: {rule}"));
            }
        }
        Ok(())
    }
}

/// Canonical forms of every scheme have only such characters, whatever its pattern is.
fn is_canonical(value: &str) -> bool {
    (1..=MAX_CANONICAL).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic())
}

fn is_period(text: &str) -> bool {
    let digits = |text: &str, n| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('-') {
        None => digits(text, 4),
        Some((year, month)) => {
            digits(year, 4) && digits(month, 2) && ("01"..="12").contains(&month)
        }
    }
}

fn secret(member: &str, hex: &str) -> Result<Key, String> {
    let bytes = HEXLOWER.decode(hex.as_bytes()).ok();
    let bytes: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(|mut bytes| Key::take(&mut bytes))
        .ok_or_else(|| format!("{member}: 64 lower-case hexadecimal digits"))
}

fn sector(text: &str) -> Result<Uuid, String> {
    let uuid = Uuid::try_parse(text).ok();
    uuid.filter(|uuid| uuid.hyphenated().to_string() == text)
        .ok_or_else(|| "path: UUIDs in lower case with their four hyphens".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"identity_secret":"1111111111111111111111111111111111111111111111111111111111111111",
        "sector_secret":"2222222222222222222222222222222222222222222222222222222222222222",
        "path":["0f0e0d0c-0b0a-4908-8706-050403020100"],"epoch":3,"controller":"","purpose":"","period":"",
        "scheme":"cnie","value":"AB123456","tag":"sante"}"#;

    #[test]
    fn one_line_for_each_object() {
        let one = derive(GOOD.as_bytes()).unwrap();
        assert_eq!(one.lines().count(), 1);
        assert!(one.contains(r#""bech32m":"sante1r"#));
        for between in ["\n", " ", ""] {
            assert_eq!(
                derive(format!("{GOOD}{between}{GOOD}\n").as_bytes()).unwrap(),
                one.repeat(2)
            );
        }
    }

    #[test]
    fn absent_granularity_is_empty() {
        let without = GOOD.replace(r#""controller":"","purpose":"","period":"","#, "");
        assert_ne!(without, GOOD);
        assert_eq!(derive(without.as_bytes()), derive(GOOD.as_bytes()));
    }

    #[test]
    fn members_are_named_not_numbered() {
        let values = r#"["11","22",[],3,"","","","cnie","AB123456","sante"]"#;
        assert_eq!(
            derive(values.as_bytes()).unwrap_err(),
            "input 1: not a JSON object"
        );
    }

    #[test]
    fn a_refusal_repeats_nothing_of_the_input() {
        for (from, to) in [
            (r#""sante""#, r#""SECRET""#),
            (r#""AB123456""#, r#""SECRET 1""#),
            (r#""cnie""#, r#""SECRET""#),
            (r#""controller":"""#, r#""SECRET":"""#),
            (r#""epoch":3"#, r#""epoch":"SECRET""#),
            (r#""epoch":3"#, r#""epoch":"x, expected SECRET""#),
            (r#""path":["#, r#""path":["SECRET","#),
            ("1111", "SECRET"),
            (r#""epoch":3"#, r#""epoch":SECRET"#),
            (r#""tag":"sante""#, r#""tag":["SECRET"]"#),
        ] {
            let bad = GOOD.replacen(from, to, 1);
            assert_ne!(bad, GOOD);
            let fault = derive(bad.as_bytes()).unwrap_err();
            assert!(
                !fault.to_lowercase().contains("secret\"") && !fault.contains("SECRET"),
                "{fault}"
            );
        }
        assert!(derive(b"\xff").is_err());
        assert!(derive(b" \n").is_err());
    }
}
