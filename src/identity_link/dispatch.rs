//! Who waits: batches travel alone, single requests together.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::sources::Sources;
use super::unavailable;
use crate::code::Code;
use crate::keys::{IdentityCheck, Key, Uti};
use crate::refusal::Refusal;
use crate::utis::{EncodedPart, MAX_PARTS, PartOutcome};

/// A part with more values than this travels alone.
const SMALL: usize = 500;
/// The most values that travel together.
const TOGETHER: usize = 10_000;
/// Requests of small parts under way at once. While there are as many, the next parts gather.
const GROUPS: usize = 4;
/// Requests of one large part under way at once.
const BATCHES: usize = 16;
/// How often sources without a connection are tried.
const LOOK: Duration = Duration::from_millis(500);
/// How long the first start of a vault waits for a source.
const FIRST: Duration = Duration::from_secs(30);

/// What the link's thread is to do.
pub(super) enum LinkTask {
    /// Ask for the answers of a part.
    Part(WaitingPart),
    /// Find the check value of the first source that answers, and bind the link to it.
    Check(oneshot::Sender<Result<IdentityCheck, Refusal>>),
}

/// A part of which somebody waits for the answers.
pub(super) struct WaitingPart {
    piece: Bytes,
    answers: usize,
    reply: PartReply,
}

/// To whom the answers go.
pub(super) enum PartReply {
    Utis(oneshot::Sender<Result<Vec<Uti>, Refusal>>),
    PersonKey(oneshot::Sender<Result<Key, Refusal>>),
}

impl WaitingPart {
    pub(super) fn new(part: EncodedPart, reply: PartReply) -> Self {
        Self {
            answers: part.answers(),
            piece: Bytes::from_owner(part.into_bytes()),
            reply,
        }
    }

    /// Whether nobody waits any more.
    fn is_abandoned(&self) -> bool {
        match &self.reply {
            PartReply::Utis(reply) => reply.is_closed(),
            PartReply::PersonKey(reply) => reply.is_closed(),
        }
    }

    fn answer(self, answers: &[[u8; 32]]) {
        match self.reply {
            PartReply::Utis(reply) => {
                let mut utis = Vec::with_capacity(answers.len());
                utis.extend(answers.iter().map(Uti::from_wire));
                let _ = reply.send(Ok(utis));
            }
            PartReply::PersonKey(reply) => {
                let key = answers
                    .first()
                    .map(|bytes| Key::init(|key| key.copy_from_slice(bytes)));
                let _ = reply.send(key.ok_or_else(unavailable));
            }
        }
    }

    fn refuse(self, refusal: Refusal) {
        match self.reply {
            PartReply::Utis(reply) => drop(reply.send(Err(refusal))),
            PartReply::PersonKey(reply) => drop(reply.send(Err(refusal))),
        }
    }
}

/// Runs the link until the last sender is gone.
pub(super) async fn run(sources: Arc<Sources>, mut tasks: mpsc::UnboundedReceiver<LinkTask>) {
    for place in 0..sources.count() {
        tokio::spawn(keep_looking(sources.clone(), place));
    }
    let (groups, batches) = (
        Arc::new(Semaphore::new(GROUPS)),
        Arc::new(Semaphore::new(BATCHES)),
    );
    let (mut small, mut large) = (VecDeque::new(), VecDeque::new());
    loop {
        tokio::select! {
            biased;
            task = tasks.recv(), if small.len() < MAX_PARTS => match task {
                None => return,
                Some(LinkTask::Check(reply)) => {
                    tokio::spawn(check(sources.clone(), reply));
                }
                Some(LinkTask::Part(part)) if part.answers <= SMALL => small.push_back(part),
                Some(LinkTask::Part(part)) => large.push_back(part),
            },
            Ok(place) = groups.clone().acquire_owned(), if !small.is_empty() => {
                let group = next_group(&mut small);
                tokio::spawn(ask(sources.clone(), group, place));
            }
            Ok(place) = batches.clone().acquire_owned(), if !large.is_empty() => {
                let batch = large.pop_front().into_iter().collect();
                tokio::spawn(ask(sources.clone(), batch, place));
            }
        }
    }
}

