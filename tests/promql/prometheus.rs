//! A real Prometheus: started, filled through remote write, asked through its HTTP API.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rearguard::engine::model::Labels;
use rearguard::sources::http_client;
use reqwest::{Client, Url};
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::data::Matrix;

pub const PROGRAM: &str = "/usr/bin/prometheus";

/// An answer to a query, whoever gave it.
pub enum Answer {
    Error(String),
    Scalar(f64),
    Text(String),
    /// Points by series; the order of the series where it means something.
    Series(BTreeMap<Labels, Vec<(i64, f64)>>, Option<Vec<Labels>>),
}

impl Answer {
    /// Prints what `other` does not have, and little else.
    pub fn shortened(&self, other: &Self) -> String {
        match (self, other) {
            (Self::Error(text), _) => format!("error: {text}"),
            (Self::Scalar(value), _) => format!("{value:?}"),
            (Self::Text(text), _) => format!("{text:?}"),
            (Self::Series(series, order), other) => {
                let theirs = |labels: &Labels| match other {
                    Self::Series(other, _) => other.get(labels).cloned().unwrap_or_default(),
                    _ => Vec::new(),
                };
                let close = |a: &(i64, f64), b: &(i64, f64)| a.0 == b.0 && equal(a.1, b.1);
                let lines = series.iter().filter_map(|(labels, points)| {
                    let other = theirs(labels);
                    let own: Vec<_> = points
                        .iter()
                        .filter(|point| !other.iter().any(|b| close(point, b)))
                        .take(4)
                        .collect();
                    (!own.is_empty()).then(|| format!("{labels} {own:?}"))
                });
                let lines: Vec<_> = lines.take(4).collect();
                if lines.is_empty() { format!("order {order:?}") } else { lines.join("; ") }
            }
        }
    }
}

/// Equal to ten digits: sums are compensated since Prometheus 3, and not in all places before.
pub fn equal(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-10 * a.abs().max(b.abs())
}

