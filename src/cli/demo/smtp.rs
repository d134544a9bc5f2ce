//! A mail server on the loopback that speaks as much SMTP (RFC 5321) as a sender needs, and keeps what it gets.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::arrival::{Arrival, Arrivals, Arrived, Mail};

/// The longest line that is read; RFC 5321 section 4.5.3.1.6 allows senders 1,000 bytes.
const LINE_MAX_BYTES: u64 = 4_096;

/// The largest mail that is taken, announced as `SIZE`.
const MAIL_MAX_BYTES: usize = 1 << 20;

/// How long a sender may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A running mail server; it stops when this is dropped.
pub struct MailServer {
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl MailServer {
    /// Starts listening on a free port of the loopback.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub async fn start(arrivals: Arrivals) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let arrivals = arrivals.clone();
                // A sender that goes away in mid-sentence has sent no mail; that is all there is to say about it.
                tokio::spawn(async move { converse(stream, arrivals).await.unwrap_or_default() });
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Talks with one sender until it leaves.
async fn converse(stream: TcpStream, arrivals: Arrivals) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut session = Session::default();
    stream.write_all(b"220 demo.example ready\r\n").await?;
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut stream).take(LINE_MAX_BYTES);
        let read = limited.read_until(b'\n', &mut line);
        let length = tokio::time::timeout(SILENCE_MAX, read).await??;
        if length == 0 {
            return Ok(());
        }
        let heard = session.hear(&line);
        if let Some(mail) = heard.mail {
            // Nobody listens only while the demo ends.
            arrivals.send(Arrival::now(Arrived::Mail(mail))).unwrap_or_default();
        }
        stream.write_all(heard.reply.as_bytes()).await?;
        if heard.leaves {
            return Ok(());
        }
    }
}

/// One conversation, without its socket.
#[derive(Default)]
struct Session {
    greeted: bool,
    from: Option<String>,
    to: Vec<String>,
    /// The mail so far, while one is being sent.
    data: Option<Vec<u8>>,
}

/// What follows from one line.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    reply: String,
    mail: Option<Mail>,
    leaves: bool,
}

impl Heard {
    fn reply(text: &str) -> Self {
        Self { reply: format!("{text}\r\n"), ..Self::default() }
    }
}

impl Session {
    /// Takes one line, with its end, and returns what to say.
    fn hear(&mut self, line: &[u8]) -> Heard {
        match self.data.take() {
            Some(data) => self.hear_data(data, line),
            None => self.hear_command(String::from_utf8_lossy(line).trim_end()),
        }
    }

    fn hear_data(&mut self, mut data: Vec<u8>, line: &[u8]) -> Heard {
        if line == b".\r\n" || line == b".\n" {
            if data.len() > MAIL_MAX_BYTES {
                self.forget();
                return Heard::reply("552 5.3.4 the mail is larger than announced");
            }
            let text = String::from_utf8_lossy(&data).into_owned();
            let from = self.from.take().unwrap_or_default();
            let mail = Mail {
                from,
                to: std::mem::take(&mut self.to),
                subject: decoded(&header(&text, "subject")),
                text,
            };
            return Heard { mail: Some(mail), ..Heard::reply("250 2.0.0 kept") };
        }
        // RFC 5321 section 4.5.2: a leading dot was doubled by the sender.
        if data.len() <= MAIL_MAX_BYTES {
            data.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        self.data = Some(data);
        Heard::default()
    }

    fn hear_command(&mut self, line: &str) -> Heard {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => {
                self.forget();
                self.greeted = true;
                Heard::reply(&format!("250-demo.example\r\n250-8BITMIME\r\n250 SIZE {MAIL_MAX_BYTES}"))
            }
            "HELO" => {
                self.forget();
                self.greeted = true;
                Heard::reply("250 demo.example")
            }
            "MAIL" if !self.greeted => Heard::reply("503 5.5.1 say EHLO first"),
            "MAIL" if self.from.is_some() => Heard::reply("503 5.5.1 one mail at a time"),
            "MAIL" => match path(rest, "FROM:") {
                Some(from) => {
                    self.from = Some(from);
                    Heard::reply("250 2.1.0 sender noted")
                }
                None => Heard::reply("501 5.5.4 expected MAIL FROM:<address>"),
            },
            "RCPT" if self.from.is_none() => Heard::reply("503 5.5.1 say MAIL first"),
            "RCPT" => match path(rest, "TO:").filter(|to| !to.is_empty()) {
                Some(to) => {
                    self.to.push(to);
                    Heard::reply("250 2.1.5 recipient noted")
                }
                None => Heard::reply("501 5.5.4 expected RCPT TO:<address>"),
            },
            "DATA" if self.to.is_empty() => Heard::reply("503 5.5.1 say RCPT first"),
            "DATA" => {
                self.data = Some(Vec::new());
                Heard::reply("354 end with a dot on a line of its own")
            }
            "RSET" => {
                self.forget();
                Heard::reply("250 2.0.0 forgotten")
            }
            "NOOP" => Heard::reply("250 2.0.0 still here"),
            "QUIT" => Heard { leaves: true, ..Heard::reply("221 2.0.0 goodbye") },
            _ => Heard::reply("502 5.5.1 not spoken here"),
        }
    }

