//! The text of a first `register.toml`: what is declared, as data, and one writer.

use std::fmt::Write as _;

use data_encoding::HEXLOWER;

use super::identity::IdentityPublics;

/// What a deployment starts with.
pub struct DeclaredFacts {
    /// Controllers.
    pub organisations: &'static [DeclaredOrganisation],
    /// Code and title of each purpose.
    pub purposes: &'static [(&'static str, &'static str)],
    /// Identifier schemes.
    pub schemes: &'static [DeclaredScheme],
    /// Sectors, parents first.
    pub sectors: &'static [DeclaredSector],
    /// Sector systems.
    pub clients: &'static [DeclaredClient],
    /// Ids of rights officers of all sectors that keep mappings; two sign an erasure.
    pub rights_officers: &'static [&'static str],
}

/// A controller: id, name, items a second, items a day.
pub struct DeclaredOrganisation {
    /// Stable id.
    pub id: &'static str,
    /// Display name.
    pub name: &'static str,
    /// Quota.
    pub items_per_second: u64,
    /// Quota.
    pub items_per_day: u64,
}

/// The rules of a scheme.
pub struct DeclaredScheme {
    /// Stable id.
    pub id: &'static str,
    /// What the canonical form matches.
    pub pattern: &'static str,
    /// Characters that are left out.
    pub separators: &'static str,
    /// What the scheme is, for the reader.
    pub comment: &'static str,
}

/// A sector and what was declared of it.
pub struct DeclaredSector {
    /// Dotted name.
    pub name: &'static str,
    /// Human-readable part of its pseudonyms.
    pub tag: &'static str,
    /// Inline table.
    pub granularity: &'static str,
    /// `bech32m`, `uuid` or `hex`.
    pub text_form: &'static str,
    /// Whether mappings are kept.
    pub reversible: bool,
    /// Accepted schemes.
    pub schemes: &'static [&'static str],
    /// Declared purposes.
    pub purposes: &'static [&'static str],
    /// Years that mappings are kept.
    pub retention_years: u32,
    /// The controller responsible, with its address.
    pub controller: &'static str,
    /// What the processing is for.
    pub purpose: &'static str,
    /// Persons concerned.
    pub persons: &'static str,
    /// Data that the sector attaches to its pseudonyms.
    pub data: &'static str,
}

/// A sector system.
pub struct DeclaredClient {
    /// Stable id; names its certificate, key and client file.
    pub id: &'static str,
    /// Its controller.
    pub organisation: &'static str,
    /// Its sectors.
    pub sectors: &'static [&'static str],
    /// Purposes that it may name.
    pub purposes: &'static [&'static str],
}

/// A person who signs orders: id, name, body.
pub struct DeclaredApprover {
    /// Stable id.
    pub id: &'static str,
    /// Display name.
    pub name: &'static str,
    /// The body that the person belongs to.
    pub body: &'static str,
}

/// The authority that every first register has.
pub const AUTHORITY: &str = "court";
/// The id of its first key.
pub const AUTHORITY_KEY: &str = "court-2026";
/// Its approvers: two bodies, so that two signatures can come from different ones.
pub const APPROVERS: &[DeclaredApprover] = &[
    DeclaredApprover {
        id: "judge-1",
        name: "First investigating judge",
        body: "court-of-rabat",
    },
    DeclaredApprover {
        id: "judge-2",
        name: "Second investigating judge",
        body: "court-of-rabat",
    },
    DeclaredApprover {
        id: "prosecutor-1",
        name: "Deputy public prosecutor",
        body: "public-prosecutor",
    },
];
/// Its officer.
pub const OFFICER: &str = "officer";
/// The operator who runs the vault.
pub const OPERATOR: &str = "operator";
/// Both operators: a statement that destroys needs two signatures.
pub const OPERATORS: [&str; 2] = [OPERATOR, "operator-2"];
/// The auditor who reads the logs.
pub const AUDITOR: &str = "auditor";

