//! `docs/keys.md` has a row for every key there is, by the labels in the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Every text in quotes in the source that is a label: `cloison/v1/…`.
fn labels(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            labels(&path, found);
            continue;
        }
        for line in fs::read_to_string(&path)
            .unwrap()
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            for part in line.split("\"cloison/v1/").skip(1) {
                found.insert(format!("cloison/v1/{}", part.split('"').next().unwrap()));
            }
        }
    }
}

#[test]
fn every_label_and_every_kind_of_secret_stands_in_the_table_of_keys() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    labels(&root.join("src"), &mut found);
    assert!(found.len() >= 18, "{found:?}");
    let page = fs::read_to_string(root.join("docs/keys.md")).unwrap();
    let missing: Vec<_> = found
        .iter()
        .filter(|label| !page.contains(&format!("`{label}`")))
        .collect();
    assert!(missing.is_empty(), "docs/keys.md does not name {missing:?}");
    // And nothing that is no more.
    let named: BTreeSet<String> = page
        .split('`')
        .filter(|text| text.starts_with("cloison/v1/") && !text.contains(char::is_whitespace))
        .map(str::to_owned)
        .collect();
    let gone: Vec<_> = named.difference(&found).collect();
    assert!(
        gone.is_empty(),
        "docs/keys.md names labels that the code does not have: {gone:?}"
    );
    for kind in cloison::keys::file::SecretKind::ALL {
        assert!(
            page.contains(&format!("| `{kind}` ")),
            "docs/keys.md has no row for {kind}"
        );
    }
    for custody in cloison::keys::custody::Custody::ALL {
        assert!(
            page.contains(&format!("`{}`", custody.as_str())),
            "docs/keys.md does not say what {custody:?} is"
        );
    }
    // A row says holder, custody, rotation, loss and theft.
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        assert!(
            row.split(" | ")
                .all(|cell| !cell.trim_matches(['|', ' ']).is_empty()),
            "an empty cell: {row}"
        );
    }
}
