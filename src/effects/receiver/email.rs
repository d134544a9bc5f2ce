//! Mail over SMTP: text and HTML, threaded per incident.
//!
//! The conversation is held here, command by command, rather than by lettre's transport, for two reasons. A message that
//! has been accepted stays accepted when the server drops the line before QUIT. And one recipient whom the server
//! refuses must not take the page from the others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::transport::smtp::response::Response;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::text::{self, Page};
use super::{Channel, InvalidReceiver, Receipt, SendError};
use crate::effects::printable;
use crate::engine::decision::Delivery;
use crate::engine::model::EffectId;
use crate::secret::Secret;

/// Time within which a connection must stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Limit for one whole try. RFC 5321 would wait ten minutes for the reply to the final dot; a page cannot, and the
/// stable Message-ID lets mailboxes drop a copy.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Time for a polite goodbye; nothing depends on it.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);

/// How many characters of a server's reply go into a reason.
const REPLY_CHARS_MAX: usize = 200;

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Begins in the clear and must be upgraded before anything is said (port 587).
    StartTls,
    /// TLS from the first byte (port 465).
    Implicit,
    /// No TLS; only to this host.
    PlainLoopbackOnly,
}

/// What a mail receiver is made of.
#[derive(Clone, Debug)]
pub struct EmailSettings {
    /// The server's name or address.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: TlsMode,
    /// User name and password, where the server wants them.
    pub credentials: Option<(String, Secret)>,
    /// The sender: `rearguard@example.com` or `Rearguard <rearguard@example.com>`.
    pub from: String,
    /// The recipients, in the same forms.
    pub to: Vec<String>,
}

/// A list of people behind one mail server.
#[derive(Debug)]
pub struct Email {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<(String, Secret)>,
    from: Mailbox,
    to: Vec<Mailbox>,
    /// Who already has a message of which others are still to get theirs. A restart forgets it and some get a copy.
    served: Mutex<BTreeMap<EffectId, BTreeSet<String>>>,
}

/// The mode with what it needs.
enum Security {
    StartTls(TlsParameters),
    Implicit(TlsParameters),
    Plain,
}

impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::StartTls(_) => "StartTls",
            Self::Implicit(_) => "Implicit",
            Self::Plain => "Plain",
        })
    }
}

impl Email {
    /// Makes the receiver.
    ///
    /// # Errors
    ///
    /// Fails, with all problems at once, where an address is not one, nobody would get the mail, or an unprotected
    /// connection would leave this host.
    pub fn new(mut settings: EmailSettings) -> Result<Self, InvalidReceiver> {
        // As in a URL: an IPv6 address may stand in brackets.
        settings.host = settings.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let mut problems = Vec::new();
        let mut mailbox = |text: &str| {
            let parsed = text.parse::<Mailbox>();
            let shown = printable::line(text);
            parsed.map_err(|error| problems.push(format!("`{shown}` is not a mail address: {error}"))).ok()
        };
        let from = mailbox(&settings.from);
        let to: Vec<_> = settings.to.iter().filter_map(|text| mailbox(text)).collect();
        if settings.to.is_empty() {
            problems.push("`to` names nobody".to_owned());
        }
        let security = security(&settings).map_err(|problem| problems.push(problem)).ok();
        match (from, security) {
            (Some(from), Some(security)) if problems.is_empty() => Ok(Self {
                host: settings.host,
                port: settings.port,
                security,
                credentials: settings.credentials,
                from,
                to,
                served: Mutex::default(),
            }),
            _ => Err(InvalidReceiver(format!("email: {}", problems.join("; ")))),
        }
    }