async fn keep_looking(sources: Arc<Sources>, place: usize) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        sources.look(place).await;
    }
}

/// The parts that travel together next.
fn next_group(small: &mut VecDeque<WaitingPart>) -> Vec<WaitingPart> {
    let mut room = TOGETHER;
    let mut group = vec![];
    while group.len() < MAX_PARTS
        && let Some(part) = small.pop_front_if(|part| part.answers <= room)
    {
        room -= part.answers;
        group.push(part);
    }
    group
}

/// Asks one source after the other for parts, until each is answered or every source has refused
/// it.
async fn ask(sources: Arc<Sources>, mut parts: Vec<WaitingPart>, _place: OwnedSemaphorePermit) {
    parts.retain(|part| !part.is_abandoned());
    let mut refusals: Vec<Option<Refusal>> = vec![None; parts.len()];
    for place in sources.order() {
        if parts.is_empty() {
            return;
        }
        let pieces: Vec<Bytes> = parts.iter().map(|part| part.piece.clone()).collect();
        let answers: Vec<usize> = parts.iter().map(|part| part.answers).collect();
        let Ok(answer) = sources.ask(place, &pieces, &answers).await else {
            continue;
        };
        let Ok(outcomes) = answer.parts() else {
            continue;
        };
        let mut left = (vec![], vec![]);
        for ((part, before), outcome) in parts.into_iter().zip(refusals).zip(outcomes) {
            match outcome {
                PartOutcome::Answers(answers) => part.answer(answers),
                PartOutcome::Refused(refusal) => {
                    left.0.push(part);
                    left.1.push(Some(milder(before, refusal)));
                }
            }
        }
        (parts, refusals) = left;
    }
    for (part, refusal) in parts.into_iter().zip(refusals) {
        part.refuse(refusal.map_or_else(unavailable, for_clients));
    }
}

/// Of two sources' refusals, the one that tells the client to come back sooner; a quota counts
/// before anything else, because that source would have answered.
fn milder(before: Option<Refusal>, now: Refusal) -> Refusal {
    let is_quota = |refusal: &Refusal| refusal.code() == Code::QuotaExceeded;
    match before {
        Some(before) if is_quota(&before) && !is_quota(&now) => before,
        Some(before)
            if is_quota(&before) == is_quota(&now) && before.retry_after() <= now.retry_after() =>
        {
            before
        }
        _ => now,
    }
}

/// What a client is told when the sources refuse its part.
fn for_clients(refusal: Refusal) -> Refusal {
    if refusal.code() == Code::QuotaExceeded {
        return Refusal::from(Code::QuotaExceeded).come_back_in(refusal.retry_after().unwrap_or(1));
    }
    // The vault admitted the request: the two registers differ, or the source cannot log.
    let code = refusal.code();
    tracing::warn!(%code, "an identity source refuses what the vault's register allows");
    Refusal::new(
        Code::IdentityUnavailable,
        "the identity source refuses; it may have another register than the vault",
    )
    .come_back_in(refusal.retry_after().unwrap_or(5))
}

/// Asks for the check value. Where the store knows none yet, a source that starts at the same time
/// as the vault is waited for.
async fn check(sources: Arc<Sources>, reply: oneshot::Sender<Result<IdentityCheck, Refusal>>) {
    let began = Instant::now();
    let patience = if sources.is_bound() {
        Duration::ZERO
    } else {
        FIRST
    };
    let mut is_said = false;
    loop {
        let mut faults = vec![];
        for place in 0..sources.count() {
            match sources.shown(place).await {
                Ok(check) => {
                    sources.expect(check);
                    let _ = reply.send(Ok(check));
                    return;
                }
                Err(fault) => faults.push(fault),
            }
        }
        let faults = faults.join("; ");
        if began.elapsed() >= patience {
            let why = format!("no identity source answers: {faults}");
            let refusal = Refusal::new(Code::IdentityUnavailable, why).come_back_in(1);
            let _ = reply.send(Err(refusal));
            return;
        }
        if !is_said {
            tracing::info!(why = faults, "waiting for an identity source");
            is_said = true;
        }
        sleep(LOOK).await;
    }
}
