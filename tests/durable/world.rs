//! A deployment on disk, and a vault and a node in this process that run on it.
#![expect(unsafe_code, reason = "a function at the end of the process")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::common::copy_folder;
use cloison::access::{self, TokenizePermit};
use cloison::audit::log::LogParts;
use cloison::audit::resume::Resumption;
use cloison::clock::{Clock, FixedClock};
use cloison::code::Code;
use cloison::config::{IdentityPlace, NodeConfig, VaultConfig};
use cloison::deployment::register_text::{
    APPROVERS, AUTHORITY, AUTHORITY_KEY, DeclaredClient, DeclaredFacts, DeclaredOrganisation,
    DeclaredScheme, DeclaredSector, OFFICER, OPERATOR, OPERATORS,
};
use cloison::deployment::{DeploymentPlan, ListenPlan, make};
use cloison::epoch::confirm::ConfirmSecretRequest;
use cloison::epoch::statement::{Destruction, DestructionPayload};
use cloison::epoch::{self, AdvanceEpochRequest, EpochView};
use cloison::execution::step::{self, ActExchange};
use cloison::jws;
use cloison::keys::file::{SecretKind, read_secret, read_signing_key};
use cloison::keys::sector_secrets::{SectorSecretDeposit, read_versions};
use cloison::keys::{
    AuditSecret, AuthoritySecret, IdentityKeys, IdentitySecret, JournalSecret, StoreKey,
    StoreSecret,
};
use cloison::link::{PostedQuestion, VaultLink, VaultQuestion as _};
use cloison::node::{Node, NodeParts};
use cloison::order::book::Book;
use cloison::order::{self, LegalBasis, OrderPayload, PseudonymScope, RequestPayload};
use cloison::refusal::Refusal;
use cloison::register::{self, Id, Register, SpkiDigest, Suite};
use cloison::reidentify::lodge::{self, LodgedOrder, OrderText};
use cloison::reidentify::release::release;
use cloison::reidentify::reveal::{self, RevealedItem};
use cloison::reidentify::{ReidentifyRequest, Release, ReleaseRequest};
use cloison::seal::chunk::ChunkCipher;
use cloison::seal::segment::AuthorityPrivateKey;
use cloison::statement::{self, Statement as _};
use cloison::store::StoreError;
use cloison::tokenize::{self, TokenizeOptions, TokenizedBatch};
use cloison::vault::{StartError, Vault, VaultHome, VaultSecrets};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// The versions of a journal secret in a folder.
fn journal_secrets(folder: &Path) -> Vec<(u32, JournalSecret)> {
    let found = read_versions(folder, SecretKind::Journal).unwrap();
    let secrets = found.into_iter();
    secrets
        .map(|(version, key)| (version, JournalSecret(key)))
        .collect()
}

const AMPLE: (u64, u64) = (1_000_000_000, 1_000_000_000_000);

const fn organisation(id: &'static str) -> DeclaredOrganisation {
    DeclaredOrganisation {
        id,
        name: id,
        items_per_second: AMPLE.0,
        items_per_day: AMPLE.1,
    }
}

const fn sector(
    name: &'static str,
    tag: &'static str,
    granularity: &'static str,
    text_form: &'static str,
    purposes: &'static [&'static str],
) -> DeclaredSector {
    DeclaredSector {
        name,
        tag,
        granularity,
        text_form,
        reversible: true,
        schemes: &["cnie", "idcs"],
        purposes,
        retention_years: 10,
        controller: "A controller, Rabat",
        purpose: "A purpose",
        persons: "Persons",
        data: "Data",
    }
}

