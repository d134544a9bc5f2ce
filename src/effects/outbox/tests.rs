//! The outbox in virtual time, against receivers that follow a script.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::*;
use crate::effects::fixture::{ANCHOR, JOURNAL, delivery};
use crate::effects::receiver::{Receipt, SendError};
use crate::engine::decision::MessageKind;
use tokio::time::Instant;

/// What a try meets.
#[derive(Clone, Copy, Debug)]
enum Reply {
    Yes,
    Retry,
    RetryAfter(u64),
    Never,
    Hang(u64),
    Panic,
}

/// A receiver that answers by a script and writes down who asked when.
#[derive(Clone, Debug)]
struct Scripted(Arc<Script>);

#[derive(Debug)]
struct Script {
    reply: fn(tries_before: usize, effect: u64, elapsed: Duration) -> Reply,
    begun: Instant,
    /// Effect and milliseconds since the beginning, in the order of tries.
    tries: Mutex<Vec<(u64, u128)>>,
    on_the_wire: Mutex<BTreeSet<u64>>,
    on_the_wire_max: Mutex<usize>,
}

impl Scripted {
    fn new(reply: fn(usize, u64, Duration) -> Reply) -> Self {
        Self(Arc::new(Script {
            reply,
            begun: Instant::now(),
            tries: Mutex::default(),
            on_the_wire: Mutex::default(),
            on_the_wire_max: Mutex::default(),
        }))
    }

    fn tries(&self) -> Vec<(u64, u128)> {
        self.0.tries.lock().unwrap().clone()
    }

    fn tries_of(&self, effect: u64) -> Vec<u128> {
        self.tries().into_iter().filter(|(tried, _)| *tried == effect).map(|(_, at)| at).collect()
    }

    fn answer(&self, effect: u64) -> Reply {
        let elapsed = self.0.begun.elapsed();
        let mut tries = self.0.tries.lock().unwrap();
        let before = tries.iter().filter(|(tried, _)| *tried == effect).count();
        tries.push((effect, elapsed.as_millis()));
        (self.0.reply)(before, effect, elapsed)
    }
}

