//! A whole rule file over the workload's page, and an engine that has judged by it for a while.
//!
//! 60 indicators (those that rules of the other works are), 100 triggers on them, 20 promises, 5 budgets. Triggers have
//! every form of window, one in five has a condition of its own for its end, one in twenty is breached all the time and
//! fires, one is judged for each exchange. An indicator is read by one or two triggers and twenty of them by a promise, too,
//! as in the shipped files. A promise and each of a budget's three burn rates are triggers, too.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use rearguard::config;
use rearguard::engine::Engine;
use rearguard::engine::decision::{Setup, State};
use rearguard::engine::evaluation::SavedMeasurements;
use rearguard::engine::series::Observation;

use crate::workload::{SCRAPES, Workload, at};

const INDICATORS: usize = 60;
const TRIGGERS: usize = 100;
const PROMISES: usize = 20;
/// The indicator that has a series for each exchange.
const BY_EXCHANGE: usize = 2;
const WINDOWS: [&str; 5] = ["1m", "80% of 60s", "3 in 1m", "5 in a row", "30s"];
const BUDGETS: [&str; 5] =
    ["", "exchange=\"binance\"", "exchange=\"bybit\"", "exchange=\"kraken\"", "status!=\"404\""];

/// Answers that are judged one by one, until the longest window is full; those before them only fill the store.
const JUDGED: u32 = 65;

const CONFIG: &str = "\
rules: [shop.yaml]
state: /var/lib/rearguard
receivers: { pager: { pagerduty: { routing_key: { file: pager.key } } } }
escalations: { on-call: [{ notify: [pager] }] }
targets: { shop: {} }
sources: { app: { scrape: 'http://127.0.0.1:8003/metrics', every: 1s, timeout: 1s } }
";

/// An engine in the middle of its life, before the answer [`SCRAPES`].
pub fn engine(workload: &Workload) -> Engine {
    let observations: Vec<Observation> = workload.observations(0..SCRAPES).collect();
    let (past, recent) = observations.split_at(observations.len() - JUDGED as usize);
    let mut engine = Engine::new(Arc::new(setup(workload)), State::default(), at(0));
    engine.restore(SavedMeasurements::default(), past);
    for observation in recent {
        judge(&mut engine, observation);
    }
    engine
}

/// One answer from its points to what follows; returns how many events that are.
pub fn judge(engine: &mut Engine, observation: &Observation) -> usize {
    let input = engine.observe(observation);
    let decision = engine.decide(observation.at, &input);
    engine.apply(&decision.events).expect("events follow each other");
    decision.events.len()
}

fn setup(workload: &Workload) -> Setup {
    let files = [("rearguard.yaml", CONFIG.to_owned()), ("shop.yaml", rules(workload))];
    let loaded =
        config::load_texts(files.map(|(path, text)| (PathBuf::from("/bench").join(path), text)).into());
    loaded.unwrap_or_else(|refused| panic!("{}", refused.render(config::Style::Plain))).setup
}

fn rules(workload: &Workload) -> String {
    let mut text = "target: shop\nsources: [app]\nindicators:\n".to_owned();
    let mut line = |line: String| writeln!(text, "{line}").expect("a string takes everything");
    for nth in 0..INDICATORS {
        line(format!("  i{nth}: {{ unit: count, expr: '{}' }}", workload.rule(nth)));
    }
    line("triggers:".to_owned());
    for nth in 0..TRIGGERS {
        let (indicator, window) = (nth % INDICATORS, WINDOWS[nth % WINDOWS.len()]);
        let threshold = if nth % 20 == 7 { "-1".to_owned() } else { format!("{}", 1_000_000 + nth) };
        line(format!(
            "  - name: T{nth}\n    when: i{indicator} > {threshold}\n    for: {window}\n    severity: high"
        ));
        line("    no_data: { absent: ok, nan: ok }\n    then: { page: on-call }".to_owned());
        if indicator == BY_EXCHANGE {
            line("    per: [exchange]".to_owned());
        }
        if nth % 5 == 0 {
            line(format!("    clear: {{ when: i{indicator} < 900000, for: 30s }}"));
        }
    }
    line("objectives:\n  promises:".to_owned());
    // What is well there is absent, and nothing to promise.
    let promised = |nth: &usize| *nth != BY_EXCHANGE && *nth % 6 != 4;
    for nth in (0..INDICATORS).filter(promised).take(PROMISES) {
        line(format!("    - {{ name: p{nth}, keep: i{nth} < 2000000, severity: medium }}"));
    }
    line("budgets:".to_owned());
    for (nth, scope) in BUDGETS.iter().enumerate() {
        line(format!("  b{nth}:\n    good: 'sum(http_requests_total{{status!~\"5..\", {scope}}})'"));
        line(format!("    total: 'sum(http_requests_total{{{scope}}})'\n    objective: 95%"));
        line("    then: { critical: { page: on-call } }".to_owned());
    }
    text
}
