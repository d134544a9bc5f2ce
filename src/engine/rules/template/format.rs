//! Values as Go's `fmt` package writes them: `print`, `printf`, and what an action shows.

use super::clock;
use super::value::Value;

/// A verb with its flags, as between `%` and the letter.
#[derive(Clone, Copy, Debug, Default)]
struct Verb {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Wider or more precise is a mistake; Go takes up to a million.
const WIDTH_MAX: usize = 10_000;

/// Writes a value as `%v` does.
pub(super) fn plain(value: &Value) -> Result<String, String> {
    Ok(match value {
        Value::Nil => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => float(*value, 'g', None),
        Value::Text(text) => text.to_string(),
        Value::Labels(labels) => {
            let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}:{value}")).collect();
            format!("map[{}]", pairs.join(" "))
        }
        Value::Map(map) => {
            let mut pairs = Vec::new();
            for (name, value) in map.iter() {
                pairs.push(format!("{name}:{}", plain(value)?));
            }
            format!("map[{}]", pairs.join(" "))
        }
        Value::Sample(sample) => {
            let labels = plain(&Value::Labels(sample.labels.clone()))?;
            format!("{{{labels} {}}}", float(sample.value, 'g', None))
        }
        Value::Time(millis) => clock::instant_text(*millis),
        Value::Duration(nanos) => clock::duration_text(*nanos),
        // Go prints addresses here, which say nothing and differ between runs.
        Value::Vector(_) => return Err("a query's result is not a text: use `range`, or `first`".to_owned()),
        Value::Data => return Err("the template's data are not a text: take a field of them".to_owned()),
    })
}

/// Writes what an action shows: as `%v`, but what is not there as `<no value>`.
pub(super) fn shown(value: &Value) -> Result<String, String> {
    match value {
        Value::Nil => Ok("<no value>".to_owned()),
        value => plain(value),
    }
}

/// Joins values as `fmt.Sprint` does: a blank between two of which neither is a text.
pub(super) fn print(values: &[Value]) -> Result<String, String> {
    let mut text = String::new();
    for (at, value) in values.iter().enumerate() {
        let is_text = |value: &Value| matches!(value, Value::Text(_));
        if at > 0 && !is_text(value) && !is_text(&values[at - 1]) {
            text.push(' ');
        }
        text.push_str(&plain(value)?);
    }
    Ok(text)
}

/// Joins values as `fmt.Sprintln` does: a blank between any two, a line's end after the last.
pub(super) fn println(values: &[Value]) -> Result<String, String> {
    let texts: Result<Vec<_>, _> = values.iter().map(plain).collect();
    Ok(format!("{}\n", texts?.join(" ")))
}

/// Fills in a format as `fmt.Sprintf` does, its complaints included: `%!d(float64=5)`, `%!s(MISSING)`.
pub(super) fn printf(format: &str, values: &[Value]) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = format;
    let mut values_left = values.iter();
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let mut verb = Verb::default();
        rest = flags(rest, &mut verb);
        rest = number(rest, &mut values_left, &mut text, &mut verb, false)?;
        if let Some(tail) = rest.strip_prefix('.') {
            verb.precision = Some(0);
            rest = number(tail, &mut values_left, &mut text, &mut verb, true)?;
        }
        let Some(letter) = rest.chars().next() else {
            text.push_str("%!(NOVERB)");
            break;
        };
        if letter == '[' {
            return Err("printf: `%[n]` is not supported: write the arguments in their order".to_owned());
        }
        rest = &rest[letter.len_utf8()..];
        if letter == '%' {
            text.push('%');
        } else if let Some(value) = values_left.next() {
            // `%+v` asks for the names of fields, which no value here has; it is no sign.
            let verb = Verb { plus: verb.plus && letter != 'v', ..verb };
            text.push_str(&one(value, letter, verb)?);
        } else {
            text.push_str(&format!("%!{letter}(MISSING)"));
        }
    }
    text.push_str(rest);
    let extra: Vec<&Value> = values_left.collect();
    if !extra.is_empty() {
        let mut told = Vec::new();
        for value in extra {
            told.push(match value {
                Value::Nil => "<nil>".to_owned(),
                value => format!("{}={}", value.type_name(), plain(value)?),
            });
        }
        text.push_str(&format!("%!(EXTRA {})", told.join(", ")));
    }
    Ok(text)
}

fn flags<'f>(mut rest: &'f str, verb: &mut Verb) -> &'f str {
    while let Some(flag) = rest.chars().next() {
        match flag {
            '+' => verb.plus = true,
            '-' => verb.minus = true,
            '#' => verb.sharp = true,
            ' ' => verb.space = true,
            '0' => verb.zero = true,
            _ => break,
        }
        rest = &rest[1..];
    }
    // Zeros on the right would change the number.
    verb.zero &= !verb.minus;
    rest
}

