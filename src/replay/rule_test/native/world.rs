//! The world of a test: what the test declares of `rearguard.yaml`, and made up around it whatever the rules name.
//!
//! What rule files name exists by itself: an armed target that may run every plan, a source that is asked every 5 s, a plan
//! of one step, a policy with one receiver of the same name. `world:` declares parts of it in the words of `rearguard.yaml`;
//! what it leaves out (an address, a program, a time limit) is made up too: `probe: true` is a probe of whatever. The daemon's own reader reads the result.

use std::collections::BTreeSet;

use crate::engine::rules::yaml::{self, Node, Scalar};
use crate::engine::rules::{Place, SourceFile};

/// What diagnostics call the made-up parts.
const MADE_UP: &str = "the made-up world";

/// The source that the engine itself is; nobody may declare it.
pub(super) const OWN_SOURCE: &str = "rearguard";

/// The keys that tell what kind a source is.
const SOURCE_KINDS: [&str; 6] = ["scrape", "probe", "systemd", "prometheus", "push", "exec"];

/// What `probe: true` asks.
const PROBED: &str = "http://app.test:80/health";

/// The names that rule files use of what root declares.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    targets: BTreeSet<String>,
    sources: BTreeSet<String>,
    plans: BTreeSet<String>,
    policies: BTreeSet<String>,
}

impl Named {
    /// Adds what one rule file names.
    pub(super) fn note(&mut self, root: &Node) {
        if let Some(Node::Scalar(target)) = get(root, "target") {
            self.targets.insert(target.value.clone());
        }
        if let Some(Node::Sequence(sources, _)) = get(root, "sources") {
            let names = sources.iter().filter_map(text).filter(|name| name != OWN_SOURCE);
            self.sources.extend(names);
        }
        self.note_consequences(root);
    }

    /// Adds what the blocks `then` in here name, however deep they lie.
    fn note_consequences(&mut self, node: &Node) {
        match node {
            Node::Mapping(entries, _) => {
                for (key, value) in entries {
                    if key.value == "then" {
                        self.note_then(value);
                    } else {
                        self.note_consequences(value);
                    }
                }
            }
            Node::Sequence(items, _) => items.iter().for_each(|item| self.note_consequences(item)),
            Node::Scalar(_) => {}
        }
    }

    fn note_then(&mut self, then: &Node) {
        let Node::Mapping(entries, _) = then else { return };
        for (key, value) in entries {
            match key.value.as_str() {
                "rollback" | "recommend" => {
                    self.plans.extend(text(value).or_else(|| text(get(value, "plan")?)))
                }
                "page" => self.policies.extend(text(value)),
                // By severity: `then: { critical: { page: ... } }`.
                _ => self.note_then(value),
            }
        }
    }
}

/// Returns the world around what is declared: whatever the rules name exists.
pub(super) fn make_up(declared: Option<&Node>, named: &Named) -> Node {
    let nothing = Node::Mapping(Vec::new(), Place::of_file(MADE_UP));
    let mut world = declared.cloned().unwrap_or(nothing);
    let mut named = named.clone();
    named.plans.extend(routed(&world, "rollback"));
    named.policies.extend(routed(&world, "page"));
    named.targets.extend(routed(&world, "target"));
    ensure(&mut world, "rules", "[made-up]");
    if named.sources.is_empty() && get(&world, "sources").is_none() {
        named.sources.insert("app".to_owned());
    }
    complete(&mut world, "sources", &named.sources, |_, source| {
        if let Some(Node::Scalar(asked)) = get(source, "probe")
            && asked.plain
            && asked.value == "true"
            && let (Some(probe), Some(made)) = (get_mut(source, "probe"), made(PROBED))
        {
            *probe = made;
        }
        if SOURCE_KINDS.iter().all(|kind| get(source, kind).is_none()) {
            ensure(source, "scrape", "http://app.test:80/metrics");
        }
    });
    complete(&mut world, "rollbacks", &named.plans, complete_plan);
    complete_receivers(&mut world, &named.policies);
    let plans: Vec<String> = keys(get(&world, "rollbacks")).map(|key| quoted(&key.value)).collect();
    let plans = format!("[{}]", plans.join(", "));
    complete(&mut world, "targets", &named.targets, |_, target| {
        ensure(target, "mode", "armed");
        ensure(target, "plans", &plans);
    });
    world
}

/// Returns what the routes of a world name under `key`, in themselves or in what follows.
fn routed(world: &Node, key: &str) -> Vec<String> {
    let Some(Node::Sequence(routes, _)) = get(world, "routes") else { return Vec::new() };
    let name = |route: &Node| text(get(route, key).or_else(|| get(get(route, "then")?, key))?);
    routes.iter().filter_map(name).collect()
}

