//! Every lint by name: why it matters, what it looks like, how to put it right.

mod warnings;

pub use warnings::WARNINGS;

/// What is known of one lint, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The stable name.
    pub name: &'static str,
    /// What it finds, in one line.
    pub finds: &'static str,
    /// Why that hurts.
    pub why: &'static str,
    /// What it looks like.
    pub bad: &'static str,
    /// What to write instead.
    pub good: &'static str,
}

/// Returns the names that a comment in a rule file may allow.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    LINTS.iter().chain(WARNINGS).map(|lint| lint.name)
}

/// The lints on rules, ordered by name.
pub const LINTS: &[Explanation] = &[
    Explanation {
        name: "always-fires",
        finds: "a condition that every value meets, or an alert without any comparison",
        why: "An alert fires for every series that its expression yields, whatever the value: 0 is a value, and so is\n\
              the 0 that `bool` makes of a comparison that is not met. What always fires is muted within a week, and\n\
              with it the one time that it is right. An alert that fires on purpose, so that its silence is noticed,\n\
              is written `vector(1)`; that one is left alone.",
        bad: "expr: rate(errors_total[5m])            # fires at 0 errors per second\n\
              expr: queue_length > bool 100           # fires at 0 and at 1",
        good: "expr: rate(errors_total[5m]) > 1\nexpr: queue_length > 100",
    },
    Explanation {
        name: "average-of-quantiles",
        finds: "avg or sum over quantiles",
        why: "The average of two 99th percentiles is no percentile of anything. One instance that answers in 10 s\n\
              among nine that answer in 0.1 s gives 1.1 s, which nobody ever waited.",
        bad: "avg(request_seconds{quantile=\"0.99\"})",
        good: "max(request_seconds{quantile=\"0.99\"})\n\
               histogram_quantile(0.99, sum by (le) (rate(request_seconds_bucket[5m])))",
    },
    Explanation {
        name: "cannot-evaluate",
        finds: "an expression that fails on the series of the given page",
        why: "Two series on the \"one\" side of a match, or two results with the same labels, fail the whole\n\
              expression: the rule has no value at all, exactly when a second instance appears. Found with `--metrics`.",
        bad: "http_requests_total / on (job) build_info      # two versions are running",
        good: "http_requests_total / on (job) group_left () max by (job) (build_info)",
    },
    Explanation {
        name: "counter-as-gauge",
        finds: "a plain comparison, delta or deriv of a counter",
        why: "A counter counts since its process started and only grows. Compared with a threshold it fires for ever\n\
              once it is passed, until a restart makes it quiet for no reason; delta and deriv of it fall far below\n\
              zero at each restart. A name that ends in `_total` is taken for a counter unless a page given with\n\
              `--metrics` says otherwise.",
        bad: "expr: errors_total > 100\nexpr: delta(errors_total[5m]) > 10\nexpr: deployments_succeeded_total < 0.95",
        good: "expr: increase(errors_total[5m]) > 100\nexpr: increase(deployments_succeeded_total[30d]) / increase(deployments_total[30d]) < 0.95",
    },
    Explanation {
        name: "empty-matcher",
        finds: "a selector that selects every series",
        why: "Without a name or a matcher that excludes anything, every series of every source is kept and read at each\n\
              evaluation. Rearguard keeps only what a rule can select; this makes it keep everything.",
        bad: "count({job=~\".+\"})",
        good: "count(up)",
    },
    Explanation {
        name: "fires-on-no-data",
        finds: "a condition that is met because series are missing",
        why: "Missing series mean that somebody does not know, not that something is broken. In an alert that may be\n\
              what you want: this is a note, and such an alert pages and never rolls back. As an indicator it makes\n\
              absence look like a measured breach, and `absent(...)` has no value whenever all is well. A native\n\
              trigger needs neither: missing series are its verdict \"no data\", which holds what was and pages.",
        bad: "expr: (sum(rate(requests_total[5m])) or vector(0)) < 1",
        good: "expr: sum(rate(requests_total[5m])) < 1   # and beside it:  absent(requests_total)",
    },
    Explanation {
        name: "le-dropped",
        finds: "histogram_quantile over an aggregation that drops le",
        why: "A classic histogram's buckets are told apart by the label `le`. Aggregated away, there are no buckets:\n\
              the quantile is empty, and what compares it never fires.",
        bad: "histogram_quantile(0.95, sum by (job) (rate(request_seconds_bucket[5m])))",
        good: "histogram_quantile(0.95, sum by (job, le) (rate(request_seconds_bucket[5m])))",
    },
    Explanation {
        name: "missing-severity",
        finds: "an imported alert without a severity",
        why: "Routes match on labels, and `severity` is the one that they and people sort by. An alert without it takes\n\
              whatever route is left, or none: nobody is paged.",
        bad: "- alert: DiskFull\n  expr: disk_free_bytes < 1e9",
        good: "- alert: DiskFull\n  expr: disk_free_bytes < 1e9\n  labels: { severity: critical }",
    },
    Explanation {
        name: "never-fires",
        finds: "a comparison that no value can meet",
        why: "A quantile of a histogram never exceeds its largest finite bucket (found with `--metrics`, or where the\n\
              expression lists its buckets); a part divided by its whole never exceeds 1; a rate is never negative;\n\
              `count` of nothing is nothing, not 0; and while a native trigger is judged, `up` is 1, because a source\n\
              that fails makes the verdict Unknown and is an incident of its own. Such a rule looks like protection\n\
              and is none.",
        bad: "expr: histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m]))) > 20     # largest bucket: 10\n\
              expr: count(up == 1) < 1",
        good: "expr: histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m]))) > 8\n\
               expr: absent(up == 1)",
    },
    Explanation {
        name: "quiet-on-no-data",
        finds: "an alert on too little of something that says nothing when there is none at all",
        why: "`rate(x[5m]) == 0` waits for a value of 0. When the process dies its series vanish: there is no value,\n\
              nothing is compared, and the alert that was written for the worst day is quiet on it. Silent where\n\
              another alert of the set watches `up` or `absent(...)`.",
        bad: "expr: sum(rate(requests_total[5m])) < 1",
        good: "expr: sum(rate(requests_total[5m])) < 1\n# and an alert of its own:\nexpr: absent(requests_total)",
    },
    Explanation {
        name: "rate-of-sum",
        finds: "rate, irate or increase of an aggregation",
        why: "rate knows restarts by the fall of a counter. Of a sum it sees the fall of the whole when one process\n\
              restarts, takes it for a restart of all, and counts everything again: a spike of millions.",
        bad: "rate(sum(requests_total)[5m:30s])",
        good: "sum(rate(requests_total[5m]))",
    },
    Explanation {
        name: "rate-over-gauge",
        finds: "rate, irate or increase of something that is not a counter",
        why: "rate takes each fall for a restart and adds what came after it. Of a gauge that breathes, that is a large\n\
              positive number which means nothing. What is a gauge is told by the TYPE lines of `--metrics`, by the\n\
              endings of names (`_ratio`, `_celsius`, `_in_flight`), or by `:rate5m` of a recorded rate.",
        bad: "rate(process_resident_memory_bytes[5m]) > 1e6",
        good: "deriv(process_resident_memory_bytes[5m]) > 1e6",
    },
    Explanation {
        name: "ratio-without-denominator",
        finds: "a share that is not divided by anything",
        why: "`rate(errors[5m]) > 0.1` is one error in ten seconds, not ten percent: at a thousand requests per second\n\
              it pages for 0.01%, at one per minute it never does. About division itself: `0 / 0` is NaN, which no\n\
              comparison meets. A native trigger calls that \"no traffic\" (Unknown); an imported alert is quiet.",
        bad: "error_rate: { unit: ratio, expr: 'sum(rate(errors_total[1m]))' }",
        good: "error_rate: { unit: ratio, expr: 'sum(rate(errors_total[1m])) / sum(rate(requests_total[1m]))' }",
    },
    Explanation {
        name: "regex-could-be-equal",
        finds: "a pattern that matches one text only",
        why: "It means the same and is slower to read, and one day a dot in it will match what it should not.",
        bad: "up{job=~\"node\"}",
        good: "up{job=\"node\"}",
    },
    Explanation {
        name: "selects-nothing",
        finds: "a selector whose matchers contradict each other, or that nothing on the given page satisfies",
        why: "A selector that selects nothing is no error in PromQL: the expression is empty, a native trigger has no\n\
              data, an imported alert is quiet for ever. With `--metrics` the names, labels and values of the page\n\
              are compared, and the nearest one is suggested.",
        bad: "http_requests_total{code=\"500\", code=\"502\"}",
        good: "http_requests_total{code=~\"500|502\"}",
    },
    Explanation {
        name: "several-series",
        finds: "an indicator that yields more than one series on the given page",
        why: "A native trigger compares one number. With several it cannot say which one counts: its verdict is\n\
              Unknown, and it pages about itself instead of about the application. Found with `--metrics`.",
        bad: "expr: rate(http_requests_total[1m])          # one series per path",
        good: "expr: sum(rate(http_requests_total[1m]))",
    },
    Explanation {
        name: "short-for",
        finds: "a `for` that is shorter than the time between two evaluations",
        why: "A condition is only looked at at each evaluation. `for: 10s` in a group with `interval: 1m` fires at the\n\
              second evaluation, after a minute: whoever counts on ten seconds waits six times as long.",
        bad: "interval: 1m\nrules: [{ alert: A, expr: x > 1, for: 10s }]",
        good: "interval: 10s\nrules: [{ alert: A, expr: x > 1, for: 10s }]",
    },
    Explanation {
        name: "short-range",
        finds: "a range that holds fewer than two answers of any source",
        why: "rate, increase, delta and their like need two samples. A range shorter than two scrapes holds one most of\n\
              the time, and yields nothing: the rule has no data and never fires.",
        bad: "rate(requests_total[5s])                     # scraped every 5s",
        good: "rate(requests_total[20s])                    # four scrapes: one may be lost",
    },
    Explanation {
        name: "unknown-label-in-by",
        finds: "a label in by, on or group_left that nothing below can have",
        why: "An aggregation keeps the labels that it names and drops all others. Grouping by a dropped label changes\n\
              nothing; matching on it pairs up nothing, and the expression is empty. With `--metrics` the labels of\n\
              the page count too.",
        bad: "sum by (job) (sum by (instance) (rate(x_total[5m])))",
        good: "sum by (job) (sum by (instance, job) (rate(x_total[5m])))",
    },
    Explanation {
        name: "verify-always-passes",
        finds: "a verification's condition that every value meets",
        why: "The rollback would be reported as verified whatever the application does: the page says \"recovered\",\n\
              and nobody looks.",
        bad: "conditions: [ error_rate <= 100% ]",
        good: "conditions: [ error_rate < 1% ]",
    },
    Explanation {
        name: "verify-never-passes",
        finds: "a verification's condition that no value can meet",
        why: "Every rollback would end as failed, however well it worked, and wake somebody for it.",
        bad: "conditions: [ error_rate < 0% ]",
        good: "conditions: [ error_rate < 1% ]",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_is_ordered_and_complete() {
        assert!(LINTS.is_sorted_by(|a, b| a.name < b.name));
        assert!(WARNINGS.is_sorted_by(|a, b| a.name < b.name));
        assert!(WARNINGS.iter().all(|warning| LINTS.iter().all(|lint| lint.name != warning.name)));
        for lint in LINTS.iter().chain(WARNINGS) {
            for text in [lint.finds, lint.why, lint.bad, lint.good] {
                assert!(!text.is_empty() && !text.ends_with('\n'), "{}", lint.name);
                assert!(text.lines().all(|line| line.len() <= 120), "{}: {text}", lint.name);
            }
        }
    }
}
