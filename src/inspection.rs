//! Inspections (decree 2-09-165, art. 16 to 21): a signed decision of the commission gives the
//! auditors that it names access to vault and node, for its object and its time only.
//!
//! Auditors of the register need no inspection for checkpoints, tiles and entry bundles, with which
//! they verify their own copy of the log. They need one to search a side's entries
//! ([`Inspections::open`]) and for the report with the figures of its register and store
//! ([`report`]). Every such access is logged with the inspection's id.

pub mod decision;
pub mod figures;
pub mod object;
pub mod report;
pub mod search;

use std::sync::MutexGuard;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::access::{AuditorPermit, MessengerPermit};
use crate::audit::{AuditEvent, Grant, InspectionDetails};
use crate::code::Code;
use crate::commit::Change;
use crate::entity::Entity;
use crate::id::hex;
use crate::refusal::{Refusal, fault, not_logged};
use crate::register::Id;
use crate::statement::read_unverified;
use decision::{InspectionDecision, check, check_closing, invalid};

/// Inspections that a side keeps, at most.
const MOST: usize = 10_000;

/// One side's inspections, at one instant.
pub struct Inspections<'a> {
    entity: &'a Entity,
    now: Timestamp,
}

/// The row of an inspection.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredInspection {
    /// The decision as it was signed; absent if only its end has come yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    text: Option<String>,
    /// The commission's keys that signed it.
    signers: Vec<Id>,
    /// When this side got it.
    entered: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    closed: Option<InspectionEnd>,
}

/// How an inspection ended before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InspectionEnd {
    /// When this side learned of it.
    #[schema(value_type = String)]
    pub time: Timestamp,
    /// Why, as a code.
    #[schema(value_type = String)]
    pub reason: Id,
    /// The commission's statement as it was signed: JWS General JSON.
    pub text: String,
}

/// The state of an inspection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InspectionStage {
    /// Its time has not come, or too few places hold the entry about it.
    Pending,
    /// It gives access.
    Open,
    /// Its time is over.
    Over,
    /// The commission ended it.
    Closed,
}

/// An inspection as it is listed and reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InspectionView {
    /// The decision.
    pub decision: InspectionDecision,
    /// Its state.
    pub state: InspectionStage,
    /// When this side got it.
    #[schema(value_type = String)]
    pub entered: Timestamp,
    /// The commission's register keys that signed it.
    #[schema(value_type = Vec<String>)]
    pub signers: Vec<Id>,
    /// Its end, if the commission closed it before its time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub closed: Option<InspectionEnd>,
    /// The decision as it was signed: JWS General JSON.
    pub text: String,
}

/// A statement of the commission, as a caller sends it.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Statement)]
pub struct InspectionText {
    /// The decision, or the end of an inspection: JWS General JSON, as text.
    pub statement: String,
}

/// Inspections.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Listed)]
pub struct InspectionList {
    /// The last entered first.
    pub inspections: Vec<InspectionView>,
}

impl InspectionView {
    fn new(stored: StoredInspection, now: Timestamp) -> Result<Self, Refusal> {
        let StoredInspection {
            text,
            signers,
            entered,
            closed,
        } = stored;
        let text = text.ok_or_else(undecided)?;
        let decision: InspectionDecision = read_unverified(&text).map_err(fault(FAILED))?;
        let state = match &closed {
            Some(_) => InspectionStage::Closed,
            None if now >= decision.not_after => InspectionStage::Over,
            None if now < decision.not_before => InspectionStage::Pending,
            None => InspectionStage::Open,
        };
        Ok(Self {
            decision,
            state,
            entered,
            signers,
            closed,
            text,
        })
    }

    /// When it was or will be over.
    pub fn end(&self) -> Timestamp {
        let closed = self.closed.as_ref().map(|closed| closed.time);
        closed.map_or(self.decision.not_after, |closed| {
            closed.min(self.decision.not_after)
        })
    }

    /// Whether it is or was ever open here. It was not if its time has not come, or if it was
    /// closed before.
    fn has_begun(&self) -> bool {
        self.state != InspectionStage::Pending
            && self.end() > self.decision.not_before.max(self.entered)
    }
}

/// The context of an internal error in the log.
const FAILED: &str = "the inspections failed";

impl<'a> Inspections<'a> {
    /// The inspections of a vault or a node, now.
    pub fn of(entity: &'a Entity) -> Self {
        Self {
            entity,
            now: entity.now(),
        }
    }

