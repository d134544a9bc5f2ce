//! Methods of Go's `time.Time` and `time.Duration`, for what `toTime` and `toDuration` give.

use super::clock;
use super::value::Value;

/// Calls a method; values of other types have none.
pub(super) fn call(owner: &Value, name: &str, arguments: &[Value]) -> Result<Value, String> {
    let called = match (owner, arguments) {
        (Value::Time(millis), []) => of_time(*millis, name)?,
        (Value::Time(millis), [Value::Text(layout)]) if name == "Format" => {
            Some(clock::format(&clock::date(*millis)?, layout).into())
        }
        (Value::Duration(nanos), []) => of_duration(*nanos, name),
        _ => None,
    };
    called.ok_or_else(|| match (owner, arguments) {
        (_, []) | (Value::Time(_) | Value::Duration(_), _) => {
            format!("can't evaluate field {name} in type {}", owner.type_name())
        }
        _ => format!("{name} is not a method but has arguments"),
    })
}

fn of_time(millis: i64, name: &str) -> Result<Option<Value>, String> {
    let date = clock::date(millis)?;
    Ok(Some(match name {
        "String" => clock::instant_text(millis).into(),
        "Unix" => Value::Int(millis.div_euclid(1000)),
        "UnixMilli" => Value::Int(millis),
        "UTC" | "Local" => Value::Time(millis),
        "Year" => Value::Int(date.year().into()),
        "Month" => clock::month_name(&date).into(),
        "Day" => Value::Int(date.day().into()),
        "Weekday" => clock::WEEKDAYS[clock::weekday_index(&date)].into(),
        "YearDay" => Value::Int(date.day_of_year().into()),
        "Hour" => Value::Int(date.hour().into()),
        "Minute" => Value::Int(date.minute().into()),
        "Second" => Value::Int(date.second().into()),
        _ => return Ok(None),
    }))
}

fn of_duration(nanos: i64, name: &str) -> Option<Value> {
    let seconds = clock::seconds(nanos);
    Some(match name {
        "String" => clock::duration_text(nanos).into(),
        "Seconds" => Value::Float(seconds),
        "Minutes" => Value::Float(seconds / 60.0),
        "Hours" => Value::Float(seconds / 3600.0),
        "Milliseconds" => Value::Int(nanos / 1_000_000),
        "Microseconds" => Value::Int(nanos / 1_000),
        "Nanoseconds" => Value::Int(nanos),
        _ => return None,
    })
}
