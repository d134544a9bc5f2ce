//! Mail against a scripted SMTP server on loopback: deferrals, refusals, dropped lines, TLS that is denied.

#[path = "effects_fixture/deliveries.rs"]
mod deliveries;
mod effects_fixture;

use std::sync::{Arc, Mutex};

use rearguard::effects::receiver::{Email, EmailSettings, TlsMode};
use rearguard::effects::{Channel, Receipt, SendError};
use rearguard::engine::decision::{Delivery, MessageKind};
use rearguard::engine::model::Labels;
use rearguard::secret::Secret;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use deliveries::{ANCHOR, delivery};
use effects_fixture::JOURNAL;

/// Commands by their beginning, with the replies that differ from the usual ones; `drop` cuts the line, `1:` and the
/// like limit a reply to the first conversations.
type Script = &'static [(&'static str, &'static str)];

/// A mail server that follows a script and writes down everything that it is told.
struct Server {
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&lines);
        tokio::spawn(async move {
            let mut conversation = 0;
            while let Ok((stream, _)) = listener.accept().await {
                conversation += 1;
                // The client went away in the middle: its own affair.
                converse(stream, script, conversation, &heard).await.ok();
            }
        });
        Self { port, lines }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn heard(&self, beginning: &str) -> usize {
        self.lines().iter().filter(|line| line.starts_with(beginning)).count()
    }
}

/// Returns the reply to a command in the n-th conversation.
fn reply<'a>(script: Script, conversation: usize, line: &str, usual: &'a str) -> &'a str {
    for (beginning, reply) in script {
        let (until, reply) =
            reply.split_once(':').filter(|(n, _)| n.parse::<usize>().is_ok()).unwrap_or(("99", reply));
        if line.starts_with(beginning) && conversation <= until.parse().unwrap() {
            return reply;
        }
    }
    usual
}

async fn converse(
    stream: TcpStream,
    script: Script,
    conversation: usize,
    heard: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream
        .get_mut()
        .write_all(format!("{}\r\n", reply(script, conversation, "GREETING", "220 mail")).as_bytes())
        .await?;
    let mut in_data = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let line = line.trim_end_matches("\r\n").to_owned();
        heard.lock().unwrap().push(line.clone());
        let usual = match line.split([' ', ':']).next().unwrap() {
            _ if in_data && line != "." => continue,
            "." => "250 queued as 4711",
            "EHLO" => "250-mail\r\n250-8BITMIME\r\n250 AUTH PLAIN",
            "AUTH" => "235 welcome",
            "DATA" => "354 go on",
            "QUIT" => "221 bye",
            "STARTTLS" => "502 what?",
            _ => "250 ok",
        };
        let reply = reply(script, conversation, &line, usual);
        if reply == "drop" {
            return Ok(());
        }
        in_data = reply.starts_with("354");
        stream.get_mut().write_all(format!("{reply}\r\n").as_bytes()).await?;
        if line == "QUIT" {
            return Ok(());
        }
    }
}

fn settings(port: u16) -> EmailSettings {
    EmailSettings {
        host: "127.0.0.1".to_owned(),
        port,
        tls: TlsMode::PlainLoopbackOnly,
        credentials: None,
        from: "Rearguard <rearguard@example.com>".to_owned(),
        to: vec!["ana@example.com".to_owned(), "Bo <bo@example.com>".to_owned()],
    }
}

async fn send(email: &Email, delivery: &Delivery) -> Result<Receipt, SendError> {
    email.send(delivery, JOURNAL, ANCHOR).await
}

fn trigger() -> Delivery {
    delivery(40, MessageKind::Trigger, "trading-app/ErrorRateHigh")
}

#[tokio::test]
async fn a_mail_has_a_stable_id_a_thread_and_two_forms() {
    let server = Server::start(&[]).await;
    let email = Email::new(settings(server.port)).unwrap();
    let receipt = send(&email, &trigger()).await.unwrap();
    assert_eq!(receipt.0, "2 of 2 recipients have it; mail server 127.0.0.1: 250 queued as 4711");
    let resolve = delivery(41, MessageKind::Resolve, "trading-app/ErrorRateHigh");
    send(&email, &resolve).await.unwrap();
    send(&email, &delivery(42, MessageKind::Trigger, "another key")).await.unwrap();

    let lines = server.lines();
    let header = |name: &str| -> Vec<String> {
        lines.iter().filter_map(|line| line.strip_prefix(name)).map(str::to_owned).collect()
    };
    assert_eq!(
        header("Subject: "),
        [
            "[Rearguard] HIGH trading-app: 7.3% of requests fail",
            "[Rearguard] RESOLVED trading-app: 7.3% of requests fail",
            "[Rearguard] HIGH trading-app: 7.3% of requests fail",
        ]
    );
    let ids = header("Message-ID: ");
    assert_eq!(ids, ["E40", "E41", "E42"].map(|effect| format!("<{JOURNAL}-{effect}@example.com>")));
    let threads = header("References: ");
    assert_eq!(threads, header("In-Reply-To: "));
    assert!(threads[0] == threads[1] && threads[0] != threads[2] && threads[0].ends_with("@example.com>"));
    assert_eq!(header("RCPT TO:"), ["<ana@example.com>", "<bo@example.com>"].repeat(3));
    for part in ["Content-Type: multipart/alternative", "Content-Type: text/plain", "Content-Type: text/html"]
    {
        assert_eq!(server.heard(part), 3, "{part}");
    }
    assert!(lines.iter().any(|line| line == "WHAT BROKE"), "{lines:#?}");
}