const CNIE: DeclaredScheme = DeclaredScheme {
    id: "cnie",
    pattern: "[A-Z]{1,2}[0-9]{1,7}",
    separators: " -",
    comment: "National identity card: one or two letters and one to seven digits, kept as printed. A number padded with zeros\n\
        # (BE007) is another number than the bare one (BE7), and so another person. Before the first use, ask the issuer\n\
        # which of them it prints, and require that width in the pattern: at first use the pattern is frozen.",
};
const IDCS: DeclaredScheme = DeclaredScheme {
    id: "idcs",
    pattern: "[0-9]{10}",
    separators: " -",
    comment: "Digital civil and social identifier: ten digits; the check digit's algorithm is not published.",
};
const PASSPORT: DeclaredScheme = DeclaredScheme {
    id: "passport",
    pattern: "[A-Z]{3}[A-Z0-9]{5,12}",
    separators: " -",
    comment: "ISO 3166 alpha-3 code of the issuing State, then the number.",
};

const HEALTH: DeclaredSector = DeclaredSector {
    name: "health",
    tag: "sante",
    granularity: "{}",
    text_form: "bech32m",
    reversible: true,
    schemes: &["cnie", "idcs", "passport"],
    purposes: &["billing"],
    retention_years: 10,
    controller: "Caisse nationale de sécurité sociale, Casablanca",
    purpose: "Reimbursement of care",
    persons: "Insured persons and their dependants",
    data: "Acts, prescriptions, amounts",
};
const CNSS: DeclaredOrganisation = DeclaredOrganisation {
    id: "cnss",
    name: "Caisse nationale de sécurité sociale",
    items_per_second: 20_000,
    items_per_day: 20_000_000,
};
/// A quota so high that it never delays a demo.
const AMPLE: (u64, u64) = (10_000_000, 100_000_000_000);
const CNSS_HEALTH: DeclaredClient = DeclaredClient {
    id: "cnss-health",
    organisation: "cnss",
    sectors: &["health"],
    purposes: &["billing"],
};

/// The smallest deployment: one sector with one client, as `init` writes it.
pub static START: DeclaredFacts = DeclaredFacts {
    organisations: &[CNSS],
    purposes: &[("billing", "Settlement of claims")],
    schemes: &[CNIE, IDCS, PASSPORT],
    sectors: &[HEALTH],
    clients: &[CNSS_HEALTH],
    rights_officers: &["rights-1", "rights-2"],
};

