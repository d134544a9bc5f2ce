//! Prometheus' `humanize` functions (`template/template.go` and `common/helpers/templates`).

use super::clock;
use super::format::float;

/// What each step down by 1000 is called.
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// Four digits: `%.4g`.
fn four(value: f64) -> String {
    float(value, 'g', Some(4))
}

fn is_plain(value: f64) -> bool {
    value == 0.0 || !value.is_finite()
}

/// `1234567` is `1.235M`, `0.001` is `1m`.
pub(super) fn decimal(mut value: f64) -> String {
    if is_plain(value) {
        return four(value);
    }
    let mut prefix = "";
    if value.abs() >= 1.0 {
        for larger in ["k", "M", "G", "T", "P", "E", "Z", "Y"] {
            if value.abs() < 1000.0 {
                break;
            }
            prefix = larger;
            value /= 1000.0;
        }
    } else {
        (value, prefix) = scaled_up(value);
    }
    format!("{}{prefix}", four(value))
}

fn scaled_up(mut value: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for smaller in SMALL {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = smaller;
        value *= 1000.0;
    }
    (value, prefix)
}

/// `1048576` is `1Mi`.
pub(super) fn binary(mut value: f64) -> String {
    let mut prefix = "";
    if value.abs() > 1.0 && value.is_finite() {
        for larger in ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"] {
            if value.abs() < 1024.0 {
                break;
            }
            prefix = larger;
            value /= 1024.0;
        }
    }
    format!("{}{prefix}", four(value))
}

/// `3661` is `1h 1m 1s`, `0.25` is `250ms`.
pub(super) fn duration(value: f64) -> String {
    if !value.is_finite() {
        return four(value);
    }
    if value == 0.0 {
        return format!("{}s", four(value));
    }
    if value.abs() < 1.0 {
        let (value, prefix) = scaled_up(value);
        return format!("{}{prefix}s", four(value));
    }
    let sign = if value < 0.0 { "-" } else { "" };
    #[expect(clippy::cast_possible_truncation, reason = "a float cast to an integer saturates")]
    let whole = value.abs() as i64;
    let (seconds, minutes, hours) = (whole % 60, whole / 60 % 60, whole / 3600 % 24);
    match (whole / 86_400, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", four(value.abs())),
        (0, 0, minutes) => format!("{sign}{minutes}m {seconds}s"),
        (0, hours, minutes) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        (days, hours, minutes) => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    }
}

/// `0.123` is `12.3%`.
pub(super) fn percentage(value: f64) -> String {
    format!("{}%", four(value * 100.0))
}

/// Seconds since the epoch as a date.
pub(super) fn timestamp(value: f64) -> Result<String, String> {
    Ok(clock::instant(value)?.map_or_else(|| four(value), clock::instant_text))
}
