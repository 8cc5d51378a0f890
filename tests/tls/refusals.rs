//! What a client learns of a server that refuses it: by an alert in the handshake, which TLS 1.3
//! lets it meet only afterwards, or by an answer in the middle of a body.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use cloison::access::KeyRefusal;
use cloison::client::handshake::HandshakeFault;
use cloison::client::{Client, ClientError};
use cloison::code::Code;
use cloison::http::tls::{Identity, ServerTls, Validity, provider, read_certificates};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use rcgen::ExtendedKeyUsagePurpose as Use;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme,
};

use crate::pki::Pki;

/// A body that does not fit into the buffers of two sockets: the client is still writing when the
/// server has closed.
const LARGE: usize = 16 << 20;

/// Serves `connections` connections one after the other and then ends.
fn serve(
    pki: &Pki,
    admit: impl Fn() -> Result<(), KeyRefusal> + Send + Sync + 'static,
    connections: usize,
    each: impl Fn(ServerConnection, TcpStream) + Send + 'static,
) -> SocketAddr {
    let config = ServerTls::read(&pki.server_files())
        .unwrap()
        .for_clients(move |_| admit());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
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

/// Fails the handshake. The alert is sent, and then the socket closes on whatever the client has
/// sent meanwhile.
fn turn_away(mut tls: ServerConnection, mut socket: TcpStream) {
    assert!(tls.complete_io(&mut socket).is_err());
    while tls.wants_write() {
        tls.write_tls(&mut socket).unwrap();
    }
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
    let address = serve(&pki, || Err(KeyRefusal::Stranger), 2 * rounds, turn_away);
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
    let (known, ended) = (pki.client("known"), pki.client("ended"));
    let suspended = pki.client("suspended");
    pki.client("stranger");
    let server = ServerTls::read(&pki.server_files())
        .unwrap()
        .for_clients(move |key| match key.0 {
            key if key == known => Ok(()),
            key if key == ended => Err(KeyRefusal::Ended("2026-01-31".parse().unwrap())),
            key if key == suspended => Err(KeyRefusal::Suspended),
            _ => Err(KeyRefusal::Stranger),
        });
    let alert = |certificate, key| alert(&server, &pki, certificate, key);
    assert_eq!(alert("known", "known"), None);
    assert_eq!(
        alert("stranger", "stranger"),
        Some(AlertDescription::AccessDenied)
    );
    assert_eq!(
        alert("ended", "ended"),
        Some(AlertDescription::CertificateExpired)
    );
    assert_eq!(
        alert("suspended", "suspended"),
        Some(AlertDescription::CertificateRevoked)
    );
    let thief = alert("known", "client");
    assert_eq!(thief, Some(AlertDescription::DecryptError));
    assert_eq!(alert("stranger", "client"), thief);
    assert_eq!(alert("ended", "client"), thief);
    assert_eq!(alert("suspended", "client"), thief);
}

#[test]
fn an_entry_that_has_ended_is_told_as_such() {
    let pki = Pki::new();
    let digest = HEXLOWER.encode(&pki.client("ended"));
    let ended = || Err(KeyRefusal::Ended("2026-01-31".parse().unwrap()));
    let address = serve(&pki, ended, 2, turn_away);
    let client = Client::new(&pki.client_config("ended", format!("https://{address}"))).unwrap();
    for error in refused(&client) {
        let said = error.to_string();
        assert!(
            matches!(fault(&error), HandshakeFault::EndedEntry(_)),
            "{said}"
        );
        assert!(
            said.contains("has ended") && said.contains(&digest),
            "{said}"
        );
    }
}

#[test]
fn an_entry_that_is_suspended_is_told_as_such() {
    let pki = Pki::new();
    let digest = HEXLOWER.encode(&pki.client("suspended"));
    let address = serve(&pki, || Err(KeyRefusal::Suspended), 2, turn_away);
    let config = pki.client_config("suspended", format!("https://{address}"));
    for error in refused(&Client::new(&config).unwrap()) {
        let said = error.to_string();
        assert!(said.contains("is suspended"), "{said}");
        assert!(said.contains(&digest), "{said}");
        let remedy = fault(&error).remedy();
        assert!(remedy.contains("those who keep the register"), "{remedy}");
    }
}

#[test]
fn an_answer_in_the_middle_of_a_body_is_read() {
    const PROBLEM: &str = r#"{"type":"urn:cloison:problem:too-large","title":"Too large","status":413,"code":"too-large"}"#;
    let pki = Pki::new();
    let rounds = 10;
    let address = serve(
        &pki,
        || Ok(()),
        rounds,
        |tls, socket| {
            // At once: what still waited to be sent would be lost when the socket closes on a body
            // that nobody reads.
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
        },
    );
    let client = Client::new(&pki.client_config("client", format!("https://{address}"))).unwrap();
    for _ in 0..rounds {
        let refused = client
            .post("/echo", "text/plain", &vec![b'x'; LARGE], &mut vec![])
            .unwrap_err();
        assert_eq!(refused.code(), Some(Code::TooLarge), "{refused}");
    }
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
