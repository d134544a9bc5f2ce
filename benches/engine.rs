//! How long the engine's work takes: a scrape, a tick, a judgement, a range query.

#[path = "workload/judged.rs"]
mod judged;
mod workload;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rearguard::engine::Engine;
use rearguard::engine::promql::{EvalContext, QueryRange};
use rearguard::engine::series::Store;
use rearguard::engine::time::Span;
use rearguard::sources::exposition::{Format, KnownNumbers, parse_next};
use std::hint::black_box;
use workload::{SCRAPES, Workload, at, read};

fn ingest(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ingest");
    let workload = Workload::of(10_000);
    let store = workload.store(&workload.rules(100));
    let page = workload.page(SCRAPES);
    let observation = read(&page, SCRAPES);
    let take_in = |mut store: Store| {
        black_box(store.ingest(&observation)).expect("within the limits");
        store
    };
    group.throughput(Throughput::Bytes(page.len() as u64));
    group.bench_function("parse", |bencher| bencher.iter(|| black_box(read(&page, SCRAPES))));
    let pages = [workload.page(SCRAPES - 1), page.clone()];
    let mut known = KnownNumbers::default();
    let mut pages = pages.iter().cycle();
    let mut read_next = || {
        let page = pages.next().map_or("", |page| page);
        let samples =
            parse_next(page.as_bytes(), Format::Text, usize::MAX, &mut known).map(|page| page.len());
        black_box(samples).expect("a valid page")
    };
    group.bench_function("numbers of the next page", |bencher| bencher.iter(&mut read_next));
    group.bench_function("store", |bencher| {
        bencher.iter_batched(|| store.clone(), take_in, BatchSize::LargeInput);
    });
    group.finish();
}

fn tick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tick");
    for series in [1_000, 10_000] {
        for rules in [10, 100, 1_000] {
            let workload = Workload::of(series);
            let plans = workload.rules(rules);
            let store = workload.store(&plans);
            let context = EvalContext::at(at(SCRAPES - 1));
            group.bench_function(format!("{rules} rules, {series} series"), |bencher| {
                bencher
                    .iter(|| plans.iter().for_each(|plan| drop(black_box(plan.evaluate(&store, &context)))));
            });
        }
    }
    group.finish();
}

fn judge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("judge");
    for series in [1_000, 10_000] {
        let workload = Workload::of(series);
        let engine = judged::engine(&workload);
        let next: Vec<_> = workload.observations(SCRAPES..SCRAPES + 1).collect();
        let take_in = |mut engine: Engine| {
            black_box(judged::judge(&mut engine, &next[0]));
            engine
        };
        let name = format!("100 triggers, 20 objectives, 5 budgets, {series} series");
        group.bench_function(name, |bencher| {
            bencher.iter_batched(|| engine.clone(), take_in, BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn range(criterion: &mut Criterion) {
    let workload = Workload::of(10_000);
    let plans = workload.rules(1);
    let store = workload.store(&plans);
    let range = QueryRange { start: at(SCRAPES - 60), end: at(SCRAPES - 1), step: Span::from_secs(1) };
    let context = EvalContext::at(at(SCRAPES - 1));
    criterion.bench_function("range query, 60 steps, 10000 series", |bencher| {
        bencher.iter(|| black_box(plans[0].evaluate_range(&store, &range, &context)).expect("a value"));
    });
}

criterion_group!(benches, ingest, tick, judge, range);
criterion_main!(benches);
