//! One unit of work, to be counted in instructions: `benches/count-instructions` runs it under callgrind.
//!
//! Usage: `instructions tick RULES SERIES`, `instructions judge SERIES`, `instructions range SERIES`,
//! `instructions page`, `instructions scrape`, `instructions store SERIES`.

#[path = "workload/judged.rs"]
mod judged;
mod workload;

use std::hint::black_box;

use rearguard::engine::Engine;
use rearguard::engine::promql::{EvalContext, Plan};
use rearguard::engine::series::{Observation, Store};
use rearguard::sources::exposition::{Format, KnownNumbers, parse_next};
use workload::{SCRAPES, Workload, at, empty_store, read};

/// Steps of the range query.
const STEPS: u32 = 60;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(1000);
    match arguments.first().map(String::as_str) {
        Some("tick") => {
            let workload = Workload::of(number(2));
            let plans = workload.rules(number(1));
            let store = workload.store(&plans);
            println!("{} values", measured_tick(&plans, &store));
        }
        Some("judge") => {
            let workload = Workload::of(number(1));
            let mut engine = judged::engine(&workload);
            for observation in workload.observations(SCRAPES..SCRAPES + 1) {
                let events = measured_judgement(&mut engine, &observation);
                println!("{events} events, {} triggers breached", engine.state().triggers.len());
            }
        }
        Some("range") => {
            let workload = Workload::of(number(1));
            let plans = workload.rules(1);
            let store = workload.store(&plans);
            println!("{} values", measured_range(&plans[0], &store));
        }
        Some("scrape") => {
            let workload = Workload::of(10_000);
            let plans = workload.rules(100);
            let (mut store, page) = (workload.store(&plans), workload.page(SCRAPES));
            println!("{} bytes, {} points", page.len(), measured_scrape(&mut store, &page));
        }
        Some("page") => {
            let workload = Workload::of(10_000);
            let mut known = KnownNumbers::default();
            black_box(next_page(&workload.page(SCRAPES - 1), &mut known));
            println!("{} samples", measured_page(&workload.page(SCRAPES), &mut known));
        }
        Some("store") => {
            let workload = Workload::of(number(1));
            let mut store = workload.store(&workload.rules(100));
            for observation in workload.observations(SCRAPES..SCRAPES + 1) {
                println!("{} points", measured_store(&mut store, &observation));
            }
        }
        // Run without arguments by `cargo bench`: nothing to do.
        _ => println!(
            "usage: instructions tick RULES SERIES | judge SERIES | range SERIES | page | scrape | store SERIES"
        ),
    }
    black_box(empty_store(&[]));
}

/// Every rule once.
#[inline(never)]
fn measured_tick(plans: &[Plan], store: &Store) -> usize {
    let context = EvalContext::at(at(SCRAPES - 1));
    plans.iter().filter(|plan| black_box(plan.evaluate(store, &context)).is_ok()).count()
}

/// One answer, through a whole rule file to what follows from it.
#[inline(never)]
fn measured_judgement(engine: &mut Engine, observation: &Observation) -> usize {
    black_box(judged::judge(engine, observation))
}

/// The error ratio at every second of the last minute.
#[inline(never)]
fn measured_range(plan: &Plan, store: &Store) -> usize {
    let steps = SCRAPES - STEPS..SCRAPES;
    steps.filter(|step| black_box(plan.evaluate(store, &EvalContext::at(at(*step)))).is_ok()).count()
}

/// The names and the new numbers of one page, after the one before.
#[inline(never)]
fn measured_page(page: &str, known: &mut KnownNumbers) -> usize {
    next_page(page, known)
}

fn next_page(page: &str, known: &mut KnownNumbers) -> usize {
    parse_next(page.as_bytes(), Format::Text, usize::MAX, known).map_or(0, |page| page.len())
}

/// One page that nothing is known of, from text to points.
#[inline(never)]
fn measured_scrape(store: &mut Store, page: &str) -> usize {
    let observation = read(page, SCRAPES);
    store.ingest(&observation).map_or(0, |ingested| ingested.appended)
}

/// One parsed page to points.
#[inline(never)]
fn measured_store(store: &mut Store, observation: &Observation) -> usize {
    store.ingest(observation).map_or(0, |ingested| ingested.appended)
}