    /// An inspection as it stands now. It opens once enough places hold the entry about it.
    fn view(&self, id: Uuid, stored: StoredInspection) -> Result<InspectionView, Refusal> {
        let mut view = InspectionView::new(stored, self.now)?;
        let entered = Grant::Inspection(id.to_string());
        if view.state == InspectionStage::Open && self.entity.log().withholds(&entered) {
            view.state = InspectionStage::Pending;
        }
        Ok(view)
    }

    /// Enters a decision, durably and logged. Repeating it does nothing. An inspection whose end
    /// came first stays closed.
    ///
    /// # Errors
    /// [`Code::InspectionInvalid`]; [`Code::AuditUnavailable`], [`Code::Overloaded`];
    /// [`Code::JournalUnavailable`]: it is stored, and opens once enough places hold it.
    pub fn enter(&self, text: &str, permit: &MessengerPermit) -> Result<InspectionView, Refusal> {
        let signed = check(text, self.entity.register())?;
        let decision = &signed.says;
        let inspections = self.lock_inspections();
        let before = self.stored(decision.id)?;
        if let Some(stored) = &before
            && let Some(known) = &stored.text
        {
            if read_unverified::<InspectionDecision>(known)? != *decision {
                return Err(invalid("another decision was entered under this id"));
            }
            drop(inspections);
            self.entity.wait_for_grant()?;
            return self.view(decision.id, stored.clone());
        }
        if self.now >= decision.not_after {
            return Err(invalid("the inspection is over"));
        }
        if before.is_none() {
            self.check_room()?;
        }
        let entry = InspectionDetails {
            not_after: decision.not_after.to_string(),
            reason: None,
            digest: hex(&signed.digest),
            signers: signed.persons.clone(),
            ..entry_of_decision("enter", decision, permit)
        };
        let closed = before.and_then(|end| end.closed);
        let stored = StoredInspection {
            text: Some(text.to_owned()),
            signers: signed.persons,
            entered: self.now,
            closed,
        };
        self.write(decision.id, &stored, entry)?;
        drop(inspections);
        self.entity.wait_for_grant()?;
        self.view(decision.id, stored)
    }

    /// Ends an inspection, durably and logged. Repeating it does nothing. An end that comes before
    /// its decision is kept, so that nobody opens an inspection by sending the two in the wrong
    /// sequence.
    ///
    /// # Errors
    /// [`Code::InspectionInvalid`]; [`Code::UnknownInspection`] if the end is kept and there is no
    /// inspection to show yet; [`Code::AuditUnavailable`], [`Code::Overloaded`];
    /// [`Code::JournalUnavailable`]: it is closed then.
    pub fn close(&self, text: &str, permit: &MessengerPermit) -> Result<InspectionView, Refusal> {
        let signed = check_closing(text, self.entity.register())?;
        let id = signed.says.inspection;
        let inspections = self.lock_inspections();
        let mut stored = match self.stored(id)? {
            Some(stored) if stored.closed.is_some() => {
                drop(inspections);
                self.entity.answer_restriction()?;
                return self.view(id, stored);
            }
            Some(stored) => stored,
            None => {
                self.check_room()?;
                StoredInspection {
                    text: None,
                    signers: vec![],
                    entered: self.now,
                    closed: None,
                }
            }
        };
        let facts = match &stored.text {
            Some(text) => entry_of_decision(
                "close",
                &read_unverified(text).map_err(fault(FAILED))?,
                permit,
            ),
            None => entry_of_id("close", id, permit),
        };
        let entry = InspectionDetails {
            not_after: format!("{:.3}", self.now),
            reason: Some(signed.says.reason.clone()),
            digest: hex(&signed.digest),
            signers: signed.persons,
            ..facts
        };
        stored.closed = Some(InspectionEnd {
            time: self.now,
            reason: signed.says.reason,
            text: text.to_owned(),
        });
        self.write(id, &stored, entry)?;
        drop(inspections);
        self.entity.answer_restriction()?;
        self.view(id, stored)
    }

