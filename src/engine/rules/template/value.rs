//! What templates compute with: the values that Go's reflection sees in Prometheus' templates.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::clock;
use crate::engine::model::Labels;
use crate::engine::promql::VectorSample;

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// No value at all: a field of nothing, `nil`.
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    /// `map[string]string`
    Labels(Labels),
    /// What `args` makes.
    Map(Arc<BTreeMap<Arc<str>, Value>>),
    /// One element of a query's result.
    Sample(Arc<VectorSample>),
    /// A query's result.
    Vector(Arc<[Arc<VectorSample>]>),
    /// `.` and `$` at the top.
    Data,
    /// Milliseconds since the Unix epoch.
    Time(i64),
    /// Nanoseconds.
    Duration(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl Value {
    /// Returns Go's name of the type, as its messages show it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::Labels(_) => "map[string]string",
            Self::Map(_) => "map[string]interface {}",
            Self::Sample(_) => "*template.sample",
            Self::Vector(_) => "template.queryResult",
            Self::Data => "struct",
            Self::Time(_) => "*time.Time",
            Self::Duration(_) => "time.Duration",
        }
    }

    /// Returns what `if` makes of it: numbers but zero, texts and collections but empty ones. NaN is not zero.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) | Self::Duration(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Labels(labels) => !labels.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Vector(elements) => !elements.is_empty(),
            Self::Sample(_) | Self::Data | Self::Time(_) => true,
        }
    }

    /// Returns the value as a number, as Prometheus' functions take it (`ConvertToFloat`).
    pub(super) fn to_float(&self) -> Result<f64, String> {
        match self {
            Self::Float(value) => Ok(*value),
            Self::Int(value) => Ok(*value as f64),
            Self::Duration(nanos) => Ok(clock::seconds(*nanos)),
            Self::Text(text) => crate::engine::promql::literals::parse_float(text)
                .ok_or_else(|| format!("parsing {:?}: invalid syntax", &**text)),
            other => Err(format!("can't convert {} to float", other.type_name())),
        }
    }

    /// Returns the number of entries or bytes.
    pub(super) fn length(&self) -> Result<i64, String> {
        let length = match self {
            Self::Text(text) => text.len(),
            Self::Labels(labels) => labels.len(),
            Self::Map(map) => map.len(),
            Self::Vector(elements) => elements.len(),
            Self::Nil => return Err("len of nil pointer".to_owned()),
            other => return Err(format!("len of type {}", other.type_name())),
        };
        Ok(i64::try_from(length).unwrap_or(i64::MAX))
    }

    /// Returns what `index` finds: the value of a key, or `""`; the element at a place.
    pub(super) fn index(&self, key: &Self) -> Result<Self, String> {
        let outside = |at: i64| format!("index out of range: {at}");
        match (self, key) {
            (Self::Labels(labels), Self::Text(name)) => Ok(labels.get(name).unwrap_or("").into()),
            (Self::Map(map), Self::Text(name)) => Ok(map.get(name).cloned().unwrap_or(Self::Nil)),
            (Self::Vector(elements), Self::Int(at)) => {
                let element = usize::try_from(*at).ok().and_then(|at| elements.get(at));
                element.cloned().map(Self::Sample).ok_or_else(|| outside(*at))
            }
            (Self::Text(text), Self::Int(at)) => {
                let byte = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at));
                byte.map(|byte| Self::Int(i64::from(*byte))).ok_or_else(|| outside(*at))
            }
            (Self::Labels(_) | Self::Map(_) | Self::Vector(_) | Self::Text(_), Self::Nil) => {
                Err("cannot index slice/array with nil".to_owned())
            }
            (Self::Labels(_) | Self::Map(_), other) => {
                Err(format!("value has type {}; should be string", other.type_name()))
            }
            (Self::Vector(_) | Self::Text(_), other) => {
                Err(format!("cannot index slice/array with type {}", other.type_name()))
            }
            (Self::Nil, _) => Err("index of untyped nil".to_owned()),
            (other, _) => Err(format!("can't index item of type {}", other.type_name())),
        }
    }

    /// Compares as `eq` does: only values of one kind, and nothing with everything.
    pub(super) fn equals(&self, other: &Self) -> Result<bool, String> {
        Ok(match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a) | Self::Duration(a), Self::Int(b) | Self::Duration(b)) => a == b,
            #[expect(clippy::float_cmp, reason = "the author of the template asked for exact equality")]
            (Self::Float(a), Self::Float(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Time(a), Self::Time(b)) => a == b,
            (Self::Nil, Self::Nil) => true,
            (Self::Nil, _) | (_, Self::Nil) => false,
            (a, b) if a.is_comparable() && b.is_comparable() => return Err(INCOMPATIBLE.to_owned()),
            (a, b) => {
                return Err(format!("non-comparable types {}, {}", a.type_name(), b.type_name()));
            }
        })
    }

    fn is_comparable(&self) -> bool {
        !matches!(self, Self::Labels(_) | Self::Map(_) | Self::Vector(_) | Self::Sample(_) | Self::Data)
    }

    /// Compares as `lt` does; `None` where a NaN is neither less nor more.
    pub(super) fn order(&self, other: &Self) -> Result<Option<Ordering>, String> {
        match (self, other) {
            (Self::Int(a) | Self::Duration(a), Self::Int(b) | Self::Duration(b)) => Ok(Some(a.cmp(b))),
            (Self::Float(a), Self::Float(b)) => Ok(a.partial_cmp(b)),
            (Self::Text(a), Self::Text(b)) => Ok(Some(a.cmp(b))),
            (a, b) if std::mem::discriminant(a) == std::mem::discriminant(b) => {
                Err("invalid type for comparison".to_owned())
            }
            _ => Err(INCOMPATIBLE.to_owned()),
        }
    }
}

/// What Go says of `gt $value 5`: the value is a float, and `5` is none.
const INCOMPATIBLE: &str = "incompatible types for comparison (a float is compared with `5.0`, not with `5`)";
