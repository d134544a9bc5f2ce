//! What a page does without breaking any rule of its format, and regrets later.
//!
//! A page that is linted is valid: it would be scraped. The names of metrics are promises to everyone who writes a rule
//! about them, so most of this is about names; the rest are histograms that no quantile can be taken of, and metadata
//! that does not count. Prometheus' own linter (`promtool check metrics`) looks for the same kinds of things.

use std::collections::{BTreeMap, BTreeSet};

use super::{LabelPair, Page, PageSample};
use crate::engine::rules::lint::catalog::Explanation;

/// One thing to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageLint {
    /// The stable name.
    pub name: &'static str,
    /// Whether it is only a matter of taste.
    pub gentle: bool,
    /// The line, counted from 1.
    pub line: usize,
    /// What is the matter.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// The lints on pages, ordered by name.
pub const LINTS: &[Explanation] = &[
    Explanation {
        name: "broken-histogram",
        finds: "a histogram without le=\"+Inf\", with falling buckets, or whose count is another number",
        why: "histogram_quantile needs the bucket le=\"+Inf\": without it the result is NaN and nothing that compares it\n\
              fires. Buckets are cumulative: one that holds less than a smaller one makes the quantile a guess.",
        bad: "x_bucket{le=\"0.5\"} 3\nx_count 4",
        good: "x_bucket{le=\"0.5\"} 3\nx_bucket{le=\"+Inf\"} 4\nx_count 4",
    },
    Explanation {
        name: "counter-without-total",
        finds: "a counter whose name does not end in _total",
        why: "People tell counters from gauges by the name when they write a rule: `rate(x)` or plain `x`? Tools do too,\n\
              and OpenMetrics insists on it.",
        bad: "# TYPE http_requests counter",
        good: "# TYPE http_requests_total counter",
    },
    Explanation {
        name: "duplicate-metadata",
        finds: "a second TYPE or HELP for one metric",
        why: "The first one counts. If they differ, somebody reads the wrong one.",
        bad: "# TYPE x counter\n# TYPE x gauge",
        good: "# TYPE x counter",
    },
    Explanation {
        name: "duplicate-series",
        finds: "the same series twice on one page",
        why: "Only the first value is kept, whichever that is. Mostly two collectors register the same metric.",
        bad: "x{a=\"1\"} 3\nx{a=\"1\"} 4",
        good: "x{a=\"1\"} 7",
    },
    Explanation {
        name: "late-type",
        finds: "a TYPE line after samples of its metric",
        why: "Samples before it are untyped. Put it before the first one.",
        bad: "x 1\n# TYPE x gauge",
        good: "# TYPE x gauge\nx 1",
    },
    Explanation {
        name: "missing-help",
        finds: "a metric without HELP",
        why: "At three in the morning nobody knows whether `queue_size` counts messages or bytes.",
        bad: "queue_size 3",
        good: "# HELP queue_size Messages that wait to be sent.\nqueue_size 3",
    },
    Explanation {
        name: "mixed-labels",
        finds: "series of one metric that differ in their label names",
        why: "`sum by (code)` puts those without `code` under the empty value, and matching one metric with another\n\
              finds only some of them. One metric, one set of labels.",
        bad: "x_total{code=\"200\"} 3\nx_total{path=\"/\"} 4",
        good: "x_total{code=\"200\",path=\"/\"} 3",
    },
    Explanation {
        name: "non-base-unit",
        finds: "a metric in milliseconds, kilobytes, percent and the like",
        why: "Rules compare seconds, bytes and ratios: `unit: seconds` with a threshold of `200ms` is 0.2, and a metric\n\
              in milliseconds is above it always. Divide in the expression (`x_milliseconds / 1000`), or better expose\n\
              the base unit.",
        bad: "request_duration_milliseconds 312",
        good: "request_duration_seconds 0.312",
    },
    Explanation {
        name: "total-without-counter",
        finds: "a gauge, histogram or summary whose name ends in _total",
        why: "Everyone will take it for a counter and write `rate(x_total[5m])`, which means nothing for a gauge.",
        bad: "# TYPE connections_total gauge",
        good: "# TYPE connections gauge",
    },
];

