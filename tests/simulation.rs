//! Worlds in which everything goes wrong: thousands of seeds, and not one may break what must never happen (E1..E9).

use std::sync::atomic::{AtomicU64, Ordering};

use rearguard::replay::simulator::{Counters, EXPECTED, Outcome, run};

/// How many worlds every test run visits.
const SEEDS: u64 = 2000;

/// Of how many worlds one is run twice, to compare (E1).
const TWICE: u64 = 10;

/// Describes a broken invariant so that the world can be visited again.
fn describe(outcome: &Outcome, lines: usize) -> String {
    let Some(violation) = &outcome.violation else { return String::new() };
    format!(
        "seed {}: {} is broken: {}\n{}\nrerun: REARGUARD_SIM_SEED={} cargo test --test simulation one_seed -- --nocapture",
        outcome.seed,
        violation.invariant,
        violation.what,
        outcome.tail(lines),
        outcome.seed
    )
}

fn print_counters(counters: &Counters) {
    for (what, count) in counters.iter() {
        println!("{count:>8}  {what}");
    }
}

#[test]
fn no_world_breaks_an_invariant() {
    let from = number("REARGUARD_SIM_FROM").unwrap_or(0);
    let count = number("REARGUARD_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(from);
    let work = || {
        let (mut counters, mut broken) = (Counters::default(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count || broken.len() >= 2 {
                return (counters, broken);
            }
            let outcome = run(seed);
            if outcome.violation.is_some() {
                broken.push(outcome);
                continue;
            }
            if seed.is_multiple_of(TWICE) {
                assert_eq!(
                    run(seed).hash,
                    outcome.hash,
                    "E1 is broken: seed {seed} gives two different logs"
                );
            }
            counters.add(&outcome.counters);
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    let done: Vec<_> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut counters = Counters::default();
    let mut broken: Vec<Outcome> = Vec::new();
    for (some, found) in done {
        counters.add(&some);
        broken.extend(found);
    }
    broken.sort_by_key(|outcome| outcome.seed);
    print_counters(&counters);
    let told: Vec<_> = broken.iter().map(|outcome| describe(outcome, 40)).collect();
    assert!(told.is_empty(), "{}", told.join("\n\n"));
    if count >= SEEDS {
        let never: Vec<_> = EXPECTED.iter().filter(|what| counters.get(what) == 0).collect();
        assert!(never.is_empty(), "no world has ever contained: {never:?}");
    }
}

/// Visits the world of `REARGUARD_SIM_SEED` and tells everything that happens in it.
#[test]
fn one_seed() {
    let seed = number("REARGUARD_SIM_SEED").unwrap_or(0);
    let outcome = run(seed);
    println!("{}", outcome.tail(usize::MAX));
    print_counters(&outcome.counters);
    assert!(outcome.violation.is_none(), "{}", describe(&outcome, 0));
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}