/// Each granularity and each text form once, and a sector that stores nothing.
pub static FACTS: DeclaredFacts = DeclaredFacts {
    organisations: &[
        organisation("cnss"),
        organisation("clinic"),
        organisation("dgi"),
        organisation("commune"),
        organisation("rsu"),
        organisation("school"),
        organisation("lab"),
    ],
    purposes: &[
        ("billing", "B"),
        ("assessment", "A"),
        ("aid", "D"),
        ("control", "C"),
        ("research", "R"),
    ],
    schemes: &[
        DeclaredScheme {
            id: "cnie",
            pattern: "[A-Z]{1,2}[0-9]{1,7}",
            separators: " -",
            comment: "Card",
        },
        DeclaredScheme {
            id: "idcs",
            pattern: "[0-9]{10}",
            separators: " -",
            comment: "Number",
        },
    ],
    sectors: &[
        sector("health", "sante", "{}", "bech32m", &["billing"]),
        sector(
            "tax",
            "impot",
            "{ controller = true }",
            "bech32m",
            &["assessment"],
        ),
        sector(
            "social",
            "social",
            "{ purpose = true }",
            "uuid",
            &["aid", "control"],
        ),
        sector("school", "ecole", "{ period = \"month\" }", "hex", &["aid"]),
        DeclaredSector {
            reversible: false,
            ..sector(
                "study",
                "etude",
                "{ controller = true, purpose = true, period = \"year\" }",
                "hex",
                &["research"],
            )
        },
    ],
    clients: &[
        DeclaredClient {
            id: "cnss-health",
            organisation: "cnss",
            sectors: &["health"],
            purposes: &["billing"],
        },
        DeclaredClient {
            id: "clinic-health",
            organisation: "clinic",
            sectors: &["health"],
            purposes: &["billing"],
        },
        DeclaredClient {
            id: "dgi-tax",
            organisation: "dgi",
            sectors: &["tax"],
            purposes: &["assessment"],
        },
        DeclaredClient {
            id: "commune-tax",
            organisation: "commune",
            sectors: &["tax"],
            purposes: &["assessment"],
        },
        DeclaredClient {
            id: "rsu-social",
            organisation: "rsu",
            sectors: &["social"],
            purposes: &["aid", "control"],
        },
        DeclaredClient {
            id: "school",
            organisation: "school",
            sectors: &["school"],
            purposes: &["aid"],
        },
        DeclaredClient {
            id: "lab-study",
            organisation: "lab",
            sectors: &["study"],
            purposes: &["research"],
        },
    ],
    rights_officers: &[],
};

/// Who sends a batch, where to, what for.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    pub client: &'static str,
    pub sector: &'static str,
    pub purpose: &'static str,
}

/// Every way to ask that the register allows.
pub const CALLERS: [Caller; 8] = [
    Caller {
        client: "cnss-health",
        sector: "health",
        purpose: "billing",
    },
    Caller {
        client: "clinic-health",
        sector: "health",
        purpose: "billing",
    },
    Caller {
        client: "dgi-tax",
        sector: "tax",
        purpose: "assessment",
    },
    Caller {
        client: "commune-tax",
        sector: "tax",
        purpose: "assessment",
    },
    Caller {
        client: "rsu-social",
        sector: "social",
        purpose: "aid",
    },
    Caller {
        client: "rsu-social",
        sector: "social",
        purpose: "control",
    },
    Caller {
        client: "school",
        sector: "school",
        purpose: "aid",
    },
    Caller {
        client: "lab-study",
        sector: "study",
        purpose: "research",
    },
];

/// The instant at which every world begins.
pub fn dawn() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// Configuration, keys and register, as `init` makes them. Made once; nothing in it changes.
pub fn deployment() -> &'static Path {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let plan = DeploymentPlan {
            deployment: "durable".into(),
            facts: &FACTS,
            vault: ListenPlan::new(vec![], [7443, 7444, 7445]),
            node: ListenPlan::new(vec![], [7542, 7543, 7545]),
            witness: None,
            identity: None,
            years: 1,
            example: false,
            custodians: None,
        };
        make(&folder.path().join("home"), &plan).unwrap();
        folder
    });
    // A static is never dropped; whoever ends last removes it.
    static CLEAR: OnceLock<()> = OnceLock::new();
    CLEAR.get_or_init(|| {
        extern "C" fn clear() {
            let _ = fs::remove_dir_all(deployment().parent().unwrap());
        }
        // SAFETY: `clear` needs nothing that is gone when the process ends.
        unsafe { libc::atexit(clear) };
    });
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| made.path().join("home"))
}

/// A store, a shelf of sector secrets and a clock of their own, on the keys of the one deployment.
pub struct World {
    pub home: TempDir,
    pub clock: Arc<FixedClock>,
    /// Bytes of memory for the index.
    pub memory: u64,
}

impl World {
    pub fn new() -> Self {
        Self::bounded(u64::MAX)
    }

    /// With so much memory for the index.
    pub fn bounded(memory: u64) -> Self {
        let home = tempfile::tempdir().unwrap();
        copy_folder(
            &deployment().join("secrets/vault/sector"),
            &home.path().join("sector"),
        );
        Self {
            home,
            clock: Arc::new(FixedClock::at(dawn())),
            memory,
        }
    }

    /// The vault's store.
    pub fn store(&self) -> PathBuf {
        self.home.path().join("vault")
    }

