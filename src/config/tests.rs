use super::*;
use crate::keys::custody::Custody;

const OPERATIONS: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const COMMISSION: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";

fn vault() -> String {
    format!(
        r#"deployment = "demo"

[data]
listen = "127.0.0.1:8443"
[control]
listen = "127.0.0.1:8444"
[health]
listen = "127.0.0.1:8445"

[tls]
certificate = "tls/vault.pem"
key = "secrets/tls/vault.key"

[store]
path = "./data/vault"

[secrets]
identity = "secrets/vault/identity.secret"
audit = "secrets/vault/audit.secret"
segment = "secrets/vault/segment.pem"
checkpoint = "secrets/vault/checkpoint.pem"
sector = "secrets/vault/sector"
store = "secrets/vault/store"
journal = "secrets/vault/journal"

[register]
file = "register.toml"
signatures = "register.jws"
quorum = 2
commission = "cndp"

[[register.key]]
id = "operations"
body = "operations"
public = "{OPERATIONS}"
[[register.key]]
id = "commission"
body = "cndp"
public = "{COMMISSION}"
"#
    )
}

fn node() -> String {
    let vault = vault();
    let (_, register) = vault.split_once("[register]").unwrap();
    format!(
        r#"deployment = "demo"
authority = "court"
[control]
listen = "127.0.0.1:8543"
[health]
listen = "[::1]:8545"
[tls]
certificate = "tls/node.pem"
key = "secrets/tls/node.key"
[store]
path = "data/node"
[secrets]
audit = "secrets/authority/audit.secret"
checkpoint = "secrets/authority/checkpoint.pem"
journal = "secrets/authority/journal"
[[key]]
id = "court-2026"
file = "secrets/authority/court-2026.secret"
[[segment-key]]
public = "{OPERATIONS}"
[vault]
url = "https://127.0.0.1:8444"
server = ["tls/vault.pem"]
certificate = "tls/node.pem"
key = "secrets/tls/node.key"
[register]{register}"#
    )
}

fn witness() -> String {
    format!(
        r#"name = "cndp"
[control]
listen = "127.0.0.1:7644"
[health]
listen = "127.0.0.1:7645"
[tls]
certificate = "tls/witness.pem"
key = "secrets/tls/witness.key"
[state]
path = "data/witness"
[secrets]
key = "secrets/witness.pem"
[[log]]
owner = "demo/vault"
public = "{OPERATIONS}"
[[caller]]
certificate = "{}"
"#,
        "ab".repeat(32)
    )
}

fn faults(text: &str) -> Vec<Fault> {
    VaultConfig::parse(text, Path::new("/etc/x")).unwrap_err()
}

#[test]
fn a_vault_is_read_with_paths_from_its_folder() {
    let config = VaultConfig::parse(&vault(), Path::new("/etc/x")).unwrap();
    assert_eq!(config.deployment.as_str(), "demo");
    assert_eq!(config.data, "127.0.0.1:8443".parse().unwrap());
    assert_eq!(config.tls.key, Path::new("/etc/x/secrets/tls/vault.key"));
    assert!(!config.tls.has_client_ca);
    assert_eq!(config.store, Path::new("/etc/x/data/vault"));
    assert_eq!(
        (config.register.pins.quorum, config.register.pins.keys.len()),
        (2, 2)
    );
    assert_eq!(config.limits.connections, 1024);
    let relative = VaultConfig::parse(&vault(), Path::new("")).unwrap();
    assert_eq!(relative.store, Path::new("data/vault"));
    let limited = VaultConfig::parse(
        &format!("{}[limits]\nconnections = 7\n", vault()),
        Path::new(""),
    )
    .unwrap();
    assert_eq!(
        (limited.limits.connections, limited.limits.drain),
        (7, Duration::from_secs(20))
    );
    assert_eq!((config.bodies, config.reserve), (128 << 20, 256 << 20));
    assert_eq!(config.log.second, None);
    let watched = format!("{}[audit]\nsecond = \"elsewhere/checkpoint\"\n", vault());
    let watched = VaultConfig::parse(&watched, Path::new("/etc/x")).unwrap();
    assert_eq!(
        watched.log.second.unwrap(),
        Path::new("/etc/x/elsewhere/checkpoint")
    );
    let roomy = vault()
        .replace("[store]\n", "[store]\nreserve-mib = 1000\n")
        .replace("[data]\n", "[data]\nbodies-mib = 17\n");
    let roomy = VaultConfig::parse(&roomy, Path::new("")).unwrap();
    assert_eq!((roomy.bodies, roomy.reserve), (17 << 20, 1000 << 20));
    let cramped = faults(&vault().replace("[data]\n", "[data]\nbodies-mib = 16\n"));
    assert!(cramped[0].what.contains("from 17 to 65536"), "{cramped:?}");
}