/// Parts of names that say a unit other than the base unit, and the base unit.
const UNITS: [(&str, &str); 18] = [
    ("nanoseconds", "seconds"),
    ("microseconds", "seconds"),
    ("milliseconds", "seconds"),
    ("ms", "seconds"),
    ("millis", "seconds"),
    ("minutes", "seconds"),
    ("hours", "seconds"),
    ("days", "seconds"),
    ("bits", "bytes"),
    ("kilobytes", "bytes"),
    ("kb", "bytes"),
    ("kib", "bytes"),
    ("megabytes", "bytes"),
    ("mb", "bytes"),
    ("mib", "bytes"),
    ("gigabytes", "bytes"),
    ("percent", "ratio"),
    ("fahrenheit", "celsius"),
];

/// What is known of a metric family.
#[derive(Default)]
struct Family<'p> {
    first_sample: Option<usize>,
    /// OpenMetrics names the family of a counter without the suffix of its samples.
    samples_end_in_total: bool,
    help: Option<usize>,
    kind: Option<(usize, &'p str)>,
}

/// Lints a valid page; `body` is its text.
pub fn lint(body: &str, page: &Page<'_>) -> Vec<PageLint> {
    let mut out = Vec::new();
    let mut families: BTreeMap<&str, Family<'_>> = BTreeMap::new();
    for (index, line) in body.lines().enumerate() {
        metadata(line, index + 1, &mut families, &mut out);
    }
    let samples = || page.samples().zip(&page.lines).map(|(sample, line)| (sample, line.number));
    for (sample, line) in samples() {
        let name = family_of(sample.name, &families);
        let family = families.entry(name).or_default();
        family.first_sample = Some(family.first_sample.map_or(line, |first| first.min(line)));
        family.samples_end_in_total |= sample.name.ends_with("_total");
    }
    for (name, family) in &families {
        names(name, family, &mut out);
    }
    duplicates(samples(), &mut out);
    mixed_labels(samples(), &mut out);
    histograms(samples(), &families, &mut out);
    out.sort_by(|a, b| (a.line, a.name).cmp(&(b.line, b.name)));
    out
}

fn told(name: &'static str, line: usize, message: String, hint: impl Into<String>) -> PageLint {
    PageLint { name, gentle: false, line, message, hint: hint.into() }
}

/// Reads one TYPE or HELP line; the first of a metric counts.
fn metadata<'p>(
    line: &'p str,
    number: usize,
    families: &mut BTreeMap<&'p str, Family<'p>>,
    out: &mut Vec<PageLint>,
) {
    let Some(comment) = line.trim_start().strip_prefix('#') else { return };
    let mut words = comment.split_whitespace();
    let (Some(keyword @ ("TYPE" | "HELP")), Some(name)) = (words.next(), words.next()) else { return };
    let family = families.entry(name.trim_matches('"')).or_default();
    let first = if keyword == "TYPE" { family.kind.map(|(line, _)| line) } else { family.help };
    if let Some(first) = first {
        let message = format!("a second {keyword} for `{}`", super::excerpt(name));
        out.push(told("duplicate-metadata", number, message, format!("the one on line {first} counts")));
    } else if keyword == "TYPE" {
        family.kind = Some((number, words.next().unwrap_or_default()));
    } else {
        family.help = Some(number);
    }
}

/// Returns the family of a sample: a histogram's and a summary's parts belong to the name that has the TYPE.
fn family_of<'s>(sample: &'s str, families: &BTreeMap<&'s str, Family<'_>>) -> &'s str {
    let typed = |name: &str| families.get(name).is_some_and(|family| family.kind.is_some());
    if typed(sample) {
        return sample;
    }
    let suffixes = ["_bucket", "_sum", "_count", "_total", "_created", "_info", "_gcount", "_gsum"];
    suffixes
        .iter()
        .filter_map(|suffix| sample.strip_suffix(suffix))
        .find(|stem| typed(stem))
        .unwrap_or(sample)
}