    pub fn secrets(&self) -> VaultSecrets {
        let files = VaultConfig::load(&deployment().join("vault.toml"))
            .unwrap()
            .secrets;
        let IdentityPlace::Embedded(identity) = &files.identity else {
            panic!("the vault has its identity secret");
        };
        let identity = IdentitySecret(read_secret(&identity.at, SecretKind::Identity).unwrap());
        VaultSecrets {
            identity: Box::new(IdentityKeys::new(&identity)),
            audit: AuditSecret(read_secret(&files.audit.at, SecretKind::Audit).unwrap()),
            store: read_versions(&files.store.at, SecretKind::Store)
                .unwrap()
                .into_iter()
                .map(|(version, key)| (version, StoreSecret(key)))
                .collect(),
            journal: journal_secrets(&files.journal.at),
            sector: Box::new(SectorSecretDeposit::folder(self.home.path().join("sector"))),
            segment: read_signing_key(&files.segment.at).unwrap(),
            log: LogParts::new(read_signing_key(&files.checkpoint.at).unwrap()),
        }
    }

    pub fn open(&self) -> Vault {
        self.try_open().unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn try_open(&self) -> Result<Vault, StartError> {
        self.open_with(register(), Box::new(|error| panic!("{error}")))
    }

    pub fn open_with(
        &self,
        register: Register,
        poisoned: Box<dyn FnOnce(&StoreError) + Send>,
    ) -> Result<Vault, StartError> {
        let home = VaultHome {
            store: self.store(),
            index_memory: self.memory,
        };
        Vault::open(
            &home,
            register,
            self.secrets(),
            &[],
            self.clock.clone(),
            &|_| {},
            poisoned,
        )
    }

    pub fn node(&self) -> Node {
        let config = NodeConfig::load(&deployment().join("node.toml")).unwrap();
        let cloison::config::KeyPlace::Own(deposit) = &config.keys[0].place else {
            panic!("the key is a file")
        };
        let scalar = read_secret(&deposit.at, SecretKind::Authority).unwrap();
        let parts = NodeParts {
            register: register(),
            authority: id(AUTHORITY),
            keys: vec![AuthorityPrivateKey::derive(
                &AuthoritySecret(scalar),
                AUTHORITY_KEY,
                Suite::X25519,
            )],
            shared: vec![],
            times: Default::default(),
            segment_keys: config.segment_keys,
            audit: AuditSecret(read_secret(&config.audit.at, SecretKind::Audit).unwrap()),
            journal: journal_secrets(&config.journal.at),
            log: LogParts::new(read_signing_key(&config.checkpoint.at).unwrap()),
        };
        Node::open(
            &self.home.path().join("node"),
            parts,
            self.clock.clone(),
            Box::new(|error| panic!("{error}")),
        )
        .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The vault's outer cipher, to look into its chunks from outside.
    pub fn cipher(&self) -> ChunkCipher {
        ChunkCipher::new(
            self.secrets()
                .store
                .iter()
                .map(|(version, secret)| (*version, StoreKey::new(secret))),
        )
    }

    /// Moves the clock on.
    pub fn later(&self, time: SignedDuration) {
        self.clock.set(self.clock.now().checked_add(time).unwrap());
    }
}

pub fn id(text: &str) -> Id {
    Id::parse(text).unwrap()
}

/// The register, verified as at every start.
pub fn register() -> Register {
    let files = VaultConfig::load(&deployment().join("vault.toml"))
        .unwrap()
        .register;
    register::open(&files.file, &files.signatures, &files.pins).unwrap()
}

pub fn client_key(register: &Register, client: &str) -> SpkiDigest {
    *register
        .clients
        .iter()
        .find(|(_, known)| known.id.as_str() == client)
        .unwrap()
        .0
}

pub fn permit(vault: &Vault, caller: Caller, scheme: &str) -> TokenizePermit {
    let peer = client_key(vault.register(), caller.client);
    access::tokenize(vault, peer, caller.sector, scheme, Some(caller.purpose)).unwrap()
}

/// One batch, to the end: the answer comes when it is durable.
pub fn tokenize(vault: &Vault, caller: Caller, items: &[String]) -> Result<TokenizedBatch, Code> {
    tokenize_with(vault, caller, &TokenizeOptions::default(), items)
}

pub fn tokenize_with(
    vault: &Vault,
    caller: Caller,
    wish: &TokenizeOptions,
    items: &[String],
) -> Result<TokenizedBatch, Code> {
    let permit = permit(vault, caller, "cnie");
    let items: Vec<_> = items.iter().map(|item| Ok(item.as_str())).collect();
    let (answer, job) = tokenize::prepare(vault, &permit, wish, items.into_iter())
        .map_err(|refusal| refusal.code())?;
    vault.committer().submit(job)?.wait()?;
    Ok(answer)
}

/// Advances a sector's epoch from where it stands.
pub fn advance(vault: &Vault, sector: &str, own_secret: bool) -> Vec<EpochView> {
    let operators = &vault.register().operators;
    let peer = *operators
        .iter()
        .find(|(_, operator)| operator.id.as_str() == OPERATOR)
        .unwrap()
        .0;
    let permit = access::operator(vault.register(), peer).unwrap();
    let state = vault.sector(sector).unwrap();
    let from = state.current().row.epoch;
    let end_overlap = state
        .previous(vault.now())
        .map(|previous| previous.row.epoch);
    let statement = statement(
        vault,
        Destruction::OwnSecret {
            sector: sector.into(),
            from,
        },
    );
    let how = AdvanceEpochRequest {
        from,
        end_overlap,
        own_secret,
        statement: Some(statement),
    };
    match epoch::advance(vault, &permit, sector, &how) {
        Err(refusal) if refusal.code() == Code::SecretUnconfirmed => {
            let listed = epoch::secrets::list(vault, &permit).unwrap();
            let waiting = listed.versions.iter().filter(|v| v.state == "unconfirmed");
            for version in waiting.map(|waiting| waiting.version) {
                let asked = ConfirmSecretRequest { version };
                epoch::confirm::confirm(vault, &permit, &asked).unwrap();
            }
            epoch::advance(vault, &permit, sector, &how).unwrap().epochs
        }
        advanced => advanced.unwrap().epochs,
    }
}

/// A statement that allows this, signed by both operators.
pub fn statement(vault: &Vault, destruction: Destruction) -> String {
    let payload = DestructionPayload {
        aud: id("durable"),
        id: cloison::clock::random_uuid(),
        destruction,
        time: Timestamp::from_second(vault.now().as_second()).unwrap(),
    };
    OPERATORS
        .iter()
        .fold(payload.draft().unwrap(), |text, operator| {
            let key =
                read_signing_key(&deployment().join(format!("secrets/people/{operator}.pem")))
                    .unwrap();
            statement::sign::<DestructionPayload>(&text, operator, &key).unwrap()
        })
}

/// An order of the court over `scope`, signed by a judge and a prosecutor, valid for a day from
/// now.
pub fn order(now: Timestamp, sector: &str, scope: PseudonymScope, basis: LegalBasis) -> String {
    let payload = OrderPayload {
        aud: id("durable"),
        id: cloison::clock::random_uuid(),
        authority: id(AUTHORITY),
        basis,
        case: "RABAT/2026/1".into(),
        purpose: id("investigation"),
        sectors: vec![sector.into()],
        scope,
        not_before: now,
        not_after: now + SignedDuration::from_hours(24),
        officers: vec![id(OFFICER)],
        inform_after: None,
        issued: None,
    };
    [APPROVERS[0].id, APPROVERS[2].id]
        .iter()
        .fold(payload.draft().unwrap(), |text, approver| {
            jws::add_signature(&text, OrderPayload::TYP, approver, &person(approver)).unwrap()
        })
}

/// An order that lists exactly these.
pub fn order_for(now: Timestamp, sector: &str, pseudonyms: &[String]) -> String {
    order(
        now,
        sector,
        PseudonymScope::Listed([(sector.to_owned(), pseudonyms.to_vec())].into()),
        LegalBasis::Judicial,
    )
}

/// An order for any `limit` pseudonyms of the sector.
pub fn order_at_most(now: Timestamp, sector: &str, limit: u64) -> String {
    order(
        now,
        sector,
        PseudonymScope::AtMost(limit),
        LegalBasis::Statutory {
            article: "Loi 43-05, art. 19".into(),
        },
    )
}

fn person(id: &str) -> ed25519_dalek::SigningKey {
    read_signing_key(&deployment().join(format!("secrets/people/{id}.pem"))).unwrap()
}

/// What the officer sends: the order, and a fresh signed request for these pseudonyms.
pub fn asked(
    now: Timestamp,
    order: &str,
    sector: &str,
    pseudonyms: &[String],
) -> ReidentifyRequest {
    let request = RequestPayload {
        aud: id("durable"),
        order: order::digest_of(order).unwrap(),
        request: cloison::clock::random_uuid(),
        sector: sector.to_owned(),
        list: order::list_digest(pseudonyms).unwrap(),
        time: now,
    };
    ReidentifyRequest {
        order: order.to_owned(),
        request: order::sign_request(request, &id(OFFICER), &person(OFFICER)).unwrap(),
        sector: sector.into(),
        pseudonyms: pseudonyms.to_vec(),
        to: None,
    }
}

/// Asks the vault as the authority's node does.
pub fn release_of(vault: &Vault, asked: &ReidentifyRequest) -> Result<Release, Refusal> {
    let node = vault.register().authorities[&id(AUTHORITY)].node;
    let permit = access::node(vault.register(), node).unwrap();
    let digest = data_encoding::HEXLOWER.encode(&vault.register().digest);
    let acts = Book::from(vault).digest(&id(AUTHORITY))?;
    release(
        vault,
        &permit,
        &ReleaseRequest {
            register: digest,
            acts,
            held: None,
            asked: asked.clone(),
        },
    )
}

/// Shows the vault an order, as the authority's node does.
pub fn lodge_order(vault: &Vault, order: &str) -> Result<LodgedOrder, Refusal> {
    let node = vault.register().authorities[&id(AUTHORITY)].node;
    lodge::at_vault(
        vault,
        &access::bearer(vault.register(), node).unwrap(),
        order,
    )
}

/// The way from the node to the vault, without the wire.
pub struct Link<'a>(pub &'a Vault);

impl VaultLink for Link<'_> {
    fn post(&self, question: PostedQuestion<'_>) -> Result<Vec<u8>, Refusal> {
        let node = self.0.register().authorities[&id(AUTHORITY)].node;
        let permit = access::node(self.0.register(), node).unwrap();
        match question.path {
            ReleaseRequest::PATH => answer(question.body, |asked: ReleaseRequest| {
                release_of(self.0, &asked.asked)
            }),
            ActExchange::PATH => {
                answer(question.body, |acts| step::exchange(self.0, &permit, &acts))
            }
            OrderText::PATH => answer(question.body, |order: OrderText| {
                lodge_order(self.0, &order.order)
            }),
            other => panic!("nobody here answers {other}"),
        }
    }

