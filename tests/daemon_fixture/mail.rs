//! A mail server that takes everything and writes it down.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A running mail server; where it is dropped, connections are refused from then on.
pub struct MailServer {
    pub address: SocketAddr,
    subjects: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
}

impl MailServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("an address");
        let subjects = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let (log, ended) = (Arc::clone(&subjects), Arc::clone(&over));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let log = Arc::clone(&log);
                // Whoever is sending may be killed in the middle: its own affair.
                std::thread::spawn(move || converse(stream, &log).ok());
            }
        });
        Self { address, subjects, over }
    }

    /// Returns the subject of every mail that was sent to its end.
    pub fn subjects(&self) -> Vec<String> {
        self.subjects.lock().expect("nobody panics here").clone()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes the acceptor up, which closes the port.
        TcpStream::connect(self.address).ok();
    }
}

fn converse(mut stream: TcpStream, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let reader = BufReader::new(stream.try_clone()?);
    stream.write_all(b"220 mail\r\n")?;
    let mut data: Option<String> = None;
    for line in reader.lines() {
        let line = line?;
        let reply = match (&mut data, line.split([' ', ':']).next().unwrap_or_default()) {
            (Some(text), ".") => {
                log.lock().expect("nobody panics here").push(subject(text));
                data = None;
                "250 kept"
            }
            (Some(text), _) => {
                text.push_str(&line);
                text.push('\n');
                continue;
            }
            (None, "EHLO") => "250-mail\r\n250 8BITMIME",
            (None, "DATA") => {
                data = Some(String::new());
                "354 go on"
            }
            (None, "QUIT") => "221 bye",
            (None, _) => "250 ok",
        };
        stream.write_all(format!("{reply}\r\n").as_bytes())?;
    }
    Ok(())
}

/// Returns the subject, its folded lines joined.
fn subject(mail: &str) -> String {
    let mut lines = mail.lines().skip_while(|line| !line.starts_with("Subject: "));
    let mut subject = lines.next().unwrap_or_default().trim_start_matches("Subject: ").to_owned();
    for folded in lines.take_while(|line| line.starts_with(' ')) {
        subject.push_str(folded);
    }
    subject
}