/// What the server says, what comes of it, and how many messages it was given.
#[tokio::test]
async fn replies_are_told_apart() {
    let cases: [(Script, &str, usize, &str); 11] = [
        (&[(".", "451 try later")], "retry", 1, "message: transient error (451): try later"),
        (&[(".", "554 spam")], "never", 1, "message: permanent error (554): spam"),
        (&[(".", "drop")], "retry", 1, "message: response error: incomplete response"),
        (&[("DATA", "451 busy")], "retry", 0, "message: transient error (451): busy"),
        (&[("MAIL", "550 who?")], "never", 0, "sender: permanent error (550): who?"),
        (&[("MAIL", "drop")], "retry", 0, "sender: response error: incomplete response"),
        (
            &[("RCPT", "550 no such user")],
            "never",
            0,
            "0 of 2 recipients have it; ana@example.com: permanent error (550): no such user; bo@example.com: permanent error (550): no such user",
        ),
        (
            &[("RCPT", "450 greylisted")],
            "retry",
            0,
            "0 of 2 recipients have it; ana@example.com: transient error (450): greylisted; bo@example.com: transient error (450): greylisted",
        ),
        (
            &[("GREETING", "554 not here")],
            "retry",
            0,
            "mail server 127.0.0.1: permanent error (554): not here",
        ),
        (
            &[("EHLO", "421 shutting down")],
            "retry",
            0,
            "mail server 127.0.0.1: transient error (421): shutting down",
        ),
        (
            &[("RCPT TO:<bo@", "550 gone")],
            "accepted",
            1,
            "1 of 2 recipients have it; bo@example.com: permanent error (550): gone; mail server 127.0.0.1: 250 queued as 4711",
        ),
    ];
    for (script, expected, given, reason) in cases {
        let server = Server::start(script).await;
        let outcome = send(&Email::new(settings(server.port)).unwrap(), &trigger()).await;
        let (got, text) = match &outcome {
            Ok(receipt) => ("accepted", &receipt.0),
            Err(SendError::Retry { after: None, reason }) => ("retry", reason),
            Err(SendError::Retry { after: Some(_), .. }) => panic!("SMTP names no time"),
            Err(SendError::Never { reason }) => ("never", reason),
        };
        assert_eq!((got, text.as_str()), (expected, reason), "{script:?}");
        assert_eq!(server.heard("."), given, "{script:?}");
    }
}