#[test]
fn a_node_and_a_client_are_read() {
    let config = NodeConfig::parse(&node(), Path::new("/n")).unwrap();
    assert_eq!(config.authority.as_str(), "court");
    let KeyPlace::Own(deposit) = &config.keys[0].place else {
        panic!("a file")
    };
    assert_eq!(
        deposit,
        &Deposit::file("/n/secrets/authority/court-2026.secret")
    );
    assert_eq!(
        (config.seal.idle.as_secs(), config.seal.forget.as_secs()),
        (3600, 600)
    );
    assert_eq!(config.segment_keys.len(), 1);
    assert_eq!(config.vault.url, "https://127.0.0.1:8444");
    let text = "url = \"https://vault.example/\"\nserver = [\"v.pem\", \"/w.pem\"]\nca = \"ca.pem\"\ncertificate = \"c.pem\"\nkey = \"c.key\"\n";
    let client = ClientConfig::parse(text, Path::new("clients")).unwrap();
    assert_eq!(
        (client.url.as_str(), client.key.as_path()),
        ("https://vault.example", Path::new("clients/c.key"))
    );
    assert_eq!(
        client.server,
        [Path::new("clients/v.pem"), Path::new("/w.pem")]
    );
    assert_eq!(client.ca.as_deref(), Some(Path::new("clients/ca.pem")));
}

#[test]
fn every_fault_is_reported_with_its_line() {
    let text = vault()
        .replace("127.0.0.1:8445", "0.0.0.0:8445")
        .replace("quorum = 2", "quorum = 1")
        .replace("certificate = \"tls", "Certificate = \"tls")
        .replace("path = \"./data/vault\"", "path = 3");
    let found: Vec<(usize, String)> = faults(&text)
        .into_iter()
        .map(|fault| (fault.line, fault.what))
        .collect();
    let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [8, 10, 11, 15, 29], "{found:?}");
    let unknown = faults(&text)
        .into_iter()
        .find(|fault| fault.line == 11)
        .unwrap();
    assert!(unknown.what.contains("`Certificate`"), "{unknown:?}");
    assert!(unknown.instead.contains("certificate"), "{unknown:?}");
}

/// The faults of a vault's configuration in which one text stands in the place of another.
fn faults_with(from: &str, to: &str) -> Vec<Fault> {
    let text = vault();
    assert!(text.contains(from), "{from}");
    faults(&text.replacen(from, to, 1))
}

#[test]
fn a_wrong_value_is_named() {
    let weak = format!("01{}", "00".repeat(31));
    let upper = COMMISSION.to_uppercase();
    let no_store = "[store]\npath = \"./data/vault\"\n";
    let (data, host) = ("\"127.0.0.1:8443\"", "\"localhost\"");
    for (from, to, what) in [
        ("8444", "8443", "another listener"),
        ("\"cndp\"\n\n", "\"nobody\"\n\n", "`nobody`"),
        (COMMISSION, OPERATIONS, "one and the same"),
        ("body = \"operations\"", "body = \"cndp\"", "one body"),
        ("\"commission\"", "\"operations\"", "second register key"),
        (COMMISSION, upper.as_str(), "lower case"),
        (COMMISSION, weak.as_str(), "weak Ed25519 key"),
        ("\"demo\"", "\"De mo\"", "not an id"),
        (no_store, "", "no section `store`"),
        (data, host, "IP address"),
    ] {
        let faults = faults_with(from, to);
        assert!(faults[0].what.contains(what), "{from} → {to}: {faults:?}");
    }
}

