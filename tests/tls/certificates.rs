//! Who is let in, and by whom one lets oneself be served.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use cloison::client::Client;
use cloison::http::tls::{self, ServerTls};
use data_encoding::HEXLOWER;
use rcgen::ExtendedKeyUsagePurpose as Use;
use rustls::{AlertDescription, ClientConfig, NamedGroup, ProtocolVersion, RootCertStore};

use crate::pki::{Pki, replace};
use crate::serving::{Server, eventually, exchange, limits};

const REQUEST: &str = "GET /peer HTTP/1.1\r\nhost: x\r\n\r\n";

/// That the other side is told why, with an alert that is not lost.
fn assert_refused(server: &Server, config: ClientConfig, why: AlertDescription) {
    let before = server.metric("cloison_handshakes_failed_total{listener=\"data\"}");
    let mut stream = server.connect(config);
    let refused = exchange(&mut stream, REQUEST).unwrap_err();
    let alert = refused
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    assert_eq!(alert, Some(&rustls::Error::AlertReceived(why)), "{refused}");
    let failed = || server.metric("cloison_handshakes_failed_total{listener=\"data\"}");
    eventually("counted", || failed() == before + 1);
    server.assert_alive();
}

#[test]
fn a_client_is_known_by_its_key() {
    let server = Server::start(limits());
    let one = server.pki.client("one");
    let two = server.pki.client("two");
    assert_eq!(
        tls::spki_digest_of_file(&server.pki.path("one.pem"))
            .unwrap()
            .0,
        one
    );
    for (name, digest) in [("one", one), ("two", two)] {
        let client = server.client(name);
        assert_eq!(
            server.ask(&client, "/peer").unwrap(),
            HEXLOWER.encode(&digest)
        );
        assert_eq!(
            server.ask(&client, "/peer").unwrap(),
            HEXLOWER.encode(&digest)
        );
    }
}

#[test]
fn without_a_certificate_nobody_comes_in() {
    let server = Server::start(limits());
    assert_refused(
        &server,
        server.tls(None),
        AlertDescription::CertificateRequired,
    );
}

/// Of another issuer, signed by itself, out of date, for another use, of a name that says nothing:
/// a certificate is the envelope of a key.
#[test]
fn only_the_key_of_a_certificate_counts() {
    let server = Server::start(limits());
    let pki = &server.pki;
    pki.issue("expired", Use::ClientAuth, &[], 2000, 2020);
    pki.issue("early", Use::ClientAuth, &[], 3000, 3001);
    pki.issue("serving", Use::ServerAuth, &[], 2000, 4000);
    pki.self_signed("alone", 2000, 2020);
    for name in ["expired", "early", "serving", "alone"] {
        let digest = tls::spki_digest_of_file(&pki.path(&format!("{name}.pem"))).unwrap();
        assert_eq!(
            server.ask(&server.client(name), "/peer").unwrap(),
            format!("{digest:?}"),
            "{name}"
        );
    }
    let other = Pki::new();
    let mut foreign = pki.client_config("client", server.url());
    (foreign.certificate, foreign.key) = (other.path("client.pem"), other.path("client.key"));
    let foreign = Client::new(&foreign).unwrap();
    assert!(server.ask(&foreign, "/peer").is_ok());
}

#[test]
fn nothing_below_tls_1_3_is_spoken() {
    let server = Server::start(limits());
    let mut roots = RootCertStore::empty();
    roots
        .add(
            tls::read_certificates(&server.pki.path("ca.pem"))
                .unwrap()
                .remove(0),
        )
        .unwrap();
    let config = server.pki.client_config("client", String::new());
    let identity = tls::Identity::read(&config.certificate, &config.key).unwrap();
    let old = ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_protocol_versions(&[&rustls::version::TLS12])
    .unwrap()
    .with_root_certificates(roots)
    .with_client_auth_cert(identity.chain, identity.key)
    .unwrap();
    assert_refused(&server, old, AlertDescription::ProtocolVersion);
}

