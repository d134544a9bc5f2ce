use proptest::prelude::*;

use super::super::ast::{
    Aggregate, At, Binary, Edges, FillSide, Grouping, LabelMatcher, MatchGroup, MatchLabels, Matching, Shift,
    Subquery, VectorSelector,
};
use super::super::{Problem, TextSpan, ValueType, parse};
use super::*;
use crate::engine::series::MatchOp;

/// Expressions that parse, with what they print as.
const GOOD: &[(&str, &str)] = &[
    ("1", "1"),
    ("0x1F", "31"),
    ("1_000", "1000"),
    ("1e-3", "0.001"),
    ("5m", "300"),
    ("1h30m + 500ms", "5400 + 0.5"),
    ("+Inf", "+Inf"),
    ("nAn", "NaN"),
    ("-2^2", "-2 ^ 2"),
    ("2^3^2", "2 ^ 3 ^ 2"),
    ("a or b and c unless d", "a or b and c unless d"),
    ("a == bool 1", "a == bool 1"),
    ("1 == BOOL 2", "1 == bool 2"),
    (r#"'a' "#, r#""a""#),
    (r"`\n`", r#""\\n""#),
    ("foo # comment", "foo"),
    ("foo:bar:baz", "foo:bar:baz"),
    ("foo{a='b',}", r#"foo{a="b"}"#),
    (r#"{"http.dur", a="b"}"#, r#"{"http.dur", a="b"}"#),
    (r#"{"foo"}"#, "foo"),
    (r#"{"a.b"=~"c"}"#, r#"{"a.b"=~"c"}"#),
    (r#"{__name__="foo"}"#, r#"{__name__="foo"}"#),
    (r#"foo{on="x", by="y", offset!="z", or!~"w"}"#, r#"foo{on="x", by="y", offset!="z", or!~"w"}"#),
    ("foo[5m]", "foo[300]"),
    ("foo[300]", "foo[300]"),
    ("foo offset 5m", "foo offset 300"),
    ("foo offset -5m", "foo offset -300"),
    ("foo offset 5m * 2", "foo offset 300 * 2"),
    ("foo offset (5m * 2)", "foo offset (300 * 2)"),
    ("foo[5m+1m]", "foo[300 + 60]"),
    ("foo[5m] offset 1m @ 100", "foo[300] @ 100 offset 60"),
    ("foo @ start() offset -1", "foo @ start() offset -1"),
    ("foo @ -1.5", "foo @ -1.5"),
    ("foo @ END()", "foo @ end()"),
    ("foo[5m:]", "foo[300:]"),
    ("(foo)[5m:1m] offset 1h", "(foo)[300:60] offset 3600"),
    ("rate(foo[1m])[5m:]", "rate(foo[60])[300:]"),
    ("foo[5m] anchored", "foo[300] anchored"),
    ("foo smoothed", "foo smoothed"),
    ("foo[min_of(step(), 5m)]", "foo[min_of(step(), 300)]"),
    ("sum(foo)", "sum(foo)"),
    ("SUM BY (a, b) (foo)", "sum by (a, b) (foo)"),
    ("sum(foo) by (a,)", "sum by (a) (foo)"),
    (r#"sum without ("a.b") (foo)"#, r#"sum without ("a.b") (foo)"#),
    ("sum by () (foo)", "sum by () (foo)"),
    ("sum", "sum"),
    ("sum + count", "sum + count"),
    ("topk(5, foo)", "topk(5, foo)"),
    (r#"count_values("v", foo)"#, r#"count_values("v", foo)"#),
    ("a + on(x) group_left b", "a + on (x) group_left () b"),
    ("a + ignoring(x) group_right(y) b", "a + ignoring (x) group_right (y) b"),
    ("a + fill(0) b", "a + fill (0) b"),
    ("a + on(x) fill_left(-1) fill_right(NaN) b", "a + on (x) fill_left (-1) fill_right (NaN) b"),
    ("a </ b", "a </ b"),
    ("a atan2 b", "a atan2 b"),
    ("start", "start"),
    ("end() - start()", "end() - start()"),
    ("minute()", "minute()"),
    ("round(foo, 5)", "round(foo, 5)"),
    ("info(foo, {a='b'})", r#"info(foo, {a="b"})"#),
    ("((foo))", "((foo))"),
    ("foo{a=\"\\u00e9\\n\"}", "foo{a=\"\u{e9}\\n\"}"),
];

#[test]
fn good_expressions_print_in_canonical_form_and_read_back() {
    for (text, printed) in GOOD {
        let found = parse(text).map(|expr| expr.to_string());
        assert_eq!(found, Ok((*printed).to_owned()), "{text}");
        assert_eq!(parse(printed).map(|expr| expr.to_string()), Ok((*printed).to_owned()), "{printed}");
    }
}

/// Text, where the first problem is, and a part of what it says.
const BAD: &[(&str, (usize, usize), &str)] = &[
    ("", (0, 0), "empty"),
    ("# only", (6, 6), "empty"),
    ("foo bar", (4, 7), "expected an operator"),
    ("1 +", (3, 3), "found the end"),
    ("(1", (2, 2), "expected `)`"),
    ("1)", (1, 2), "found `)`"),
    ("raet(foo[5m])", (0, 4), "did you mean `rate`"),
    ("frobnicate(foo)", (0, 10), "unknown function"),
    ("rate(foo)", (5, 8), "expected type range vector in call to function `rate`, got instant vector"),
    ("rate(foo)", (5, 8), "add a range"),
    ("abs(foo[5m])", (4, 11), "expected type instant vector in call to function `abs`, got range vector"),
    ("abs(1)", (4, 5), "got scalar"),
    ("rate(foo[5m], 1)", (0, 16), "takes 1 argument(s), 2 given"),
    ("clamp(foo, 1)", (0, 13), "takes 3 argument(s), 2 given"),
    ("label_join(foo)", (0, 15), "at least 3"),
    ("round(foo, 1, 2)", (0, 16), "1 to 2"),
    ("abs(foo,)", (8, 9), "found `)`"),
    ("sum(foo, bar)", (3, 13), "takes 1 argument(s), 2 given"),
    ("topk(foo)", (4, 9), "takes 2 argument(s), 1 given"),
    ("topk(foo, foo)", (5, 8), "expected type scalar"),
    ("sum(1)", (4, 5), "expected type instant vector"),
    ("sum by (1) (foo)", (8, 9), "label name"),
    ("sum by (a) (foo) by (b)", (17, 19), "found `by`"),
    ("1 == 2", (2, 4), "must use `bool`"),
    ("1 + bool 2", (4, 8), "`bool` can only follow a comparison"),
    ("1 and foo", (2, 5), "not scalars"),
    ("foo[5m] + 1", (0, 7), "got range vector"),
    ("'a' + 1", (0, 3), "got string"),
    ("-'a'", (1, 4), "got string"),
    ("foo + on(a) 1", (4, 5), "two instant vectors"),
    ("foo and on(a) group_left bar", (14, 24), "no grouping"),
    ("foo + group_left bar", (6, 16), "found `group_left`"),
    ("foo + on(a) group_left(a) bar", (4, 5), "must not be both"),
    ("{}", (0, 2), "must have a name or a matcher"),
    ("{a=~'.*'}", (0, 9), "must have a name or a matcher"),
    ("foo{'bar'}", (4, 9), "set twice"),
    ("foo{__name__='bar'}", (4, 18), "set twice"),
    ("foo{a}", (5, 6), "expected `=`"),
    ("foo{a=b}", (6, 7), "quoted label value"),
    ("foo{a='b' c='d'}", (10, 11), "`,` or `}`"),
    ("foo{a='b' or c='d'}", (10, 12), "no `or` between matchers"),
    ("foo{a=~'('}", (4, 10), "invalid regular expression"),
    ("foo{=\"a\"}", (4, 5), "label name"),
    ("foo{''='a'}", (4, 6), "must not be empty"),
    ("foo[]", (4, 5), "found `]`"),
    ("foo[0]", (4, 5), "greater than 0"),
    ("foo[-5m]", (4, 7), "greater than 0"),
    ("foo[bar]", (4, 7), "expected a duration"),
    ("foo[5m", (6, 6), "`]`"),
    ("foo[5m:0s]", (7, 9), "greater than 0"),
    ("(foo)[5m]", (5, 9), "a subquery has a colon"),
    ("foo[5m][5m]", (7, 8), "one range only"),
    ("foo offset 5m[5m]", (13, 14), "follow the range"),
    ("foo[5m][5m:]", (0, 7), "expected type instant vector in a subquery"),
    ("foo offset", (10, 10), "a duration"),
    ("foo offset bar", (11, 14), "expected a duration"),
    ("foo offset 1m offset 2m", (14, 20), "set twice"),
    ("foo @ 1 @ 2", (8, 9), "set twice"),
    ("foo @ bar", (6, 9), "a number or a duration"),
    ("foo @ Inf", (6, 9), "out of bounds"),
    ("(foo) offset 5m", (6, 12), "only follow a selector"),
    ("1 @ 5", (2, 3), "only follow a selector"),
    ("on", (0, 2), "found `on`"),
    ("foo[5m] anchored anchored", (17, 25), "once"),
    ("foo$", (3, 4), "unexpected character"),
    ("sum_over_time(foo[5m:1m:1m])", (23, 24), "found `:`"),
];

#[test]
fn bad_expressions_are_pointed_at() {
    for (text, (start, end), message) in BAD {
        let problems = parse(text).err().unwrap_or_default();
        let Some(first) = problems.first() else { panic!("{text} must not parse") };
        assert_eq!(first.span, TextSpan::new(*start, *end), "{text}: {first}");
        assert!(first.to_string().contains(message), "{text}: {first}");
    }
}

#[test]
fn all_type_errors_are_told_at_once_in_the_order_of_the_text() {
    let problems = parse("rate(a) + abs(b[5m]) + (1 == 2) + c{d=~'['}").err().unwrap_or_default();
    let starts: Vec<_> = problems.iter().map(|problem| problem.span.start).collect();
    assert_eq!(starts, [5, 14, 26, 36]);
}

#[test]
fn every_node_knows_its_bytes() {
    let text = r#" sum by (a) (rate(foo{b="c"}[5m] offset 1m)) / (x) "#;
    let mut seen = Vec::new();
    let mut todo: Vec<Expr> = parse(text).into_iter().collect();
    while let Some(expr) = todo.pop() {
        seen.push(&text[expr.span.start..expr.span.end]);
        expr.for_each_child(&mut |child| todo.push(child.clone()));
    }
    seen.sort_unstable();
    let expected = [
        "(x)",
        "1m",
        "5m",
        r#"foo{b="c"}[5m] offset 1m"#,
        r#"rate(foo{b="c"}[5m] offset 1m)"#,
        r#"sum by (a) (rate(foo{b="c"}[5m] offset 1m))"#,
        r#"sum by (a) (rate(foo{b="c"}[5m] offset 1m)) / (x)"#,
        "x",
    ];
    assert_eq!(seen, expected);
}

/// Texts that nest or chain as deep as they can; a parser that trusts its stack dies of one of them.
fn hostile() -> Vec<String> {
    let chain = |op: &str, n: usize| vec!["1"; n].join(op);
    let wrap = |open: &str, inner: &str, close: &str, n: usize| open.repeat(n) + inner + &close.repeat(n);
    let mut texts = Vec::new();
    for n in [90, 99, 240, 10_000, 20_000] {
        texts.extend([
            wrap("(", "1", ")", n),
            chain("+", n),
            chain("^", n),
            chain(" == bool ", n.min(5000)),
            format!("{}1", "-".repeat(n)),
            wrap("abs(", "a", ")", n.min(12_000)),
            wrap("sum by (a) (", "a", ")", n.min(4_000)),
            format!("a{}", "[1:1]".repeat(n.min(12_000))),
            format!("a[{}]", wrap("(", "1", ")", n)),
            format!("a{}", " offset 1".repeat(n.min(6_000))),
            wrap("a[", "1", "]", n),
            "(".repeat(n),
            "a{".repeat(n),
            wrap("-(", "1", ")", n),
            vec!["a"; n].join(" or "),
        ]);
    }
    texts
}

#[test]
fn nothing_overflows_a_small_stack() {
    // Two megabytes is what a thread of the standard library has, debug builds included.
    for text in hostile() {
        match parse(&text) {
            Ok(expr) => {
                assert!(expr.height() <= MAX_HEIGHT);
                assert_eq!(expr.to_string().len(), expr.clone().to_string().len());
            }
            Err(problems) => {
                assert!(problems.iter().all(|problem| problem.span.end <= text.len()), "{text:.60}");
            }
        }
    }
}

#[test]
fn a_chain_within_the_limit_parses_and_one_beyond_is_pointed_at() {
    let chain = |n: usize| vec!["1"; n].join("+");
    assert!(parse(&chain(usize::from(MAX_HEIGHT))).is_ok());
    let problems: Vec<Problem> = parse(&chain(10_000)).err().unwrap_or_default();
    assert!(problems.iter().any(|problem| problem.message.contains("nested")), "{problems:?}");
}

#[test]
fn a_hundred_brackets_with_operators_between_them_are_not_too_many() {
    let cases =
        [("a / (", ")"), ("-(", ")"), ("a + abs(", ")"), ("sum(a) or sum by (b) (", ")"), ("a^-(", ")")];
    for (open, close) in cases {
        let text = |n: usize| open.repeat(n) + "x" + &close.repeat(n);
        let brackets = if open == "a^-(" { 80 } else { 120 };
        assert!(parse(&text(brackets)).is_ok(), "{open}");
        let problems = parse(&text(brackets + 4)).err().unwrap_or_default();
        assert!(
            problems.first().is_some_and(|first| first.message.contains("nested more than")),
            "{problems:?}"
        );
    }
}

fn node(kind: ExprKind) -> Expr {
    Expr::new(TextSpan::default(), kind)
}

/// Removes what printing does not keep: where things stood, and `+`/`-` of numbers' own.
fn bare(expr: &Expr) -> String {
    let debug = format!("{expr:?}");
    let mut out = String::new();
    let mut rest = debug.as_str();
    while let Some(at) = rest.find("TextSpan {") {
        out.push_str(&rest[..at]);
        let end = rest[at..].find('}').map_or(rest.len(), |end| at + end + 1);
        rest = &rest[end..];
    }
    out + rest
}

fn label() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_][a-z0-9_]{0,5}", "[ -~]{1,6}", Just("offset".to_owned()), "\\PC{1,4}"]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        (0_u32..100_000).prop_map(|n| f64::from(n) / 8.0),
        Just(f64::INFINITY),
        Just(f64::NAN),
        (0.0..f64::MAX),
        Just(f64::MIN_POSITIVE),
    ]
}

fn duration() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        (1_u32..100_000).prop_map(|ms| node(ExprKind::Number(f64::from(ms) / 1000.0))),
        Just("step").prop_map(|name| call(name, Vec::new())),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        (inner.clone(), inner).prop_map(|(left, right)| {
            let op_span = TextSpan::default();
            let sum = Binary {
                op: BinaryOp::Add,
                op_span,
                bool: false,
                matching: Matching::default(),
                left,
                right: node(ExprKind::Paren(Box::new(right))),
            };
            node(ExprKind::Paren(Box::new(node(ExprKind::Binary(Box::new(sum))))))
        })
    })
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let function = Function::named(name).unwrap_or(&FUNCTIONS[0]);
    node(ExprKind::Call(Box::new(Call { function, args })))
}

fn shift() -> impl Strategy<Value = Shift> {
    let at = prop_oneof![
        Just(At::Start),
        Just(At::End),
        (-999_999_999_999_999_i64..1_000_000_000_000_000).prop_map(At::Millis)
    ];
    let offset = (duration(), any::<bool>()).prop_map(|(duration, negative)| {
        let signed = |duration| node(ExprKind::Unary(UnaryOp::Minus, Box::new(duration)));
        if negative { signed(duration) } else { duration }
    });
    (prop::option::of(offset), prop::option::of(at)).prop_map(|(offset, at)| Shift { offset, at })
}

fn selector(range: bool) -> impl Strategy<Value = Expr> {
    let plain = (prop_oneof![Just(MatchOp::Equal), Just(MatchOp::NotEqual)], "\\PC{0,8}");
    let pattern = (
        prop_oneof![Just(MatchOp::Matches), Just(MatchOp::NotMatches)],
        prop_oneof!["[a-z.|]{0,6}", "[ -~]{0,8}".prop_map(|text| format!("\\Q{text}\\E|\\d+\\.(é|\"|`)?"))],
    );
    let matcher = (label(), prop_oneof![plain, pattern])
        .prop_filter("a name of its own", |(name, _)| name != "__name__")
        .prop_filter("a pattern", |(name, (op, value))| {
            crate::engine::series::Matcher::new(name, *op, value).is_ok()
        });
    let matchers = prop::collection::vec(
        matcher.prop_map(|(name, (op, value))| LabelMatcher { span: TextSpan::default(), name, op, value }),
        0..3,
    );
    let edges = prop::option::of(prop_oneof![Just(Edges::Anchored), Just(Edges::Smoothed)]);
    (label(), matchers, duration(), edges, shift()).prop_map(
        move |(name, matchers, duration, edges, shift)| {
            let range = range.then_some(duration);
            let edges = edges.filter(|edges| *edges == Edges::Smoothed || range.is_some());
            let selector = VectorSelector { name: Some(name), matchers, range, edges, shift };
            node(ExprKind::Selector(Box::new(selector)))
        },
    )
}

fn matching() -> impl Strategy<Value = Matching> {
    let labels = (any::<bool>(), prop::collection::vec("[a-m]{1,3}", 0..3))
        .prop_map(|(on, labels)| MatchLabels { on, labels });
    let group = (any::<bool>(), prop::collection::vec("[n-z]{1,3}", 0..3))
        .prop_map(|(left, include)| MatchGroup { left, include });
    let side = prop_oneof![Just(FillSide::Both), Just(FillSide::Left), Just(FillSide::Right)];
    let fill = prop_oneof![
        prop::collection::vec((side, (-9.0..9.0)), 0..2),
        Just(vec![(FillSide::Right, 0.5), (FillSide::Left, f64::NAN)]),
    ];
    (prop::option::of(labels), prop::option::of(group), fill).prop_map(|(labels, group, fill)| {
        let group = labels.as_ref().and(group);
        Matching { labels, group, fill }
    })
}

fn vector() -> impl Strategy<Value = Expr> {
    let paren = |expr| node(ExprKind::Paren(Box::new(expr)));
    let op = prop::sample::select(&BinaryOp::ALL[..]).prop_map(|(_, op)| op);
    selector(false).boxed().prop_recursive(4, 24, 3, move |inner| {
        let binary = (inner.clone(), inner.clone(), op.clone(), any::<bool>(), matching()).prop_map(
            move |(left, right, op, bool, mut matching)| {
                if op.is_set() {
                    (matching.group, matching.fill) = (None, Vec::new());
                }
                let bool = bool && op.is_comparison();
                let (left, right) = (paren(left), paren(right));
                node(ExprKind::Binary(Box::new(Binary {
                    op,
                    op_span: TextSpan::default(),
                    bool,
                    matching,
                    left,
                    right,
                })))
            },
        );
        let aggregate = (inner.clone(), any::<bool>(), prop::collection::vec(label(), 0..3), number());
        let ops = prop::sample::select(&AggregateOp::ALL[..]);
        let aggregate = (aggregate, ops).prop_map(|((expr, without, labels, k), (_, op))| {
            let param = match op {
                AggregateOp::CountValues => ExprKind::Text(format!("é\"{k}")),
                _ => ExprKind::Number(k),
            };
            let param = op.has_param().then(|| node(param));
            let grouping = (k < 9000.0).then_some(Grouping { without, labels });
            node(ExprKind::Aggregate(Box::new(Aggregate { op, grouping, param, expr })))
        });
        let subquery = (inner.clone(), duration(), prop::option::of(duration()), shift());
        let rolled = subquery.prop_map(move |(expr, range, step, shift)| {
            let expr = paren(expr);
            call("rate", vec![node(ExprKind::Subquery(Box::new(Subquery { expr, range, step, shift })))])
        });
        let called = (
            prop::sample::select(FUNCTIONS),
            0..3_usize,
            inner.clone(),
            selector(true).boxed(),
            number(),
            label(),
        );
        let called = called.prop_filter_map("gives a vector", |(function, more, vector, range, k, text)| {
            let count = (function.at_least + more).min(function.at_most);
            let arg = |at| match function.param(at) {
                Some(ValueType::Scalar) => node(ExprKind::Number(k)),
                Some(ValueType::String) => node(ExprKind::Text(text.clone())),
                Some(ValueType::Matrix) => range.clone(),
                _ => vector.clone(),
            };
            (function.returns == ValueType::Vector)
                .then(|| call(function.name, (0..count).map(arg).collect()))
        });
        let replaced = (inner.clone(), "\\PC{0,6}").prop_map(|(expr, text)| {
            let word = |word: &str| node(ExprKind::Text(word.to_owned()));
            call("label_replace", vec![expr, word("a"), word(&text), word("c"), word("d")])
        });
        prop_oneof![
            binary.boxed(),
            aggregate.boxed(),
            rolled.boxed(),
            replaced.boxed(),
            called.boxed(),
            selector(true).prop_map(|range| call("increase", vec![range])).boxed(),
            inner.prop_map(move |expr| node(ExprKind::Unary(UnaryOp::Minus, Box::new(paren(expr))))).boxed(),
        ]
    })
}

/// Operands as people write them, none of them in brackets of its own.
const OPERANDS: &[&str] = &[
    "x",
    "-x",
    "+ -x",
    "2 ^ x",
    "-1 * x",
    "x{a=~`b.*`,}",
    "x offset -5m",
    "x @ end() offset 1h30m",
    "sum(x) by (a)",
    "rate(x[5m:] @ 1.5e3)",
    "(x)",
    "time() * x",
    "{\"é\",b!='c'}",
    "min_over_time(x[1_0:1])",
    "x offset 5m * x",
    "quantile without (a,) (0x10, x)",
    "1h ^ -x",
    "count",
    "by_ or on_",
    "x @ 0",
    "1 == bool 2 + x",
    "info{a='\\x41'}",
];

/// Operators without brackets between operands with signs, ranges, shifts: only precedence says what belongs together.
fn chain() -> impl Strategy<Value = String> {
    let op = prop::sample::select(&BinaryOp::ALL[..]).prop_map(|(text, _)| text);
    let matching = prop::sample::select(&["", "", "", " on (a)", " ignoring ()", " ON(a , \"b c\",)"][..]);
    let link = (op, matching, prop::sample::select(OPERANDS), any::<bool>());
    (prop::sample::select(OPERANDS), prop::collection::vec(link, 1..6)).prop_map(|(first, links)| {
        links.into_iter().fold(first.to_owned(), |text, (op, matching, operand, upper)| {
            let op = if upper { op.to_uppercase() } else { op.to_owned() };
            // A number beside an operator that joins vectors only would be an error.
            let operand = if operand.starts_with(|c: char| c.is_ascii_digit())
                || operand.starts_with("-1")
                || operand.starts_with("time")
            {
                format!("({operand})")
            } else {
                operand.to_owned()
            };
            format!("{text} {op}{matching} {operand}")
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn printed_expressions_read_back(expr in vector()) {
        let printed = expr.to_string();
        let read = parse(&printed);
        prop_assert!(read.is_ok(), "{printed}: {read:?}");
        prop_assert_eq!(read.map(|read| bare(&read)), Ok(bare(&expr)), "{}", printed);
    }

    #[test]
    fn written_chains_of_operators_print_as_what_they_are(text in chain()) {
        let read = parse(&text);
        prop_assert!(read.is_ok(), "{text}: {read:?}");
        let printed = read.as_ref().map(ToString::to_string).unwrap_or_default();
        let again = parse(&printed);
        prop_assert_eq!(again.as_ref().map(bare), read.as_ref().map(bare), "{} and {}", text, printed);
        prop_assert_eq!(again.map(|again| again.to_string()), Ok(printed));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-z0-9(){}\\[\\]:,@\"'=~!+^*/<> -]{0,60}|\\PC{0,30}") {
        match parse(&text) {
            Ok(expr) => prop_assert!(expr.span.end <= text.len()),
            Err(problems) => prop_assert!(problems.iter().all(|p| p.span.start <= p.span.end && p.span.end <= text.len())),
        }
    }
}