/// Three sectors with the same people, and an irreversible study: the register of `demo` and
/// `keys-example/`.
pub static DEMO: DeclaredFacts = DeclaredFacts {
    organisations: &[
        DeclaredOrganisation {
            items_per_second: AMPLE.0,
            items_per_day: AMPLE.1,
            ..CNSS
        },
        DeclaredOrganisation {
            id: "dgi",
            name: "Direction générale des impôts",
            items_per_second: AMPLE.0,
            items_per_day: AMPLE.1,
        },
        DeclaredOrganisation {
            id: "rsu",
            name: "Agence nationale des registres",
            items_per_second: AMPLE.0,
            items_per_day: AMPLE.1,
        },
        DeclaredOrganisation {
            id: "chu-rabat",
            name: "Centre hospitalier universitaire Ibn Sina, Rabat",
            items_per_second: 20_000,
            items_per_day: 2_000_000,
        },
    ],
    purposes: &[
        ("billing", "Settlement of claims"),
        ("assessment", "Assessment of income tax"),
        ("aid", "Direct social aid"),
        ("care", "Care in hospital"),
        ("research", "Cohort study 42, coded data"),
    ],
    schemes: &[CNIE, IDCS, PASSPORT],
    sectors: &[
        HEALTH,
        DeclaredSector {
            name: "health.chu-rabat",
            tag: "chur",
            granularity: "{}",
            text_form: "bech32m",
            reversible: true,
            schemes: &["cnie", "passport"],
            purposes: &["care"],
            retention_years: 20,
            controller: "Centre hospitalier universitaire Ibn Sina, Rabat",
            purpose: "Care in hospital",
            persons: "Patients",
            data: "Stays, diagnoses, acts",
        },
        DeclaredSector {
            name: "health.chu-rabat.study-42",
            tag: "etude",
            granularity: "{ purpose = true }",
            text_form: "hex",
            reversible: false,
            schemes: &["cnie", "passport"],
            purposes: &["research"],
            retention_years: 5,
            controller: "Centre hospitalier universitaire Ibn Sina, Rabat",
            purpose: "Cohort study on diabetes",
            persons: "Patients who consented",
            data: "Diagnoses, laboratory values",
        },
        DeclaredSector {
            name: "tax",
            tag: "impot",
            granularity: "{ controller = true }",
            text_form: "bech32m",
            reversible: true,
            schemes: &["cnie", "idcs"],
            purposes: &["assessment"],
            retention_years: 10,
            controller: "Direction générale des impôts, Rabat",
            purpose: "Assessment of income tax",
            persons: "Taxpayers",
            data: "Declared and withheld amounts",
        },
        DeclaredSector {
            name: "social",
            tag: "social",
            granularity: "{ purpose = true }",
            text_form: "uuid",
            reversible: true,
            schemes: &["cnie", "idcs"],
            purposes: &["aid"],
            retention_years: 5,
            controller: "Agence nationale des registres, Rabat",
            purpose: "Direct social aid",
            persons: "Households that applied",
            data: "Score, entitlements, payments",
        },
    ],
    clients: &[
        CNSS_HEALTH,
        DeclaredClient {
            id: "dgi-tax",
            organisation: "dgi",
            sectors: &["tax"],
            purposes: &["assessment"],
        },
        DeclaredClient {
            id: "rsu-social",
            organisation: "rsu",
            sectors: &["social"],
            purposes: &["aid"],
        },
        DeclaredClient {
            id: "chu-study",
            organisation: "chu-rabat",
            sectors: &["health.chu-rabat", "health.chu-rabat.study-42"],
            purposes: &["care", "research"],
        },
    ],
    rights_officers: &[],
};

/// The public halves of what `init` made, for the register.
pub struct PublicKeys<'a> {
    /// The deployment's id.
    pub deployment: &'a str,
    /// A comment for the head of the file.
    pub note: &'a str,
    /// Today, `YYYY-MM-DD`: the date of the placeholders.
    pub today: String,
    /// Certificate keys of the clients, in the order of [`DeclaredFacts::clients`].
    pub clients: Vec<[u8; 32]>,
    /// The operators' certificate keys and signing keys (hex), in the order of [`OPERATORS`].
    pub operators: Vec<([u8; 32], String)>,
    /// The rights officers' certificate keys and signing keys (hex), in the order of
    /// [`DeclaredFacts::rights_officers`].
    pub rights_officers: Vec<([u8; 32], String)>,
    /// The witness's key, hex.
    pub witness: Option<String>,
    /// The auditor's certificate key.
    pub auditor: [u8; 32],
    /// The key of the vault's checkpoints, hex.
    pub vault_checkpoint: String,
    /// The key of the node's checkpoints, hex.
    pub node_checkpoint: String,
    /// The authority node's certificate key.
    pub node: [u8; 32],
    /// The officer's certificate key.
    pub officer_certificate: [u8; 32],
    /// The officer's signing key, hex.
    pub officer_key: String,
    /// The approvers' signing keys, hex, in the order of [`APPROVERS`].
    pub approvers: Vec<String>,
    /// The authority's HPKE public key, hex.
    pub authority_key: String,
    /// Ids and certificate keys of those who hold shares of it.
    pub custodians: Vec<(String, [u8; 32])>,
    /// The identity source, where there is one.
    pub identity: Option<IdentityPublics<'a>>,
}

// Writing to a String cannot fail.
macro_rules! line { ($out:ident, $($arg:tt)*) => { let _ = writeln!($out, $($arg)*); } }

