//! `switch-service`: points a Service at other pods. A selector that matches no ready pod would take it off the air.

use std::collections::BTreeMap;

use serde_json::json;
use tokio::time::Instant;

use super::kubectl::{Kubectl, object_name};
use super::objects::{EndpointSlice, List, Pod, Service, selector_argument};
use crate::cli::adapter::budget::ConductArguments;
use crate::cli::adapter::report::{Ending, Outcome, Trouble};

/// What `switch-service` takes.
#[derive(Debug, clap::Args)]
pub(super) struct SwitchArguments {
    /// The Service
    #[arg(value_name = "SERVICE", value_parser = object_name)]
    service: String,
    /// The labels of the selector that change, such as version=blue; the others stay
    #[arg(long = "to", value_name = "LABEL=VALUE", required = true, value_delimiter = ',', value_parser = label)]
    labels: Vec<(String, String)>,
    /// How many ready pods there must be
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_ready: usize,
}

/// Takes a label with its value; both are limited to what Kubernetes allows, so neither can be another option or label.
fn label(text: &str) -> Result<(String, String), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_word = |word: &str| word.chars().all(fits) && !word.starts_with(['-', '_', '.']);
    match text.split_once('=') {
        Some((key, value))
            if !key.is_empty() && key.split('/').all(is_word) && is_word(value) && !value.is_empty() =>
        {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err("expected a label and its value, such as version=blue".to_owned()),
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Judgement {
    /// It points there, and ready pods are there.
    AlreadyThere(String),
    Switch(String),
    Refused(String),
}

/// Returns the selector with the given labels changed.
fn changed(selector: &BTreeMap<String, String>, labels: &[(String, String)]) -> BTreeMap<String, String> {
    let mut changed = selector.clone();
    changed.extend(labels.iter().cloned());
    changed
}

/// Decides, from the Service and from the pods that the new selector matches.
fn judge(service: &Service, wanted: &BTreeMap<String, String>, pods: &[Pod], min_ready: usize) -> Judgement {
    let selector = &service.spec.selector;
    if selector.is_empty() {
        return Judgement::Refused(
            "the Service has no selector: its endpoints are managed otherwise".to_owned(),
        );
    }
    let shown = selector_argument(wanted);
    let ready = pods.iter().filter(|pod| pod.is_ready()).count();
    let found = format!("{shown} matches {} pods, {ready} of them ready", pods.len());
    if ready < min_ready.max(1) {
        let unknown: Vec<&str> =
            wanted.keys().filter(|key| !selector.contains_key(*key)).map(String::as_str).collect();
        let hint = if unknown.is_empty() {
            String::new()
        } else {
            format!("; the selector has no label {} yet, is it one of the pods?", unknown.join(", "))
        };
        return Judgement::Refused(format!("{found}, {} needed{hint}", min_ready.max(1)));
    }
    if selector == wanted { Judgement::AlreadyThere(found) } else { Judgement::Switch(found) }
}

pub(super) async fn run(
    kubectl: &Kubectl,
    conduct: &ConductArguments,
    arguments: &SwitchArguments,
) -> Ending {
    let name = &arguments.service;
    let mut before: Option<String> = None;
    loop {
        let read = match read(kubectl, arguments).await {
            Ok(read) => read,
            Err(trouble) => return Ending::trouble(name, &trouble),
        };
        let now = selector_argument(&read.service.spec.selector);
        let from = before.get_or_insert(now).clone();
        let to = selector_argument(&read.wanted);
        let between = |ending: Ending| ending.between(Some(&from), Some(&to));
        match judge(&read.service, &read.wanted, &read.pods, arguments.min_ready) {
            Judgement::Refused(why) => return between(Ending::new(name, Outcome::Refused, why)),
            Judgement::AlreadyThere(found) => {
                let result = if from == to { Outcome::AlreadyThere } else { Outcome::Done };
                return between(Ending::new(name, result, found));
            }
            Judgement::Switch(found) if conduct.check => {
                return between(match kubectl.may("patch", &[&format!("services/{name}")]).await {
                    Ok(()) => Ending::new(name, Outcome::WouldDo, format!("would switch: {found}")),
                    Err(trouble) => Ending::trouble(name, &trouble),
                });
            }
            Judgement::Switch(_) => {}
        }
        match patch(kubectl, &read.service, &read.wanted).await {
            Ok(()) => return between(watch(kubectl, arguments, &read.wanted).await),
            // Read and judged anew: somebody else may have changed it, or the answer alone was lost.
            Err(trouble) if trouble.may_pass && kubectl.budget.pause().await => {}
            Err(trouble) => return between(Ending::trouble(name, &trouble)),
        }
    }
}

struct Read {
    service: Service,
    wanted: BTreeMap<String, String>,
    pods: Vec<Pod>,
}

async fn read(kubectl: &Kubectl, arguments: &SwitchArguments) -> Result<Read, Trouble> {
    let service: Service = kubectl.get_patiently(&["service", &arguments.service]).await?;
    let wanted = changed(&service.spec.selector, &arguments.labels);
    let pods: List<Pod> =
        kubectl.get_patiently(&["pods", &format!("--selector={}", selector_argument(&wanted))]).await?;
    Ok(Read { service, wanted, pods: pods.items })
}

/// Sets the selector if the Service is still the one that was judged: the API server compares the version.
async fn patch(
    kubectl: &Kubectl,
    service: &Service,
    wanted: &BTreeMap<String, String>,
) -> Result<(), Trouble> {
    let patch = json!({
        "metadata": {"resourceVersion": service.metadata.resource_version},
        "spec": {"selector": wanted},
    });
    let patch = format!("--patch={patch}");
    kubectl.tell(&["patch", "service", &service.metadata.name, "--type=merge", &patch]).await.map(drop)
}

/// Reads back until the Service's endpoints are ready pods of the new selector, and for the time of the watch.
async fn watch(kubectl: &Kubectl, arguments: &SwitchArguments, wanted: &BTreeMap<String, String>) -> Ending {
    let name = &arguments.service;
    let switched_at = Instant::now();
    loop {
        let seen = match endpoints(kubectl, arguments, wanted).await {
            Ok(Seen::FlippedBack(selector)) => {
                let after = switched_at.elapsed().as_secs_f64();
                let why = format!(
                    "the selector was set to {selector} again {after:.0} s later: GitOps keeps it so"
                );
                return Ending::new(name, Outcome::FlippedBack, why);
            }
            Ok(Seen::Ready(why)) if switched_at.elapsed() >= kubectl.watch() => {
                return Ending::new(name, Outcome::Done, why);
            }
            Ok(seen) => seen,
            Err(trouble) => Seen::Missing(trouble.why),
        };
        if !kubectl.budget.pause().await {
            return match seen {
                Seen::Ready(why) => {
                    Ending::new(name, Outcome::Done, format!("{why}; the time for the watch was up"))
                }
                Seen::Missing(why) | Seen::FlippedBack(why) => {
                    Ending::new(name, Outcome::Failed, format!("switched, but {why}"))
                }
            };
        }
    }
}

/// What a reading shows.
enum Seen {
    Ready(String),
    Missing(String),
    /// The selector is another one again.
    FlippedBack(String),
}

async fn endpoints(
    kubectl: &Kubectl,
    arguments: &SwitchArguments,
    wanted: &BTreeMap<String, String>,
) -> Result<Seen, Trouble> {
    let Read { service, pods, .. } = read(kubectl, arguments).await?;
    if service.spec.selector != *wanted {
        return Ok(Seen::FlippedBack(selector_argument(&service.spec.selector)));
    }
    let of_service = format!("--selector=kubernetes.io/service-name={}", arguments.service);
    let slices: List<EndpointSlice> = kubectl.get(&["endpointslices", &of_service]).await?;
    Ok(seen(&slices.items, &pods, arguments.min_ready))
}

/// Judges the endpoints against the pods that the selector matches.
fn seen(slices: &[EndpointSlice], pods: &[Pod], min_ready: usize) -> Seen {
    let ready: Vec<&str> = slices.iter().flat_map(EndpointSlice::ready).collect();
    let is_one = |name: &&&str| pods.iter().any(|pod| pod.metadata.name == **name);
    let right = ready.iter().filter(is_one).count();
    let wrong = ready.len() - right;
    if right < min_ready.max(1) {
        Seen::Missing(format!("{right} of the right pods are ready endpoints"))
    } else if wrong > 0 {
        Seen::Missing(format!("{wrong} endpoints are still other pods"))
    } else {
        Seen::Ready(format!("{right} ready endpoints"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(selector: serde_json::Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "shop"}, "spec": {"selector": selector}})).unwrap()
    }

    fn pod(name: &str, ready: &str) -> Pod {
        let object = json!({
            "metadata": {"name": name},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn s1_09_a_selector_that_matches_no_ready_pod_is_refused() {
        let shop = service(json!({"app": "shop", "version": "green"}));
        let ready = [pod("a", "True"), pod("b", "False")];
        let mut leaving = pod("c", "True");
        leaving.metadata.deletion_timestamp = Some("2026-11-21T12:00:00Z".to_owned());
        let judged = |to: &str, pods: &[Pod], min_ready| {
            judge(&shop, &changed(&shop.spec.selector, &[label(to).unwrap()]), pods, min_ready)
        };
        let found = "app=shop,version=blue matches 2 pods, 1 of them ready";
        assert_eq!(judged("version=blue", &ready, 1), Judgement::Switch(found.to_owned()));
        assert_eq!(judged("version=blue", &ready, 2), Judgement::Refused(format!("{found}, 2 needed")));
        assert!(matches!(judged("version=green", &ready, 1), Judgement::AlreadyThere(_)));
        for pods in [vec![], vec![pod("b", "False")], vec![leaving]] {
            assert!(matches!(judged("version=blue", &pods, 0), Judgement::Refused(_)), "{pods:?}");
        }
        // The weight that was written into a selector.
        let Judgement::Refused(why) = judged("weight=10", &[], 1) else { panic!("refused") };
        assert!(why.contains("weight=10 matches 0 pods") && why.contains("no label weight yet"), "{why}");
        let headless = service(json!({}));
        assert!(matches!(judge(&headless, &BTreeMap::new(), &ready, 1), Judgement::Refused(_)));
    }

    #[test]
    fn a_label_is_a_label() {
        let pair = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(label("version=blue"), pair("version", "blue"));
        assert_eq!(label("app.kubernetes.io/version=v1.2"), pair("app.kubernetes.io/version", "v1.2"));
        for text in ["", "version", "version=", "=blue", "version=blue,a=b", "-a=b", "a=b=c", "a=-b", "a=b c"]
        {
            assert!(label(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_ready_endpoints_of_the_right_pods_count() {
        let slices = |endpoints: serde_json::Value| -> Vec<EndpointSlice> {
            vec![serde_json::from_value(json!({"endpoints": endpoints})).unwrap()]
        };
        let one = |name: &str, ready: Option<bool>| json!({"conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": name}});
        let pods = [pod("blue-1", "True")];
        let told = |endpoints| match seen(&slices(endpoints), &pods, 1) {
            Seen::Ready(why) => format!("ready: {why}"),
            Seen::Missing(why) => format!("missing: {why}"),
            Seen::FlippedBack(why) => why,
        };
        assert_eq!(told(json!([one("blue-1", Some(true))])), "ready: 1 ready endpoints");
        assert_eq!(told(json!([one("blue-1", None)])), "ready: 1 ready endpoints");
        assert_eq!(
            told(json!([one("blue-1", Some(false))])),
            "missing: 0 of the right pods are ready endpoints"
        );
        assert_eq!(told(json!(null)), "missing: 0 of the right pods are ready endpoints");
        let mixed = json!([one("blue-1", Some(true)), one("green-1", Some(true))]);
        assert_eq!(told(mixed), "missing: 1 endpoints are still other pods");
    }
}
