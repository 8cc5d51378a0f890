//! In step: vault and node bring each other what was done upon orders. The node asks, for only it can reach the other; the
//! vault answers with what the node lacks and says what it lacks itself.

use serde::{Deserialize, Serialize};

use super::reveal::VaultLink;
use super::{hex, internal};
use crate::access::{BearerPermit, NodePermit};
use crate::code::Code;
use crate::node::Node;
use crate::order::Refusal;
use crate::order::book::{Book, MOST_EXCHANGED};
use crate::order::life::OrderView;
use crate::vault::Vault;

/// Rounds of an exchange before it is given up: each moves a thousand acts either way.
const ROUNDS: usize = 100;

/// What the node sends.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// SHA-256 of the node's register, hex.
    pub register: String,
    /// Digests (hex) of all acts upon the authority's orders that the node holds.
    pub known: Vec<String>,
    /// Acts that the vault said it lacks, as they were signed.
    pub acts: Vec<String>,
}

/// What the vault answers.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Exchanged {
    /// Acts that the node lacks, as they were signed; at most a thousand at once.
    pub acts: Vec<String>,
    /// Digests (hex) of those that the vault lacks; at most a thousand at once.
    pub lacks: Vec<String>,
}

/// The vault's side: takes what the node brings, answers with what it lacks.
///
/// # Errors
/// [`Code::RegisterMismatch`]; those of [`Book::take`].
pub fn exchange(vault: &Vault, permit: &NodePermit, asked: &Exchange) -> Result<Exchanged, Refusal> {
    super::check_register(vault.register(), &asked.register)?;
    let (book, authority) = (Book::from(vault), &permit.authority.id);
    if !asked.acts.is_empty() {
        book.take(authority, &asked.acts, authority.as_str())?;
    }
    let own: std::collections::BTreeSet<String> = book.known(authority)?.into_iter().collect();
    let lacks = asked.known.iter().filter(|digest| !own.contains(*digest)).take(MOST_EXCHANGED).cloned().collect();
    Ok(Exchanged { acts: book.lacking(authority, &asked.known)?, lacks })
}

/// The node's side: exchanges until both hold the same.
///
/// # Errors
/// The vault's refusal, or that it does not answer; [`Code::OutOfStep`] when it comes to no end.
pub fn get_in_step(node: &Node, vault: &dyn VaultLink) -> Result<(), Refusal> {
    let authority = &node.authority().id;
    let register = hex(&node.register().digest);
    let mut bring = vec![];
    for _ in 0..ROUNDS {
        let known = Book::from(node).known(authority)?;
        let got = vault.exchange_acts(&Exchange { register: register.clone(), known: known.clone(), acts: bring })?;
        if got.acts.is_empty() && got.lacks.is_empty() {
            return Ok(());
        }
        Book::from(node).take(authority, &got.acts, "vault")?;
        let lacks: std::collections::BTreeSet<&String> = got.lacks.iter().collect();
        let has: Vec<String> = known.into_iter().filter(|digest| !lacks.contains(digest)).collect();
        // What the vault has just sent it does not lack; what is left beside `has` is what it asked for.
        let sent: Vec<String> = got.acts.iter().map(|text| digest_of(text)).collect::<Result<_, _>>()?;
        bring = Book::from(node).lacking(authority, &[has, sent].concat())?;
    }
    Err(Refusal::new(Code::OutOfStep, "vault and node find no end in exchanging acts"))
}

fn digest_of(text: &str) -> Result<String, Refusal> {
    crate::order::act::read_act(text).map(|(_, digest)| hex(&digest)).map_err(internal)
}

/// What came of an act that was brought to the node.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Lodged {
    /// The order, as this side sees it now.
    pub order: OrderView,
    /// Whether the other side has it too. At the vault: it will have it before it opens anything.
    pub both: bool,
}

/// Takes an act at the vault.
///
/// # Errors
/// Those of [`Book::lodge`].
pub fn lodge_at_vault(vault: &Vault, permit: &BearerPermit, act: &str) -> Result<Lodged, Refusal> {
    Ok(Lodged { order: Book::from(vault).lodge(act, permit)?, both: false })
}

/// Takes an act at the node, and brings it to the vault at once. It is in force here also where the vault does not answer.
///
/// # Errors
/// Those of [`Book::lodge`].
pub fn lodge_at_node(node: &Node, permit: &BearerPermit, act: &str, vault: &dyn VaultLink) -> Result<Lodged, Refusal> {
    let order = Book::from(node).lodge(act, permit)?;
    let both = get_in_step(node, vault);
    if let Err(refusal) = &both {
        tracing::warn!(code = %refusal.code(), "the vault does not have the act yet");
    }
    Ok(Lodged { order, both: both.is_ok() })
}