/// Reads a width or a precision: digits, or `*` for the next argument.
fn number<'f, 'v>(
    rest: &'f str,
    values: &mut impl Iterator<Item = &'v Value>,
    text: &mut String,
    verb: &mut Verb,
    is_precision: bool,
) -> Result<&'f str, String> {
    let what = if is_precision { "PREC" } else { "WIDTH" };
    if let Some(rest) = rest.strip_prefix('*') {
        match values.next() {
            Some(Value::Int(value)) if value.unsigned_abs() <= WIDTH_MAX as u64 => {
                let number = usize::try_from(value.unsigned_abs()).unwrap_or(0);
                if is_precision {
                    // Go takes a negative precision for none.
                    verb.precision = (*value >= 0).then_some(number);
                } else {
                    verb.minus |= *value < 0;
                    verb.zero &= !verb.minus;
                    verb.width = Some(number);
                }
            }
            _ => {
                text.push_str(&format!("%!(BAD{what})"));
                if is_precision {
                    verb.precision = None;
                }
            }
        }
        return Ok(rest);
    }
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (written, rest) = rest.split_at(digits);
    if !written.is_empty() {
        let number = written.parse().ok().filter(|number| *number <= WIDTH_MAX);
        let number = number.ok_or_else(|| format!("printf: a width or precision above {WIDTH_MAX}"))?;
        *(if is_precision { &mut verb.precision } else { &mut verb.width }) = Some(number);
    }
    Ok(rest)
}

fn one(value: &Value, letter: char, verb: Verb) -> Result<String, String> {
    if letter == 'T' {
        return Ok(pad(if matches!(value, Value::Nil) { "<nil>" } else { value.type_name() }, verb));
    }
    let written = match value {
        Value::Nil if letter == 'v' => Some(pad("<nil>", verb)),
        Value::Nil => return Ok(format!("%!{letter}(<nil>)")),
        Value::Bool(flag) => matches!(letter, 'v' | 't').then(|| pad(&flag.to_string(), verb)),
        Value::Int(number) => integer(*number, letter, verb),
        Value::Float(number) => float_verb(*number, letter, verb)?,
        Value::Duration(nanos) if !matches!(letter, 'v' | 's' | 'q') => integer(*nanos, letter, verb),
        Value::Text(text) => text_verb(text, letter, verb),
        Value::Time(_) | Value::Duration(_) => text_verb(&plain(value)?, letter, verb),
        _ if matches!(letter, 'v' | 's') => Some(pad(&plain(value)?, verb)),
        _ => return Err(format!("printf: `%{letter}` of a {} is not supported", value.type_name())),
    };
    match written {
        Some(written) => Ok(written),
        None => Ok(format!("%!{letter}({}={})", value.type_name(), plain(value)?)),
    }
}

/// Pads to the width, which counts characters.
fn pad(text: &str, verb: Verb) -> String {
    let missing = verb.width.unwrap_or(0).saturating_sub(text.chars().count());
    match (verb.minus, verb.zero) {
        (true, _) => format!("{text}{}", " ".repeat(missing)),
        (false, true) => format!("{}{text}", "0".repeat(missing)),
        (false, false) => format!("{}{text}", " ".repeat(missing)),
    }
}

/// Pads a number: zeros go between the sign and the digits.
fn pad_number(sign: &str, digits: &str, verb: Verb) -> String {
    if !verb.zero {
        return pad(&format!("{sign}{digits}"), verb);
    }
    let missing = verb.width.unwrap_or(0).saturating_sub(sign.len() + digits.chars().count());
    format!("{sign}{}{digits}", "0".repeat(missing))
}

fn sign(negative: bool, verb: Verb) -> &'static str {
    match (negative, verb.plus, verb.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        (false, false, false) => "",
    }
}

fn integer(number: i64, letter: char, verb: Verb) -> Option<String> {
    let magnitude = number.unsigned_abs();
    let (prefix, digits) = match letter {
        'v' | 'd' => ("", magnitude.to_string()),
        'b' => ("0b", format!("{magnitude:b}")),
        'o' => ("0", format!("{magnitude:o}")),
        'O' => ("0o", format!("{magnitude:o}")),
        'x' => ("0x", format!("{magnitude:x}")),
        'X' => ("0X", format!("{magnitude:X}")),
        'c' | 'q' | 'U' => {
            let code = u32::try_from(number).ok();
            let character = code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
            return Some(match letter {
                'c' => pad(&character.to_string(), verb),
                'q' => pad(&quote(&character.to_string(), '\''), verb),
                _ => pad(&format!("U+{magnitude:04X}"), verb),
            });
        }
        _ => return None,
    };
    // A precision is a number of digits, and zeros from the width would be too many.
    let (digits, verb) = match verb.precision {
        Some(0) if number == 0 => (String::new(), Verb { zero: false, ..verb }),
        Some(least) => (format!("{digits:0>least$}"), Verb { zero: false, ..verb }),
        None => (digits, verb),
    };
    let prefix = if verb.sharp || letter == 'O' { prefix } else { "" };
    Some(pad_number(&format!("{}{prefix}", sign(number < 0, verb)), &digits, verb))
}