/// Ended with the test; its files go too.
pub struct Prometheus {
    process: Child,
    base: Url,
    client: Client,
    runtime: Runtime,
    _directory: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Prometheus {
    /// Starts an empty one and waits until it answers.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let config = directory.path().join("prometheus.yml");
        std::fs::write(&config, "scrape_configs: []\n").expect("a file");
        // Free a moment ago; the kernel does not give it to others so soon.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = address.expect("a free address").to_string();
        let process = Command::new(PROGRAM)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--web.enable-remote-write-receiver")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let base = Url::parse(&format!("http://{address}/")).expect("a URL");
        let client = http_client::build(&base).expect("a client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let prometheus = Self { process, base, client, runtime, _directory: directory };
        let begun = Instant::now();
        while !prometheus.is_ready() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{PROGRAM} does not become ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        prometheus
    }

    fn url(&self, path: &str) -> Url {
        self.base.join(path).expect("a path")
    }

    fn is_ready(&self) -> bool {
        let answer = self.runtime.block_on(self.client.get(self.url("-/ready")).send());
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Writes the samples in the order of time, as they would have come.
    pub fn write(&self, data: &Matrix) {
        let mut slices: BTreeMap<i64, Vec<(&Labels, i64, f64)>> = BTreeMap::new();
        for (labels, points) in data {
            for (at, value) in points {
                slices.entry(at / 600_000).or_default().push((labels, *at, *value));
            }
        }
        for slice in slices.into_values() {
            let request = self
                .client
                .post(self.url("api/v1/write"))
                .header("Content-Encoding", "snappy")
                .header("Content-Type", "application/x-protobuf")
                .header("X-Prometheus-Remote-Write-Version", "0.1.0")
                .body(snappy(&write_request(&slice)));
            let answer = self.runtime.block_on(request.send()).expect("an answer");
            let status = answer.status();
            let text = self.runtime.block_on(answer.text()).unwrap_or_default();
            assert!(status.is_success(), "{status}: {text}");
        }
    }

    /// Asks at an instant, in milliseconds.
    pub fn query(&self, expression: &str, at: i64) -> Answer {
        self.ask("api/v1/query", &[("query", expression.to_owned()), ("time", seconds(at))])
    }

    /// Asks over a range: start, end, step, in milliseconds.
    pub fn query_range(&self, expression: &str, (start, end, step): (i64, i64, i64)) -> Answer {
        let range = [("start", seconds(start)), ("end", seconds(end)), ("step", seconds(step))];
        let query = ("query", expression.to_owned());
        self.ask("api/v1/query_range", &[[query].as_slice(), &range].concat())
    }

    fn ask(&self, path: &str, parameters: &[(&str, String)]) -> Answer {
        let mut url = self.url(path);
        url.query_pairs_mut().extend_pairs(parameters);
        let text = self.runtime.block_on(async { self.client.get(url).send().await?.text().await });
        let text = text.expect("an answer");
        let json: Json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        answer(&json).unwrap_or_else(|| panic!("{text}"))
    }
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

fn answer(json: &Json) -> Option<Answer> {
    if json["status"] == "error" {
        return Some(Answer::Error(json["error"].as_str()?.to_owned()));
    }
    let result = &json["data"]["result"];
    match json["data"]["resultType"].as_str()? {
        "scalar" => Some(Answer::Scalar(point(result)?.1)),
        "string" => Some(Answer::Text(result[1].as_str()?.to_owned())),
        _ => {
            let mut series = BTreeMap::new();
            let mut order = Vec::new();
            for element in result.as_array()? {
                let metric = element["metric"].as_object()?;
                let labels = Labels::from_pairs(metric.iter().map(|(k, v)| (k, v.as_str().unwrap_or(""))));
                let points = match &element["values"] {
                    Json::Array(points) => points.iter().map(point).collect::<Option<Vec<_>>>()?,
                    _ => vec![point(&element["value"])?],
                };
                order.push(labels.clone());
                series.insert(labels, points);
            }
            Some(Answer::Series(series, Some(order)))
        }
    }
}

/// `[seconds, "value"]`
fn point(json: &Json) -> Option<(i64, f64)> {
    #[expect(clippy::cast_possible_truncation, reason = "a time of the test's own")]
    let at = (json[0].as_f64()? * 1000.0).round() as i64;
    Some((at, json[1].as_str()?.parse().ok()?))
}

/// A `prometheus.WriteRequest`: of protocol buffers there is just enough here for labels and samples.
fn write_request(samples: &[(&Labels, i64, f64)]) -> Vec<u8> {
    let mut request = Vec::new();
    let mut rest = samples;
    while let [(labels, ..), ..] = rest {
        let of_series = rest.iter().take_while(|(other, ..)| other == labels).count();
        let (own, tail) = rest.split_at(of_series);
        rest = tail;
        let mut series = Vec::new();
        for (name, value) in labels.iter() {
            let mut label = Vec::new();
            field(&mut label, 1, name.as_bytes());
            field(&mut label, 2, value.as_bytes());
            field(&mut series, 1, &label);
        }
        for (_, at, value) in own {
            // Field 1 as eight bytes, field 2 as a number.
            let mut sample = vec![0x09];
            sample.extend_from_slice(&value.to_bits().to_le_bytes());
            sample.push(0x10);
            varint(&mut sample, at.unsigned_abs());
            field(&mut series, 2, &sample);
        }
        field(&mut request, 1, &series);
    }
    request
}

fn field(into: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    into.push(number << 3 | 2);
    varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    into.push(value.to_le_bytes()[0]);
}

/// Snappy's block format, literals only: <https://github.com/google/snappy/blob/main/format_description.txt>.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    varint(&mut block, bytes.len() as u64);
    for literal in bytes.chunks(60) {
        block.push((literal.len() as u8 - 1) << 2);
        block.extend_from_slice(literal);
    }
    block
}