/// Completes a plan: a program and a time limit for each step, and a step where there is none.
fn complete_plan(name: &Scalar, plan: &mut Node) {
    ensure(plan, "steps", &format!("[{{ name: {} }}]", quoted(&name.value)));
    if let Some(Node::Sequence(steps, _)) = get_mut(plan, "steps") {
        for step in steps {
            if get(step, "exec").is_none() && get(step, "http").is_none() {
                ensure(step, "exec", "[/usr/bin/true]");
            }
            ensure(step, "timeout", "60s");
        }
    }
}

/// Completes policies and receivers: a policy that is not declared has one receiver of the same name.
fn complete_receivers(world: &mut Node, policies: &BTreeSet<String>) {
    let declared: BTreeSet<String> = keys(get(world, "escalations")).map(|key| key.value.clone()).collect();
    let mut receivers: BTreeSet<String> = policies.difference(&declared).cloned().collect();
    if !policies.is_empty() {
        ensure(world, "escalations", "{}");
    }
    if let Some(Node::Mapping(entries, _)) = get_mut(world, "escalations") {
        for (_, policy) in entries.iter_mut() {
            // `oncall: [pager]` is the policy that notifies them at once.
            if let Node::Sequence(levels, place) = policy
                && !levels.is_empty()
                && levels.iter().all(|level| matches!(level, Node::Scalar(_)))
            {
                let notify = Node::Sequence(std::mem::take(levels), place.clone());
                receivers.extend(texts(&notify));
                let mut level = Node::Mapping(Vec::new(), place.clone());
                put(&mut level, "notify", notify);
                levels.push(level);
            } else if let Node::Sequence(levels, _) = policy {
                receivers.extend(levels.iter().filter_map(|level| get(level, "notify")).flat_map(texts));
            }
        }
        for name in policies.difference(&declared) {
            if let (Some(key), Some(policy)) =
                (key(name), made(&format!("[{{ notify: [{}] }}]", quoted(name))))
            {
                entries.push((key, policy));
            }
        }
    }
    if receivers.is_empty()
        && get(world, "receivers").is_none()
        && keys(get(world, "rollbacks")).next().is_some()
    {
        receivers.insert("pager".to_owned());
    }
    complete(world, "receivers", &receivers, |name, receiver| {
        if keys(Some(receiver)).next().is_none() {
            let key = format!("{{ routing_key: {{ credential: {} }} }}", quoted(&name.value));
            ensure(receiver, "pagerduty", &key);
        }
    });
}

/// Makes sure that a section has an entry for each name, and completes every entry.
fn complete(world: &mut Node, section: &str, names: &BTreeSet<String>, entry: impl Fn(&Scalar, &mut Node)) {
    if names.is_empty() && get(world, section).is_none() && section != "targets" {
        return;
    }
    ensure(world, section, "{}");
    for name in names {
        if let Some(section) = get_mut(world, section) {
            ensure(section, name, "{}");
        }
    }
    if let Some(Node::Mapping(entries, _)) = get_mut(world, section) {
        for (key, node) in entries {
            if matches!(node, Node::Scalar(scalar) if scalar.is_null()) {
                *node = Node::Mapping(Vec::new(), node.place());
            }
            entry(key, node);
        }
    }
}

/// Lays one world over another: where both are mappings, entry by entry; else what lies above counts.
pub(super) fn merge(below: &Node, above: &Node) -> Node {
    let (Node::Mapping(low, place), Node::Mapping(high, _)) = (below, above) else { return above.clone() };
    let mut entries: Vec<(Scalar, Node)> = low
        .iter()
        .map(|(key, node)| match high.iter().find(|(other, _)| other.value == key.value) {
            Some((other, above)) => (other.clone(), merge(node, above)),
            None => (key.clone(), node.clone()),
        })
        .collect();
    let is_new = |key: &Scalar| low.iter().all(|(other, _)| other.value != key.value);
    entries.extend(high.iter().filter(|(key, _)| is_new(key)).cloned());
    Node::Mapping(entries, place.clone())
}

/// Returns the value of `key` in a mapping.
pub(in crate::replay::rule_test) fn get<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let Node::Mapping(entries, _) = node else { return None };
    entries.iter().find(|(name, _)| name.value == key).map(|(_, value)| value)
}

/// Returns the value of `key` in a mapping, to be changed.
pub(super) fn get_mut<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    let Node::Mapping(entries, _) = node else { return None };
    entries.iter_mut().find(|(name, _)| name.value == key).map(|(_, value)| value)
}

fn keys(node: Option<&Node>) -> impl Iterator<Item = &Scalar> {
    let entries = match node {
        Some(Node::Mapping(entries, _)) => entries.as_slice(),
        _ => &[],
    };
    entries.iter().map(|(key, _)| key)
}

/// Adds an entry to a mapping that lacks it; `value` is YAML.
fn ensure(node: &mut Node, key: &str, value: &str) {
    if get(node, key).is_none()
        && let Some(value) = made(value)
    {
        put(node, key, value);
    }
}

fn put(node: &mut Node, name: &str, value: Node) {
    if let (Node::Mapping(entries, _), Some(key)) = (node, key(name)) {
        entries.push((key, value));
    }
}