    /// Drops a mail that has been begun.
    fn forget(&mut self) {
        (self.from, self.to) = (None, Vec::new());
    }
}

/// Reads `FROM:<address>` with parameters after it; the address may be empty, as a bounce's sender is.
fn path(rest: &str, keyword: &str) -> Option<String> {
    let (head, tail) = rest.split_at_checked(keyword.len())?;
    if !head.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let (address, _parameters) = tail.trim_start().strip_prefix('<')?.split_once('>')?;
    Some(address.to_owned())
}

/// Returns a header's value, unfolded (RFC 5322 section 2.2.3), or nothing where it is missing.
fn header(text: &str, name: &str) -> String {
    let mut value = String::new();
    let mut inside = false;
    for line in text.lines().take_while(|line| !line.is_empty()) {
        if line.starts_with([' ', '\t']) {
            if inside {
                value.push_str(line);
            }
            continue;
        }
        if inside {
            break;
        }
        if let Some((_, rest)) = line.split_once(':').filter(|(key, _)| key.trim().eq_ignore_ascii_case(name))
        {
            value.push_str(rest);
            inside = true;
        }
    }
    value.trim().to_owned()
}

/// Decodes the encoded words of a header (RFC 2047) that are UTF-8 in base64, which is how senders write what is not
/// ASCII; everything else stays as it is.
fn decoded(header: &str) -> String {
    let mut out = String::new();
    let mut rest = header;
    let mut after_word = false;
    while let Some((before, tail)) = rest.split_once("=?") {
        let word = tail.split_once("?=").and_then(|(word, after)| Some((encoded_word(word)?, after)));
        match word {
            Some((text, after)) => {
                // Blanks between two encoded words belong to neither of them (RFC 2047 section 6.2).
                if !(after_word && before.trim().is_empty()) {
                    out.push_str(before);
                }
                out.push_str(&text);
                (rest, after_word) = (after, true);
            }
            None => {
                out.push_str(before);
                out.push_str("=?");
                (rest, after_word) = (tail, false);
            }
        }
    }
    out + rest
}

