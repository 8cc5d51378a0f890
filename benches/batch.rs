//! The in-process batch: everything but HTTP. Ten thousand identifiers, each batch durable before
//! the next. And what of it the log costs, by itself: `cargo bench --bench batch -- audit`.
#![allow(missing_docs)]

mod common;

use std::hint::black_box;
use std::time::Duration;

use cloison::audit::{AuditEntry, AuditEvent, Domain, TokenizeDetails};
use cloison::commit::AnsweredPseudonyms;
use cloison::pseudonym::Pseudonym;
use cloison::register::Id;
use cloison::tlog::checkpoint::Checkpoint;
use cloison::tlog::tree::{MerkleTree, leaf_hash, tile_bytes};
use common::{Bench, IRREVERSIBLE, REVERSIBLE, identifiers};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const BATCH: usize = 10_000;

fn batches(c: &mut Criterion) {
    let bench = Bench::new();
    let mut group = c.benchmark_group("batch of 10 000");
    group
        .throughput(Throughput::Elements(BATCH as u64))
        .sample_size(20)
        .measurement_time(Duration::from_secs(5));

    let permit = bench.permit(REVERSIBLE);
    let mut next = 0;
    group.bench_function("new persons", |b| {
        b.iter_batched(
            || {
                next += BATCH as u64;
                identifiers(next, BATCH)
            },
            |batch| bench.batch(&permit, &batch),
            BatchSize::PerIteration,
        );
    });
    let known = identifiers(0, BATCH);
    bench.batch(&permit, &known);
    group.bench_function("known persons", |b| b.iter(|| bench.batch(&permit, &known)));
    let permit = bench.permit(IRREVERSIBLE);
    group.bench_function("irreversible sector", |b| {
        b.iter(|| bench.batch(&permit, &known));
    });
}

/// The entry of a batch, as the writer makes it.
fn entry() -> AuditEntry {
    let id = |text| Id::parse(text).expect("an id");
    let entry = TokenizeDetails {
        client: id("bench"),
        organisation: id("bench"),
        sector: REVERSIBLE.to_owned(),
        domain: Domain {
            controller: None,
            purpose: None,
            period: None,
            epoch: 1,
        },
        previous: None,
        scheme: id("passport"),
        purpose: None,
        requests: 1,
        accepted: BATCH as u64,
        rejected: 0,
        digest: "155555ad9071aa6b0ac8a50fef5f1c6dde75d52b8e96816a26f91895be394b18".to_owned(),
    };
    AuditEntry::new(
        jiff::Timestamp::UNIX_EPOCH,
        AuditEvent::Tokenize(Box::new(entry)),
    )
}

/// Compare the sum of the first two with a batch above; of the third there are two a second,
/// however many batches.
fn audit(c: &mut Criterion) {
    let mut group = c.benchmark_group("audit of a batch of 10 000");
    let pseudonyms: Vec<_> = (0..BATCH as u128)
        .map(|n| Pseudonym::from_bytes(n.to_be_bytes()))
        .collect();
    group.bench_function("salted digest", |b| {
        b.iter_batched(
            || pseudonyms.clone(),
            |answered| AnsweredPseudonyms::new(BATCH, black_box(answered)),
            BatchSize::SmallInput,
        );
    });
    let (entry, mut tree) = (entry(), MerkleTree::default());
    group.bench_function("entry, leaf, tree", |b| {
        b.iter(|| {
            let bytes = black_box(&entry).to_bytes();
            tree.push(leaf_hash(&bytes), |_, hashes| {
                drop(black_box(tile_bytes(hashes)));
            });
            black_box(tree.root())
        });
    });
    let key = ed25519_dalek::SigningKey::from_bytes(&[6; 32]);
    let checkpoint = Checkpoint {
        origin: "cloison/bench/vault/2026".into(),
        size: 1_000_000,
        root: [7; 32],
    };
    group.bench_function("checkpoint", |b| {
        b.iter(|| black_box(&checkpoint).sign(&key));
    });
}

criterion_group!(benches, batches, audit);
criterion_main!(benches);
