//! What one identifier costs on its way, step by step. `cargo bench --bench primitives`
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use cloison::keys::{
    AuthoritySecret, DomainScope, IdentityKeys, IdentitySecret, Key, PrfOutput, SectorRootKey,
    SectorSecret, StoreKey, StoreSecret, Uti,
};
use cloison::pseudonym::{Pseudonym, TextWriter};
use cloison::register::{AuthorityKey, Id, Suite, TextForm};
use cloison::seal::chunk::{ChunkBuilder, ChunkCipher, MAX_RECORDS};
use cloison::seal::mapping::{MappingLocation, MappingSealer};
use cloison::seal::segment::{AuthorityPrivateKey, OpenSegment};
use cloison::store::index::{AHEAD, Index, Partition};
use cloison::store::{ChunkKey, RowBatch, Store};
use cloison::utis::UtiBatch;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use uuid::Uuid;

const BATCH: usize = 10_000;
const SECTOR: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0001);

/// Passport numbers of 11 characters, one after the other, and where each ends.
fn values() -> (Vec<u8>, Vec<u32>) {
    let values: String = (0..BATCH)
        .map(|n| format!("MAR{:08}", n * 38_201 % 100_000_000))
        .collect();
    (
        values.into_bytes(),
        (1..=BATCH as u32).map(|n| n * 11).collect(),
    )
}

fn derived() -> Vec<PrfOutput> {
    let (values, ends) = values();
    let identity = IdentityKeys::new(&IdentitySecret(Key::take(&mut [1; 32])));
    let mut utis = Vec::new();
    let batch = UtiBatch {
        scheme: "passport",
        values: &values,
        ends: &ends,
    };
    identity.append_utis(batch.scheme, batch.each(), &mut utis);
    let domain = SectorRootKey::new(&SectorSecret(Key::take(&mut [2; 32]))).sector(&[SECTOR]);
    let domain = domain.domain(1, &DomainScope::default());
    let mut prfs = Vec::new();
    domain.prfs(&utis, &mut prfs);
    prfs
}

fn derive(c: &mut Criterion) {
    let mut group = c.benchmark_group("derive 10 000");
    group.throughput(Throughput::Elements(BATCH as u64));
    let (values, ends) = values();
    let identity = IdentityKeys::new(&IdentitySecret(Key::take(&mut [1; 32])));
    let mut utis: Vec<Uti> = Vec::with_capacity(BATCH);
    group.bench_function("UTIs", |b| {
        b.iter(|| {
            utis.clear();
            let batch = UtiBatch {
                scheme: "passport",
                values: black_box(&values),
                ends: &ends,
            };
            identity.append_utis(batch.scheme, batch.each(), &mut utis);
        });
    });
    let domain = SectorRootKey::new(&SectorSecret(Key::take(&mut [2; 32]))).sector(&[SECTOR]);
    let domain = domain.domain(1, &DomainScope::default());
    let (mut prfs, mut pseudonyms): (Vec<PrfOutput>, Vec<Pseudonym>) = (Vec::new(), Vec::new());
    group.bench_function("pseudonyms from UTIs", |b| {
        b.iter(|| {
            prfs.clear();
            pseudonyms.clear();
            domain.prfs(black_box(&utis), &mut prfs);
            pseudonyms.extend(prfs.iter().map(PrfOutput::to_pseudonym));
        });
    });
    group.finish();
}

fn segment() -> OpenSegment {
    let private = AuthorityPrivateKey::derive(
        &AuthoritySecret(Key::take(&mut [6; 32])),
        "court-1",
        Suite::X25519,
    );
    let public = private.public().to_vec();
    let authority = AuthorityKey {
        id: Id::parse("court-1").expect("an id"),
        suite: Suite::X25519,
        public,
    };
    let signer = ed25519_dalek::SigningKey::from_bytes(&[5; 32]);
    OpenSegment::create(SECTOR, &[&authority], &signer, jiff::Timestamp::UNIX_EPOCH)
        .expect("a segment")
}

/// A chunk of the first persons.
fn chunk(segment: &OpenSegment, prfs: &[PrfOutput]) -> ChunkBuilder {
    sealed(segment, &prfs[..MAX_RECORDS])
        .pop()
        .expect("one chunk")
}

/// Chunks of all of them, in no order: sorting is not what is measured.
fn sealed(segment: &OpenSegment, prfs: &[PrfOutput]) -> Vec<ChunkBuilder> {
    let (scope, value) = (DomainScope::default(), b"MAR00000001");
    let location = MappingLocation::new(SECTOR, 1, &scope);
    let mut sealer = MappingSealer::new(segment, location, "passport", 20_000, prfs.len())
        .expect("counters enough");
    let size = sealer.record_size(value.len());
    let chunks = prfs.chunks(MAX_RECORDS).map(|run| {
        let mut chunk = ChunkBuilder::new(segment.id(), &scope, run.len(), run.len() * size);
        run.iter()
            .for_each(|prf| sealer.seal(prf.to_pseudonym(), prf.nonce_part(), value, &mut chunk));
        chunk
    });
    chunks.collect()
}

fn cipher() -> ChunkCipher {
    ChunkCipher::new([(1, StoreKey::new(&StoreSecret(Key::take(&mut [4; 32]))))])
}