#[test]
fn a_broken_file_and_a_wrong_url_are_refused() {
    assert_eq!(faults_with("[store]", "[store")[0].line, 14);
    let missing = VaultConfig::parse("", Path::new("")).unwrap_err();
    assert_eq!(missing.len(), 8, "{missing:?}");
    assert!(NodeConfig::parse(&node().replace("[[key]]", "[[keys]]"), Path::new("")).is_err());
    for url in [
        "http://x",
        "https://",
        "https://x/y",
        "https://u@x",
        "https://x?y",
        "x",
        "https://x y",
    ] {
        let text = format!("url = \"{url}\"\nserver = [\"a\"]\ncertificate = \"b\"\nkey = \"c\"\n");
        assert_eq!(
            ClientConfig::parse(&text, Path::new("")).unwrap_err()[0].line,
            1,
            "{url}"
        );
    }
}

#[test]
fn what_a_process_writes_lies_apart() {
    let backup = "[backup]\npath = \"copies\"\n";
    for (audit, says) in [
        (
            "second = \"data/vault/place\"",
            "`[audit] second` lies in `[store] path`",
        ),
        (
            "second = \"data\"",
            "`[store] path` lies in `[audit] second`",
        ),
        (
            "second = \"../v/place\"\nfollowed = \"place\"",
            "`[audit] followed` and `[audit] second` are the same folder",
        ),
        (
            "cosigned = \"copies/cosigned\"",
            "`[audit] cosigned` lies in `[backup] path`",
        ),
        (
            "second = \"data/vault.cosigned\"",
            "`[audit] cosigned` (beside the store unless named) and `[audit] second` are the same folder",
        ),
    ] {
        let text = format!("{}{backup}[audit]\n{audit}\n", vault());
        let faults = VaultConfig::parse(&text, Path::new("/v")).unwrap_err();
        assert!(
            faults.iter().any(|fault| fault.what == says),
            "{audit}: {faults:?}"
        );
    }
    let apart = format!(
        "{}{backup}[audit]\nsecond = \"data/vault.place\"\n",
        vault()
    );
    assert!(VaultConfig::parse(&apart, Path::new("/v")).is_ok());
    let kept = |path: &str| witness() + &format!("[follow]\npath = \"{path}\"\n");
    for path in ["data/witness", "data/witness/kept", "data"] {
        let faults = WitnessConfig::parse(&kept(path), Path::new("/w")).unwrap_err();
        assert!(
            faults[0].what.contains("`[state] path`"),
            "{path}: {faults:?}"
        );
    }
    assert!(WitnessConfig::parse(&kept("data/kept"), Path::new("/w")).is_ok());
}

#[test]
fn what_is_taken_of_anothers_log_in_a_day_is_stated_where_it_is_brought() {
    let vault = |bound: &str| {
        let text = format!("{}[audit]\nfollowed-mib-a-day = {bound}\n", vault());
        VaultConfig::parse(&text, Path::new("")).map(|config| config.log.followed_daily)
    };
    assert_eq!(vault("8"), Ok(8 << 20));
    assert!(vault("0").is_err());
    let kept = |bound: &str| {
        let text = witness() + &format!("[follow]\npath = \"kept\"\n{bound}\n");
        WitnessConfig::parse(&text, Path::new("")).map(|config| config.follow.unwrap().daily)
    };
    assert_eq!(kept(""), Ok(1 << 30));
    assert_eq!(kept("mib-a-day = 9"), Ok(9 << 20));
    assert!(kept("mib-a-day = 0").is_err());
    let text = node() + "[audit]\nfollowed-mib-a-day = 8\n";
    let faults = NodeConfig::parse(&text, Path::new("")).unwrap_err();
    assert!(faults[0].what.contains("nothing at a node"), "{faults:?}");
}