/// Writes `register.toml`. UUIDs of the sectors are drawn here.
pub fn write(facts: &DeclaredFacts, publics: &PublicKeys<'_>) -> String {
    let mut text = String::new();
    let out = &mut text;
    line!(
        out,
        "# The register: what is declared, and so what the vault allows. Signed in register.jws: after any change"
    );
    line!(
        out,
        "#     raise `version`, `cloison check register.toml`, and have it signed again (`cloison register sign --help`)."
    );
    line!(out, "{}", publics.note);
    line!(out, "deployment = {:?}", publics.deployment);
    line!(out, "version = 1");
    write_declarations(out, facts);
    write_sectors(out, facts.sectors, &publics.today);
    write_clients(out, facts.clients, publics);
    write_watchers(out, publics);
    write_rights_officers(out, facts, publics);
    write_authority(out, publics);
    text
}

/// Controllers, purposes and identifier schemes.
fn write_declarations(out: &mut String, facts: &DeclaredFacts) {
    line!(
        out,
        "\n# --- controllers; the quota is for all clients of one together"
    );
    for organisation in facts.organisations {
        line!(out, "\n[[organisation]]");
        line!(out, "id = {:?}", organisation.id);
        line!(out, "name = {:?}", organisation.name);
        let (second, day) = (organisation.items_per_second, organisation.items_per_day);
        line!(
            out,
            "quota = {{ items-per-second = {second}, items-per-day = {day} }}"
        );
    }
    line!(out, "\n# --- declared purposes");
    for (id, title) in facts.purposes {
        line!(out, "\n[[purpose]]\nid = {id:?}\ntitle = {title:?}");
    }
    line!(out, "\n# --- identifier schemes; frozen at first use");
    for scheme in facts.schemes {
        line!(out, "\n# {}", scheme.comment);
        line!(
            out,
            "[[scheme]]\nid = {:?}\npattern = {:?}",
            scheme.id,
            scheme.pattern
        );
        line!(
            out,
            "separators = {:?}\ncheck = \"none\"",
            scheme.separators
        );
    }
}

fn write_sectors(out: &mut String, sectors: &[DeclaredSector], today: &str) {
    line!(
        out,
        "\n# --- sectors; uuid, parent and tag are frozen at first use"
    );
    for sector in sectors {
        line!(
            out,
            "\n[[sector]]\nuuid = \"{}\"\nname = {:?}\ntag = {:?}",
            crate::clock::random_uuid(),
            sector.name,
            sector.tag
        );
        if let Some((parent, _)) = sector.name.rsplit_once('.') {
            line!(out, "parent = {parent:?}");
        }
        line!(
            out,
            "granularity = {}\ntext-form = {:?}",
            sector.granularity,
            sector.text_form
        );
        line!(
            out,
            "reversible = {}\nschemes = {:?}",
            sector.reversible,
            sector.schemes
        );
        line!(out, "purposes = {:?}", sector.purposes);
        let authorities: &[&str] = if sector.reversible { &[AUTHORITY] } else { &[] };
        line!(
            out,
            "authorities = {authorities:?}\nepoch-overlap-days = 30"
        );
        line!(out, "retention-years = {}", sector.retention_years);
        line!(
            out,
            "\n# Decree 2-09-165, art. 27 and 28: replace by what was declared and decided."
        );
        line!(
            out,
            "[sector.declaration]\ncontroller = {:?}\npurpose = {:?}",
            sector.controller,
            sector.purpose
        );
        line!(
            out,
            "persons = {:?}\ndata = {:?}",
            sector.persons,
            sector.data
        );
        line!(
            out,
            "received = \"{0}\"\ndecided = \"{0}\"\ndecision = \"explicit\"",
            today
        );
    }
}

