//! TLS keys as people live with them: requested, entered, about to end, ended, renewed; and what
//! each place says of it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cloison::client::Client;
use cloison::config::ClientConfig;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::json;

use crate::common::shim::shim;
use crate::common::{Door, Reply, Setup, Side, World, batch_path, plain_get, request, swap};

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn eventually(what: &str, so: impl Fn() -> bool) {
    let since = Instant::now();
    while !so() {
        assert!(since.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a health listener says.
fn says(world: &World, side: Side, path: &str) -> String {
    plain_get(world.health(side), path).unwrap_or_default()
}

/// A world at rest, quiet enough to read its log.
fn quiet() -> World {
    World::with(Setup {
        log: "info",
        start: false,
        ..Setup::default()
    })
}

/// A key and a certificate as the newcomer makes them: the digest of the key, by openssl's own
/// count.
fn request_key(world: &World, name: &str) -> String {
    let script = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 3650 -subj /CN={name} \
         -keyout secrets/tls/{name}.key -out tls/{name}.pem 2>/dev/null && chmod 600 secrets/tls/{name}.key && \
         openssl x509 -in tls/{name}.pem -pubkey -noout | openssl pkey -pubin -outform der | sha256sum"
    );
    let made = Command::new("sh")
        .args(["-ec", &script])
        .current_dir(world.path(""))
        .output()
        .unwrap();
    let printed = String::from_utf8(made.stdout).unwrap();
    printed.split(' ').next().unwrap().to_owned()
}

/// Runs `client tokenize` for one card with `clients/<client>.toml`.
fn tokenize(world: &World, client: &str) -> Output {
    let file = format!("clients/{client}.toml");
    let fixed = "client tokenize --sector health --scheme cnie --purpose billing --client";
    let words: Vec<&str> = fixed.split(' ').chain([file.as_str()]).collect();
    world.cloison_with(&words, b"AB123456\n")
}

/// The clock of every process of a world, moved while they run.
struct Clock {
    /// Under a clock that is moved already, that is where these stand, too.
    already: i64,
}

impl Clock {
    fn of(world: &mut World) -> Self {
        world.env = vec![
            ("LD_PRELOAD".into(), shim("skew").display().to_string()),
            ("SKEWFILE".into(), world.path("skew").display().to_string()),
        ];
        let already = std::env::var("SKEW")
            .ok()
            .and_then(|text| text.parse().ok());
        let clock = Self {
            already: already.unwrap_or(0),
        };
        clock.set(world, 0);
        clock
    }

    /// Some days ahead of this process's.
    fn set(&self, world: &World, days: i64) {
        world.write("skew.new", &(self.already + days * 86_400).to_string());
        fs::rename(world.path("skew.new"), world.path("skew")).unwrap();
    }
}

/// Requested with openssl, refused, entered for sixty days, in force, warned about, ended; beside
/// it the node's own key in the same way.
#[test]
fn a_keys_whole_life_and_what_each_place_says_of_it() {
    let mut world = quiet();
    let clock = Clock::of(&mut world);
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);

    // Requested, and not in the register: the caller and the vault's log both name the digest.
    let digest = request_key(&world, "newcomer");
    let file = swap(
        &world.read("clients/cnss-health.toml"),
        "cnss-health",
        "newcomer",
    );
    world.write("clients/newcomer.toml", &file);
    let refused = tokenize(&world, "newcomer");
    assert_eq!(refused.status.code(), Some(1));
    for part in [
        "your key is not in the register of https://127.0.0.1:",
        &digest,
        "hand this digest to",
    ] {
        assert!(said(&refused).contains(part), "{part}: {}", said(&refused));
    }
    eventually("the vault's log names the digest", || {
        world.log(Side::Vault).lines().any(|line| {
            line.contains("the register has no entry with this key") && line.contains(&digest)
        })
    });

    // Entered until a day; the node's key, too.
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let until: Date = today + 60.days();
    world.stop();
    world.edit_register(|text| {
        let node = format!("node = \"{}\"", node_key(&world));
        let text = swap(&text, &node, &format!("{node}\nnode-until = {until}"));
        text + &format!(
            "\n[[client]]\nid = \"newcomer\"\norganisation = \"cnss\"\ncertificate = \"{digest}\"\nuntil = {until}\n\
             sectors = [\"health\"]\noperations = [\"tokenize\"]\npurposes = [\"billing\"]\n"
        )
    });
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let served = tokenize(&world, "newcomer");
    assert!(
        served.status.success() && !said(&served).contains("warning"),
        "{}",
        said(&served)
    );
    let check =
        |world: &World| world.cloison(&["check", "register.toml", "node.toml", "vault.toml"]);
    assert_eq!(said(&check(&world)), "", "nothing to see to yet");
    assert!(!says(&world, Side::Node, "/readyz").contains("certificate"));

    // Ten days before.
    clock.set(&world, 50);
    let ends = format!("ends on {until} (10 days left)");
    let warned = tokenize(&world, "newcomer");
    assert!(warned.status.success());
    let own = format!("warning: your key's entry in the register {ends}");
    assert!(said(&warned).contains(&own), "{}", said(&warned));
    let checked = check(&world);
    assert!(checked.status.success());
    for part in [
        format!("warning: register.toml: the entry `newcomer` {ends}"),
        "warning: node.toml: tls/node.pem: the register's entry for its key (`court`) ends on"
            .to_owned(),
    ] {
        assert!(said(&checked).contains(&part), "{part}: {}", said(&checked));
    }
    let doctor = world.cloison(&["doctor", "--config", "node.toml", "--json"]);
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.contains(&ends), "{doctor}");
    hang_up(&mut world, Side::Node);
    eventually("the node's /readyz warns, and it is ready", || {
        let ready = says(&world, Side::Node, "/readyz");
        ready.starts_with("HTTP/1.1 200")
            && ready.contains("\"certificate\":")
            && ready.contains(&ends)
    });
    assert!(world.log(Side::Node).contains(&ends));
    let left = expires(&world, Side::Node);
    assert!((10 * 86_400..11 * 86_400).contains(&left), "{left}");

    // The day after: an open connection is refused at its next request, a new one in its handshake.
    let mut open = world.connect(Some("newcomer"), Door::Data);
    open.write(&batch()).unwrap();
    assert_eq!(open.read_one().unwrap().status, 200);
    clock.set(&world, 61);
    open.write(&batch()).unwrap();
    let refused: Reply = open.read_one().unwrap();
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (401, "key-ended")
    );
    assert!(
        refused.text().contains(&format!("ended on {until} (UTC)")),
        "{}",
        refused.text()
    );
    let refused = tokenize(&world, "newcomer");
    assert_eq!(refused.status.code(), Some(1));
    for part in [
        "the entry of your key in the register of https://",
        "has ended",
        &digest,
    ] {
        assert!(said(&refused).contains(part), "{part}: {}", said(&refused));
    }
    eventually("the vault's log names the client", || {
        world.log(Side::Vault).lines().any(|line| {
            line.contains("the register's entry for this key has ended")
                && line.contains("newcomer")
        })
    });
    // Another client is served as ever: only this entry had a day.
    assert!(tokenize(&world, "cnss-health").status.success());
    let checked = check(&world);
    assert_eq!(
        checked.status.code(),
        Some(1),
        "the node's key is refused by the vault"
    );
    for part in [
        format!("the entry `newcomer` ended on {until}"),
        format!("the register's entry for its key (`court`) ended on {until}"),
    ] {
        assert!(said(&checked).contains(&part), "{part}: {}", said(&checked));
    }
    hang_up(&mut world, Side::Node);
    eventually("the node's /readyz says so", || {
        says(&world, Side::Node, "/readyz").contains(&format!("(`court`) ended on {until}"))
    });
    assert!(expires(&world, Side::Node) < 0);
    world.stop();
    // The log names the client also after its entry has ended.
    let log = world.entries(Side::Vault);
    let of = |operation: &str| {
        log.iter().any(|entry| {
            entry["actor"] == "newcomer"
                && entry["code"] == "key-ended"
                && entry["operation"] == operation
        })
    };
    assert!(of("connect") && of("request"), "{log:?}");
}

