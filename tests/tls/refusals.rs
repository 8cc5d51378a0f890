//! What a client learns of a server that refuses it: by an alert in the handshake, which TLS 1.3
//! lets it meet only afterwards, or by an answer in the middle of a body.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use cloison::client::handshake::HandshakeFault;
use cloison::client::{Client, ClientError};
use cloison::code::Code;
use cloison::http::tls::{Identity, ServerTls, Validity, provider, read_certificates};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use rcgen::ExtendedKeyUsagePurpose as Use;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct,
    DistinguishedName, RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
};

use crate::pki::{Pki, replace};
use crate::serving::{Server, limits};

/// A body that does not fit into the buffers of two sockets: the client is still writing when the
/// server has closed.
const LARGE: usize = 16 << 20;

/// Knows nobody, as a listener whose register has no entry with the client's key.
#[derive(Debug)]
struct KnowsNobody(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for KnowsNobody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Serves `connections` connections one after the other and then ends.
fn serve(
    pki: &Pki,
    knows: bool,
    connections: usize,
    each: impl Fn(ServerConnection, TcpStream) + Send + 'static,
) -> SocketAddr {
    let mut roots = RootCertStore::empty();
    roots
        .add(read_certificates(&pki.path("ca.pem")).unwrap().remove(0))
        .unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .unwrap();
    let verifier = if knows {
        verifier
    } else {
        Arc::new(KnowsNobody(verifier))
    };
    let identity = Identity::read(&pki.path("server.pem"), &pki.path("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap();
    let config = config
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain, identity.key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming().take(connections) {
            each(
                ServerConnection::new(config.clone()).unwrap(),
                socket.unwrap(),
            );
        }
    });
    address
}

/// Asks in a few bytes and in many: why there was no answer.
fn refused(client: &Client) -> [ClientError; 2] {
    let small = client.get("/peer", &mut vec![]).unwrap_err();
    [
        small,
        client
            .post("/echo", "text/plain", &vec![b'x'; LARGE], &mut vec![])
            .unwrap_err(),
    ]
}

fn fault(error: &ClientError) -> &HandshakeFault {
    match error {
        ClientError::Handshake { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

#[test]
fn a_key_that_the_register_does_not_know_is_told_with_its_digest() {
    let pki = Pki::new();
    let digest = HEXLOWER.encode(&pki.client("stranger"));
    let rounds = 10;
    let address = serve(&pki, false, 2 * rounds, |mut tls, mut socket| {
        assert!(tls.complete_io(&mut socket).is_err());
        // The alert; and then the socket closes on whatever the client has sent meanwhile.
        while tls.wants_write() {
            tls.write_tls(&mut socket).unwrap();
        }
    });
    let client = Client::new(&pki.client_config("stranger", format!("https://{address}"))).unwrap();
    for error in (0..rounds).flat_map(|_| refused(&client)) {
        assert!(
            matches!(fault(&error), HandshakeFault::UnknownKey(_)),
            "{error}"
        );
        let said = error.to_string();
        assert!(
            said.contains(&format!("stranger.pem is {digest}")),
            "{said}"
        );
    }
}

/// Presents a certificate and signs with a key that need not be its own.
#[derive(Debug)]
struct Presents(Arc<CertifiedKey>);

impl ResolvesClientCert for Presents {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The alert with which a server ends a handshake, if it does.
fn alert(
    server: &Arc<ServerConfig>,
    pki: &Pki,
    certificate: &str,
    key: &str,
) -> Option<AlertDescription> {
    let chain = read_certificates(&pki.path(&format!("{certificate}.pem"))).unwrap();
    let (owner, file) = (
        pki.path(&format!("{key}.pem")),
        pki.path(&format!("{key}.key")),
    );
    let key = Identity::read(&owner, &file).unwrap().key;
    let signs = provider().key_provider.load_private_key(key).unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(read_certificates(&pki.path("ca.pem")).unwrap().remove(0))
        .unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap();
    let presents = Presents(Arc::new(CertifiedKey::new(chain, signs)));
    let config = builder
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(presents));
    let mut client =
        ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    loop {
        let mut sent = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut sent).unwrap();
        }
        if sent.is_empty() {
            return None;
        }
        server.read_tls(&mut sent.as_slice()).unwrap();
        let _ = server.process_new_packets();
        let mut answered = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answered).unwrap();
        }
        client.read_tls(&mut answered.as_slice()).unwrap();
        match client.process_new_packets() {
            Ok(_) => {}
            Err(rustls::Error::AlertReceived(alert)) => return Some(alert),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_certificate_without_its_key_learns_nothing_of_the_register() {
    let pki = Pki::new();
    let known = pki.client("known");
    pki.client("stranger");
    let server = ServerTls::read(&pki.server_files())
        .unwrap()
        .for_known(move |key| key.0 == known);
    let alert = |certificate, key| alert(&server, &pki, certificate, key);
    assert_eq!(alert("known", "known"), None);
    assert_eq!(
        alert("stranger", "stranger"),
        Some(AlertDescription::AccessDenied)
    );
    let thief = alert("known", "client");
    assert!(
        thief.is_some() && thief != Some(AlertDescription::AccessDenied),
        "{thief:?}"
    );
    assert_eq!(alert("stranger", "client"), thief);
}

#[test]
fn a_certificate_that_has_ended_is_told_with_its_day() {
    let server = Server::start(limits());
    server.pki.issue("ended", Use::ClientAuth, &[], 2000, 2020);
    server.pki.issue("early", Use::ClientAuth, &[], 3000, 3001);
    for (name, times) in [
        (
            "ended",
            "valid from 2000-01-01T00:00:00Z until 2020-01-01T00:00:00Z",
        ),
        (
            "early",
            "valid from 3000-01-01T00:00:00Z until 3001-01-01T00:00:00Z",
        ),
    ] {
        for error in refused(&server.client(name)) {
            assert!(
                matches!(fault(&error), HandshakeFault::OutOfDate(_)),
                "{error}"
            );
            let said = error.to_string();
            let whole = format!("{name}.pem is not valid: it is {times}");
            assert!(said.contains(&whole), "{said}");
        }
    }
    server
        .pki
        .issue("serving", Use::ServerAuth, &[], 2000, 4000);
    for error in refused(&server.client("serving")) {
        let unsupported = AlertDescription::UnsupportedCertificate;
        assert!(
            matches!(fault(&error), HandshakeFault::Certificate(_, alert) if *alert == unsupported),
            "{error}"
        );
    }
    let other = Pki::new();
    let mut foreign = server.pki.client_config("client", server.url());
    (foreign.certificate, foreign.key) = (other.path("client.pem"), other.path("client.key"));
    for error in refused(&Client::new(&foreign).unwrap()) {
        assert!(
            matches!(fault(&error), HandshakeFault::UnknownIssuer(_)),
            "{error}"
        );
    }
    server.assert_alive();
}

#[test]
fn an_answer_in_the_middle_of_a_body_is_read() {
    const PROBLEM: &str = r#"{"type":"urn:cloison:problem:too-large","title":"Too large","status":413,"code":"too-large"}"#;
    let pki = Pki::new();
    let rounds = 10;
    let address = serve(&pki, true, rounds, |tls, socket| {
        // At once: what still waited to be sent would be lost when the socket closes on a body that
        // nobody reads.
        socket.set_nodelay(true).unwrap();
        let mut stream = rustls::StreamOwned::new(tls, socket);
        let _ = stream.read(&mut [0; 64]).unwrap();
        let head = format!(
            "content-type: application/problem+json\r\ncontent-length: {}",
            PROBLEM.len()
        );
        stream
            .write_all(format!("HTTP/1.1 413 x\r\n{head}\r\n\r\n{PROBLEM}").as_bytes())
            .unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    });
    let client = Client::new(&pki.client_config("client", format!("https://{address}"))).unwrap();
    for _ in 0..rounds {
        let refused = client
            .post("/echo", "text/plain", &vec![b'x'; LARGE], &mut vec![])
            .unwrap_err();
        assert_eq!(refused.code(), Some(Code::TooLarge), "{refused}");
    }
}

#[test]
fn a_server_that_is_not_believed_is_told_apart() {
    let pki = Pki::new();
    pki.issue("late", Use::ServerAuth, &["127.0.0.1"], 2000, 2020);
    replace(&pki.path("server.pem"), &pki.path("late.pem"));
    replace(&pki.path("server.key"), &pki.path("late.key"));
    let files = pki.server_files();
    let server = Server::start_with(pki, &files, limits());
    let refused = server
        .client("client")
        .get("/peer", &mut vec![])
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("the server's certificate has expired"),
        "{refused}"
    );
}

#[test]
fn the_times_of_a_certificate_are_read_before_and_after_2050() {
    let pki = Pki::new();
    let day = |year: i32| {
        format!("{year}-01-01T00:00:00Z")
            .parse::<Timestamp>()
            .unwrap()
    };
    for (from, until) in [(2000, 2020), (2026, 2049), (2049, 2050), (2050, 3001)] {
        pki.issue("dated", Use::ClientAuth, &[], from, until);
        let chain = read_certificates(&pki.path("dated.pem")).unwrap();
        assert_eq!(
            Validity::of(&chain[0]),
            Some(Validity {
                from: day(from),
                until: day(until)
            })
        );
        std::fs::remove_file(pki.path("dated.pem")).unwrap();
        std::fs::remove_file(pki.path("dated.key")).unwrap();
    }
    for nonsense in [&[][..], &[0x30, 0x00], &[0x30, 0x03, 0x30, 0x01, 0x02]] {
        assert_eq!(Validity::of(&CertificateDer::from(nonsense)), None);
    }
}
