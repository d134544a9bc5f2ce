//! The answer to a query in Prometheus' own form (`/api/v1/query`): what the API, the control socket and the command
//! line share.

use std::fmt;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use crate::engine::model::Labels;
use crate::engine::promql::{EvalContext, MatrixSeries, Value};
use crate::engine::series::Point;
use crate::engine::time::{Span, Timestamp};

/// What a query gave, and what whoever reads it should know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The value.
    pub data: Data,
    /// Why it may say less than it seems to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What is good to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub infos: Vec<String>,
}

/// The envelope of every successful answer of the API.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Envelope<'a, T> {
    status: &'static str,
    data: &'a T,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    infos: &'a [String],
}

impl<'a, T> Envelope<'a, T> {
    /// Puts data and what should be known about them into the envelope.
    pub fn new(data: &'a T, warnings: &'a [String], infos: &'a [String]) -> Self {
        Self { status: "success", data, warnings, infos }
    }
}

/// A value of PromQL, in wall time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub enum Data {
    /// Series with one value each.
    Vector(Vec<Element>),
    /// Series with several.
    Matrix(Vec<Series>),
    /// One number.
    Scalar(Dot),
    /// A text.
    String((WallTime, String)),
}

/// One element of a vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Element {
    /// Its labels.
    pub metric: Labels,
    /// Its value.
    pub value: Dot,
}

/// One series of a matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Its labels.
    pub metric: Labels,
    /// Its values, oldest first.
    pub values: Vec<Dot>,
}

/// A number at a time: `[1435781430.781, "1"]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dot(pub WallTime, pub Number);

/// Milliseconds of wall time since 1970; written as seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(pub i64);

/// A number, written as Go writes it: the shortest digits that read back, no exponent, `NaN`, `+Inf`.
#[derive(Clone, Copy, Debug)]
pub struct Number(pub f64);

impl Data {
    /// Turns a value into wall time.
    pub fn of(value: Value, context: &EvalContext) -> Self {
        let at = wall(context.at, context.wall_offset);
        match value {
            Value::Scalar(value) => Self::Scalar(Dot(at, Number(value))),
            Value::String(text) => Self::String((at, text.to_string())),
            Value::Vector(vector) => {
                let element = |sample: crate::engine::promql::VectorSample| Element {
                    metric: sample.labels,
                    value: Dot(at, Number(sample.value)),
                };
                Self::Vector(vector.into_iter().map(element).collect())
            }
            Value::Matrix(series) => Self::of_range(series, context.wall_offset),
        }
    }

    /// Turns the series of a range query into wall time.
    pub fn of_range(series: Vec<MatrixSeries>, wall_offset: Span) -> Self {
        let dot = |point: &Point| Dot(wall(point.at, wall_offset), Number(point.value));
        let series = series
            .into_iter()
            .map(|series| Series { metric: series.labels, values: series.points.iter().map(dot).collect() });
        Self::Matrix(series.collect())
    }

    /// Returns whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Vector(elements) => elements.is_empty(),
            Self::Matrix(series) => series.is_empty(),
            Self::Scalar(_) | Self::String(_) => false,
        }
    }

    /// Leaves only the first `limit` series; returns whether there were more.
    pub fn truncate(&mut self, limit: usize) -> bool {
        let cut = |length: usize| length > limit;
        match self {
            Self::Vector(elements) if cut(elements.len()) => elements.truncate(limit),
            Self::Matrix(series) if cut(series.len()) => series.truncate(limit),
            _ => return false,
        }
        true
    }
}

fn wall(at: Timestamp, wall_offset: Span) -> WallTime {
    WallTime((at + wall_offset).as_millis())
}

impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 1000 == 0 {
            serializer.serialize_i64(self.0 / 1000)
        } else {
            serializer.serialize_f64(self.0 as f64 / 1000.0)
        }
    }
}

impl<'de> Deserialize<'de> for WallTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(|seconds| Self((seconds * 1000.0).round() as i64))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value.is_nan() => f.write_str("NaN"),
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            value => write!(f, "{value}"),
        }
    }
}

impl PartialEq for Number {
    /// NaN equals NaN here: it is the same answer.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || (self.0.is_nan() && other.0.is_nan())
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| de::Error::custom(format!("`{text}` is not a number")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let cases = [
            (1.0, "1"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (1e21, "1000000000000000000000"),
            (1e-7, "0.0000001"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (1.0 / 3.0, "0.3333333333333333"),
        ];
        for (value, text) in cases {
            assert_eq!(Number(value).to_string(), text);
            assert_eq!(text.parse().map(Number), Ok(Number(value)), "{text}");
        }
    }

    #[test]
    fn answers_have_the_shapes_of_prometheus_and_read_back() {
        let labels = Labels::from_pairs([("__name__", "x"), ("a", "b\"<c")]);
        let dot = Dot(WallTime(1_435_781_430_781), Number(1.0));
        let whole = Dot(WallTime(1_435_781_430_000), Number(f64::NAN));
        let cases = [
            (
                Data::Vector(vec![Element { metric: labels.clone(), value: dot }]),
                r#"{"resultType":"vector","result":[{"metric":{"__name__":"x","a":"b\"<c"},"value":[1435781430.781,"1"]}]}"#,
            ),
            (
                Data::Matrix(vec![Series { metric: Labels::empty(), values: vec![whole, dot] }]),
                r#"{"resultType":"matrix","result":[{"metric":{},"values":[[1435781430,"NaN"],[1435781430.781,"1"]]}]}"#,
            ),
            (Data::Scalar(dot), r#"{"resultType":"scalar","result":[1435781430.781,"1"]}"#),
            (Data::String((WallTime(5), "a".to_owned())), r#"{"resultType":"string","result":[0.005,"a"]}"#),
        ];
        for (data, expected) in cases {
            let written = serde_json::to_string(&data).expect("it is written");
            assert_eq!(written, expected);
            assert_eq!(serde_json::from_str::<Data>(&written).expect("it reads back"), data);
        }
    }
}
