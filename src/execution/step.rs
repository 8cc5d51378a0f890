//! Vault and node exchange the acts upon orders until both hold the same. The node asks, because
//! only it can reach the other side; the vault answers with the acts that the node lacks and names
//! those that it lacks itself.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::check_register;
use crate::access::{BearerPermit, NodePermit};
use crate::code::Code;
use crate::entity::Entity;
use crate::id::{from_hex, hex};
use crate::link::{VaultLink, VaultQuestion};
use crate::node::Node;
use crate::order::act::ActPayload;
use crate::order::book::Book;
use crate::order::book::step::{ActDigest, ActWindow, MOST_NAMED};
use crate::order::life::OrderView;
use crate::refusal::Refusal;
use crate::register::Id;
use crate::statement;
use crate::vault::Vault;

/// How often an exchange is repeated because an act came to one side meanwhile.
const TRIES: usize = 3;

/// The node's part of an exchange: a window of its acts, and acts that the vault said it lacks.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActExchange {
    /// SHA-256 of the node's register, hex.
    pub register: String,
    /// The digest of all acts that the node holds ([`Book::digest`]).
    pub digest: String,
    /// The window begins after the act with this digest (hex); if absent, with the first act.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after: Option<String>,
    /// It ends with this act; if absent, with the last act.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<String>,
    /// Digests (hex) of the acts in the window that the node holds; at most a thousand.
    pub known: Vec<String>,
    /// Acts that the vault said it lacks, as they were signed; 128 KiB at most.
    pub acts: Vec<String>,
}

impl VaultQuestion for ActExchange {
    type Answer = ActExchangeAnswer;
    const PATH: &'static str = "/v1/acts/exchange";
}

/// The vault's part of an exchange.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActExchangeAnswer {
    /// The digest of all acts that the vault holds now.
    pub digest: String,
    /// Acts in the window that the node lacks, as they were signed; 128 KiB at most.
    pub acts: Vec<String>,
    /// Digests (hex) of the acts that the node named and the vault lacks.
    pub lacks: Vec<String>,
}

/// The vault's side: takes the node's acts and answers with those that the node lacks.
///
/// # Errors
/// [`Code::RegisterMismatch`]; [`Code::MalformedBody`], [`Code::TooLarge`]; those of
/// [`Book::take`].
pub fn exchange(
    vault: &Vault,
    permit: &NodePermit,
    asked: &ActExchange,
) -> Result<ActExchangeAnswer, Refusal> {
    let same = check_register(vault, &asked.register);
    let mismatch = same.as_ref().err().map(Refusal::to_string);
    vault.orders().note_register(&permit.authority.id, mismatch);
    same?;
    if asked.known.len() > MOST_NAMED {
        return Err(Refusal::new(
            Code::TooLarge,
            format!("at most {MOST_NAMED} acts are named at once"),
        ));
    }
    let known = digests(&asked.known)?;
    let end = |text: &Option<String>| text.as_deref().map(digest).transpose();
    let window = ActWindow {
        after: end(&asked.after)?,
        until: end(&asked.until)?,
    };
    let (book, authority) = (Book::from(vault), &permit.authority.id);
    if !asked.acts.is_empty() {
        let taken = book.take(authority, &asked.acts, authority.as_str())?;
        wait_where_granted(vault, taken.grant);
    }
    let own = book.confirmed_acts(authority)?;
    let answer = ActExchangeAnswer {
        digest: hex(&own.digest()),
        acts: book.lacking(authority, window, &known)?,
        lacks: known
            .iter()
            .filter(|digest| own.order(digest).is_none())
            .map(|digest| hex(digest))
            .collect(),
    };
    book.note_step(authority, answer.digest == asked.digest);
    Ok(answer)
}

/// Waits a little for places where an act of the other side lets something go on, so that it is in
/// force here when its signers hear that both sides have it. Without places both sides have it all
/// the same.
fn wait_where_granted(side: &Entity, is_granted: bool) {
    if is_granted && let Err(refusal) = side.wait_for_grant() {
        tracing::warn!(why = %refusal, "an act upon an order waits for places");
    }
}

fn digest(text: &str) -> Result<ActDigest, Refusal> {
    from_hex(text).ok_or_else(|| {
        Refusal::new(
            Code::MalformedBody,
            "an act's digest is 64 hexadecimal digits",
        )
    })
}

fn digests(texts: &[String]) -> Result<Vec<ActDigest>, Refusal> {
    texts.iter().map(|text| digest(text)).collect()
}