/// Decodes `utf-8?b?BASE64`.
fn encoded_word(word: &str) -> Option<String> {
    let mut parts = word.splitn(3, '?');
    let (charset, encoding, text) = (parts.next()?, parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case("utf-8") || !encoding.eq_ignore_ascii_case("b") {
        return None;
    }
    let (mut bits, mut width, mut bytes) = (0_u32, 0, Vec::new());
    for c in text.trim_end_matches('=').bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, width) = (bits << 6 | u32::from(value), width + 6);
        if width >= 8 {
            width -= 8;
            bytes.push((bits >> width & 0xff) as u8);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
    use tokio::sync::mpsc;

    use super::*;

    /// Says each line to a session and checks the code of its reply; an empty code means no reply.
    fn talk(lines: &[(&str, &str)]) -> Vec<Mail> {
        let mut session = Session::default();
        let mut mails = Vec::new();
        for (line, code) in lines {
            let heard = session.hear(format!("{line}\r\n").as_bytes());
            assert_eq!(heard.reply.get(..3).unwrap_or(""), *code, "reply to {line:?}: {:?}", heard.reply);
            mails.extend(heard.mail);
        }
        mails
    }

    #[test]
    fn a_mail_is_taken_with_its_dots_and_folded_subject() {
        let mails = talk(&[
            ("EHLO client", "250"),
            ("MAIL FROM:<rearguard@demo.example> SIZE=99", "250"),
            ("RCPT TO:<ana@demo.example>", "250"),
            ("rcpt to:<bo@demo.example>", "250"),
            ("DATA", "354"),
            ("Subject: rolled back:", ""),
            (" version 2", ""),
            ("", ""),
            ("..hidden", ""),
            ("Subject: not a header", ""),
            (".", "250"),
            ("QUIT", "221"),
        ]);
        assert_eq!(
            mails,
            [Mail {
                from: "rearguard@demo.example".to_owned(),
                to: vec!["ana@demo.example".to_owned(), "bo@demo.example".to_owned()],
                subject: "rolled back: version 2".to_owned(),
                text: "Subject: rolled back:\r\n version 2\r\n\r\n.hidden\r\nSubject: not a header\r\n"
                    .to_owned(),
            }]
        );
    }

    #[test]
    fn commands_out_of_order_and_malformed_ones_are_refused() {
        let mails = talk(&[
            ("MAIL FROM:<a@b>", "503"),
            ("HELO client", "250"),
            ("RCPT TO:<a@b>", "503"),
            ("DATA", "503"),
            ("MAIL a@b", "501"),
            ("MAIL FROM:<a@b>", "250"),
            ("MAIL FROM:<a@b>", "503"),
            ("RCPT TO:<>", "501"),
            ("DATA", "503"),
            ("RCPT TO:<a@b>", "250"),
            ("RSET", "250"),
            ("DATA", "503"),
            ("STARTTLS", "502"),
            ("NOOP", "250"),
            ("", "502"),
        ]);
        assert_eq!(mails, []);
    }

    #[test]
    fn a_mail_that_is_too_large_is_refused_at_its_end() {
        let mut session = Session::default();
        for line in ["EHLO c\r\n", "MAIL FROM:<a@b>\r\n", "RCPT TO:<a@b>\r\n", "DATA\r\n"] {
            session.hear(line.as_bytes());
        }
        for _ in 0..=MAIL_MAX_BYTES / 1_000 {
            assert_eq!(session.hear(&[b'x'; 1_000]), Heard::default());
        }
        let heard = session.hear(b".\r\n");
        assert!(heard.reply.starts_with("552") && heard.mail.is_none(), "{heard:?}");
    }

    #[test]
    fn encoded_words_are_decoded_and_everything_else_is_kept() {
        let cases = [
            ("plain", "plain"),
            ("time is =?utf-8?b?MjM54oCm?=", "time is 239…"),
            ("=?UTF-8?B?w6Q=?= =?utf-8?b?w7Y=?= u", "äö u"),
            ("=?utf-8?b?w6Q=?= and =?utf-8?b?w7Y=?=", "ä and ö"),
            ("=?latin1?q?x?= =?utf-8?b?!?= =?utf-8?b?w6Q", "=?latin1?q?x?= =?utf-8?b?!?= =?utf-8?b?w6Q"),
            ("a =? b", "a =? b"),
        ];
        for (header, text) in cases {
            assert_eq!(decoded(header), text);
        }
    }

    #[tokio::test]
    async fn a_real_mail_client_gets_its_mail_through() {
        let (arrivals, mut received) = mpsc::unbounded_channel();
        let server = MailServer::start(arrivals).await.expect("a loopback port");
        let mail = Message::builder()
            .from("Rearguard <rearguard@demo.example>".parse().expect("an address"))
            .to("ana@demo.example".parse().expect("an address"))
            .subject("trading-app: 18.2 % of requests fail, allowed are 5 %… version 2 was rolled back to 1…")
            .body(".a line that starts with a dot\nand one that does not\n".to_owned())
            .expect("a mail");
        let transport =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.address.ip().to_string())
                .port(server.address.port())
                .build();
        transport.send(mail).await.expect("the stand-in takes it");
        let Some(Arrival { what: Arrived::Mail(mail), .. }) = received.recv().await else {
            panic!("the stand-in reports what it received");
        };
        assert_eq!(mail.to, ["ana@demo.example"]);
        assert!(mail.subject.contains("5 %… version") && mail.subject.ends_with("to 1…"), "{}", mail.subject);
        assert!(mail.text.contains("\r\n.a line that starts with a dot\r\n"), "{}", mail.text);
    }
}