/// The digest under `node` in the register.
fn node_key(world: &World) -> String {
    format!(
        "{:?}",
        world.register().authorities[&crate::common::id("court")].node
    )
}

/// The bytes of a batch of one card, on a connection that stays open.
fn batch() -> Vec<u8> {
    let body =
        json!({"scheme": "cnie", "identifiers": ["AB123456"], "purpose": "billing"}).to_string();
    let bytes = request(
        "POST",
        &batch_path("health"),
        &[("content-type", "application/json")],
        body.as_bytes(),
    );
    let text = String::from_utf8(bytes).unwrap();
    text.replace("connection: close\r\n", "").into_bytes()
}

/// The metric about the node's or the vault's own certificate.
fn expires(world: &World, side: Side) -> i64 {
    let text = says(world, side, "/metrics");
    let line = text.lines().find_map(|line| {
        line.strip_prefix("cloison_certificate_expires_seconds{shown=\"server\"} ")
    });
    line.expect("the metric").parse().unwrap()
}

#[expect(unsafe_code, reason = "a signal to a child")]
fn hang_up(world: &mut World, side: Side) {
    let pid = world.pid(side).unwrap() as libc::pid_t;
    // SAFETY: the process is a child that was not waited for yet, so the id is its own.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGHUP) }, 0);
}

