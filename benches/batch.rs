//! The in-process batch: everything but HTTP. Ten thousand identifiers, each batch durable before the next.
#![allow(missing_docs)]

mod common;

use std::time::Duration;

use common::{Bench, IRREVERSIBLE, REVERSIBLE, identifiers};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const BATCH: usize = 10_000;

fn batches(c: &mut Criterion) {
    let bench = Bench::new();
    let mut group = c.benchmark_group("batch of 10 000");
    group.throughput(Throughput::Elements(BATCH as u64)).sample_size(20).measurement_time(Duration::from_secs(5));

    let permit = bench.permit(REVERSIBLE);
    let mut next = 0;
    group.bench_function("new persons", |b| {
        b.iter_batched(
            || {
                next += BATCH as u64;
                identifiers(next, BATCH)
            },
            |batch| bench.batch(&permit, &batch),
            criterion::BatchSize::PerIteration,
        );
    });
    let known = identifiers(0, BATCH);
    bench.batch(&permit, &known);
    group.bench_function("known persons", |b| b.iter(|| bench.batch(&permit, &known)));
    let permit = bench.permit(IRREVERSIBLE);
    group.bench_function("irreversible sector", |b| b.iter(|| bench.batch(&permit, &known)));
}

criterion_group!(benches, batches);
criterion_main!(benches);