impl Channel for Scripted {
    async fn send(&self, delivery: &Delivery, journal: &str, anchor: &str) -> Result<Receipt, SendError> {
        assert_eq!((journal, anchor), (JOURNAL, ANCHOR));
        let effect = delivery.effect.0;
        {
            let mut on_the_wire = self.0.on_the_wire.lock().unwrap();
            assert!(on_the_wire.insert(effect), "one try at a time");
            let mut most = self.0.on_the_wire_max.lock().unwrap();
            *most = (*most).max(on_the_wire.len());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let reply = self.answer(effect);
        if let Reply::Hang(secs) = reply {
            tokio::time::sleep(Duration::from_secs(secs)).await;
        }
        self.0.on_the_wire.lock().unwrap().remove(&effect);
        match reply {
            Reply::Yes => Ok(Receipt(format!("yes to {effect}"))),
            Reply::Retry | Reply::Hang(_) => Err(SendError::retry("down")),
            Reply::RetryAfter(secs) => Err(SendError::Retry {
                after: Some(Duration::from_secs(secs)),
                reason: "slow down".to_owned(),
            }),
            Reply::Never => Err(SendError::never("bad key")),
            Reply::Panic => panic!("a bug in one message"),
        }
    }
}

type Reports = mpsc::Receiver<(EffectId, DeliveryReport)>;

fn outbox(receivers: &[(&str, &Scripted)]) -> (Outbox<Scripted>, Reports) {
    let (reports, inbox) = mpsc::channel(4096);
    (Outbox::new(named(receivers), reports, RetryPolicy::default()), inbox)
}

fn named(receivers: &[(&str, &Scripted)]) -> BTreeMap<ReceiverName, Scripted> {
    receivers.iter().map(|(name, receiver)| ((*name).into(), (*receiver).clone())).collect()
}

fn dispatch(outbox: &mut Outbox<Scripted>, receiver: &str, effect: u64, kind: MessageKind, key: &str) {
    let mut delivery = delivery(effect, kind, key);
    delivery.receiver = receiver.into();
    outbox.dispatch(delivery, JOURNAL, ANCHOR);
}

/// Receives until `ends` deliveries have come to an end.
async fn until_ended(reports: &mut Reports, ends: usize) -> Vec<(u64, DeliveryReport)> {
    let mut got = Vec::new();
    while got.iter().filter(|(_, report)| !matches!(report, DeliveryReport::FirstFailure(_))).count() < ends {
        let next = tokio::time::timeout(Duration::from_secs(24 * 3600), reports.recv()).await;
        let (effect, report) = next.expect("a report within a day").expect("the outbox is there");
        got.push((effect.0, report));
    }
    got
}

fn accepted(effect: u64) -> (u64, DeliveryReport) {
    (effect, DeliveryReport::Accepted(format!("yes to {effect}")))
}

fn first_failure(effect: u64, reason: &str) -> (u64, DeliveryReport) {
    (effect, DeliveryReport::FirstFailure(reason.to_owned()))
}

fn dead(effect: u64, reason: &str) -> (u64, DeliveryReport) {
    (effect, DeliveryReport::Dead(reason.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn tries_are_spaced_and_the_first_failure_is_told_once() {
    let receiver = Scripted::new(|before, _, _| if before < 9 { Reply::Retry } else { Reply::Yes });
    let (mut outbox, mut reports) = outbox(&[("pd", &receiver)]);
    dispatch(&mut outbox, "pd", 1, MessageKind::Trigger, "a");
    let got = until_ended(&mut reports, 1).await;
    assert_eq!(got, [first_failure(1, "down"), accepted(1)]);
    let tries = receiver.tries_of(1);
    let base_ms = [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 30_000];
    for (pair, base_ms) in tries.windows(2).zip(base_ms) {
        let delay = pair[1] - pair[0];
        assert!(delay >= base_ms && delay <= base_ms * 2 + 5, "{delay} after {base_ms}: {tries:?}");
    }
    assert_eq!(tries.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_resolve_never_overtakes_its_trigger_and_other_incidents_pass() {
    let receiver = Scripted::new(|_, effect, elapsed| {
        if effect == 1 && elapsed < Duration::from_secs(600) { Reply::Retry } else { Reply::Yes }
    });
    let (mut outbox, mut reports) = outbox(&[("pd", &receiver)]);
    dispatch(&mut outbox, "pd", 1, MessageKind::Trigger, "a");
    dispatch(&mut outbox, "pd", 2, MessageKind::Resolve, "a");
    dispatch(&mut outbox, "pd", 3, MessageKind::Trigger, "b");
    dispatch(&mut outbox, "pd", 4, MessageKind::Resolve, "b");
    let got = until_ended(&mut reports, 4).await;
    let ends: Vec<_> =
        got.into_iter().filter(|(_, report)| matches!(report, DeliveryReport::Accepted(_))).collect();
    assert_eq!(ends, [accepted(3), accepted(4), accepted(1), accepted(2)]);
    assert!(receiver.tries_of(4)[0] < 100, "incident b was not held up");
    assert!(receiver.tries_of(2)[0] > 600_000, "the resolve waited for its trigger");
}

/// Six hours without PagerDuty, 200 incidents: refused, timed out, 503.
#[tokio::test(start_paused = true)]
async fn a_long_outage_loses_nothing_and_delays_no_other_receiver() {
    const OUTAGE: Duration = Duration::from_secs(6 * 3600);
    let pagerduty = Scripted::new(|_, effect, elapsed| match effect % 2 {
        _ if elapsed > OUTAGE => Reply::Yes,
        0 => Reply::Retry,
        _ => Reply::Hang(10),
    });
    let mail = Scripted::new(|_, _, _| Reply::Yes);
    let (mut outbox, mut reports) = outbox(&[("pd", &pagerduty), ("mail", &mail)]);
    for incident in 0..200_u64 {
        let key = format!("incident {incident}");
        dispatch(&mut outbox, "pd", incident, MessageKind::Trigger, &key);
        dispatch(&mut outbox, "pd", 1000 + incident, MessageKind::Resolve, &key);
        dispatch(&mut outbox, "mail", 2000 + incident, MessageKind::Trigger, &key);
    }
    let got = until_ended(&mut reports, 600).await;
    let order: Vec<u64> = got
        .iter()
        .filter(|(_, report)| matches!(report, DeliveryReport::Accepted(_)))
        .map(|(effect, _)| *effect)
        .collect();
    let place = |effect: u64| order.iter().position(|got| *got == effect).expect("accepted");
    for incident in 0..200 {
        assert!(place(incident) < place(1000 + incident), "trigger before resolve of {incident}");
        assert!(mail.tries_of(2000 + incident)[0] < 1000, "mail of {incident} was not delayed");
    }
    let failures = got.iter().filter(|(_, report)| matches!(report, DeliveryReport::FirstFailure(_))).count();
    assert_eq!(failures, 400, "told once per message");
    let in_vain =
        pagerduty.tries().iter().filter(|(effect, at)| *effect >= 1000 && *at < OUTAGE.as_millis()).count();
    assert_eq!(in_vain, 0, "no resolve was tried before its trigger was through");
    assert_eq!(*pagerduty.0.on_the_wire_max.lock().unwrap(), 4);
    // An hour of hot looping would be millions.
    assert!(pagerduty.tries().len() < 200 * 6 * 3600 / 30 + 1000, "{}", pagerduty.tries().len());
    let last = pagerduty.tries().last().unwrap().1;
    assert!(last < OUTAGE.as_millis() + 600_000, "caught up at {last}");
}

/// While 300 incidents wait for time-outs, the first failure of a new one is known after one time-out.
#[tokio::test(start_paused = true)]
async fn what_was_never_tried_goes_first() {
    let receiver = Scripted::new(|_, _, _| Reply::Hang(10));
    let (mut outbox, mut reports) = outbox(&[("pd", &receiver)]);
    for effect in 0..300 {
        dispatch(&mut outbox, "pd", effect, MessageKind::Trigger, &format!("incident {effect}"));
    }
    for _ in 0..300 {
        reports.recv().await.unwrap();
    }
    let before = Instant::now();
    dispatch(&mut outbox, "pd", 999, MessageKind::Trigger, "a new one");
    let (effect, _) = reports.recv().await.unwrap();
    assert_eq!(effect, EffectId(999));
    assert!(before.elapsed() < Duration::from_secs(21), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn retry_after_leaves_the_whole_receiver_alone_up_to_its_cap() {
    for (asked_secs, waited_secs) in [(120, 120), (86_400, 600)] {
        let replies = |before, effect, _| match (effect, before) {
            (1, 0) => Reply::RetryAfter(120),
            (2, 0) => Reply::RetryAfter(86_400),
            _ => Reply::Yes,
        };
        let receiver = Scripted::new(replies);
        let (mut outbox, mut reports) = outbox(&[("pd", &receiver)]);
        let limited = if asked_secs == 120 { 1 } else { 2 };
        dispatch(&mut outbox, "pd", limited, MessageKind::Trigger, "a");
        tokio::time::sleep(Duration::from_secs(1)).await;
        dispatch(&mut outbox, "pd", 3, MessageKind::Trigger, "b");
        let got = until_ended(&mut reports, 2).await;
        assert_eq!(got[0], first_failure(limited, "slow down"));
        let left = format!("the receiver asked to be left alone for another {} s", waited_secs - 1);
        assert_eq!(got[1], first_failure(3, &left), "told at once, not when the receiver may be asked again");
        let (again, other) = (receiver.tries_of(limited)[1], receiver.tries_of(3)[0]);
        for at in [again, other] {
            assert!(at >= waited_secs * 1000 && at < waited_secs * 1000 + 100, "{asked_secs}: {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_dead_at_once_and_what_follows_still_goes_out() {
    let receiver = Scripted::new(|_, effect, _| if effect == 1 { Reply::Never } else { Reply::Yes });
    let (mut outbox, mut reports) = outbox(&[("pd", &receiver)]);
    dispatch(&mut outbox, "pd", 1, MessageKind::Trigger, "a");
    dispatch(&mut outbox, "pd", 2, MessageKind::Resolve, "a");
    assert_eq!(until_ended(&mut reports, 2).await, [dead(1, "bad key"), accepted(2)]);
    assert_eq!(receiver.tries().len(), 2, "no hot loop");
}

#[tokio::test(start_paused = true)]
async fn a_message_on_its_way_is_not_taken_twice() {
    let receiver = Scripted::new(|before, _, _| if before < 2 { Reply::Retry } else { Reply::Yes });
    let (mut outbox, mut reports) = outbox(&[("pd", &receiver)]);
    for _ in 0..3 {
        dispatch(&mut outbox, "pd", 1, MessageKind::Trigger, "a");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(until_ended(&mut reports, 1).await, [first_failure(1, "down"), accepted(1)]);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(receiver.tries().len(), 3);
    assert!(reports.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_waits_and_buries_what_has_no_receiver() {
    let down = Scripted::new(|_, _, _| Reply::Retry);
    let up = Scripted::new(|_, _, _| Reply::Yes);
    let slow = Scripted::new(|_, _, _| Reply::Hang(20));
    let (mut outbox, mut reports) = outbox(&[("pd", &down), ("mail", &down), ("slow", &slow)]);
    dispatch(&mut outbox, "pd", 1, MessageKind::Trigger, "a");
    dispatch(&mut outbox, "pd", 2, MessageKind::Resolve, "a");
    dispatch(&mut outbox, "mail", 3, MessageKind::Trigger, "a");
    dispatch(&mut outbox, "mail", 4, MessageKind::Resolve, "a");
    dispatch(&mut outbox, "slow", 5, MessageKind::Trigger, "a");
    dispatch(&mut outbox, "nobody", 6, MessageKind::Trigger, "a");
    tokio::time::sleep(Duration::from_secs(10)).await;
    outbox.replace_receivers(named(&[("pd", &up), ("new", &up)]));
    let mut got = until_ended(&mut reports, 6).await;
    got.sort_by_key(|(effect, _)| *effect);
    assert_eq!(
        got,
        [
            first_failure(1, "down"),
            accepted(1),
            first_failure(2, "down"),
            accepted(2),
            first_failure(3, "down"),
            dead(3, "receiver mail is no longer configured"),
            first_failure(4, "down"),
            dead(4, "receiver mail is no longer configured"),
            dead(5, "receiver slow is no longer configured"),
            dead(6, "receiver nobody is no longer configured"),
        ]
    );
    assert!(up.tries_of(1)[0] < 10_100, "a reload tries at once");
    // A receiver that comes back works again.
    outbox.replace_receivers(named(&[("mail", &up)]));
    dispatch(&mut outbox, "mail", 7, MessageKind::Trigger, "a");
    assert_eq!(until_ended(&mut reports, 1).await, [accepted(7)]);
}

#[tokio::test(start_paused = true)]
async fn a_bug_in_one_message_does_not_take_the_others_along() {
    let receiver = Scripted::new(|before, effect, _| match (effect, before) {
        (1, 0) => Reply::Panic,
        _ => Reply::Yes,
    });
    let (mut outbox, mut reports) = outbox(&[("pd", &receiver)]);
    dispatch(&mut outbox, "pd", 1, MessageKind::Trigger, "a");
    dispatch(&mut outbox, "pd", 2, MessageKind::Trigger, "b");
    let got = until_ended(&mut reports, 2).await;
    assert!(got.contains(&accepted(1)) && got.contains(&accepted(2)), "{got:?}");
    assert!(got.iter().any(|(effect, report)| {
        *effect == 1
            && matches!(report, DeliveryReport::FirstFailure(reason) if reason.contains("broken off"))
    }));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_the_wire_and_counts_what_is_left() {
    let receiver = Scripted::new(|_, effect, _| match effect {
        1 => Reply::Retry,
        2 => Reply::Hang(3),
        _ => Reply::Hang(1000),
    });
    let (mut outbox, mut reports) = outbox(&[("pd", &receiver)]);
    for effect in [1, 2, 3] {
        dispatch(&mut outbox, "pd", effect, MessageKind::Trigger, &effect.to_string());
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    assert_eq!(outbox.shutdown(Duration::from_secs(5)).await, 3);
    assert_eq!(begun.elapsed().as_secs(), 5);
    let told: Vec<_> = std::iter::from_fn(|| reports.try_recv().ok()).map(|(effect, _)| effect.0).collect();
    assert_eq!(told, [1, 2], "the answer that came within the grace was told");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_though_nobody_receives_reports() {
    let receiver = Scripted::new(|_, _, _| Reply::Yes);
    let (reports, _inbox) = mpsc::channel(1);
    let mut outbox = Outbox::new(named(&[("pd", &receiver)]), reports, RetryPolicy::default());
    for effect in 0..10 {
        dispatch(&mut outbox, "pd", effect, MessageKind::Trigger, &effect.to_string());
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    outbox.shutdown(Duration::from_secs(5)).await;
    assert!(begun.elapsed() < Duration::from_secs(7));
}
