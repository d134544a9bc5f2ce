//! The programs that the demo's rollback plan runs as steps: they tell the trading app what to do and exit.

use std::process::ExitCode;
use std::time::Duration;

use super::app::{Deploy, Health, Version};

/// How long the actuator waits for the app to run the version that it was switched to.
const SWITCH_LIMIT: Duration = Duration::from_secs(5);

/// Settings of `rearguard demo-actuator`.
#[derive(Clone, Debug, clap::Args)]
pub struct ActuatorOptions {
    /// The trading app's address.
    #[arg(long)]
    pub app: String,
    /// What is done.
    pub act: Act,
    /// In place of doing it: fail, or pretend that it was done.
    #[arg(long)]
    pub instead: Option<Instead>,
}

/// What an actuator can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Act {
    /// Runs the previous version again and waits until it does.
    SwitchBack,
    /// Fills the app's caches.
    WarmCaches,
}

/// How an actuator can be bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Instead {
    /// Does nothing and says so.
    Fail,
    /// Does nothing and claims success.
    Pretend,
}

/// The variable in which a step is told the version that ran before the bad one.
const PREVIOUS_VERSION: &str = "REARGUARD_PREVIOUS_VERSION";

/// Why an actuator did not do what it should.
#[derive(Debug, thiserror::Error)]
enum ActuatorError {
    #[error("the trading app at {url} did not do it")]
    Request { url: String, source: reqwest::Error },
    #[error("{PREVIOUS_VERSION} is `{0}`; the trading app has the versions 1 and 2")]
    NoSuchVersion(String),
    #[error("the trading app still runs version {runs} after {} s", SWITCH_LIMIT.as_secs())]
    NotSwitched { runs: Version },
    #[error("the load balancer refuses the switch: not authorized (sabotaged)")]
    Sabotaged,
}

/// Runs one actuator: prints what it did and exits with 0, or what was wrong and exits with 1.
pub async fn run_actuator(options: ActuatorOptions) -> ExitCode {
    let previous = std::env::var(PREVIOUS_VERSION).unwrap_or_default();
    match act(&options, &previous).await {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            eprintln!("{error}{cause}");
            ExitCode::FAILURE
        }
    }
}

async fn act(options: &ActuatorOptions, previous: &str) -> Result<String, ActuatorError> {
    match (options.instead, options.act) {
        (Some(Instead::Fail), _) => Err(ActuatorError::Sabotaged),
        (Some(Instead::Pretend), Act::SwitchBack) => Ok(done(version(previous)?)),
        (Some(Instead::Pretend), Act::WarmCaches) => Ok("caches are warm".to_owned()),
        (None, Act::SwitchBack) => switch_back(&options.app, version(previous)?).await,
        (None, Act::WarmCaches) => warm_caches(&options.app).await,
    }
}

/// Reads the version to go back to. A watchdog that started after the deployment knows none; then it is version 1.
fn version(previous: &str) -> Result<Version, ActuatorError> {
    match previous {
        "" | "1" => Ok(Version::One),
        "2" => Ok(Version::Two),
        other => Err(ActuatorError::NoSuchVersion(other.to_owned())),
    }
}

fn done(version: Version) -> String {
    format!("the trading app runs version {version} again")
}

async fn switch_back(app: &str, version: Version) -> Result<String, ActuatorError> {
    let failed = |source| ActuatorError::Request { url: app.to_owned(), source };
    let client = super::loopback_client().map_err(failed)?;
    let wish = Deploy { version };
    let answer = client.post(format!("{app}/admin/deploy")).json(&wish).send().await.map_err(failed)?;
    answer.error_for_status().map_err(failed)?;
    let limit = tokio::time::Instant::now() + SWITCH_LIMIT;
    loop {
        let runs = client.get(format!("{app}/api/health")).send().await.map_err(failed)?;
        let runs: Health = runs.json().await.map_err(failed)?;
        if runs.version == version {
            return Ok(done(version));
        }
        if tokio::time::Instant::now() > limit {
            return Err(ActuatorError::NotSwitched { runs: runs.version });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn warm_caches(app: &str) -> Result<String, ActuatorError> {
    let failed = |source| ActuatorError::Request { url: app.to_owned(), source };
    let client = super::loopback_client().map_err(failed)?;
    let answer = client.post(format!("{app}/admin/warm-caches")).send().await.map_err(failed)?;
    answer.error_for_status().map_err(failed)?;
    Ok("caches are warm".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::app::{AppOptions, router};
    use super::*;

    async fn app_with_version_2() -> String {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a loopback port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router(AppOptions { seed: 7 })).await });
        let client = super::super::loopback_client().expect("a client");
        let wish = Deploy { version: Version::Two };
        client.post(format!("{url}/admin/deploy")).json(&wish).send().await.expect("an answer");
        url
    }

    #[tokio::test]
    async fn switching_back_switches_back_unless_sabotaged() {
        let cases = [
            (None, true, Version::One),
            (Some(Instead::Fail), false, Version::Two),
            (Some(Instead::Pretend), true, Version::Two),
        ];
        for (instead, claims_success, runs) in cases {
            let app = app_with_version_2().await;
            let options = ActuatorOptions { app: app.clone(), act: Act::SwitchBack, instead };
            assert_eq!(act(&options, "1").await.is_ok(), claims_success, "{instead:?}");
            let client = super::super::loopback_client().expect("a client");
            let health = client.get(format!("{app}/api/health")).send().await.expect("an answer");
            assert_eq!(health.json::<Health>().await.expect("a body").version, runs, "{instead:?}");
        }
    }

    #[test]
    fn the_version_to_go_back_to_is_checked() {
        assert_eq!(version("").ok(), Some(Version::One));
        assert_eq!(version("2").ok(), Some(Version::Two));
        assert!(matches!(version("3; rm -rf"), Err(ActuatorError::NoSuchVersion(_))));
    }

    #[tokio::test]
    async fn an_app_that_is_gone_is_an_error_that_names_it() {
        let app = "http://127.0.0.1:9".to_owned();
        let options = ActuatorOptions { app, act: Act::WarmCaches, instead: None };
        let error = act(&options, "").await.expect_err("nobody listens there");
        assert!(error.to_string().contains("127.0.0.1:9"), "{error}");
    }
}
