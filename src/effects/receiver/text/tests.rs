//! The page, letter by letter.

use super::*;
use crate::effects::fixture::{ANCHOR, JOURNAL, delivery};
use crate::engine::model::Labels;

fn page(delivery: &Delivery) -> Page {
    Page::new(delivery, JOURNAL, ANCHOR)
}

#[test]
fn a_page_reads_from_what_broke_to_what_to_do() {
    let mut delivery = delivery(40, MessageKind::Trigger, "key");
    delivery.message.details = vec![
        "Rollback emergency (v42 -> v41) has begun: step 1 of 3, reroute traffic.".to_owned(),
        "Nothing to do yet; the outcome is paged within 60s.".to_owned(),
    ];
    delivery.message.facts.labels = Labels::from_pairs([("instance", "127.0.0.1:8003")]);
    let expected = "\
HIGH trading-app ErrorRateHigh

trading-app: 7.3% of requests fail

WHAT BROKE
  error_rate 7.3% > 2% for 60s
  Measured 0.073, threshold 0.02.
  Series {instance=\"127.0.0.1:8003\"}
  Since 2026-11-21 02:30:05 UTC, 2m10s before this message.

WHAT WAS DONE, WHAT TO DO NOW
  Rollback emergency (v42 -> v41) has begun: step 1 of 3, reroute traffic.
  Nothing to do yet; the outcome is paged within 60s.
  Runbook: https://wiki.example/errors

VERSION
  Runs v42.
  Before it ran v41.

FOR THE RECORD
  Message E40 of incident I12, decided 2026-11-21 02:32:15 UTC. `rearguard incident show I12` tells the whole story.
  Journal 6f1c2f0e-7c1d-4c58-9d3e-2b8a4e0c9a11, head 9b74c9897bac770ffc029102a200c5de.
";
    assert_eq!(page(&delivery).to_text(), expected);
    assert_eq!(subject(&delivery.message), "[Rearguard] HIGH trading-app: 7.3% of requests fail");
}

#[test]
fn a_resolution_with_few_facts_stays_short() {
    let mut delivery = delivery(41, MessageKind::Resolve, "key");
    let message = &mut delivery.message;
    message.summary = "error_rate is below 1% for 2m".to_owned();
    message.details.clear();
    message.unjournaled = true;
    message.facts.reason = message.summary.clone();
    (message.facts.value, message.facts.threshold, message.facts.runbook) = (None, None, None);
    (message.facts.version, message.facts.previous_version) = (None, None);
    let expected = "\
RESOLVED trading-app ErrorRateHigh

error_rate is below 1% for 2m

WHAT WAS BROKEN
  Since 2026-11-21 02:30:05 UTC, 2m10s until it was resolved.

FOR THE RECORD
  Message E41 of incident I12, decided 2026-11-21 02:32:15 UTC. `rearguard incident show I12` tells the whole story.
  Journal 6f1c2f0e-7c1d-4c58-9d3e-2b8a4e0c9a11, head 9b74c9897bac770ffc029102a200c5de.
  Sent from memory: the journal could not be written. No rollback starts until it can.
";
    assert_eq!(page(&delivery).to_text(), expected);
    assert_eq!(subject(&delivery.message), "[Rearguard] RESOLVED trading-app: error_rate is below 1% for 2m");
}

#[test]
fn hostile_facts_stay_on_their_line_and_out_of_the_markup() {
    let mut delivery = delivery(40, MessageKind::Trigger, "key");
    let hostile =
        "\"><script>alert(1)</script>\r\nBcc: all@example\nFOR THE RECORD\n  nothing happened\u{202e}";
    delivery.message.summary = hostile.to_owned();
    delivery.message.details = vec![hostile.to_owned(); 3];
    let facts = &mut delivery.message.facts;
    facts.reason = format!("{hostile} {{target}}");
    facts.labels = Labels::from_pairs([("path", hostile)]);
    facts.cause = hostile.to_owned();
    facts.version = Some(hostile.to_owned());
    facts.runbook = Some("javascript:alert(1)//\"><script>".to_owned());
    let page = page(&delivery);
    let text = page.to_text();
    assert_eq!(text.lines().filter(|line| line.starts_with("FOR THE RECORD")).count(), 1, "{text}");
    assert!(!text.lines().any(|line| line.starts_with("Bcc")), "{text}");
    assert!(text.contains("{target}"), "templates are not expanded here: {text}");
    let html = page.to_html();
    assert!(!html.contains("<script"), "{html}");
    assert!(!html.contains("<a href"), "only http and https are links: {html}");
    assert!(!subject(&delivery.message).contains(['\r', '\n']));
    delivery.message.facts.runbook = Some("https://wiki.example/?a=\"><script>&b='x'".to_owned());
    let html = Page::new(&delivery, JOURNAL, ANCHOR).to_html();
    assert!(html.contains("<a href=\"https://wiki.example/?a=%22%3E%3Cscript%3E&amp;b=%27x%27\">"), "{html}");
}

#[test]
fn a_message_without_a_summary_falls_back_to_the_facts() {
    let mut delivery = delivery(40, MessageKind::Trigger, "key");
    delivery.message.summary = " \n".to_owned();
    assert_eq!(summary(&delivery.message), "trading-app: ErrorRateHigh error_rate 7.3% > 2% for 60s");
}

#[test]
fn numbers_are_short_and_exact_enough() {
    let cases = [
        (0.0, "0"),
        (0.02, "0.02"),
        (0.073_123_456, "0.0731235"),
        (1.0 / 3.0, "0.333333"),
        (100.0, "100"),
        (123_456.789, "123457"),
        (1_500_000.0, "1500000"),
        (-2.5, "-2.5"),
        (1e-9, "1.00000e-9"),
        (1e300, "1.00000e300"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "inf"),
    ];
    for (value, text) in cases {
        assert_eq!(number(value), text, "{value:?}");
    }
}