/// Sector systems and operators.
fn write_clients(out: &mut String, clients: &[DeclaredClient], publics: &PublicKeys<'_>) {
    line!(
        out,
        "\n# --- sector systems, by SHA-256 of their certificate's public key"
    );
    for (client, certificate) in clients.iter().zip(&publics.clients) {
        line!(
            out,
            "\n[[client]]\nid = {:?}\norganisation = {:?}",
            client.id,
            client.organisation
        );
        line!(
            out,
            "certificate = \"{}\"\nsectors = {:?}",
            hex(certificate),
            client.sectors
        );
        line!(
            out,
            "operations = [\"tokenize\"]\npurposes = {:?}",
            client.purposes
        );
    }
    line!(
        out,
        "\n# --- who runs the vault; the keys sign what destroys, two persons each time"
    );
    for (id, (certificate, key)) in OPERATORS.iter().zip(&publics.operators) {
        line!(
            out,
            "\n[[operator]]\nid = {id:?}\ncertificate = \"{}\"\nkey = {key:?}",
            hex(certificate)
        );
    }
}

/// The auditor, the witness, and the key of the vault's log.
fn write_watchers(out: &mut String, publics: &PublicKeys<'_>) {
    line!(
        out,
        "\n# --- who watches: may read the logs, and the keys by which their checkpoints are believed"
    );
    line!(
        out,
        "\n[[auditor]]\nid = {AUDITOR:?}\ncertificate = \"{}\"",
        hex(&publics.auditor)
    );
    if let Some(key) = &publics.witness {
        line!(out, "\n[[witness]]\nid = \"witness\"\nkey = {key:?}");
    }
    line!(
        out,
        "\n[vault]\ncheckpoint-key = {:?}",
        publics.vault_checkpoint
    );
    if let Some(identity) = &publics.identity {
        out.push_str(&identity.of_vault());
        out.push_str(&identity.entry());
    }
}

fn write_rights_officers(out: &mut String, facts: &DeclaredFacts, publics: &PublicKeys<'_>) {
    if facts.rights_officers.is_empty() {
        return;
    }
    line!(
        out,
        "\n# --- who sees to people's rights; two of them sign an erasure"
    );
    let sectors = facts.sectors.iter().filter(|sector| sector.reversible);
    let sectors: Vec<&str> = sectors.map(|sector| sector.name).collect();
    for (id, (certificate, key)) in facts.rights_officers.iter().zip(&publics.rights_officers) {
        line!(
            out,
            "\n[[rights-officer]]\nid = {id:?}\nname = \"Rights officer, to be named\"\nkey = {key:?}"
        );
        line!(
            out,
            "certificate = \"{}\"\nsectors = {sectors:?}",
            hex(certificate)
        );
    }
}

fn write_authority(out: &mut String, publics: &PublicKeys<'_>) {
    line!(
        out,
        "\n# --- who may re-identify: two signatures at least, from two bodies"
    );
    line!(
        out,
        "\n[[authority]]\nid = {AUTHORITY:?}\nname = \"Court of first instance, Rabat\""
    );
    line!(
        out,
        "node = \"{}\"\ncheckpoint-key = {:?}",
        hex(&publics.node),
        publics.node_checkpoint
    );
    line!(out, "quorum = 2\nforce-majeure-quorum = 2");
    line!(out, "statutory-limit = 100\nmax-hours = 720");
    line!(
        out,
        "\n[[authority.key]]\nid = {AUTHORITY_KEY:?}\nsuite = 1\npublic = {:?}",
        publics.authority_key
    );
    for (approver, key) in APPROVERS.iter().zip(&publics.approvers) {
        line!(
            out,
            "\n[[authority.approver]]\nid = {:?}\nname = {:?}",
            approver.id,
            approver.name
        );
        line!(out, "body = {:?}\nkey = {key:?}", approver.body);
    }
    line!(
        out,
        "\n[[authority.officer]]\nid = {OFFICER:?}\nname = \"Officer of the court\""
    );
    line!(
        out,
        "key = {:?}\ncertificate = \"{}\"",
        publics.officer_key,
        hex(&publics.officer_certificate)
    );
    for (id, certificate) in &publics.custodians {
        line!(
            out,
            "\n[[authority.custodian]]\nid = {id:?}\nname = \"Holder of a share, to be named\""
        );
        line!(out, "certificate = \"{}\"", hex(certificate));
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    HEXLOWER.encode(bytes)
}
