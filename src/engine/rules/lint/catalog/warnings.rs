//! The warnings that loading gives, explained like lints: they can be looked up and allowed by the same names.

use super::Explanation;

const fn warning(
    name: &'static str,
    finds: &'static str,
    why: &'static str,
    bad: &'static str,
    good: &'static str,
) -> Explanation {
    Explanation { name, finds, why, bad, good }
}

/// The warnings, ordered by name.
pub const WARNINGS: &[Explanation] = &[
    warning(
        "absence-never-acts",
        "a rule that missing data can make fire and that is to roll back",
        "Missing data never act by themselves: such an alert pages and never rolls back. A probe's answer (refused,\n\
         timed out, wrong status) is data and may act: a trigger of ours acts while a probe that it reads is bad.",
        "- { match: { alertname: AppAbsent }, target: app, then: { rollback: emergency } }",
        "- { match: { alertname: AppAbsent }, target: app, then: { page: on-call } }",
    ),
    warning(
        "armed-without-plans",
        "a target in `mode: armed` that may run no plan",
        "Nothing is ever rolled back for it, although everyone who reads `armed` believes so.",
        "app: { mode: armed }",
        "app: { mode: armed, plans: [roll-back] }",
    ),
    warning(
        "clear-overlaps",
        "a trigger whose `clear` a value meets that is also a breach",
        "A breach counts more, so the trigger clears later than `clear` says, or flaps around the threshold. The\n\
         threshold that clears belongs on the good side of the one that fires.",
        "{ when: error_rate > 2%, clear: { when: error_rate < 3% } }",
        "{ when: error_rate > 2%, clear: { when: error_rate < 1% } }",
    ),
    warning(
        "duplicate-rule",
        "two rules of one group with the same name and labels",
        "Their alerts or series cannot be told apart; recorded twice, the second result is a duplicate.",
        "[{ record: r, expr: a }, { record: r, expr: b }]",
        "[{ record: r, expr: a, labels: { of: a } }, { record: r, expr: b, labels: { of: b } }]",
    ),
    warning(
        "duplicate-source",
        "a source that is named twice in `sources`",
        "It does no harm; one of the two was probably meant to be another.",
        "sources: [app, app]",
        "sources: [app, health]",
    ),
    warning(
        "empty-file",
        "a rule file that holds nothing",
        "A file that was emptied by accident guards nothing, and says so nowhere else.",
        "(an empty file)",
        "(no file, or one with rules)",
    ),
    warning(
        "impossible-burn-rate",
        "a burn rate that an error budget can never reach",
        "With every event bad, a budget burns at 1 / (1 - objective): 10 at 90 %. A rate at or above that never fires,\n\
         however bad it gets. The defaults ask for 14.4 and need an objective above 93.06 %.",
        "objective: 90%",
        "objective: 90%, burn_rates: [{ long: 1h, short: 5m, above: 5, severity: critical }]",
    ),
    warning(
        "inverted-baseline",
        "a comparison with a baseline that the baseline itself meets, or nearly",
        "Relative to what was before, more than 1x is an increase and less than 1x a decrease. The other way round the\n\
         trigger fires while nothing has changed.",
        "when: throughput > 50% of baseline",
        "when: throughput < 50% of baseline",
    ),
    warning(
        "judged-reference",
        "a trigger that rolls back by what a reference probe of its target answers",
        "A reference probe tells whether it is we who are cut off: while it is bad, what probes say does not act. A trigger\n\
         on that very probe can hardly act at all.",
        "targets: { shop: { reference: [health] } }   # and `when: healthy == false` on the same probe",
        "targets: { shop: { reference: [gateway] } }",
    ),
    warning(
        "no-consequence",
        "a trigger or a route after which nothing follows",
        "It is judged and shown, and nobody is told.",
        "- { name: Slow, when: latency > 1s }",
        "- { name: Slow, when: latency > 1s, then: { page: on-call } }",
    ),
    warning(
        "no-route",
        "an imported alert that no route takes",
        "It is evaluated and shown, and pages nobody. The labels of the rule decide which route is taken.",
        "routes: [{ match: { severity: critical }, ... }]     # and an alert with severity: page",
        "routes: [{ matchers: ['severity=~\"critical|page\"'], ... }]",
    ),
    warning(
        "not-served-yet",
        "a setting that this version does not use yet",
        "It is kept for later and does nothing now.",
        "listen: 127.0.0.1:9187",
        "(leave it out, or leave it for later)",
    ),
    warning(
        "odd-value",
        "a value in `match` that looks like a pattern",
        "`match` compares texts as they stand. Patterns and inequalities stand in `matchers`.",
        "match: { severity: '~critical|page' }",
        "matchers: ['severity=~\"critical|page\"']",
    ),
    warning(
        "ratio-above-one",
        "a ratio that is compared with a plain number above one",
        "`error_rate > 2` is 200%, which no share reaches.",
        "when: error_rate > 2",
        "when: error_rate > 2%",
    ),
    warning(
        "short-deadline",
        "a plan whose steps may use up its whole deadline",
        "After slow steps no time is left to verify anything, and an unverified rollback pages as failed.",
        "deadline: 10s        # and one step with timeout: 10s",
        "deadline: 60s",
    ),
    warning(
        "short-verification",
        "a verification that may see one answer only",
        "Verification sees nothing older than the last step and the warm-up, and a rate needs two answers.",
        "verify: { warm_up: 5s, within: 15s, ... }            # scraped every 10s",
        "verify: { warm_up: 5s, within: 45s, ... }",
    ),
    warning(
        "unknown-lint",
        "a comment that allows something that does not exist",
        "A slip of the pen in `# rearguard: allow` silences nothing.",
        "# rearguard: allow never-fire",
        "# rearguard: allow never-fires",
    ),
    warning(
        "unknown-placeholder",
        "braces in a summary that nothing fills in",
        "The page that wakes somebody reads `{valeu}` in place of the number.",
        "summary: \"{target} is at {valeu}\"",
        "summary: \"{target} is at {value}\"",
    ),
    warning(
        "unprotected",
        "a listener that others can reach without TLS",
        "Whoever is on the way reads the token, and can tell of deployments from then on.",
        "ingest: { listen: 0.0.0.0:9188, tokens: [...] }",
        "ingest: { listen: 127.0.0.1:9188, tokens: [...] }",
    ),
    warning(
        "unreachable-route",
        "a route behind one that takes every alert",
        "The first route that matches counts: what stands behind it is never taken.",
        "routes: [{ target: app, then: ... }, { match: { severity: critical }, target: app, then: ... }]",
        "routes: [{ match: { severity: critical }, target: app, then: ... }, { target: app, then: ... }]",
    ),
    warning(
        "unused-page",
        "a policy for deployments outside of a window that is not there",
        "Any time will do where there is no `window`: nobody is ever told.",
        "deployments: { page: on-call }",
        "deployments: { window: releases, page: on-call }",
    ),
    warning(
        "unused-plan",
        "a rollback plan that no target lists",
        "It can never run, and its conditions are not checked.",
        "targets: { app: {} }",
        "targets: { app: { plans: [roll-back] } }",
    ),
    warning(
        "unverified-plan",
        "a rollback plan without `verify`",
        "Its outcome is taken on its steps' word: nobody looks whether the application recovered.",
        "roll-back: { steps: [...] }",
        "roll-back: { steps: [...], verify: { within: 30s, conditions: [error_rate < 1%] } }",
    ),
];