/// Puts a certificate and its key in the place of the vault's, one after the other as people do.
fn install(world: &World, name: &str) {
    for (from, to) in [
        (format!("tls/{name}.pem"), "tls/vault.pem"),
        (format!("secrets/tls/{name}.key"), "secrets/tls/vault.key"),
    ] {
        fs::copy(world.path(&from), world.path("new.file")).unwrap();
        fs::rename(world.path("new.file"), world.path(to)).unwrap();
    }
}

/// A client with the key of `cnss-health` that pins those certificates.
fn pinning(world: &World, pins: &[&str]) -> Client {
    let mut config = ClientConfig::load(&world.path("clients/cnss-health.toml")).unwrap();
    let files = pins
        .iter()
        .map(|name| world.path(&format!("tls/{name}.pem")));
    config.server = files.collect::<Vec<PathBuf>>();
    Client::new(&config).unwrap()
}

fn ask(client: &Client) -> Result<(), cloison::client::ClientError> {
    let body = json!({"scheme": "cnie", "identifiers": ["AB123456"], "purpose": "billing"});
    client.post(
        "/v1/sectors/health/pseudonyms",
        "application/json",
        body.to_string().as_bytes(),
        &mut vec![],
    )
}

/// While a client asks without pause, over connections that stay and over new ones, the vault's key
/// is renewed twice; between, files that cannot be used lie there. No request fails.
#[test]
fn the_servers_key_is_renewed_under_load_without_an_outage() {
    let mut world = quiet();
    world.start(Side::Vault, &[]);
    let mut names = vec!["vault-0".to_owned()];
    for (from, to) in [
        ("tls/vault.pem", "tls/vault-0.pem"),
        ("secrets/tls/vault.key", "secrets/tls/vault-0.key"),
    ] {
        fs::copy(world.path(from), world.path(to)).unwrap();
    }
    for n in 1..=2 {
        names.push(format!("vault-{n}"));
        world.certify(&names[n], 2000, 4000);
    }
    let pins: Vec<&str> = names.iter().map(String::as_str).collect();
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let went_on = || {
        let before = asked.load(Ordering::Relaxed);
        eventually("requests go on", || {
            asked.load(Ordering::Relaxed) > before + 20
        });
    };
    std::thread::scope(|scope| {
        // One holds its connection; the other has a new one for each request.
        let (holds, pins) = (pinning(&world, &pins), &pins);
        let (stop, asked, world) = (&stop, &asked, &world);
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                ask(&holds).unwrap();
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                ask(&pinning(world, pins)).unwrap();
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        let halt = Halt(stop);
        for n in 1..=2 {
            install(world, &names[n]);
            eventually("new connections show the new key", || {
                ask(&pinning(world, &[&names[n]])).is_ok()
            });
            assert!(
                ask(&pinning(world, &[&names[n - 1]])).is_err(),
                "and no longer the old one"
            );
            went_on();
            // Half a file, or a certificate of another key.
            let half = |text: String| text[..text.len() / 2].to_owned();
            let (broken, fault) = match n {
                1 => (
                    half(world.read("tls/vault.pem")),
                    "vault.pem: has no certificate",
                ),
                _ => (world.read("tls/node.pem"), "vault.key: is not the key of"),
            };
            world.write("tls/vault.pem", &broken);
            eventually("the log says so", || unusable(world) == n);
            went_on();
            let ready = says(world, Side::Vault, "/readyz");
            assert!(
                ready.starts_with("HTTP/1.1 200") && ready.contains(fault),
                "{ready}"
            );
            assert!(ask(&pinning(world, &[&names[n]])).is_ok());
        }
        drop(halt);
    });
    assert_eq!(unusable(&world), 2, "each once");
    // At SIGHUP at once, also where nothing was written since.
    install(&world, "vault-0");
    hang_up(&mut world, Side::Vault);
    eventually("the first key is shown again", || {
        ask(&pinning(&world, &["vault-0"])).is_ok()
    });
    assert!(!says(&world, Side::Vault, "/readyz").contains("certificate"));
}

