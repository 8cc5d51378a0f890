//! Certificates and keys that are not what they should be: refused by name and with what to do, on
//! the command line and in the handshake, and nothing else is hurt.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use cloison::keys::file::write_private;

use crate::common::{Setup, Side, World, swap};

/// Makes `tls/<name>.pem` and `secrets/tls/<name>.key`, as some people would.
fn openssl(world: &World, name: &str, script: &str) {
    let pair =
        format!("key=secrets/tls/{name}.key certificate=tls/{name}.pem; {script}; chmod 600 $key");
    let made = Command::new("sh")
        .args(["-ec", &pair])
        .current_dir(world.path(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{name}: {said}");
}

/// A client file like `cnss-health`'s for that certificate and key.
fn client(world: &World, name: &str) -> String {
    let file = format!("clients/{name}.toml");
    let text = swap(&world.read("clients/cnss-health.toml"), "cnss-health", name);
    world.write(&file, &text);
    file
}

const V1: &str = "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=x -keyout $key -out x.csr 2>/dev/null; \
                  openssl x509 -req -in x.csr -signkey $key -days 9 -out $certificate 2>/dev/null";
const RSA_512: &str = "openssl req -x509 -newkey rsa:512 -noenc -subj /CN=x -days 9 -keyout $key -out $certificate 2>/dev/null";
const RSA_1024: &str = "openssl req -x509 -newkey rsa:1024 -noenc -subj /CN=x -days 9 -keyout $key -out $certificate 2>/dev/null";

#[test]
fn what_is_no_certificate_for_tls_is_called_by_its_name() {
    let world = World::asleep();
    openssl(&world, "v1", V1);
    openssl(&world, "rsa-512", RSA_512);
    let good = world.read("tls/cnss-health.pem");
    let key = world.read("secrets/tls/cnss-health.key");
    for (name, certificate) in [
        (
            "garbage",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
        ),
        ("key", key.clone()),
        ("empty", String::new()),
        ("cut", good[..good.len() / 2].to_owned()),
        ("huge", good.repeat(200)),
        ("open", good.clone()),
        ("linked", good.clone()),
        ("folder", good.clone()),
        ("missing", good.clone()),
        ("other", world.read("tls/operator.pem")),
    ] {
        world.write(&format!("tls/{name}.pem"), &certificate);
        let file = world.path(&format!("secrets/tls/{name}.key"));
        match name {
            "linked" => symlink(world.path("secrets/tls/cnss-health.key"), file).unwrap(),
            "folder" => fs::create_dir(file).unwrap(),
            "missing" => {}
            _ => write_private(&file, key.as_bytes()).unwrap(),
        }
    }
    fs::set_permissions(
        world.path("secrets/tls/open.key"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    for (name, why) in [
        ("v1", "v1.pem: is not an X.509 certificate of version 3"),
        (
            "rsa-512",
            "rsa-512.key: is a key that TLS 1.3 cannot use here; take ECDSA (P-256)",
        ),
        (
            "garbage",
            "garbage.pem: is not an X.509 certificate of version 3",
        ),
        ("key", "key.pem: has no certificate in PEM"),
        ("empty", "empty.pem: has no certificate in PEM"),
        ("cut", "cut.pem: has no certificate in PEM"),
        ("huge", "huge.pem: is longer than 65536 bytes"),
        (
            "open",
            "open.key: has mode 0644 and must have 0600: chmod 600",
        ),
        ("linked", "linked.key: is not a plain file"),
        ("folder", "folder.key: is not a plain file"),
        ("missing", "missing.key: No such file"),
        ("other", "other.key: is not the key of the certificate"),
    ] {
        let file = client(&world, name);
        for arguments in [
            &["check", &file][..],
            &[
                "client", "tokenize", "--sector", "health", "--scheme", "cnie", "--client", &file,
            ],
        ] {
            let output = world.cloison(arguments);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{name}: {said}");
            assert!(
                said.contains(why) && !said.contains("panicked"),
                "{name}: {said}"
            );
        }
    }
}

#[test]
fn a_client_file_says_which_server_it_is_for() {
    let world = World::asleep();
    let right = world.read("clients/cnss-health.toml");
    let pin = "server = [\"../tls/vault.pem\"]";
    for (line, why) in [
        (
            "ca = \"../tls/vault.pem\"",
            "has `ca` and no `server`: an authority alone does not tell",
        ),
        ("", "has no `server`"),
        ("server = []", "has no `server`"),
        (
            "server = \"../tls/vault.pem\"",
            "`server` is a text, not a list",
        ),
        (
            "server = [\"../tls/vault.pem\", \"../tls/vault.pem\"]",
            "names a file twice",
        ),
        (
            "server = [\"../secrets/tls/cnss-health.key\"]",
            "has no certificate in PEM",
        ),
        (
            "server = [\"../tls/nowhere.pem\"]",
            "nowhere.pem: No such file",
        ),
        ("server = [\"../tls\"]", "is not a plain file"),
    ] {
        world.write("clients/cnss-health.toml", &swap(&right, pin, line));
        let output = world.cloison(&["check", "clients/cnss-health.toml"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(said.contains(why), "{line}: {said}");
        if why.contains("`server`") && !why.contains("twice") {
            assert!(said.contains("server = ["), "what to write: {said}");
        }
    }
}

/// A configuration from before the register alone decided: it starts, and says which line to
/// remove.
#[test]
fn a_line_that_earlier_versions_needed_is_warned_about() {
    let mut world = World::with(Setup {
        log: "info",
        start: false,
        ..Setup::default()
    });
    world.replace(
        "vault.toml",
        "[tls]\n",
        "[tls]\nclient-ca = \"tls/ca.pem\"\n",
    );
    let output = world.cloison(&["check", "vault.toml"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let warning = "[tls] `client-ca` has no effect any more";
    assert!(
        said.contains(warning) && said.contains("remove the line"),
        "{said}"
    );
    world.start(Side::Vault, &[]);
    assert!(world.log(Side::Vault).contains(warning));
}

/// Whatever a stranger shows in the handshake, they are refused there, and the next caller is
/// served.
#[test]
fn odd_certificates_in_the_handshake_hurt_nobody() {
    let mut world = World::with(Setup {
        log: "info",
        start: false,
        ..Setup::default()
    });
    openssl(&world, "v1", V1);
    openssl(&world, "rsa-1024", RSA_1024);
    openssl(
        &world,
        "rsa-4096",
        "openssl req -x509 -newkey rsa:4096 -noenc -subj /CN=x -keyout $key -out $certificate 2>/dev/null",
    );
    openssl(
        &world,
        "unknown",
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -noenc -subj /CN=x -addext 1.2.3.4=critical,DER:0500 \
         -keyout $key -out $certificate 2>/dev/null",
    );
    openssl(
        &world,
        "long",
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-521 -noenc -subj /CN=x \
         -addext 1.2.3.4=DER:0c8200ff$(printf '61%.0s' $(seq 255)) -keyout $key -out $certificate 2>/dev/null",
    );
    world.start(Side::Vault, &[]);
    let address = world.address(crate::common::Door::Data).to_string();
    for name in ["v1", "rsa-1024", "rsa-4096", "unknown", "long"] {
        let shown = format!(
            "printf 'GET / HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n' | openssl s_client -connect {address} -CAfile tls/vault.pem \
             -cert tls/{name}.pem -key secrets/tls/{name}.key -cipher DEFAULT@SECLEVEL=0 -quiet -ign_eof"
        );
        let output = Command::new("sh")
            .args(["-c", &shown])
            .current_dir(world.path(""))
            .output()
            .unwrap();
        let (answer, said) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(!answer.contains("HTTP/1.1"), "{name}: {answer}");
        assert!(said.contains("alert"), "{name}: {said}");
        assert!(!world.health_pseudonyms(&["AB1"]).is_empty(), "{name}");
    }
    assert!(!world.log(Side::Vault).contains("panicked"));
}