    /// Returns the message as it goes over the wire.
    fn compose(&self, delivery: &Delivery, journal: &str, anchor: &str) -> Result<Vec<u8>, SendError> {
        let message = &delivery.message;
        let page = Page::new(delivery, journal, anchor);
        let domain = self.from.email.domain();
        // No message has the thread's own id: every message of the incident, whichever comes first, refers to it.
        let thread = format!("<{}@{domain}>", thread_id(journal, &message.dedup_key));
        let id = format!("<{}@{domain}>", word(&format!("{journal}-{}", delivery.effect)));
        let mut mail = lettre::Message::builder()
            .from(self.from.clone())
            .subject(text::subject(message))
            .message_id(Some(id))
            .in_reply_to(thread.clone())
            .references(thread);
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        let mail = mail
            .multipart(MultiPart::alternative_plain_html(page.to_text(), page.to_html()))
            .map_err(|error| SendError::never(format!("the mail cannot be composed: {error}")))?;
        Ok(mail.formatted())
    }

    /// Connects, protects the connection as demanded, logs in.
    async fn connect(&self) -> Result<AsyncSmtpConnection, SendError> {
        // Greeting, TLS and login are about the server, not about this message: whoever mends the server gets the page
        // out. Only a refused password ends it, for servers lock accounts that keep trying.
        let retry = |error| SendError::retry(format!("mail server {}: {}", self.host, reply(&error)));
        let hello = ClientId::default();
        let tls = match &self.security {
            Security::Implicit(tls) => Some(tls.clone()),
            Security::StartTls(_) | Security::Plain => None,
        };
        let server = (self.host.as_str(), self.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, Some(CONNECT_TIMEOUT), &hello, tls, None)
                .await
                .map_err(retry)?;
        if let Security::StartTls(tls) = &self.security {
            connection.starttls(tls.clone(), &hello).await.map_err(|error| {
                let reply = reply(&error);
                SendError::retry(format!(
                    "mail server {} refuses STARTTLS, nothing was sent: {reply}",
                    self.host
                ))
            })?;
        }
        if let Some((user, password)) = &self.credentials {
            let credentials = Credentials::new(user.clone(), password.expose().to_owned());
            let login = connection.auth(DEFAULT_MECHANISMS, &credentials).await;
            login.map_err(|error| {
                let reason = format!("mail server {} refuses the login: {}", self.host, reply(&error));
                let reason = password.redact(&reason);
                if error.is_permanent() { SendError::Never { reason } } else { SendError::retry(reason) }
            })?;
        }
        Ok(connection)
    }

    /// Holds one conversation: everybody who has not been served yet.
    async fn converse(&self, effect: EffectId, mail: &[u8]) -> Result<Receipt, SendError> {
        let mut connection = self.connect().await?;
        let outcome = self.transact(&mut connection, effect, mail).await;
        timeout(QUIT_TIMEOUT, connection.quit()).await.map(|_| ()).ok();
        outcome
    }

    async fn transact(
        &self,
        connection: &mut AsyncSmtpConnection,
        effect: EffectId,
        mail: &[u8],
    ) -> Result<Receipt, SendError> {
        let already = self.served().get(&effect).cloned().unwrap_or_default();
        connection.command(self.mail_from(connection)).await.map_err(|error| send_error("sender", &error))?;
        let mut accepted = BTreeSet::new();
        let mut deferred = Vec::new();
        let mut refused = Vec::new();
        for to in self.to.iter().filter(|to| !already.contains(&to.email.to_string())) {
            match connection.command(Rcpt::new(to.email.clone(), Vec::new())).await {
                Ok(_) => drop(accepted.insert(to.email.to_string())),
                Err(error) if error.is_permanent() => {
                    refused.push(format!("{}: {}", to.email, reply(&error)))
                }
                // After a broken line the next command fails too, and the message stays undelivered.
                Err(error) => deferred.push(format!("{}: {}", to.email, reply(&error))),
            }
        }
        let said = if accepted.is_empty() {
            String::new()
        } else {
            connection.command(Data).await.map_err(|error| send_error("message", &error))?;
            let yes = connection.message(mail).await.map_err(|error| send_error("message", &error))?;
            said(&yes)
        };
        self.conclude(effect, accepted.union(&already).cloned().collect(), &deferred, &refused, &said)
    }