fn names(name: &str, family: &Family<'_>, out: &mut Vec<PageLint>) {
    let shown = super::excerpt(name);
    let Some(first) = family.first_sample else { return };
    let kind = family.kind.map(|(_, kind)| kind);
    let line = family.kind.map_or(first, |(line, _)| line);
    if let Some((line, kind)) = family.kind.filter(|(line, _)| *line > first) {
        let message = format!("TYPE {} of `{shown}` stands after its samples", super::excerpt(kind));
        out.push(told(
            "late-type",
            line,
            message,
            format!("move it before line {first}: until then they are untyped"),
        ));
    }
    if family.help.is_none() {
        let message = format!("`{shown}` has no HELP");
        let hint = format!("say what it counts: `# HELP {shown} ...`");
        out.push(PageLint { gentle: true, ..told("missing-help", line, message, hint) });
    }
    let ends_in_total = name.ends_with("_total");
    match kind {
        Some("counter") if !ends_in_total && !family.samples_end_in_total => {
            let message = format!("counter `{shown}` does not end in `_total`");
            out.push(told("counter-without-total", line, message, format!("call it `{shown}_total`")));
        }
        Some(other @ ("gauge" | "histogram" | "summary")) if ends_in_total => {
            let message = format!("{other} `{shown}` ends in `_total`, which is what counters are called");
            let stem = shown.trim_end_matches("_total");
            out.push(told("total-without-counter", line, message, format!("call it `{stem}`")));
        }
        _ => {}
    }
    if let Some((unit, base)) = UNITS.iter().find(|(unit, _)| name.split('_').any(|part| part == *unit)) {
        let message = format!("`{shown}` is in {unit}");
        let better = shown.replace(unit, base);
        let hint = format!("rules speak {base}: expose `{better}`, or convert it in every expression");
        out.push(told("non-base-unit", line, message, hint));
    }
}

fn duplicates<'p>(samples: impl Iterator<Item = (PageSample<'p>, usize)>, out: &mut Vec<PageLint>) {
    let mut seen: BTreeMap<(&str, Vec<&LabelPair<'_>>, Option<i64>), usize> = BTreeMap::new();
    for (sample, line) in samples {
        let mut labels: Vec<&LabelPair<'_>> = sample.labels.iter().collect();
        labels.sort();
        if let Some(first) = seen.get(&(sample.name, labels.clone(), sample.wall_timestamp)) {
            let message = format!("the same series of `{}` as on line {first}", super::excerpt(sample.name));
            out.push(told(
                "duplicate-series",
                line,
                message,
                "only the first is kept: which one did you mean?",
            ));
        } else {
            seen.insert((sample.name, labels, sample.wall_timestamp), line);
        }
    }
}

fn mixed_labels<'p>(samples: impl Iterator<Item = (PageSample<'p>, usize)>, out: &mut Vec<PageLint>) {
    let mut first: BTreeMap<&str, (BTreeSet<&str>, usize)> = BTreeMap::new();
    let mut told_of: BTreeSet<&str> = BTreeSet::new();
    for (sample, line) in samples {
        let labels: BTreeSet<&str> = sample.labels.iter().map(|(name, _)| &**name).collect();
        let (expected, at) = first.entry(sample.name).or_insert_with(|| (labels.clone(), line));
        if labels != *expected && told_of.insert(sample.name) {
            let differing: Vec<String> = expected
                .symmetric_difference(&labels)
                .map(|label| format!("`{}`", super::excerpt(label)))
                .collect();
            let name = super::excerpt(sample.name);
            let message = format!(
                "this series of `{name}` and the one on line {at} differ in {}",
                differing.join(", ")
            );
            out.push(told(
                "mixed-labels",
                line,
                message,
                "give every series of one metric the same label names",
            ));
        }
    }
}

/// The buckets of one series of a histogram.
#[derive(Default)]
struct Buckets {
    line: usize,
    /// Bounds and counts.
    counts: Vec<(f64, f64)>,
    total: Option<f64>,
}

