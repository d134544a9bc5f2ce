//! Which sources a selector reads, as far as its text tells: what it does not read cannot make it unknown.

use std::collections::BTreeSet;

use crate::engine::model::SourceName;
use crate::engine::promql::plan::Scope;
use crate::engine::series::{MatchOp, Matcher, PROBE_SERIES, SYNTHETIC};

/// Returns the sources of `names` that can show what the matchers select.
///
/// A `job` matcher names them. Without one, a probe shows a closed set of series, each with its name in the label `source`:
/// whatever asks for others does not read it, and whatever asks for one of those by a probe's name reads that probe alone.
pub(super) fn narrowed(
    names: &BTreeSet<SourceName>,
    scope: &Scope,
    matchers: &[Matcher],
) -> BTreeSet<SourceName> {
    let fits =
        |label: &str, value: &str| matchers.iter().filter(|m| m.name() == label).all(|m| m.matches(value));
    let may_show = |series: &[&str]| series.iter().any(|name| fits("__name__", name));
    if matchers.iter().any(|matcher| matcher.name() == "job") {
        return names.iter().filter(|name| fits("job", name.as_str())).cloned().collect();
    }
    let probes: BTreeSet<&SourceName> = names.intersection(&scope.probes).collect();
    let asks_for_a_probe = |matcher: &Matcher| {
        matcher.name() == "source"
            && matcher.op() == MatchOp::Equal
            && probes.contains(&SourceName::from(matcher.value()))
    };
    let is_probes_own = matchers.iter().any(asks_for_a_probe) && may_show(&PROBE_SERIES);
    let reads = |name: &&SourceName| match probes.contains(name) {
        true => (may_show(&PROBE_SERIES) && fits("source", name.as_str())) || may_show(&SYNTHETIC),
        false => !is_probes_own,
    };
    names.iter().filter(reads).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::{Scope, compile, parse};
    use crate::engine::series::Sources;

    #[test]
    fn a_selector_reads_what_can_show_its_series() {
        let scope =
            Scope::of(["app", "db", "health"].map(Into::into)).with_probes(["db", "health"].map(Into::into));
        let cases = [
            ("requests_total", "app"),
            (r#"probe_success{source="health"}"#, "health"),
            (r#"probe_success{source=~"health|db"}"#, "app db health"),
            (r#"probe_success{source!="health"}"#, "app db"),
            (r#"probe_success{source="elsewhere"}"#, "app"),
            ("probe_success", "app db health"),
            (r#"probe_value{source="db"} > 3"#, "db"),
            (r#"requests_total{source="health"}"#, "app"),
            ("up", "app db health"),
            (r#"up{job="db"}"#, "db"),
            (r#"anything{job="db"}"#, "db"),
            (r#"{__name__=~"probe_.*"}"#, "app db health"),
            (r#"{job=~".+", __name__=~"req.*"}"#, "app db health"),
        ];
        for (text, expected) in cases {
            let plan = parse(text).and_then(|expr| compile(&expr, &scope)).expect(text);
            let Sources::Only(read) = plan.sources() else { panic!("{text} is bounded") };
            let read: Vec<&str> = read.iter().map(|source| source.as_str()).collect();
            assert_eq!(read.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn what_no_probe_shows_is_refused_where_there_are_only_probes() {
        let scope = Scope::of(["health".into()]).with_probes(["health".into()]);
        let refused = |text: &str| parse(text).and_then(|expr| compile(&expr, &scope)).expect_err(text);
        assert!(refused("requests_total")[0].message.contains("no source in scope (`health`) shows it"));
        assert!(refused(r#"probe_success{source="helth"}"#)[0].message.contains("no source in scope"));
        assert!(refused(r#"x{job="helth"}"#)[0].message.contains("its `job` is none of the sources"));
    }
}