#[test]
fn the_error_names_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.toml");
    std::fs::write(
        &path,
        vault().replace("[store]\n", "[store]\nsync = true\n"),
    )
    .unwrap();
    let shown = VaultConfig::load(&path).unwrap_err().to_string();
    assert!(
        shown.starts_with(&format!("{}:15: ", path.display())),
        "{shown}"
    );
    assert!(shown.contains("\n    write instead: "), "{shown}");
    std::fs::write(&path, b"deployment = \"demo\"\n# \xff\n").unwrap();
    assert!(
        VaultConfig::load(&path)
            .unwrap_err()
            .to_string()
            .contains("vault.toml:2: the line is not UTF-8")
    );
    assert!(matches!(
        VaultConfig::load(&folder.path().join("none.toml")),
        Err(ConfigError::File(_))
    ));
}

#[test]
fn secrets_lie_in_the_custody_that_is_stated() {
    let all = vault()
        .replace("[secrets]\n", "[secrets]\ncustody = \"credential\"\n")
        .replace(
            "identity = \"secrets/vault/identity.secret\"",
            "identity = { custody = \"token\", at = \"identity.wrapped\" }",
        );
    let named = all.replace("\"secrets/vault/", "\"");
    let token = "[token]\nmodule = \"/lib/hsm.so\"\nlabel = \"vault\"\nkey = \"wrap\"\npin = \"file:pin\"\n";
    let config = VaultConfig::parse(&format!("{named}{token}"), Path::new("/v")).unwrap();
    let deposit = |custody, at: &str| Deposit {
        custody,
        at: at.into(),
    };
    let IdentityPlace::Embedded(identity) = config.secrets.identity else {
        panic!("the vault has its identity secret");
    };
    assert_eq!(identity, deposit(Custody::Token, "/v/identity.wrapped"));
    assert_eq!(
        config.secrets.audit,
        deposit(Custody::Credential, "audit.secret")
    );
    assert_eq!(
        config.secrets.sector,
        deposit(Custody::Credential, "sector")
    );
    let read = config.openers.token.unwrap();
    assert_eq!(
        (read.label.as_str(), read.pin),
        ("vault", Some(PassphraseSource::File("/v/pin".into())))
    );
    assert_eq!(read.mechanism.as_str(), "aes-gcm");

    let what = |text: &str| {
        faults(text)
            .into_iter()
            .map(|fault| fault.what)
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert!(what(&named).contains("there is no section [token]"));
    assert!(what(&format!("{all}{token}")).contains("`audit` is not the name of a credential"));
    let passphrase = vault().replace("[secrets]\n", "[secrets]\ncustody = \"passphrase\"\n");
    assert!(what(&passphrase).contains("no field says where the passphrase comes from"));
    for (source, right) in [
        ("terminal", true),
        ("fd:3", true),
        ("correct horse battery", false),
        ("env:X", false),
    ] {
        let text = passphrase.replace(
            "[secrets]\n",
            &format!("[secrets]\npassphrase = \"{source}\"\n"),
        );
        assert_eq!(
            VaultConfig::parse(&text, Path::new("")).is_ok(),
            right,
            "{source}"
        );
    }
    for wrong in ["custody = \"cupboard\"", "custody = \"shares\""] {
        assert!(
            what(&vault().replace("[secrets]\n", &format!("[secrets]\n{wrong}\n")))
                .contains("is not a custody")
        );
    }
    let pin = format!("{named}{}", token.replace("file:pin", "1234"));
    assert!(what(&pin).contains("is not a source of a passphrase"));
}

#[test]
fn a_key_in_shares_names_its_set_and_its_times() {
    let text = node().replace(
        "file = \"secrets/authority/court-2026.secret\"",
        "custody = \"shares\"\nfile = \"court-2026.set\"\n[seal]\nidle-seconds = 5\nforget-seconds = 7",
    );
    let config = NodeConfig::parse(&text, Path::new("/n")).unwrap();
    assert!(
        matches!(&config.keys[0].place, KeyPlace::Shares(path) if path == Path::new("/n/court-2026.set"))
    );
    assert_eq!(
        (config.seal.idle.as_secs(), config.seal.forget.as_secs()),
        (5, 7)
    );
    let zero = NodeConfig::parse(&text.replace("= 5", "= 0"), Path::new("/n")).unwrap_err();
    assert!(zero[0].what.contains("from 1 to 1000000"), "{zero:?}");
}

/// The identity secret lies with the vault or with identity sources, and never with both.
#[test]
fn the_identity_secret_has_one_place() {
    const URLS: &str = "[\"https://one.example:8643\", \"https://two.example:8643\"]";
    const SECRET: &str = "identity = \"secrets/vault/identity.secret\"\n";
    let section = format!(
        "[identity]\nurl = {URLS}\nserver = [\"tls/identity.pem\"]\ncertificate = \"tls/vault-utis.pem\"\n\
         key = \"secrets/tls/vault-utis.key\"\n"
    );
    let what = |text: &str| {
        let all = faults(text).into_iter();
        all.map(|fault| fault.what).collect::<Vec<_>>().join("; ")
    };
    assert!(vault().contains(SECRET));
    let split = format!("{}{section}", vault().replace(SECRET, ""));
    let config = VaultConfig::parse(&split, Path::new("/v")).unwrap();
    let IdentityPlace::Sources(link) = config.secrets.identity else {
        panic!("it lies with sources");
    };
    assert_eq!(
        link.urls,
        ["https://one.example:8643", "https://two.example:8643"]
    );
    assert_eq!(link.server, [Path::new("/v/tls/identity.pem")]);
    assert!(what(&format!("{}{section}", vault())).contains("exclude one another"));
    assert!(what(&vault().replace(SECRET, "")).contains("identity"));
    let twice = split.replace("two.example", "one.example");
    assert!(what(&twice).contains("names a source twice"));
    assert!(what(&split.replace(URLS, "[]")).contains("names no identity source"));
}

#[test]
fn a_witness_that_follows_counts_once_among_the_places() {
    let audit = |follower: &str| {
        format!(
            "{}\n[audit]\nplaces = 1\n[[audit.witness]]\nname = \"cndp\"\npublic = \"{COMMISSION}\"\nfollows = true\n\
             url = \"https://localhost:7644\"\nserver = [\"tls/w.pem\"]\ncertificate = \"tls/v.pem\"\nkey = \"v.key\"\n{follower}",
            vault()
        )
    };
    let read = VaultConfig::parse(&audit(""), Path::new("/etc")).unwrap();
    assert!(read.log.witnesses[0].follows);
    let followers = &read.log.places.followers;
    assert_eq!((followers.len(), &*followers[0].name), (1, "cndp"));
    for again in [
        format!("name = \"cndp\"\npublic = \"{OPERATIONS}\""),
        format!("name = \"other\"\npublic = \"{COMMISSION}\""),
    ] {
        let faults = faults(&audit(&format!("[[audit.follower]]\n{again}\n")));
        assert!(faults[0].what.contains("a second follower"), "{faults:?}");
    }
    // `--lost second` names `[audit] second` and nothing else.
    let second = format!("[[audit.follower]]\nname = \"second\"\npublic = \"{OPERATIONS}\"\n");
    let called = "is the name of the place that `[audit] second` states";
    assert!(faults(&audit(&second))[0].what.contains(called));
    let follows = audit("").replace("\"cndp\"", "\"second\"");
    assert!(faults(&follows)[0].what.contains(called));
    let asked = audit("").replace("follows = true\n", "");
    assert!(faults(&asked)[0].what.contains("`places` is 1"));
}
