//! PagerDuty against a scripted server on loopback: cut connections, portals, limits, bad keys.

#[path = "effects_fixture/deliveries.rs"]
mod deliveries;
mod effects_fixture;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rearguard::effects::receiver::{PagerDuty, PagerDutySettings};
use rearguard::effects::{Channel, Outbox, Receipt, Receiver, RetryPolicy, SendError};
use rearguard::engine::decision::{DeliveryReport, MessageKind};
use rearguard::engine::model::EffectId;
use rearguard::secret::Secret;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use deliveries::{ANCHOR, delivery};
use effects_fixture::JOURNAL;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const YES: &str = "HTTP/1.1 202 Accepted\r\ncontent-length: 48\r\n\r\n{\"status\":\"success\",\"message\":\"Event processed\"}";

/// A stand-in for PagerDuty: answers the n-th request with the n-th reply, the last one for ever.
struct Server {
    url: String,
    events: Arc<Mutex<Vec<Value>>>,
}

impl Server {
    /// A reply without a whole head is cut off there.
    async fn start(replies: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Some(event) = request(&mut stream).await {
                        let reply = {
                            let mut seen = seen.lock().unwrap();
                            seen.push(event);
                            replies[(seen.len() - 1).min(replies.len() - 1)]
                        };
                        stream.get_mut().write_all(reply.as_bytes()).await.unwrap();
                        if !reply.contains("\r\n\r\n") {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, events }
    }

    fn events(&self) -> Vec<Value> {
        self.events.lock().unwrap().clone()
    }
}

/// Reads one request; `None` where the client has gone.
async fn request(stream: &mut BufReader<TcpStream>) -> Option<Value> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    assert!(head.starts_with("POST /v2/enqueue HTTP/1.1\r\n"), "{head}");
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(serde_json::from_slice(&body).unwrap())
}

fn pagerduty(url: &str) -> PagerDuty {
    rustls::crypto::ring::default_provider().install_default().ok();
    let settings = PagerDutySettings {
        routing_key: Secret::new(KEY),
        base_url: Some(url.to_owned()),
        external_url: None,
    };
    PagerDuty::new(settings, rearguard::effects::http::client().unwrap()).unwrap()
}

async fn send_once(replies: &'static [&'static str]) -> Result<Receipt, SendError> {
    let server = Server::start(replies).await;
    pagerduty(&server.url).send(&delivery(40, MessageKind::Trigger, "key"), JOURNAL, ANCHOR).await
}

/// Brings `messages` to a server over an outbox and returns all reports and all events.
async fn deliver(
    replies: &'static [&'static str],
    messages: &[(u64, MessageKind, &str)],
) -> (Vec<(EffectId, DeliveryReport)>, Vec<Value>) {
    let server = Server::start(replies).await;
    let (reports, mut inbox) = mpsc::channel(16);
    let receivers = BTreeMap::from([("ops".into(), Receiver::PagerDuty(pagerduty(&server.url)))]);
    let brisk =
        RetryPolicy::new(Duration::from_millis(5), Duration::from_millis(20), Duration::from_millis(300));
    let mut outbox = Outbox::new(receivers, reports, brisk);
    for (effect, kind, key) in messages {
        outbox.dispatch(delivery(*effect, *kind, key), JOURNAL, ANCHOR);
    }
    let mut got = Vec::new();
    let mut open = messages.len();
    while open > 0 {
        let report = tokio::time::timeout(Duration::from_secs(10), inbox.recv()).await.unwrap().unwrap();
        open -= usize::from(!matches!(report.1, DeliveryReport::FirstFailure(_)));
        got.push(report);
    }
    assert_eq!(outbox.shutdown(Duration::from_secs(1)).await, 0);
    (got, server.events())
}

#[tokio::test]
async fn an_incident_opens_and_closes() {
    let messages = [(40, MessageKind::Trigger, "key"), (41, MessageKind::Resolve, "key")];
    let (reports, events) = deliver(&[YES], &messages).await;
    let receipt = "PagerDuty says: Event processed";
    assert_eq!(
        reports,
        [40, 41].map(|effect| (EffectId(effect), DeliveryReport::Accepted(receipt.to_owned())))
    );
    let seen: Vec<_> = events.iter().map(|event| (&event["event_action"], &event["dedup_key"])).collect();
    assert_eq!(seen, [(&"trigger".into(), &"key".into()), (&"resolve".into(), &"key".into())]);
    assert_eq!(events[0]["routing_key"], KEY);
}

