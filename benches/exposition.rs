//! How long a snapshot's rendering and compression take, and what an answer adds to it.

use std::collections::BTreeSet;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use image_size_exporter::metrics::{Encoding, Rendered};
use image_size_exporter::metrics::{Format, Telemetry};
use image_size_exporter::registry::Counters;

#[expect(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared with the tests")]
#[path = "../tests/it/snapshots.rs"]
mod snapshots;

fn exposition(criterion: &mut Criterion) {
    let (snapshot, nothing) = (snapshots::large(5_000), BTreeSet::new());
    let rendered = Rendered::render(&snapshot, &nothing);
    let mut group = criterion.benchmark_group("exposition");
    group.throughput(Throughput::Elements(rendered.series())).sample_size(20);
    group.bench_function("render 10,000 images", |bencher| {
        bencher.iter_with_large_drop(|| Rendered::render(&snapshot, &nothing));
    });
    group.finish();

    let counters = Counters::default();
    counters.watch(&["registry.example.com".parse().expect("a registry")]);
    let telemetry = Telemetry::new(counters.into());
    criterion.bench_function("tail, gzip", |bencher| {
        bencher.iter_batched(
            || telemetry.encode(Format::OpenMetrics),
            |tail| rendered.tail(Encoding::Gzip, tail),
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("the program's own metrics", |bencher| {
        bencher.iter(|| telemetry.encode(Format::Text));
    });
}

criterion_group!(benches, exposition);
criterion_main!(benches);
