//! What is remembered, in bytes, and what a tick allocates.

mod workload;

use allocation_counter::measure;
use rearguard::engine::promql::EvalContext;
use workload::{SCRAPES, Workload, at, empty_store, read};

fn main() {
    println!("| series on the page | kept | points | bytes per series | bytes per sample | bytes in all |");
    println!("|--:|--:|--:|--:|--:|--:|");
    for series in [1_000, 10_000] {
        remembered(series);
    }
    println!("\n| rules | series | allocations per tick | most bytes at once |\n|--:|--:|--:|--:|");
    for (rules, series) in
        [(10, 1_000), (100, 1_000), (1_000, 1_000), (10, 10_000), (100, 10_000), (1_000, 10_000)]
    {
        let workload = Workload::of(series);
        let plans = workload.rules(rules);
        let store = workload.store(&plans);
        let context = EvalContext::at(at(SCRAPES - 1));
        let evaluate = || plans.iter().for_each(|plan| drop(plan.evaluate(&store, &context)));
        evaluate();
        let tick = measure(evaluate);
        println!("| {rules} | {series} | {} | {} |", tick.count_total, tick.bytes_max);
    }
}

/// Fills a store and prints what stays.
fn remembered(series: usize) {
    let workload = Workload::of(series);
    let plans = workload.rules(100);
    let mut store = empty_store(&plans);
    // Read from text: the labels are the store's own and counted.
    let first = measure(|| {
        let observation = read(&workload.page(0), 0);
        store.ingest(&observation).expect("within the limits");
    });
    let rest = measure(|| {
        for observation in workload.observations(1..SCRAPES) {
            store.ingest(&observation).expect("within the limits");
        }
    });
    let (kept, points) = (store.series_count(), store.point_count());
    println!(
        "| {series} | {kept} | {points} | {:.0} | {:.2} | {} |",
        first.bytes_current as f64 / kept as f64,
        rest.bytes_current as f64 / (points - kept) as f64,
        first.bytes_current + rest.bytes_current,
    );
}