#[tokio::test]
async fn a_cut_connection_is_tried_again_with_the_same_key() {
    let (reports, events) =
        deliver(&["", "HTTP/1.1 202 Acc", YES], &[(40, MessageKind::Trigger, "key")]).await;
    assert!(
        matches!(&reports[0].1, DeliveryReport::FirstFailure(reason) if reason.starts_with("PagerDuty cannot be reached"))
    );
    assert!(matches!(reports[1].1, DeliveryReport::Accepted(_)));
    assert_eq!(reports.len(), 2);
    assert!(events.len() >= 3, "{}", events.len());
    assert!(events.iter().all(|event| event["dedup_key"] == "key" && *event == events[0]));
}

#[tokio::test]
async fn portals_and_half_answers_are_not_taken_for_a_yes() {
    let replies = &[
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 20\r\n\r\n<html>log in</html>\n",
        "HTTP/1.1 302 Found\r\nlocation: http://portal.example/\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 202 Accepted\r\ncontent-length: 17\r\n\r\n{\"status\":\"succes",
        "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
        YES,
    ];
    let (reports, events) = deliver(replies, &[(40, MessageKind::Trigger, "key")]).await;
    assert_eq!(events.len(), 5);
    let DeliveryReport::FirstFailure(reason) = &reports[0].1 else { panic!("{reports:?}") };
    assert_eq!(
        reason,
        "PagerDuty answered HTTP 200: <html>log in</html> (is something between us and PagerDuty?)"
    );
    assert!(matches!(reports[1].1, DeliveryReport::Accepted(_)));
}

#[tokio::test]
async fn a_refused_event_is_dead_and_is_not_tried_again() {
    let replies =
        &["HTTP/1.1 403 Forbidden\r\ncontent-length: 40\r\n\r\nkey 0123456789abcdef0123456789abcdef no\n"];
    let (reports, events) = deliver(replies, &[(40, MessageKind::Trigger, "key")]).await;
    let reason = "PagerDuty answered HTTP 403: key *** no".to_owned();
    assert_eq!(reports, [(EffectId(40), DeliveryReport::Dead(reason))]);
    assert_eq!(events.len(), 1);
}

#[tokio::test]
async fn a_limit_is_honoured() {
    let begun = std::time::Instant::now();
    let replies = &["HTTP/1.1 429 Slow\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n", YES];
    let (reports, events) = deliver(replies, &[(40, MessageKind::Trigger, "key")]).await;
    // The policy of this test caps the wish at 300 ms.
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!((reports.len(), events.len()), (2, 2));
    let once = send_once(&["HTTP/1.1 429 Slow\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n"]).await;
    let reason = "PagerDuty answered HTTP 429".to_owned();
    assert_eq!(once, Err(SendError::Retry { after: Some(Duration::from_secs(120)), reason }));
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_and_names_no_secret() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let delivery = delivery(40, MessageKind::Trigger, "key");
    let outcome = pagerduty(&format!("http://{closed}")).send(&delivery, JOURNAL, ANCHOR).await;
    let Err(SendError::Retry { after: None, reason }) = outcome else { panic!("{outcome:?}") };
    assert!(reason.starts_with("PagerDuty cannot be reached: ") && reason.contains("refused"), "{reason}");
    assert!(!reason.contains(KEY));
}

#[tokio::test]
async fn json_breakers_in_facts_stay_values() {
    let server = Server::start(&[YES]).await;
    let breaker = "\"},\"routing_key\":\"stolen\",\"x\":{\"\\\u{0}\n\u{202e}";
    let mut delivery = delivery(40, MessageKind::Trigger, breaker);
    delivery.message.summary = breaker.to_owned();
    delivery.message.facts.reason = breaker.to_owned();
    delivery.message.facts.cause = breaker.to_owned();
    pagerduty(&server.url).send(&delivery, JOURNAL, ANCHOR).await.unwrap();
    let event = &server.events()[0];
    assert_eq!(event["routing_key"], KEY);
    assert_eq!(event["dedup_key"], breaker);
    assert_eq!(event["payload"]["custom_details"]["reason"], breaker);
    assert!(!event["payload"]["summary"].as_str().unwrap().contains('\n'));
}