#[tokio::test]
async fn an_accepted_mail_stays_accepted_when_the_goodbye_fails() {
    let server = Server::start(&[("QUIT", "drop")]).await;
    let outcome = send(&Email::new(settings(server.port)).unwrap(), &trigger()).await;
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[tokio::test]
async fn a_deferred_recipient_is_tried_again_without_a_copy_for_the_others() {
    let server = Server::start(&[("RCPT TO:<bo@", "2:450 greylisted")]).await;
    let email = Email::new(settings(server.port)).unwrap();
    for _ in 0..2 {
        let outcome = send(&email, &trigger()).await;
        let reason =
            "1 of 2 recipients have it; bo@example.com: transient error (450): greylisted".to_owned();
        assert_eq!(outcome, Err(SendError::Retry { after: None, reason }));
    }
    let receipt = send(&email, &trigger()).await.unwrap();
    assert!(receipt.0.starts_with("2 of 2 recipients have it"), "{}", receipt.0);
    assert_eq!((server.heard("RCPT TO:<ana@"), server.heard("RCPT TO:<bo@"), server.heard(".")), (1, 3, 2));
    // The next message is a new affair.
    send(&email, &delivery(41, MessageKind::Trigger, "key")).await.unwrap();
    assert_eq!(server.heard("RCPT TO:<ana@"), 2);
}

#[tokio::test]
async fn nothing_is_said_in_the_clear_when_tls_is_demanded() {
    // Not offered; offered and refused for now; offered and refused for good; offered and then no TLS.
    let scripts: [Script; 4] = [
        &[],
        &[("EHLO", "250-mail\r\n250 STARTTLS"), ("STARTTLS", "454 not now")],
        &[("EHLO", "250-mail\r\n250 STARTTLS"), ("STARTTLS", "554 never")],
        &[("EHLO", "250-mail\r\n250 STARTTLS"), ("STARTTLS", "220 go ahead\r\n250 but not really")],
    ];
    for script in scripts {
        let server = Server::start(script).await;
        let mut settings = settings(server.port);
        settings.tls = TlsMode::StartTls;
        settings.credentials = Some(("rearguard".to_owned(), Secret::new("geheim")));
        let outcome = send(&Email::new(settings).unwrap(), &trigger()).await;
        let Err(SendError::Retry { reason, .. }) = outcome else { panic!("{script:?}: {outcome:?}") };
        assert!(reason.starts_with("mail server 127.0.0.1 refuses STARTTLS, nothing was sent: "), "{reason}");
        for word in ["AUTH", "MAIL", "RCPT", "DATA"] {
            assert_eq!(server.heard(word), 0, "{script:?}: {word}");
        }
    }
}

#[tokio::test]
async fn a_server_without_tls_never_gets_a_word_where_tls_comes_first() {
    let server = Server::start(&[]).await;
    let mut settings = settings(server.port);
    settings.tls = TlsMode::Implicit;
    let outcome = send(&Email::new(settings).unwrap(), &trigger()).await;
    assert!(matches!(outcome, Err(SendError::Retry { .. })), "{outcome:?}");
    assert_eq!(server.heard("EHLO") + server.heard("MAIL"), 0);
}

#[tokio::test]
async fn a_login_is_used_and_a_refused_one_is_final_and_secret() {
    let server = Server::start(&[]).await;
    let mut with_login = settings(server.port);
    with_login.credentials = Some(("rearguard".to_owned(), Secret::new("geheim")));
    send(&Email::new(with_login.clone()).unwrap(), &trigger()).await.unwrap();
    // Base64 of NUL rearguard NUL geheim.
    assert_eq!(server.heard("AUTH PLAIN AHJlYXJndWFyZABnZWhlaW0="), 1);

    let server = Server::start(&[("AUTH", "535 geheim is wrong")]).await;
    with_login.port = server.port;
    let email = Email::new(with_login).unwrap();
    let reason = "mail server 127.0.0.1 refuses the login: permanent error (535): *** is wrong".to_owned();
    assert_eq!(send(&email, &trigger()).await, Err(SendError::Never { reason }));
    assert!(!format!("{email:?}").contains("geheim"), "{email:?}");
}

#[tokio::test]
async fn hostile_facts_add_no_header_and_no_recipient() {
    let server = Server::start(&[]).await;
    let hostile = "x\r\nBcc: all@example.com\r\n\r\n.\r\nMAIL FROM:<evil@example.com>\r\nü<script>";
    let mut message = trigger();
    message.message.summary = hostile.to_owned();
    message.message.dedup_key = hostile.to_owned();
    message.message.details = vec![hostile.to_owned()];
    message.message.facts.reason = hostile.to_owned();
    message.message.facts.target = hostile.into();
    message.message.facts.cause = hostile.to_owned();
    message.message.facts.labels = Labels::from_pairs([("path", hostile)]);
    let email = Email::new(settings(server.port)).unwrap();
    email.send(&message, hostile, hostile).await.unwrap();
    assert_eq!(server.heard("Bcc"), 0);
    assert_eq!((server.heard("MAIL FROM"), server.heard("RCPT TO")), (1, 2));
    let lines = server.lines();
    let html = lines.iter().skip_while(|line| !line.starts_with("Content-Type: text/html"));
    let html: Vec<_> = html.collect();
    assert!(html.iter().any(|line| line.contains("&lt;script&gt;")), "{lines:#?}");
    assert!(!html.iter().any(|line| line.contains("<script>")), "{lines:#?}");
}

#[test]
fn unusable_settings_are_refused_all_at_once() {
    let bad = EmailSettings {
        host: "smtp.example".to_owned(),
        from: "nobody".to_owned(),
        to: vec!["ana@example.com\r\nBcc: x@example.com".to_owned()],
        ..settings(25)
    };
    let problems = Email::new(bad).err().unwrap().to_string();
    for part in [
        "`nobody` is not a mail address",
        "`ana@example.com\\r\\nBcc",
        "mail without TLS only goes to localhost",
    ] {
        assert!(problems.contains(part), "{problems}");
    }
    assert_eq!(problems.lines().count(), 1);
    for host in ["localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]"] {
        assert!(Email::new(EmailSettings { host: host.to_owned(), ..settings(25) }).is_ok(), "{host}");
    }
    for host in ["10.0.0.1", "localhost.example.com", "0.0.0.0", "127.0.0.1.example"] {
        assert!(Email::new(EmailSettings { host: host.to_owned(), ..settings(25) }).is_err(), "{host}");
    }
    assert!(Email::new(EmailSettings { to: Vec::new(), ..settings(25) }).is_err());
}