    fn resumptions(&self) -> Result<Vec<Resumption>, Refusal> {
        Ok(vec![])
    }
}

/// Answers a question's JSON in JSON.
fn answer<Q: DeserializeOwned, A: Serialize>(
    question: &[u8],
    answer: impl FnOnce(Q) -> Result<A, Refusal>,
) -> Result<Vec<u8>, Refusal> {
    Ok(serde_json::to_vec(&answer(serde_json::from_slice(question).unwrap())?).unwrap())
}

/// Opens pseudonyms by the whole road: order, node, vault, node.
pub fn reveal(
    vault: &Vault,
    node: &Node,
    sector: &str,
    pseudonyms: &[String],
) -> Vec<RevealedItem> {
    let now = vault.now();
    let asked = asked(now, &order_for(now, sector, pseudonyms), sector, pseudonyms);
    let officer = vault.register().authorities[&id(AUTHORITY)].officers[&id(OFFICER)].certificate;
    let permit = access::officer(node.register(), &id(AUTHORITY), officer).unwrap();
    reveal::ask(node, &permit, &asked, &Link(vault))
        .unwrap()
        .items
}

/// Whether the longer form was asked for.
pub fn long() -> bool {
    std::env::var_os("CLOISON_TEST_LONG").is_some_and(|value| value == "1")
}

/// How often something is repeated: in the short form, in the longer one, or as often as
/// `CLOISON_TEST_ROUNDS` says.
pub fn rounds(short: u32, longer: u32) -> u32 {
    let told = std::env::var("CLOISON_TEST_ROUNDS").ok();
    let told = told.map(|text| text.parse().expect("CLOISON_TEST_ROUNDS is a number"));
    told.unwrap_or(if long() { longer } else { short })
}

/// Person number `n`: a card number.
pub fn card(n: u32) -> String {
    format!("AB{n:06}")
}

/// Moves the versions of the sector secret to the vault's disk, which fails or loses its power:
/// they are made and destroyed with epochs.
pub fn put_sector_secrets_on_the_disk(world: &crate::common::World) {
    let (from, to) = ("secrets/vault/sector", "data/vault.sector");
    fs::rename(world.path(from), world.path(to)).unwrap();
    world.replace("vault.toml", from, to);
}