/// The node's side: repeats the exchange until the vault itself confirms that both hold the same
/// acts.
///
/// # Errors
/// The vault's refusal; [`Code::PeerUnavailable`]; [`Code::OutOfStep`] if one side does not take an
/// act of the other.
pub fn get_in_step(node: &Node, vault: &dyn VaultLink) -> Result<(), Refusal> {
    let mut equal = exchange_all_windows(node, vault);
    for _ in 1..TRIES {
        if matches!(equal, Ok(false)) {
            equal = exchange_all_windows(node, vault);
        }
    }
    let stepped = equal.and_then(|equal| {
        if equal {
            return Ok(());
        }
        Err(Refusal::new(
            Code::OutOfStep,
            "vault or node does not take an act of the other yet; their logs say which",
        ))
    });
    // Nothing is known of a vault that does not answer.
    let is_away = |refusal: &Refusal| refusal.code() == Code::PeerUnavailable;
    if !stepped.as_ref().is_err_and(is_away) {
        Book::from(node).note_step(&node.authority().id, stepped.is_ok());
    }
    stepped
}

/// Goes through all windows once and returns whether both hold the same acts then. It skips an act
/// that one side does not take, so that this act does not hold up the others.
fn exchange_all_windows(node: &Node, vault: &dyn VaultLink) -> Result<bool, Refusal> {
    let authority = &node.authority().id;
    let (mut after, mut bring, mut brought) = (None, vec![], BTreeSet::new());
    let mut grants = false;
    loop {
        let (window, known) = Book::from(node).window(authority, after)?;
        let got = vault.ask(&question(node, authority, window, &known, bring)?)?;
        let taken = Book::from(node).take(authority, &got.acts, "vault")?;
        grants |= taken.grant;
        let mut lacks = digests(&got.lacks)?;
        lacks.retain(|digest| !brought.contains(digest));
        bring = Book::from(node).texts_of(authority, &lacks)?;
        for text in &bring {
            brought.insert(statement::digest_of::<ActPayload>(text)?);
        }
        match got.acts.last() {
            _ if !bring.is_empty() || taken.count > 0 => {}
            Some(last) => after = Some(statement::digest_of::<ActPayload>(last)?),
            None if window.until.is_some() => after = window.until,
            None => {
                // One wait is for all that is durable.
                wait_where_granted(node, grants);
                return Ok(got.digest == Book::from(node).digest(authority)?);
            }
        }
    }
}

fn question(
    node: &Node,
    authority: &Id,
    window: ActWindow,
    known: &[ActDigest],
    acts: Vec<String>,
) -> Result<ActExchange, Refusal> {
    Ok(ActExchange {
        register: hex(&node.register().digest),
        digest: Book::from(node).digest(authority)?,
        after: window.after.map(|digest| hex(&digest)),
        until: window.until.map(|digest| hex(&digest)),
        known: known.iter().map(|digest| hex(digest)).collect(),
        acts,
    })
}

/// An act upon an order, as a caller sends it.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Lodge)]
#[serde(deny_unknown_fields)]
pub struct ActText {
    /// The act: JWS General JSON, as text.
    pub act: String,
}

/// The answer to an act.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActResponse {
    /// The order, as this side sees it now.
    pub order: OrderView,
    /// Whether the vault itself confirms that it holds every act that the node holds, this one
    /// among them. Always false at the vault; the node takes the act before it opens anything.
    pub both: bool,
}

/// Takes an act at the vault.
///
/// # Errors
/// Those of [`Book::lodge`]; [`Code::JournalUnavailable`]: a revocation or a suspension is in force
/// then, and what lets an order go on or closes its review is not.
pub fn lodge_at_vault(
    vault: &Vault,
    permit: &BearerPermit,
    act: &str,
) -> Result<ActResponse, Refusal> {
    let act = Book::from(vault).lodge(act, permit)?;
    let order = answer(vault, &act)?;
    Ok(ActResponse { order, both: false })
}

/// The order, once enough places hold the act upon it.
fn answer(entity: &Entity, act: &ActPayload) -> Result<OrderView, Refusal> {
    if act.act.grants() {
        entity.wait_for_grant()?;
    } else {
        entity.answer_restriction()?;
    }
    Book::of(entity).view(&act.authority, act.order)
}

/// Takes an act at the node and sends it to the vault at once. It is taken at the node even if the
/// vault does not answer.
///
/// # Errors
/// As [`lodge_at_vault`].
pub fn lodge_at_node(
    node: &Node,
    permit: &BearerPermit,
    act: &str,
    vault: &dyn VaultLink,
) -> Result<ActResponse, Refusal> {
    let act = Book::from(node).lodge(act, permit)?;
    let both = get_in_step(node, vault);
    if let Err(refusal) = &both {
        tracing::warn!(code = %refusal.code(), "the vault does not have the act yet");
    }
    let order = answer(node, &act)?;
    Ok(ActResponse {
        order,
        both: both.is_ok(),
    })
}
