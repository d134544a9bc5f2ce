//! The spelling of numbers: Go's `strconv.ParseFloat` without underscores and without hexadecimal, as Prometheus has it.

/// What a text says, before anybody turns it into a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Digits with an optional sign, point and exponent; its value must come out finite.
    Finite,
    /// `Inf` or `infinity` in any case, signed or not.
    Infinite,
    /// `NaN` in any case, never signed.
    NotANumber,
}

/// Returns how `text` spells a number, or `None` where it spells none.
pub(super) fn spelling(text: &str) -> Option<Spelling> {
    if text.eq_ignore_ascii_case("nan") {
        return Some(Spelling::NotANumber);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") {
        return Some(Spelling::Infinite);
    }
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_is_number = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let exponent_is_number = exponent.is_none_or(|text| {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        !unsigned.is_empty() && digits(unsigned)
    });
    (mantissa_is_number && exponent_is_number).then_some(Spelling::Finite)
}

/// Returns the value that `text` spells; `None` where it spells none, or one that a 64-bit float cannot hold.
pub(super) fn value(text: &str) -> Option<f64> {
    match spelling(text)? {
        Spelling::NotANumber => Some(f64::NAN),
        Spelling::Infinite => Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
        Spelling::Finite => text.parse::<f64>().ok().filter(|value| value.is_finite()),
    }
}

/// Converts an OpenMetrics timestamp, seconds with a fraction, to milliseconds, cut off as Prometheus does.
pub(super) fn milliseconds(text: &str) -> Option<i64> {
    match spelling(text)? {
        Spelling::Finite => {
            text.parse::<f64>().ok().filter(|secs| secs.is_finite()).map(|secs| (secs * 1000.0) as i64)
        }
        Spelling::Infinite | Spelling::NotANumber => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spelled_as_in_prometheus() {
        for text in ["0", "-0", "+1", "1.", ".5", "007.5", "1e5", "1E+5", "-.5e-05", "1e400"] {
            assert_eq!(spelling(text), Some(Spelling::Finite), "{text}");
        }
        for text in ["Inf", "+Inf", "-inf", "INF", "infinity", "-Infinity"] {
            assert_eq!(spelling(text), Some(Spelling::Infinite), "{text}");
        }
        for text in ["NaN", "nan", "NAN"] {
            assert_eq!(spelling(text), Some(Spelling::NotANumber), "{text}");
        }
        let bad = [
            "", ".", "+", "-", "e5", "1e", "1e+", "1.2.3", "1_000", "0x10", "0X1", "0x1p-3", "0b1", "0o7",
            "+NaN", "infi", "1 ", " 1", "1\r", "1f", "٣", "--1", "1e5.0", "+-1",
        ];
        for text in bad {
            assert_eq!(spelling(text), None, "{text:?} must be refused");
        }
    }

    #[test]
    fn seconds_become_milliseconds() {
        let cases = [
            ("0", Some(0)),
            ("1.5", Some(1500)),
            ("-1.1", Some(-1100)),
            ("1605301325", Some(1_605_301_325_000)),
        ];
        for (text, expected) in cases {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
        for text in ["NaN", "Inf", "1e400", "z", ""] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }
}