    /// Lists all inspections, or those that name an auditor; the last entered first.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn list(&self, auditor: Option<&Id>) -> Result<Vec<InspectionView>, Refusal> {
        let rows = self.entity.store().inspections().map_err(fault(FAILED))?;
        let mut views = vec![];
        for (id, value) in rows {
            let stored: StoredInspection = serde_json::from_slice(&value).map_err(fault(FAILED))?;
            // If only the end has come, there is no decision to show.
            if stored.text.is_some() {
                views.push(self.view(id, stored)?);
            }
        }
        views.retain(|view| auditor.is_none_or(|auditor| view.decision.auditors.contains(auditor)));
        views.sort_by_key(|view| std::cmp::Reverse(view.entered));
        Ok(views)
    }

    /// An inspection, open or not, that names the auditor.
    ///
    /// # Errors
    /// [`Code::UnknownInspection`].
    pub fn inspection(&self, id: Uuid, permit: &AuditorPermit) -> Result<InspectionView, Refusal> {
        let stored = self
            .stored(id)?
            .filter(|stored| stored.text.is_some())
            .ok_or_else(unknown)?;
        let view = self.view(id, stored)?;
        // An auditor it does not name must not learn that it exists.
        if view.decision.auditors.contains(permit.auditor()) {
            Ok(view)
        } else {
            Err(unknown())
        }
    }

    /// The open inspection of an auditor: the one of that id, or the only one.
    ///
    /// # Errors
    /// [`Code::InspectionRequired`] if none is open; [`Code::BadParameter`] if several are and none
    /// was named; [`Code::ClockBehind`], because with a clock that was set back an ended one would
    /// be open.
    pub fn open(
        &self,
        named: Option<Uuid>,
        permit: &AuditorPermit,
    ) -> Result<InspectionView, Refusal> {
        self.entity.committer().mark().steady(self.now)?;
        let mut open = self.list(Some(permit.auditor()))?;
        open.retain(|view| {
            view.state == InspectionStage::Open && named.is_none_or(|id| view.decision.id == id)
        });
        match (open.pop(), open.is_empty()) {
            (Some(view), true) => Ok(view),
            (Some(_), false) => Err(Refusal::new(
                Code::BadParameter,
                "several inspections are open to you: name one with `inspection`",
            )),
            (None, _) => {
                let why = "no inspection that is open now names you; the tiles of the log are open all the same";
                Err(Refusal::new(Code::InspectionRequired, why))
            }
        }
    }

    /// While the guard lives, no other thread enters or closes an inspection.
    fn lock_inspections(&self) -> MutexGuard<'a, ()> {
        self.entity.lock_inspections()
    }

    fn check_room(&self) -> Result<(), Refusal> {
        let inspections = self.entity.store().inspections().map_err(fault(FAILED))?;
        if inspections.len() >= MOST {
            return Err(invalid("there are too many inspections"));
        }
        Ok(())
    }

    fn stored(&self, id: Uuid) -> Result<Option<StoredInspection>, Refusal> {
        let row = self.entity.store().inspection(id).map_err(fault(FAILED))?;
        row.map(|value| serde_json::from_slice(&value).map_err(fault(FAILED)))
            .transpose()
    }

    fn write(
        &self,
        id: Uuid,
        stored: &StoredInspection,
        entry: InspectionDetails,
    ) -> Result<(), Refusal> {
        let value = serde_json::to_vec(stored).map_err(fault(FAILED))?;
        let change: Change = Box::new(move |store, batch| store.put_inspection(batch, id, &value));
        let event = AuditEvent::Inspection(Box::new(entry));
        self.entity
            .committer()
            .record(self.now, event, vec![], vec![change])
            .map(drop)
            .map_err(not_logged("nothing is done"))
    }
}

fn unknown() -> Refusal {
    Refusal::new(
        Code::UnknownInspection,
        "no inspection of this id was entered here",
    )
}

/// The answer to an end that comes before its decision.
fn undecided() -> Refusal {
    let why =
        "no inspection of this id was entered here; its end is kept: its decision will not open it";
    Refusal::new(Code::UnknownInspection, why)
}

/// The members that both kinds of entry share.
fn entry_of_decision(
    action: &'static str,
    decision: &InspectionDecision,
    permit: &MessengerPermit,
) -> InspectionDetails {
    InspectionDetails {
        reference: decision.reference.clone(),
        auditors: decision.auditors.clone(),
        sectors: decision.sectors.clone(),
        actors: decision.actors.clone(),
        not_before: decision.not_before.to_string(),
        ..entry_of_id(action, decision.id, permit)
    }
}

/// The entry about an inspection of which only the id is known.
fn entry_of_id(action: &'static str, id: Uuid, permit: &MessengerPermit) -> InspectionDetails {
    InspectionDetails {
        action,
        inspection: id.to_string(),
        reference: String::new(),
        auditors: vec![],
        sectors: vec![],
        actors: vec![],
        not_before: String::new(),
        not_after: String::new(),
        reason: None,
        digest: String::new(),
        signers: vec![],
        bearer: permit.bearer.clone(),
    }
}
