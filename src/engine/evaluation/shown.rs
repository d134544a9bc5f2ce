//! Values as people read them: three significant digits, with their unit.

use crate::engine::rules::Unit;

/// Returns `value` with its unit: `12.3%`, `250ms`, `41.2/s`, `1.5MiB`.
pub fn shown(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Ratio => format!("{}%", short(value * 100.0)),
        Unit::Percent => format!("{}%", short(value)),
        Unit::Seconds => seconds(value),
        Unit::Milliseconds => seconds(value / 1e3),
        Unit::PerSecond => format!("{}/s", short(value)),
        Unit::PerMinute => format!("{}/min", short(value)),
        Unit::Bytes => bytes(value),
        Unit::Count => short(value),
        Unit::Bool if value == 0.0 => "false".to_owned(),
        Unit::Bool if value == 1.0 => "true".to_owned(),
        Unit::Bool => short(value),
    }
}

fn seconds(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || size >= 1.0 => format!("{}s", short(value)),
        size if size >= 1e-3 => format!("{}ms", short(value * 1e3)),
        size if size >= 1e-6 => format!("{}us", short(value * 1e6)),
        _ => format!("{}ns", short(value * 1e9)),
    }
}

fn bytes(value: f64) -> String {
    const STEPS: [(&str, f64); 4] =
        [("TiB", 1_099_511_627_776.0), ("GiB", 1_073_741_824.0), ("MiB", 1_048_576.0), ("KiB", 1024.0)];
    let step = STEPS.iter().find(|(_, size)| value.abs() >= *size);
    step.map_or_else(|| format!("{}B", short(value)), |(name, size)| format!("{}{name}", short(value / size)))
}

/// Three significant digits, no trailing zeros, no exponent for everyday sizes.
fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.001 => 4,
        _ => return format!("{value:.2e}"),
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_people_say_them() {
        let cases = [
            (0.1234, Unit::Ratio, "12.3%"),
            (0.02, Unit::Ratio, "2%"),
            (2.0, Unit::Percent, "2%"),
            (250.0, Unit::Milliseconds, "250ms"),
            (90.0, Unit::PerMinute, "90/min"),
            (0.0298e-3, Unit::Seconds, "29.8us"),
            (0.25, Unit::Seconds, "250ms"),
            (1.5, Unit::Seconds, "1.5s"),
            (0.0, Unit::Seconds, "0s"),
            (41.234, Unit::PerSecond, "41.2/s"),
            (1_572_864.0, Unit::Bytes, "1.5MiB"),
            (12_345.0, Unit::Count, "12345"),
            (1.0, Unit::Bool, "true"),
        ];
        for (value, unit, text) in cases {
            assert_eq!(shown(value, unit), text);
        }
    }
}
