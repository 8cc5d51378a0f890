//! Stolen: the vault's secrets and its store. The table does not say "nothing" here, and this is
//! what it says.

use cloison::keys::AuthoritySecret;
use cloison::keys::file::{SecretKind, read_secret, read_signing_key};
use cloison::register::Suite;
use cloison::seal::segment::{AuthorityPrivateKey, OpenedSegment};

use super::canaries::{Canaries, Kind, Roots};
use super::story::{Loot, PEOPLE, SEATS, Story, place, rows, stopped};

#[test]
fn the_vaults_secrets_open_no_mapping_but_guess_every_pseudonym() {
    let mut story = Story::told();
    stopped(&mut story);
    let loot = Loot::take(
        &story.world,
        &["data/vault", "secrets/vault", "register.toml", "vault.toml"],
    );

    // Every identifier that can be guessed: the derivation needs nothing else.
    let mut guesses = Canaries::none();
    let guessed = guesses.person(
        &Roots::of(&loot.path(".")),
        "cnie",
        PEOPLE[0].2,
        &place(&story.world, SEATS[0], 1),
    );
    assert_eq!(guessed, story.health[0]);

    // The outer envelopes open, and inside there are pseudonyms and closed mappings.
    let chunks = super::vaults_chunks(&loot.path(""), &loot.path("data/vault"));
    let shown: usize = chunks
        .iter()
        .map(|plain| story.canaries.count(plain, Kind::Pseudonym))
        .sum();
    assert!(shown > 600, "{shown}");
    for plain in &chunks {
        story.canaries.assert_absent(
            "a chunk without its outer envelope",
            plain,
            &[Kind::Pseudonym],
        );
    }
    // The inner one does not: no secret of the vault is an authority's.
    let signer = read_signing_key(&loot.path("secrets/vault/segment.pem")).unwrap();
    let files = [
        ("identity.secret", SecretKind::Identity),
        ("audit.secret", SecretKind::Audit),
        ("sector/1.secret", SecretKind::Sector),
        ("store/1.secret", SecretKind::Store),
        ("journal/1.secret", SecretKind::Journal),
    ];
    let mut tried = 0;
    for (_, _, record) in rows(&loot.path("data/vault"))
        .iter()
        .filter(|row| row.0 == "segment")
    {
        for (file, kind) in files {
            let secret = read_secret(&loot.path("secrets/vault").join(file), kind).unwrap();
            let key =
                AuthorityPrivateKey::derive(&AuthoritySecret(secret), "court-2026", Suite::X25519);
            assert!(OpenedSegment::open(record, &key, &[signer.verifying_key()]).is_err());
            tried += 1;
        }
    }
    assert!(tried >= 16, "{tried}");
}
