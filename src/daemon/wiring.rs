//! Settings -> the things that they describe. The only place that knows both.

use std::collections::BTreeMap;

use crate::config::{Config, MailTls, Receiver as Settings, Secrets};
use crate::effects::http;
use crate::effects::receiver::email::{Email, EmailSettings, TlsMode};
use crate::effects::receiver::pagerduty::{PagerDuty, PagerDutySettings};
use crate::effects::receiver::{InvalidReceiver, Receiver};
use crate::engine::model::ReceiverName;
use crate::secret::Secret;

/// Makes every receiver that has its secret, and says in a line each why others cannot be made.
pub fn receivers(config: &Config, secrets: &Secrets) -> (BTreeMap<ReceiverName, Receiver>, Vec<String>) {
    let mut made = BTreeMap::new();
    let client = match http::client() {
        Ok(client) => client,
        Err(none) => return (made, vec![none.to_string()]),
    };
    let mut problems = Vec::new();
    for (name, settings) in &config.receivers {
        let secret = secrets.get(name).cloned();
        // That the secret cannot be read has been told where it was read.
        if secret.is_none() && settings.secret().is_some() {
            continue;
        }
        match receiver(settings, secret, config.external_url.clone(), &client) {
            Ok(receiver) => {
                made.insert(name.clone(), receiver);
            }
            Err(InvalidReceiver(why)) => problems.push(format!("receiver {name}: {why}")),
        }
    }
    (made, problems)
}

fn receiver(
    settings: &Settings,
    secret: Option<Secret>,
    external_url: Option<String>,
    client: &reqwest::Client,
) -> Result<Receiver, InvalidReceiver> {
    Ok(match settings {
        Settings::PagerDuty(pagerduty) => {
            let routing_key = secret.unwrap_or_else(|| Secret::new(""));
            let settings =
                PagerDutySettings { routing_key, base_url: pagerduty.base_url.clone(), external_url };
            Receiver::PagerDuty(PagerDuty::new(settings, client.clone())?)
        }
        Settings::Email(email) => {
            let credentials = email.credentials.as_ref().zip(secret);
            Receiver::Email(Email::new(EmailSettings {
                host: email.host.clone(),
                port: email.port,
                tls: match email.tls {
                    MailTls::StartTls => TlsMode::StartTls,
                    MailTls::Implicit => TlsMode::Implicit,
                    MailTls::Plain => TlsMode::PlainLoopbackOnly,
                },
                credentials: credentials.map(|((user, _), password)| (user.clone(), password)),
                from: email.from.clone(),
                to: email.to.clone(),
            })?)
        }
    })
}