    /// Sums up who has the message, who may get it later, and who never will.
    fn conclude(
        &self,
        effect: EffectId,
        served: BTreeSet<String>,
        deferred: &[String],
        refused: &[String],
        said: &str,
    ) -> Result<Receipt, SendError> {
        let mut reason = format!("{} of {} recipients have it", served.len(), self.to.len());
        for problem in deferred.iter().chain(refused) {
            reason.push_str("; ");
            reason.push_str(problem);
        }
        if !deferred.is_empty() {
            self.served().insert(effect, served);
            return Err(SendError::retry(reason));
        }
        self.served().remove(&effect);
        if served.is_empty() {
            return Err(SendError::Never { reason });
        }
        Ok(Receipt(format!("{reason}; mail server {}: {said}", self.host)))
    }

    fn mail_from(&self, connection: &AsyncSmtpConnection) -> Mail {
        let foreign =
            std::iter::once(&self.from).chain(&self.to).any(|mailbox| !mailbox.email.to_string().is_ascii());
        let utf8 = foreign && connection.server_info().supports_feature(Extension::SmtpUtfEight);
        Mail::new(
            Some(self.from.email.clone()),
            if utf8 { vec![MailParameter::SmtpUtfEight] } else { Vec::new() },
        )
    }

    /// Returns the notes on who has which message; they stay valid whatever happened to another holder.
    fn served(&self) -> std::sync::MutexGuard<'_, BTreeMap<EffectId, BTreeSet<String>>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Channel for Email {
    async fn send(&self, delivery: &Delivery, journal: &str, anchor: &str) -> Result<Receipt, SendError> {
        let mail = self.compose(delivery, journal, anchor)?;
        match timeout(TIMEOUT, self.converse(delivery.effect, &mail)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(SendError::retry(format!("mail server {}: no answer in {TIMEOUT:?}", self.host))),
        }
    }
}

fn security(settings: &EmailSettings) -> Result<Security, String> {
    let tls = || {
        TlsParameters::new(settings.host.clone())
            .map_err(|error| format!("no TLS to `{}`: {error}", printable::line(&settings.host)))
    };
    match settings.tls {
        TlsMode::StartTls => Ok(Security::StartTls(tls()?)),
        TlsMode::Implicit => Ok(Security::Implicit(tls()?)),
        TlsMode::PlainLoopbackOnly => {
            let host = settings.host.as_str();
            let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
            if is_loopback {
                return Ok(Security::Plain);
            }
            let host = printable::line(host);
            Err(format!(
                "`{host}` is another host: mail without TLS only goes to localhost, use STARTTLS or implicit TLS"
            ))
        }
    }
}

/// Returns the id of the thread: one per journal and dedup key, whatever characters the key has.
fn thread_id(journal: &str, dedup_key: &str) -> String {
    let digest = Sha256::digest(format!("{journal}\n{dedup_key}").as_bytes());
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("thread-{hex}")
}

/// Returns `text` with everything replaced that may not stand on the left of a Message-ID's `@`.
fn word(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect()
}

/// Returns an error about this message: a reply of 5yz is final, everything else may pass.
fn send_error(what: &str, error: &lettre::transport::smtp::Error) -> SendError {
    let reason = format!("{what}: {}", reply(error));
    if error.is_permanent() { SendError::Never { reason } } else { SendError::retry(reason) }
}

/// Returns a server's no, or the failure of the line, as one short line.
fn reply(error: &lettre::transport::smtp::Error) -> String {
    printable::short_line(&printable::error_chain(error), REPLY_CHARS_MAX)
}

/// Returns a server's yes as one short line.
fn said(response: &Response) -> String {
    let text = response.message().collect::<Vec<_>>().join(" ");
    printable::short_line(&format!("{} {text}", response.code()), REPLY_CHARS_MAX)
}