fn seal(c: &mut Criterion) {
    let (prfs, segment, cipher) = (derived(), segment(), cipher());
    c.bench_function("open a segment for one authority (HPKE, signature)", |b| {
        b.iter(self::segment);
    });

    let mut group = c.benchmark_group("seal 10 000");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("inner envelope", |b| {
        b.iter(|| sealed(&segment, black_box(&prfs)));
    });
    group.finish();

    let mut group = c.benchmark_group("chunk");
    group.throughput(Throughput::Elements(MAX_RECORDS as u64));
    let key = ChunkKey {
        sector: 1,
        epoch: 1,
        sequence: 1,
    }
    .to_bytes();
    group.bench_function("wrap", |b| {
        b.iter_batched(
            || chunk(&segment, &prfs),
            |plain| cipher.wrap(&key, plain),
            BatchSize::SmallInput,
        );
    });
    let row = cipher.wrap(&key, chunk(&segment, &prfs));
    group.bench_function("unwrap", |b| {
        b.iter_batched(
            || row.clone(),
            |row| cipher.unwrap(&key, row).expect("the same key"),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn text(c: &mut Criterion) {
    let mut group = c.benchmark_group("text of 10 000");
    group.throughput(Throughput::Elements(BATCH as u64));
    let pseudonyms: Vec<_> = derived()
        .iter()
        .map(|prf| prf.to_pseudonym().with_uuid_bits())
        .collect();
    let mut out = Vec::with_capacity(BATCH * TextWriter::MAX_LEN);
    for (name, form) in [
        ("bech32m", TextForm::Bech32m),
        ("uuid", TextForm::Uuid),
        ("hex", TextForm::Hex),
    ] {
        let writer = TextWriter::new(form, "sante", 1);
        group.bench_function(format!("write {name}"), |b| {
            b.iter(|| {
                out.clear();
                black_box(&pseudonyms)
                    .iter()
                    .for_each(|pseudonym| writer.write(pseudonym, &mut out));
            });
        });
        let texts: Vec<_> = pseudonyms
            .iter()
            .map(|pseudonym| writer.text(pseudonym))
            .collect();
        group.bench_function(format!("parse {name}"), |b| {
            b.iter(|| {
                texts
                    .iter()
                    .all(|text| cloison::pseudonym::parse(form, "sante", black_box(text)).is_ok())
            });
        });
    }
    group.finish();
}

/// Numbers that look like pseudonyms; the same `seed`, the same numbers.
fn random(seed: u64, count: usize) -> Vec<[u8; 16]> {
    // splitmix64
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (0..count)
        .map(|_| (u128::from(next()) << 64 | u128::from(next())).to_be_bytes())
        .collect()
}

/// How many of them the index has, looked up in blocks as a batch does.
fn found(partition: &Partition, wanted: &[[u8; 16]]) -> usize {
    let view = partition.read();
    let in_block = |block: &[[u8; 16]]| {
        block.iter().for_each(|pseudonym| view.prefetch(pseudonym));
        block
            .iter()
            .for_each(|pseudonym| view.prefetch_entry(pseudonym));
        block
            .iter()
            .filter(|pseudonym| view.contains(pseudonym))
            .count()
    };
    wanted.chunks(AHEAD).map(in_block).sum()
}

fn index(c: &mut Criterion) {
    const MAPPINGS: usize = 4_000_000;
    let index = Index::default();
    let partition = index.partition((1, 1));
    let all = random(1, MAPPINGS);
    let mut entries = partition.write();
    all.iter()
        .for_each(|pseudonym| assert!(entries.insert(pseudonym, 1)));
    drop(entries);
    let mut group = c.benchmark_group("index of 4 000 000, look up 10 000");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut at = 0;
    let absent = random(2, BATCH);
    group.bench_function("known", |b| {
        b.iter(|| {
            // Others each time, or they would all lie in the cache.
            at = (at + 618_033) % (MAPPINGS - BATCH);
            assert_eq!(found(&partition, &all[at..at + BATCH]), BATCH);
        });
    });
    group.bench_function("absent", |b| {
        b.iter(|| assert_eq!(found(&partition, black_box(&absent)), 0));
    });
    group.finish();
}

fn store(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(&folder.path().join("store"), "bench/vault").expect("a store");
    let (prfs, segment, cipher) = (derived(), segment(), cipher());
    let row = cipher.wrap(&[0; 16], chunk(&segment, &prfs));
    let mut group = c.benchmark_group("store 10 000 mappings");
    group
        .throughput(Throughput::Elements(BATCH as u64))
        .sample_size(20)
        .measurement_time(Duration::from_secs(5));
    let mut sequence = 0;
    group.bench_function("chunk rows, durable", |b| {
        b.iter(|| {
            let mut batch = RowBatch::default();
            for _ in 0..BATCH.div_ceil(MAX_RECORDS) {
                sequence += 1;
                store.put_chunk(
                    &mut batch,
                    ChunkKey {
                        sector: 1,
                        epoch: 1,
                        sequence,
                    },
                    &row,
                );
            }
            store.commit(batch).expect("a disk with room");
        });
    });
    group.finish();
}

criterion_group!(benches, derive, seal, text, index, store);
criterion_main!(benches);
