//! The operations of the control listeners: the name that each has in the log, the most bytes of
//! its body, and its lane. A handler names its operation by one of these constants, so no operation
//! is without bounds.

use super::admission::Lane;

/// An operation, and its bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct ControlOperation {
    /// Its name in the log.
    pub(super) name: &'static str,
    /// The most bytes of its body.
    pub(super) body: usize,
    /// Its lane.
    pub(super) lane: Lane,
}

const fn work(name: &'static str, body: usize) -> ControlOperation {
    let lane = Lane::Work;
    ControlOperation { name, body, lane }
}

const fn acts(name: &'static str, body: usize) -> ControlOperation {
    let lane = Lane::Acts;
    ControlOperation { name, body, lane }
}

const fn stops(name: &'static str) -> ControlOperation {
    let (body, lane) = (NONE, Lane::Stops);
    ControlOperation { name, body, lane }
}

/// For an operation whose body is not read.
const NONE: usize = 0;
/// A statement or a short question.
const SHORT: usize = 64 << 10;
/// An order may have a megabyte ([`crate::jws::MAX_TEXT`]); the officer's request and the list of
/// 10 000 pseudonyms come with it.
const WITH_AN_ORDER: usize = 2 << 20;
/// A page of migrations is 10 000 identifiers, one of segments 1 024 sealed keys.
const PAGE: usize = 4 << 20;
/// A share of a key.
const SHARE: usize = 8 << 10;
/// `order::act::MAX_ACT`, as a string in JSON.
const ACT: usize = 24 << 10;
/// A thousand digests, and `order::book::step::MOST_BYTES` of acts, as strings in JSON.
const ACTS: usize = 512 << 10;
/// A list of 1 000 pseudonyms.
const PSEUDONYMS: usize = 256 << 10;
/// `inspection::decision::MAX_STATEMENT`, as a string in JSON.
const DECISION: usize = 128 << 10;

pub(super) const BACKUP_CREATE: ControlOperation = work("backup-create", SHORT);
pub(super) const BACKUP_LIST: ControlOperation = work("backup-list", NONE);
pub(super) const BACKUP_PRUNE: ControlOperation = work("backup-prune", SHORT);
pub(super) const BACKUP_VERIFY: ControlOperation = work("backup-verify", SHORT);
pub(super) const CLOCK_LOWER: ControlOperation = work("clock-lower", SHORT);
pub(super) const DRILL: ControlOperation = work("drill", SHARE);
pub(super) const EPOCH_ADVANCE: ControlOperation = work("epoch-advance", SHORT);
pub(super) const EPOCH_LIST: ControlOperation = work("epoch-list", NONE);
pub(super) const EPOCH_RETIRE: ControlOperation = work("epoch-retire", SHORT);
pub(super) const ERASE: ControlOperation = work("erase", SHORT);
pub(super) const EXCHANGE: ControlOperation = acts("exchange", ACTS);
pub(super) const INSPECTION_CLOSE: ControlOperation = work("inspection-close", DECISION);
pub(super) const INSPECTION_ENTER: ControlOperation = work("inspection-enter", DECISION);
pub(super) const INSPECTION_LIST: ControlOperation = work("inspection-list", NONE);
pub(super) const INSPECTION_REPORT: ControlOperation = work("inspection-report", NONE);
pub(super) const LOOK_UP: ControlOperation = work("look-up", PSEUDONYMS);
pub(super) const MIGRATE: ControlOperation = work("migrate", WITH_AN_ORDER);
pub(super) const MIGRATION_ACKNOWLEDGE: ControlOperation = work("migration-acknowledge", SHORT);
pub(super) const MIGRATION_FETCH: ControlOperation = work("migration-fetch", NONE);
pub(super) const MIGRATION_LIST: ControlOperation = work("migration-list", NONE);
pub(super) const MIGRATION_PAGE: ControlOperation = work("migration-page", WITH_AN_ORDER);
pub(super) const MIGRATION_TAKE: ControlOperation = work("migration-take", PAGE);
pub(super) const ORDER_ACT: ControlOperation = acts("order-act", ACT);
pub(super) const ORDER_LIST: ControlOperation = work("order-list", NONE);
pub(super) const ORDER_LODGE: ControlOperation = work("order-lodge", WITH_AN_ORDER);
pub(super) const REIDENTIFY: ControlOperation = work("reidentify", WITH_AN_ORDER);
pub(super) const REGISTER_HISTORY: ControlOperation = work("register-history", NONE);
pub(super) const REGISTER_RELOAD: ControlOperation = work("register-reload", NONE);
pub(super) const RELEASE: ControlOperation = work("release", WITH_AN_ORDER);
pub(super) const RENEWAL: ControlOperation = work("renewal", SHORT);
pub(super) const RESTORE_CONFIRM: ControlOperation = work("restore-confirm", SHORT);
pub(super) const RESTORE_STATE: ControlOperation = work("restore-state", NONE);
pub(super) const RESUME_ACKNOWLEDGE: ControlOperation = work("resume-acknowledge", SHORT);
pub(super) const RESUME_LIST: ControlOperation = work("resume-list", NONE);
pub(super) const RESUME_PROOFS: ControlOperation = work("resume-proofs", NONE);
pub(super) const SEAL: ControlOperation = stops("seal");
pub(super) const SEAL_STATUS: ControlOperation = stops("seal-status");
pub(super) const SECRET_CONFIRM: ControlOperation = work("secret-confirm", SHORT);
pub(super) const SECRET_LIST: ControlOperation = work("secret-list", NONE);
pub(super) const SECRET_RETIRE: ControlOperation = work("secret-retire", SHORT);
pub(super) const SECRET_ROTATE: ControlOperation = work("secret-rotate", NONE);
pub(super) const SEGMENTS: ControlOperation = work("segments", PAGE);
pub(super) const SEGMENTS_DROP: ControlOperation = work("segments-drop", SHORT);
pub(super) const SUSPENSION: ControlOperation = acts("suspension", SHORT);
pub(super) const SUSPENSION_LIST: ControlOperation = work("suspension-list", NONE);
pub(super) const STATUS: ControlOperation = work("status", NONE);
pub(super) const UNSEAL: ControlOperation = work("unseal", SHARE);