fn histograms<'p>(
    samples: impl Iterator<Item = (PageSample<'p>, usize)>,
    families: &BTreeMap<&str, Family<'_>>,
    out: &mut Vec<PageLint>,
) {
    let mut found: BTreeMap<(&str, Vec<LabelPair<'p>>), Buckets> = BTreeMap::new();
    for (sample, line) in samples {
        let family = family_of(sample.name, families);
        if families.get(family).and_then(|family| family.kind).is_none_or(|(_, kind)| kind != "histogram") {
            continue;
        }
        let mut labels = sample.labels.to_vec();
        labels.retain(|(name, _)| name != "le");
        labels.sort();
        let bound = sample.labels.iter().find(|(name, _)| name == "le").map(|(_, le)| le.parse::<f64>());
        let buckets = found.entry((family, labels)).or_insert_with(|| Buckets { line, ..Buckets::default() });
        match (sample.name.strip_prefix(family), bound) {
            (Some("_bucket"), Some(Ok(bound))) => buckets.counts.push((bound, sample.value)),
            (Some("_count"), _) => buckets.total = Some(sample.value),
            _ => {}
        }
    }
    for ((family, _), buckets) in found {
        if let Some(fault) = fault(buckets.counts, buckets.total) {
            let message = format!("histogram `{}` {fault}", super::excerpt(family));
            out.push(told("broken-histogram", buckets.line, message, "quantiles of it are NaN or wrong"));
        }
    }
}

/// Says what is wrong with the buckets of one series.
fn fault(mut counts: Vec<(f64, f64)>, total: Option<f64>) -> Option<String> {
    counts.sort_by(|a, b| a.0.total_cmp(&b.0));
    let Some((bound, largest)) = counts.last().copied() else {
        return Some("has no buckets".to_owned());
    };
    if bound != f64::INFINITY {
        return Some("has no bucket le=\"+Inf\"".to_owned());
    }
    if let Some(pair) = counts.windows(2).find(|pair| pair[1].1 < pair[0].1) {
        return Some(format!(
            "holds {} up to le=\"{}\" and only {} up to le=\"{}\"",
            pair[0].1, pair[0].0, pair[1].1, pair[1].0
        ));
    }
    #[expect(clippy::float_cmp, reason = "both count the same events")]
    let differs = total.filter(|total| *total != largest);
    differs.map(|total| format!("counts {total}, but its bucket le=\"+Inf\" holds {largest}"))
}

#[cfg(test)]
mod tests {
    use super::super::{Format, parse};
    use super::*;

    fn told_of(body: &str, format: Format) -> Vec<(usize, &'static str)> {
        let page = parse(body.as_bytes(), format, 1000).unwrap_or_else(|error| panic!("{error}"));
        lint(body, &page).into_iter().map(|lint| (lint.line, lint.name)).collect()
    }

    #[test]
    fn each_lint_has_its_line() {
        let cases: &[(&str, &[(usize, &str)])] = &[
            ("# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"1\"} 1\na_total{x=\"2\"} 1\n", &[]),
            ("# HELP a A.\n# TYPE a counter\na 1\n", &[(2, "counter-without-total")]),
            ("# HELP a_total A.\n# TYPE a_total gauge\na_total 1\n", &[(2, "total-without-counter")]),
            ("a 1\n", &[(1, "missing-help")]),
            ("# HELP a A.\na 1\n# TYPE a gauge\n", &[(3, "late-type")]),
            (
                "# HELP a A.\n# HELP a B.\n# TYPE a gauge\n# TYPE a gauge\na 1\n",
                &[(2, "duplicate-metadata"), (4, "duplicate-metadata")],
            ),
            ("# HELP a_ms A.\na_ms 1\n", &[(2, "non-base-unit")]),
            ("# HELP a A.\na{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2\n", &[(3, "duplicate-series")]),
            ("# HELP a A.\na{x=\"1\"} 1\na{y=\"1\"} 2\na 3\n", &[(3, "mixed-labels")]),
            (
                "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n",
                &[(3, "broken-histogram")],
            ),
            (
                "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_count 1\n",
                &[(3, "broken-histogram")],
            ),
            (
                "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_count 2\n",
                &[(3, "broken-histogram")],
            ),
            (
                "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\nh_count 2\n",
                &[],
            ),
            ("# HELP s S.\n# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 2\n", &[]),
            ("# HELP never_sampled_ms S.\n# TYPE never_sampled_ms counter\n", &[]),
        ];
        for (body, expected) in cases {
            assert_eq!(told_of(body, Format::Text), *expected, "{body}");
        }
        let open = "# HELP a A.\n# TYPE a counter\na_total 1\n# EOF\n";
        assert_eq!(told_of(open, Format::OpenMetrics), []);
    }

    #[test]
    fn the_catalog_is_ordered() {
        assert!(LINTS.is_sorted_by(|a, b| a.name < b.name));
    }
}
