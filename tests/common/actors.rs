//! More actors than a fresh deployment has: certificates, keys, client
//! files, entries in its register.
#![allow(dead_code)]

use cloison::keys::file::{public_key_text, write_private};
use ed25519_dalek::SigningKey;

use super::common::{Door, World};

/// Makes a client's certificate; SHA-256 of its key, hex. `clients/<name>.toml` leads to the
/// vault's control listener and `clients/<name>-node.toml` to the node's.
pub fn issue(world: &World, name: &str) -> String {
    let digest = world.certify(name, 2000, 4000);
    for (file, door, server) in [
        (name.to_owned(), Door::Control, "vault"),
        (format!("{name}-node"), Door::Officers, "node"),
    ] {
        let text = format!(
            "url = \"https://{}\"\nserver = [\"../tls/{server}.pem\"]\ncertificate = \"../tls/{name}.pem\"\nkey = \"../secrets/tls/{name}.key\"\n",
            world.address(door)
        );
        world.write(&format!("clients/{file}.toml"), &text);
    }
    digest
}

/// Enters a second auditor.
pub fn auditor(world: &World, id: &str) {
    let certificate = issue(world, id);
    world.edit_register(|text| {
        text + &format!("\n[[auditor]]\nid = \"{id}\"\ncertificate = \"{certificate}\"\n")
    });
}

/// The key of a rights officer; its file is `secrets/people/<id>.pem`.
fn rights_key(world: &World, id: &str) -> SigningKey {
    use ed25519_dalek::pkcs8::EncodePrivateKey as _;
    let key = SigningKey::from_bytes(&cloison::clock::random());
    let pem = key.to_pkcs8_pem(Default::default()).unwrap();
    write_private(
        &world.path(&format!("secrets/people/{id}.pem")),
        pem.as_bytes(),
    )
    .unwrap();
    key
}

/// Enters rights officers: id and sectors.
pub fn rights_officers(world: &World, officers: &[(&str, &[&str])]) {
    let mut entries = String::new();
    for (id, sectors) in officers {
        let (certificate, key) = (issue(world, id), rights_key(world, id));
        entries += &format!(
            "\n[[rights-officer]]\nid = \"{id}\"\nname = \"An officer\"\nkey = \"{}\"\ncertificate = \"{certificate}\"\n\
             sectors = {sectors:?}\n",
            public_key_text(&key.verifying_key())
        );
    }
    world.edit_register(|text| text + &entries);
}
