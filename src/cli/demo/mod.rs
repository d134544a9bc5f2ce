//! `rearguard demo`: a trading app, a bad deployment, a rollback, a page, in about a minute and with nothing installed.
//!
//! Everything is real and everything is in this one program: the app and the daemon are processes of their own that talk
//! HTTP, the rollback runs programs, and the pages go out over HTTP and SMTP to stand-ins on the loopback. Data flows
//! this way:
//!
//! ```text
//! load ──> app <── scrape ── daemon ── steps ──> actuator ──> app
//!                              │  └── pages, mails ──> pagerduty, smtp ──┐
//!                              └── events ── follow ──> story ──> screen <┘
//! ```

mod actuator;
mod app;
mod arrival;
mod exposition;
mod follow;
mod judge;
mod load;
mod pagerduty;
mod processes;
mod scenario;
mod screen;
mod smtp;
mod stage;
mod story;

use std::fmt;
use std::time::Duration;

pub use actuator::{Act, ActuatorOptions, Instead, run_actuator};
pub use app::{AppOptions, run_app};
pub use stage::run;

use crate::sources::http_client::install_crypto_provider;

/// The time after which a request on the loopback has failed.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// Settings of `rearguard demo`.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct DemoOptions {
    /// Leave everything running afterwards, for the other commands to look at.
    #[arg(long)]
    pub keep: bool,
    /// Make a part fail and see what Rearguard does then.
    #[arg(long, value_name = "PART")]
    pub sabotage: Option<Sabotage>,
}

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sabotage {
    /// The rollback command fails.
    Actuator,
    /// PagerDuty takes nothing.
    Receiver,
    /// The rollback command claims success and does nothing, so the proof fails.
    Verify,
}

impl fmt::Display for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Actuator => "the command that switches back fails",
            Self::Receiver => "PagerDuty answers 500 to everything",
            Self::Verify => "the command that switches back claims success and does nothing",
        })
    }
}

/// Returns a client that goes straight to the loopback, whatever proxy this user has set up.
fn loopback_client() -> Result<reqwest::Client, reqwest::Error> {
    install_crypto_provider();
    reqwest::Client::builder().no_proxy().timeout(REQUEST_LIMIT).build()
}