#[test]
fn the_key_exchange_is_hybrid_and_sessions_are_not_resumed() {
    let server = Server::start(limits());
    let mut stream = server.settled("client");
    assert_eq!(exchange(&mut stream, REQUEST).unwrap().0, 200);
    assert_eq!(
        stream.conn.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
    assert_eq!(
        stream.conn.negotiated_key_exchange_group().unwrap().name(),
        NamedGroup::X25519MLKEM768
    );
    assert_eq!(stream.conn.tls13_tickets_received(), 0);
}

#[test]
fn text_without_tls_is_no_request() {
    let server = Server::start(limits());
    let mut socket = std::net::TcpStream::connect(server.address).unwrap();
    socket
        .write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    server.assert_alive();
}

/// The server whose key is pinned, whatever its certificate says of name, issuer and dates.
#[test]
fn a_client_believes_the_server_that_holds_a_pinned_key() {
    let pki = Pki::new();
    pki.issue("odd", Use::ClientAuth, &["vault.example"], 2000, 2020);
    let mut files = pki.server_files();
    (files.certificate, files.key) = (pki.path("odd.pem"), pki.path("odd.key"));
    let server = Server::start_with(pki, &files, limits());
    let mut config = server.pki.client_config("client", server.url());
    config.server = vec![server.pki.path("odd.pem")];
    for url in [server.url(), server.url().replace("127.0.0.1", "localhost")] {
        config.url = url;
        let client = Client::new(&config).unwrap();
        assert!(server.ask(&client, "/peer").is_ok());
    }
    // Two pins, while a key is renewed.
    config.server = vec![server.pki.path("server.pem"), server.pki.path("odd.pem")];
    assert!(server.ask(&Client::new(&config).unwrap(), "/peer").is_ok());
}

/// What the authority of all the certificates can do is make another certificate with the server's
/// name, and that is not the server's key.
#[test]
fn no_authority_can_play_the_server() {
    let pki = Pki::new();
    let names = ["localhost", "127.0.0.1"];
    let impostor = HEXLOWER.encode(&pki.issue("impostor", Use::ServerAuth, &names, 2000, 4000));
    let mut files = pki.server_files();
    (files.certificate, files.key) = (pki.path("impostor.pem"), pki.path("impostor.key"));
    let server = Server::start_with(pki, &files, limits());
    let mut config = server.pki.client_config("client", server.url());
    for ca in [None, Some(server.pki.path("ca.pem"))] {
        config.ca = ca;
        let client = Client::new(&config).unwrap();
        let refused = server.ask(&client, "/peer").unwrap_err().to_string();
        let why = format!("not among those in `server`: its digest is {impostor}");
        assert!(refused.contains(&why), "{refused}");
        assert!(refused.contains(&server.url()), "{refused}");
    }
    // Nor one who shows the server's own certificate without its key.
    let client = Client::new(&server.pki.client_config("client", server.url())).unwrap();
    assert!(server.ask(&client, "/peer").is_err());
}

/// A chain in `server` would make pins of its authorities' keys, too.
#[test]
fn a_pin_is_a_file_of_one_certificate() {
    let pki = Pki::new();
    let read = |name| std::fs::read_to_string(pki.path(name)).unwrap();
    std::fs::write(pki.path("chain.pem"), read("server.pem") + &read("ca.pem")).unwrap();
    let mut config = pki.client_config("client", "https://localhost:1".into());
    config.server = vec![pki.path("chain.pem")];
    let refused = Client::new(&config).map(drop).unwrap_err().to_string();
    assert!(
        refused.contains("chain.pem: has 2 certificates"),
        "{refused}"
    );
}

/// Beside `server`, an authority must have issued the certificate, for this host and this day.
#[test]
fn an_authority_beside_the_pin_must_hold_too() {
    let pki = Pki::new();
    pki.issue("late", Use::ServerAuth, &["127.0.0.1"], 2000, 2020);
    pki.issue("elsewhere", Use::ServerAuth, &["vault.example"], 2000, 4000);
    let other = Pki::new();
    for (name, ca, why) in [
        ("server", pki.path("ca.pem"), ""),
        (
            "server",
            other.path("ca.pem"),
            "not of an authority that `ca` names",
        ),
        ("late", pki.path("ca.pem"), "has expired"),
        ("elsewhere", pki.path("ca.pem"), "is not for this host"),
    ] {
        let mut files = pki.server_files();
        (files.certificate, files.key) = (
            pki.path(&format!("{name}.pem")),
            pki.path(&format!("{name}.key")),
        );
        let server = Server::start_with(Pki::new(), &files, limits());
        let mut config = pki.client_config("client", server.url());
        (config.server, config.ca) = (vec![files.certificate.clone()], Some(ca));
        let asked = server.ask(&Client::new(&config).unwrap(), "/peer");
        match asked {
            Ok(_) => assert_eq!(why, ""),
            Err(refused) => {
                let said = refused.to_string();
                assert!(!why.is_empty() && said.contains(why), "{said}");
            }
        }
    }
}

#[test]
fn files_that_do_not_fit_are_named() {
    let pki = Pki::new();
    pki.client("other");
    replace(&pki.path("server.key"), &pki.path("other.key"));
    let mismatch = ServerTls::read(&pki.server_files())
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(
        mismatch.contains("server.key: is not the key of the certificate"),
        "{mismatch}"
    );
    std::fs::set_permissions(
        pki.path("server.key"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let open = ServerTls::read(&pki.server_files())
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(
        open.contains("server.key") && open.contains("0600"),
        "{open}"
    );
    let mut files = pki.server_files();
    files.key = pki.path("other.key");
    files.certificate = pki.path("client.key");
    let none = ServerTls::read(&files).map(drop).unwrap_err().to_string();
    assert!(
        none.contains("client.key") && none.contains("certificate"),
        "{none}"
    );
}
