//! The text forms of pseudonyms, and the canonical form of identifiers.

use std::collections::BTreeMap;

use cloison::code::Code;
use cloison::identifier::{CheckDigit, LetterCase, Scheme, SchemeRules};
use cloison::pseudonym::{ParsedPseudonym, Pseudonym, TextWriter, parse};
use cloison::register::Id;
use data_encoding::HEXLOWER;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{array, code, each, file, form, number, text};

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