fn key(name: &str) -> Option<Scalar> {
    match made(&quoted(name)) {
        Some(Node::Scalar(scalar)) => Some(scalar),
        _ => None,
    }
}

/// Reads YAML of our own. Only a name that no loader accepts can keep it from being read; the loader says so then.
pub(super) fn made(yaml: &str) -> Option<Node> {
    yaml::parse(&SourceFile::new(MADE_UP, yaml)).ok().flatten()
}

/// Returns a text in quotes, as YAML and JSON read it.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn text(node: &Node) -> Option<String> {
    match node {
        Node::Scalar(scalar) if !scalar.is_null() => Some(scalar.value.clone()),
        _ => None,
    }
}

fn texts(node: &Node) -> Vec<String> {
    match node {
        Node::Sequence(items, _) => items.iter().filter_map(text).collect(),
        _ => Vec::new(),
    }
}

/// Prints a tree as YAML of one line: what it says is what the file says, only its places are lost.
pub(super) fn printed(node: &Node) -> String {
    match node {
        Node::Scalar(scalar)
            if scalar.plain && matches!(scalar.value.as_str(), "true" | "false" | "" | "~" | "null") =>
        {
            if scalar.is_null() {
                "null".to_owned()
            } else {
                scalar.value.clone()
            }
        }
        Node::Scalar(scalar) => quoted(&scalar.value),
        Node::Sequence(items, _) => {
            let items: Vec<String> = items.iter().map(printed).collect();
            format!("[{}]", items.join(", "))
        }
        Node::Mapping(entries, _) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", quoted(&key.value), printed(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(rules: &str, declared: Option<&str>) -> String {
        let mut named = Named::default();
        named.note(&made(rules).unwrap_or_else(|| panic!("{rules}")));
        let declared = declared.map(|text| made(text).unwrap_or_else(|| panic!("{text}")));
        printed(&make_up(declared.as_ref(), &named))
    }

    #[test]
    fn what_rules_name_exists() {
        let rules = "{target: shop, sources: [app, rearguard], triggers: [
            {then: {rollback: {plan: back, during: deployment}, page: on-call}},
            {levels: {warning: {then: {page: chat}}}}], objectives: {then: {critical: {recommend: blue}}},
            gates: {g: {due: {rollback: 2m}}}}";
        let told = world(rules, None);
        for part in [
            r#""sources": {"app": {"scrape": "http://app.test:80/metrics"}}"#,
            r#""back": {"steps": [{"name": "back", "exec": ["/usr/bin/true"], "timeout": "60s"}]}, "blue""#,
            r#""chat": [{"notify": ["chat"]}], "on-call": [{"notify": ["on-call"]}]"#,
            r#""on-call": {"pagerduty": {"routing_key": {"credential": "on-call"}}}"#,
            r#""targets": {"shop": {"mode": "armed", "plans": ["back", "blue"]}}"#,
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
        assert!(!told.contains("2m") && !told.contains(r#""rearguard":"#), "{told}");
    }

    #[test]
    fn what_is_declared_stands_and_is_completed() {
        let declared = "{targets: {shop: {mode: shadow}}, sources: {app: {every: 10s}, probe: {probe: x}},
            rollbacks: {back: {steps: [{name: a, timeout: 5s}, {name: b, exec: [/x]}]}},
            escalations: {on-call: [pager, mail]}, receivers: {mail: {email: {}}}}";
        let told = world(
            "{target: shop, sources: [app], triggers: [{then: {rollback: back, page: on-call}}]}",
            Some(declared),
        );
        for part in [
            r#"{"mode": "shadow", "plans": ["back"]}"#,
            r#""app": {"every": "10s", "scrape":"#,
            r#""probe": {"probe": "x"}"#,
            r#"{"name": "a", "timeout": "5s", "exec": ["/usr/bin/true"]}, {"name": "b", "exec": ["/x"], "timeout": "60s"}"#,
            r#""on-call": [{"notify": ["pager", "mail"]}]"#,
            r#""receivers": {"mail": {"email": {}}, "pager": {"pagerduty":"#,
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }

    #[test]
    fn worlds_lie_over_each_other_entry_by_entry() {
        let (below, above) = (made("{a: {b: 1, c: [1]}, d: 2}"), made("{a: {c: [2], e: 3}}"));
        let (Some(below), Some(above)) = (below, above) else { panic!("is YAML") };
        assert_eq!(printed(&merge(&below, &above)), r#"{"a": {"b": "1", "c": ["2"], "e": "3"}, "d": "2"}"#);
    }

    #[test]
    fn imported_rules_get_what_their_routes_name() {
        let told = world(
            "{groups: []}",
            Some("{routes: [{match: {a: b}, target: shop, then: {rollback: back, page: on-call}}]}"),
        );
        for part in
            [r#""app": {"scrape""#, r#""shop": {"mode""#, r#""back": {"steps""#, r#""on-call": {"pager"#]
        {
            assert!(told.contains(part), "{part} in {told}");
        }
    }
}
