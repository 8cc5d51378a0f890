//! Who is let in, and by whom one lets oneself be served.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use cloison::client::{Client, ClientError};
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

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let server = Server::start(limits());
    let other = Pki::new();
    let mut foreign = server.pki.client_config("client", server.url());
    (foreign.certificate, foreign.key) = (other.path("client.pem"), other.path("client.key"));
    assert!(matches!(
        Client::new(&foreign).unwrap().get("/peer", &mut vec![]),
        Err(ClientError::Handshake { .. })
    ));
    server.assert_alive();
}

#[test]
fn a_certificate_out_of_date_or_for_another_use_is_refused() {
    let server = Server::start(limits());
    server
        .pki
        .issue("expired", Use::ClientAuth, &[], 2000, 2020);
    server.pki.issue("early", Use::ClientAuth, &[], 3000, 3001);
    server
        .pki
        .issue("serving", Use::ServerAuth, &[], 2000, 4000);
    for (name, why) in [
        ("expired", AlertDescription::CertificateExpired),
        ("early", AlertDescription::CertificateExpired),
        ("serving", AlertDescription::UnsupportedCertificate),
    ] {
        assert_refused(&server, server.tls(Some(name)), why);
    }
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

#[test]
fn a_client_believes_servers_of_its_authority_and_name_only() {
    let server = Server::start(limits());
    let other = Pki::new();
    let mut config = server.pki.client_config("client", server.url());
    config.ca = other.path("ca.pem");
    let refused = Client::new(&config)
        .unwrap()
        .get("/peer", &mut vec![])
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("is not of an authority that `ca` names"),
        "{refused}"
    );
    let named = server
        .pki
        .client_config("client", server.url().replace("127.0.0.1", "localhost"));
    Client::new(&named)
        .unwrap()
        .get("/peer", &mut vec![])
        .unwrap();
    let elsewhere = Pki::new();
    elsewhere.issue("elsewhere", Use::ServerAuth, &["vault.example"], 2000, 4000);
    let tls_files = cloison::config::TlsFiles {
        certificate: elsewhere.path("elsewhere.pem"),
        key: elsewhere.path("elsewhere.key"),
        client_ca: elsewhere.path("ca.pem"),
    };
    let wrong_name = Server::start_with(elsewhere, &tls_files, limits());
    let refused = wrong_name
        .client("client")
        .get("/peer", &mut vec![])
        .unwrap_err();
    assert!(
        refused.to_string().contains("is not for the host in `url`"),
        "{refused}"
    );
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
    files.client_ca = pki.path("client.key");
    files.key = pki.path("other.key");
    files.certificate = pki.path("other.pem");
    let none = ServerTls::read(&files).map(drop).unwrap_err().to_string();
    assert!(
        none.contains("client.key") && none.contains("certificate"),
        "{none}"
    );
}
