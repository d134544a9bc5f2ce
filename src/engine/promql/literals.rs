//! Numbers and strings as Go writes them, because PromQL's literals and `le` labels are Go's.

/// Parses a floating-point number as Go's `strconv.ParseFloat` does: `1`, `.5`, `1e3`, `1_000`, `0x1p-2`, `Inf`, `nan`.
///
/// Also what `le` labels are read with, so `1`, `1.0` and `1e0` are one bucket.
pub fn parse_float(text: &str) -> Option<f64> {
    if !underscores_ok(text) {
        return None;
    }
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    if let Some(hex) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        let value = parse_hex_float(hex)?;
        return Some(if plain.starts_with('-') { -value } else { value });
    }
    // Rust takes the same decimal texts as Go, `infinity` and `nan` in any case among them.
    plain.parse().ok()
}

/// Parses a number literal of PromQL: Go's integers with a prefix first (`0x1F`, `017` is octal), else a float.
pub fn parse_number(text: &str) -> Option<f64> {
    if underscores_ok(text) {
        let plain: String = text.chars().filter(|c| *c != '_').collect();
        let integer = if let Some(hex) = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
            i64::from_str_radix(hex, 16).ok()
        } else if plain.len() > 1 && plain.starts_with('0') && plain.bytes().all(|b| b.is_ascii_digit()) {
            i64::from_str_radix(&plain, 8).ok()
        } else {
            None
        };
        if let Some(integer) = integer {
            return Some(integer as f64);
        }
    }
    parse_float(text)
}

/// Go's rule: an underscore stands between digits, or between a base prefix and a digit (`strconv.underscoreOK`).
fn underscores_ok(text: &str) -> bool {
    if !text.contains('_') {
        return true;
    }
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut before = '^';
    let mut hex = false;
    if let Some(tail) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        (rest, before, hex) = (tail, '0', true);
    }
    for c in rest.chars() {
        if c.is_ascii_digit() || (hex && c.is_ascii_hexdigit()) {
            before = '0';
        } else if c == '_' {
            if before != '0' {
                return false;
            }
            before = '_';
        } else {
            if before == '_' {
                return false;
            }
            before = '!';
        }
    }
    before != '_'
}

/// Parses what follows `0x`: hexadecimal digits with an optional point, then `p` and a decimal exponent, which Go demands.
fn parse_hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0_f64;
    for c in whole.chars().chain(fraction.chars()) {
        value = value.mul_add(16.0, f64::from(c.to_digit(16)?));
    }
    let exponent: i32 = exponent.parse().ok()?;
    let shift = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    Some(value * 2.0_f64.powi(exponent.checked_sub(shift)?))
}

/// Undoes the escapes of a quoted string; `inner` is what stands between the quotes, `quote` the quote.
///
/// # Errors
///
/// The offset of the offending escape in `inner`, and what is wrong with it. Bytes that are not UTF-8 are refused:
/// no label can hold them.
pub fn unescape(inner: &str, quote: char) -> Result<String, (usize, String)> {
    if quote == '`' {
        return Ok(inner.to_owned());
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let wrong = |what: String| (at, what);
        let Some((_, c)) = chars.next() else { return Err(wrong("the string ends inside an escape".into())) };
        let mut digits = |count: usize, radix: u32, first: Option<char>| -> Option<u32> {
            let mut value = first.map_or(Some(0), |c| c.to_digit(radix))?;
            for _ in usize::from(first.is_some())..count {
                value = value * radix + chars.next()?.1.to_digit(radix)?;
            }
            Some(value)
        };
        let simple = match c {
            'a' => Some(0x07),
            'b' => Some(0x08),
            'f' => Some(0x0c),
            'n' => Some(b'\n'),
            'r' => Some(b'\r'),
            't' => Some(b'\t'),
            'v' => Some(0x0b),
            '\\' => Some(b'\\'),
            'x' => digits(2, 16, None).and_then(|value| u8::try_from(value).ok()),
            '0'..='7' => digits(3, 8, Some(c)).and_then(|value| u8::try_from(value).ok()),
            _ if c == quote => u8::try_from(c).ok(),
            _ => None,
        };
        if let Some(byte) = simple {
            bytes.push(byte);
            continue;
        }
        let code = match c {
            'u' => digits(4, 16, None),
            'U' => digits(8, 16, None),
            _ => None,
        };
        let char = code.and_then(char::from_u32).ok_or_else(|| wrong(format!("invalid escape `\\{c}`")))?;
        bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
    String::from_utf8(bytes).map_err(|error| {
        (error.utf8_error().valid_up_to().min(inner.len()), "the string is not valid UTF-8".to_owned())
    })
}

/// Writes a string literal that [`unescape`] reads back.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            _ if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        let cases = [
            ("1", Some(1.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e3", Some(1000.0)),
            ("1_000", Some(1000.0)),
            ("1_000.5", Some(1000.5)),
            ("0x1F", Some(31.0)),
            ("0X_1F", Some(31.0)),
            ("0x1p-2", Some(0.25)),
            ("0x1.8p1", Some(3.0)),
            ("017", Some(15.0)),
            ("08", Some(8.0)),
            ("1__0", None),
            ("1_", None),
            ("", None),
            ("x", None),
            ("9223372036854775808", Some(9_223_372_036_854_775_808.0)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_number(text), expected, "{text}");
        }
        for (text, expected) in
            [("+Inf", f64::INFINITY), ("-inf", f64::NEG_INFINITY), ("2.0e-1", 0.2), ("017", 17.0)]
        {
            assert_eq!(parse_float(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn strings_are_read_as_go_reads_them() {
        let cases = [
            (r"a\tb\\", '"', Ok("a\tb\\")),
            (r#"\""#, '"', Ok("\"")),
            (r"\x41\101\u00e9\U0001F600", '"', Ok("AA\u{e9}\u{1F600}")),
            (r"\xc3\xa9", '"', Ok("\u{e9}")),
            (r"a\n", '`', Ok(r"a\n")),
            (r"\'", '"', Err(0)),
            (r"ab\q", '"', Err(2)),
            (r"\xff", '"', Err(0)),
            (r"\x4", '"', Err(0)),
            (r"\ud800", '"', Err(0)),
        ];
        for (inner, quote, expected) in cases {
            let read = unescape(inner, quote).map_err(|(at, _)| at);
            assert_eq!(read, expected.map(str::to_owned), "{inner}");
        }
    }

    proptest::proptest! {
        #[test]
        fn quoted_strings_read_back(text in ".{0,40}") {
            let quoted = quote(&text);
            proptest::prop_assert_eq!(unescape(&quoted[1..quoted.len() - 1], '"'), Ok(text));
        }
    }
}
