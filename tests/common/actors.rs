//! More actors than a fresh deployment has: certificates from its own authority, keys, client
//! files, entries in its register.
#![allow(dead_code)]

use cloison::keys::file::{public_key_text, write_private, write_public};
use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose as Use,
    IsCa, Issuer, KeyPair, PublicKeyData as _,
};
use sha2::{Digest as _, Sha256};

use super::common::{DEPLOYMENT, Door, World};

/// Issues a client's certificate; SHA-256 of its key, hex. `clients/<name>.toml` leads to the
/// vault's control listener and `clients/<name>-node.toml` to the node's.
pub fn issue(world: &World, name: &str) -> String {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, format!("cloison {DEPLOYMENT} CA"));
    let mut ca = CertificateParams::default();
    ca.distinguished_name = names;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let issuer = Issuer::new(
        ca,
        KeyPair::from_pem(&world.read("secrets/tls/ca.key")).unwrap(),
    );
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![Use::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    write_public(&world.certificate(name), certificate.pem().as_bytes()).unwrap();
    write_private(
        &world.path(&format!("secrets/tls/{name}.key")),
        key.serialize_pem().as_bytes(),
    )
    .unwrap();
    for (file, door) in [
        (name.to_owned(), Door::Control),
        (format!("{name}-node"), Door::Officers),
    ] {
        let text = format!(
            "url = \"https://{}\"\nca = \"../tls/ca.pem\"\ncertificate = \"../tls/{name}.pem\"\nkey = \"../secrets/tls/{name}.key\"\n",
            world.address(door)
        );
        world.write(&format!("clients/{file}.toml"), &text);
    }
    HEXLOWER.encode(&Sha256::digest(key.subject_public_key_info()))
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