fn float_verb(number: f64, letter: char, verb: Verb) -> Result<Option<String>, String> {
    let precision = match letter {
        'v' | 'g' | 'G' => verb.precision,
        'e' | 'E' | 'f' | 'F' => Some(verb.precision.unwrap_or(6)),
        'b' | 'x' | 'X' => return Err(format!("printf: `%{letter}` of a float64 is not supported")),
        _ => return Ok(None),
    };
    if verb.sharp && letter != 'v' {
        return Err("printf: the flag `#` is not supported with floats".to_owned());
    }
    if !number.is_finite() {
        // Zeros in front of a word would make nonsense.
        let verb = Verb { zero: false, ..verb };
        let text = match (number.is_nan(), number > 0.0) {
            (true, _) => format!("{}NaN", sign(false, verb)),
            (false, true) if verb.space && !verb.plus => " Inf".to_owned(),
            (false, positive) => if positive { "+Inf" } else { "-Inf" }.to_owned(),
        };
        return Ok(Some(pad(&text, verb)));
    }
    let kind = if letter == 'v' { 'g' } else { letter };
    let written = float(number.abs(), kind.to_ascii_lowercase(), precision);
    let written = if letter.is_ascii_uppercase() { written.to_uppercase() } else { written };
    Ok(Some(pad_number(sign(number.is_sign_negative(), verb), &written, verb)))
}

/// Writes a float as Go's `strconv.FormatFloat` does: `e`, `f` or `g`, with the shortest digits where no precision is
/// given.
pub(super) fn float(number: f64, kind: char, precision: Option<usize>) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    match kind {
        'f' => match precision {
            Some(precision) => format!("{number:.precision$}"),
            None => format!("{number}"),
        },
        'e' => exponential(&scientific(number, precision)),
        _ => general(number, precision),
    }
}

/// Writes `1.5e3`, which is Rust's form of it.
fn scientific(number: f64, precision: Option<usize>) -> String {
    match precision {
        Some(precision) => format!("{number:.precision$e}"),
        None => format!("{number:e}"),
    }
}

/// Turns Rust's `1.5e3` into Go's `1.5e+03`.
fn exponential(written: &str) -> String {
    let (mantissa, exponent) = written.split_once('e').unwrap_or((written, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// `%g`: with an exponent where that is below -4, or not below the precision.
fn general(number: f64, precision: Option<usize>) -> String {
    let precision = precision.map(|digits| digits.max(1));
    let written = scientific(number, precision.map(|digits| digits - 1));
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mantissa = match mantissa.split_once('.') {
        Some((whole, fraction)) => match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        },
        None => mantissa.to_owned(),
    };
    let digits = i32::try_from(mantissa.chars().filter(char::is_ascii_digit).count()).unwrap_or(i32::MAX);
    let before_point = exponent + 1;
    let limit = match precision {
        None => SHORTEST_LIMIT,
        Some(precision) => {
            let precision = i32::try_from(precision).unwrap_or(i32::MAX);
            if precision > digits && digits >= before_point { digits } else { precision }
        }
    };
    if number != 0.0 && (exponent < -4 || exponent >= limit) {
        return exponential(&format!("{mantissa}e{exponent}"));
    }
    let decimals = usize::try_from(digits - before_point).unwrap_or(0);
    if precision.is_none() { format!("{number}") } else { format!("{number:.decimals$}") }
}

/// Where the shortest form takes an exponent: Go decides as if the precision were 6 (`strconv/ftoa.go`).
const SHORTEST_LIMIT: i32 = 6;

fn text_verb(text: &str, letter: char, verb: Verb) -> Option<String> {
    let cut = |text: &str| match verb.precision {
        Some(most) => text.chars().take(most).collect(),
        None => text.to_owned(),
    };
    Some(match letter {
        'v' if verb.sharp => pad(&quote(text, '"'), verb),
        'v' | 's' => pad(&cut(text), verb),
        'q' => {
            let text = cut(text);
            let raw = verb.sharp && !text.contains(['`', '\n', '\r']);
            pad(&if raw { format!("`{text}`") } else { quote(&text, '"') }, verb)
        }
        'x' => pad(&text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>(), verb),
        'X' => pad(&text.bytes().map(|byte| format!("{byte:02X}")).collect::<String>(), verb),
        _ => return None,
    })
}

/// Quotes as Go's `strconv.Quote` does.
fn quote(text: &str, quote: char) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(quote);
    for c in text.chars() {
        match c {
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if c == quote => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if is_printable(c) => quoted.push(c),
            c if u32::from(c) < 0x80 => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if u32::from(c) < 0x1_0000 => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted.push(quote);
    quoted
}

/// Go's `unicode.IsPrint`, for what occurs: no controls, no blanks but the plain one, nothing invisible.
pub(super) fn is_printable(c: char) -> bool {
    let invisible = matches!(c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..);
    c == ' ' || !(c.is_control() || c.is_whitespace() || invisible)
}
