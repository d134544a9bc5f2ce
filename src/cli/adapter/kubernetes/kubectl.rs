//! Speaks to a cluster through `kubectl`, and tells apart what may pass from what lasts.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::cli::adapter::budget::{Budget, ConductArguments};
use crate::cli::adapter::child::{self, Said};
use crate::cli::adapter::report::Trouble;
use crate::engine::time::Span;

/// How `kubectl` finds the cluster.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli::adapter) struct ClusterArguments {
    /// The program
    #[arg(long, value_name = "PROGRAM", default_value = "kubectl")]
    kubectl: PathBuf,
    /// The file that says where the cluster is; a step has no HOME in which kubectl would find one
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// A context of that file
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The namespace
    #[arg(short, long, value_parser = object_name)]
    namespace: Option<String>,
    /// How long it is watched after a change that nothing (GitOps, an autoscaler) sets it back
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    watch: Span,
}

/// Takes a name as Kubernetes allows it (RFC 1123): so no name is an option or a path.
pub(in crate::cli::adapter) fn object_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let is_edge_fine = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let is_name = text.len() <= 253 && text.chars().all(fits);
    if is_name && is_edge_fine(text.chars().next()) && is_edge_fine(text.chars().last()) {
        return Ok(text.to_owned());
    }
    Err("expected a name of Kubernetes, such as trading-app: lower case letters, digits, `-`, `.`".to_owned())
}

/// A cluster, and the time that is left for it.
pub(in crate::cli::adapter) struct Kubectl {
    arguments: ClusterArguments,
    pub(in crate::cli::adapter) budget: Budget,
}

impl Kubectl {
    pub(in crate::cli::adapter) fn new(arguments: ClusterArguments, conduct: &ConductArguments) -> Self {
        Self { arguments, budget: Budget::new(conduct) }
    }

    /// Returns how long a change is watched.
    pub(in crate::cli::adapter) fn watch(&self) -> Duration {
        self.arguments.watch.to_std()
    }

    /// Runs `kubectl`; an error is what it said of one.
    ///
    /// What it is told of the cluster comes last: a plugin refuses options before its own name.
    async fn run(&self, words: &[&str], limit: Duration) -> Result<Said, Trouble> {
        let mut arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        if let Some(namespace) = &self.arguments.namespace {
            arguments.push(format!("--namespace={namespace}"));
        }
        if let Some(context) = &self.arguments.context {
            arguments.push(format!("--context={context}"));
        }
        if let Some(file) = &self.arguments.kubeconfig {
            arguments.push(format!("--kubeconfig={}", file.display()));
        }
        let said = child::run(&self.arguments.kubectl, &arguments, limit).await?;
        if said.succeeded { Ok(said) } else { Err(trouble(&said)) }
    }

    /// Reads objects.
    pub(in crate::cli::adapter) async fn get<T: DeserializeOwned>(
        &self,
        words: &[&str],
    ) -> Result<T, Trouble> {
        let mut arguments = vec!["get"];
        arguments.extend(words);
        arguments.extend(["--output=json"]);
        let said = self.run(&arguments, self.budget.for_a_read()).await?;
        serde_json::from_str(&said.output).map_err(|error| {
            Trouble::lasting(format!("`kubectl {}` did not answer as expected: {error}", arguments.join(" ")))
        })
    }

    /// Reads objects, again and again while that may help.
    pub(in crate::cli::adapter) async fn get_patiently<T: DeserializeOwned>(
        &self,
        words: &[&str],
    ) -> Result<T, Trouble> {
        loop {
            match self.get(words).await {
                Err(trouble) if trouble.may_pass && self.budget.pause().await => {}
                other => return other,
            }
        }
    }

    /// Changes something, or asks something that is no object; returns what was said.
    pub(in crate::cli::adapter) async fn tell(&self, words: &[&str]) -> Result<String, Trouble> {
        let said = self.run(words, self.budget.for_a_change()).await?;
        Ok(format!("{} {}", said.output.trim(), said.message.trim()).trim().to_owned())
    }

    /// Asks whether we may do that; the error says that we may not, or that nobody could tell.
    ///
    /// For drills: a rollback that lacks a permission is found before it is needed.
    pub(in crate::cli::adapter) async fn may(&self, verb: &str, what: &[&str]) -> Result<(), Trouble> {
        let mut words = vec!["auth", "can-i", verb];
        words.extend(what);
        match self.run(&words, self.budget.for_a_read()).await {
            Ok(_) => Ok(()),
            // It says `no` on its output and exits with 1; troubles are on the other stream.
            Err(trouble) if trouble.why == "no" || trouble.why.starts_with("no - ") => {
                Err(Trouble::lasting(format!("not permitted to {verb} {}", what.join(" "))))
            }
            Err(trouble) => Err(trouble),
        }
    }
}

/// What `kubectl` says where the API server did not answer, or asks for patience.
const MAY_PASS: [&str; 14] = [
    "connection refused",
    "connection reset",
    "was refused - did you specify",
    "unable to connect to the server",
    "i/o timeout",
    "tls handshake timeout",
    "context deadline exceeded",
    "client.timeout exceeded",
    "request timed out",
    "unable to return a response in the time allotted",
    "too many requests",
    "server is currently unable to handle the request",
    "unexpected eof",
    // Somebody else changed it at the same time: it has to be read and judged anew.
    "the object has been modified",
];

fn trouble(said: &Said) -> Trouble {
    let lower = said.message.to_lowercase();
    let why = said.last_words();
    if MAY_PASS.iter().any(|text| lower.contains(text)) {
        Trouble::passing(why)
    } else {
        Trouble::lasting(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_told_from_what_lasts() {
        let cases = [
            (
                "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?",
                true,
            ),
            ("Unable to connect to the server: dial tcp 10.0.0.1:443: i/o timeout", true),
            (
                "Error from server (Timeout): the server was unable to return a response in the time allotted, but may still be processing the request",
                true,
            ),
            ("Error from server (TooManyRequests): too many requests", true),
            ("Error from server: etcdserver: request timed out", true),
            (
                "Error from server (Conflict): Operation cannot be fulfilled on services \"web\": the object has been modified; please apply your changes to the latest version and try again",
                true,
            ),
            ("Error from server (NotFound): deployments.apps \"web\" not found", false),
            (
                "Error from server (Forbidden): deployments.apps \"web\" is forbidden: User \"rearguard\" cannot patch",
                false,
            ),
            (
                "error: you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again",
                false,
            ),
            ("error: unknown command \"argo\" for \"kubectl\"", false),
            ("", false),
        ];
        for (message, may_pass) in cases {
            let said = Said {
                succeeded: false,
                output: String::new(),
                message: format!("E1121 noise\n{message}\n"),
            };
            let found = trouble(&said);
            assert_eq!(found.may_pass, may_pass, "{message}");
            assert!(message.is_empty() || found.why == message, "{found:?}");
        }
    }

    #[test]
    fn no_name_is_an_option_or_a_path() {
        for name in ["web", "trading-app.v2", "0"] {
            assert_eq!(object_name(name).as_deref(), Ok(name));
        }
        for name in ["", "--all", "-web", "web/..", "Web", "a b", "web-", "a,b", &"a".repeat(254)] {
            assert!(object_name(name).is_err(), "{name}");
        }
    }
}