/// Ends the threads of a test, also where it fails.
struct Halt<'a>(&'a AtomicBool);

impl Drop for Halt<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How often the vault's log said that the files on the disk cannot be used.
fn unusable(world: &World) -> usize {
    world
        .log(Side::Vault)
        .lines()
        .filter(|line| line.contains("the TLS files cannot be used"))
        .count()
}

/// The node dials the vault with its own key and a pin of the vault's. Both are renewed while it
/// runs: no restart, which would leave a key in shares sealed.
#[test]
fn a_node_follows_the_renewal_of_the_vaults_key_without_a_restart() {
    let mut world = quiet();
    fs::copy(world.path("tls/vault.pem"), world.path("tls/vault-old.pem")).unwrap();
    world.certify("vault-new", 2000, 4000);
    world.replace(
        "node.toml",
        "server = [\"tls/vault.pem\"]",
        "server = [\"tls/vault-old.pem\", \"tls/vault-next.pem\"]",
    );
    // The second pin is a file that is to come: until then it is the first again.
    fs::copy(
        world.path("tls/vault-old.pem"),
        world.path("tls/vault-next.pem"),
    )
    .unwrap();
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let health = world.health_pseudonyms(&["AB1"]);
    let reveals = |world: &World| {
        let order = world.sign(&world.order("health", &health), crate::common::QUORUM);
        world.reidentify(&order, "health", &health).ok()["items"][0]["value"] == "AB1"
    };
    assert!(reveals(&world));
    // First the node learns the new key, then the vault shows it.
    fs::copy(world.path("tls/vault-new.pem"), world.path("new.file")).unwrap();
    fs::rename(world.path("new.file"), world.path("tls/vault-next.pem")).unwrap();
    eventually("the node reads its files again", || {
        world
            .log(Side::Node)
            .contains("the TLS files were read again")
    });
    install(&world, "vault-new");
    eventually("the vault shows the new key", || {
        ask(&pinning(&world, &["vault-new"])).is_ok()
    });
    assert!(reveals(&world));
    assert!(says(&world, Side::Node, "/readyz").starts_with("HTTP/1.1 200"));
}

/// What other programs take as their authority is the server's own certificate.
#[test]
fn curl_and_python_take_the_servers_certificate_as_their_authority() {
    let mut world = quiet();
    world.start(Side::Vault, &[]);
    let url = format!(
        "https://127.0.0.1:{}/v1/sectors/health/pseudonyms",
        world.address(Door::Data).port()
    );
    let body = r#"{"scheme":"cnie","identifiers":["AB123456"],"purpose":"billing"}"#;
    let curl = format!(
        "curl --silent --fail --cacert tls/vault.pem --cert tls/cnss-health.pem --key secrets/tls/cnss-health.key \
         -H 'content-type: application/json' {url} -d '{body}'"
    );
    // As strict as Python 3.13 is unless told otherwise.
    let python = format!(
        "import ssl, urllib.request as u\n\
         c = ssl.create_default_context(cafile='tls/vault.pem')\n\
         c.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN\n\
         c.load_cert_chain('tls/cnss-health.pem', 'secrets/tls/cnss-health.key')\n\
         r = u.Request('{url}', b'{body}', {{'content-type': 'application/json'}})\n\
         print(u.urlopen(r, context=c).read().decode())"
    );
    for (program, first, script) in [("sh", "-ec", curl), ("python3", "-c", python)] {
        let output = Command::new(program)
            .args([first, &script])
            .current_dir(world.path(""))
            .output()
            .unwrap();
        let answer = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(
            answer.contains("\"accepted\":1"),
            "{program}: {answer}{}",
            said(&output)
        );
    }
}
