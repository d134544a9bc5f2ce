//! The compliance score: how well a target keeps its promises, 0 to 100.
//!
//! Two ways to count. *Penalty*: 100 less a weight per broken promise, by its severity, not below 0. *Weighted*: the
//! share of the weights of kept promises, as in Keptn: a pass counts whole, a warning half, and a key promise that is not
//! kept fails the whole. A promise about which nothing is known is never kept (E2): it counts as broken.

use serde::{Deserialize, Serialize};

use crate::engine::model::Severity;
use crate::engine::rules::{Scoring, Weights};

/// The score when every promise is kept.
pub const FULL_MARKS: f64 = 100.0;

/// What a warning is worth of a pass.
const WARNING_COUNTS: f64 = 0.5;

/// How well one promise is kept now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is kept.
    Kept,
    /// It is not kept, and not by so much that it counts as broken.
    Warned,
    /// It is broken.
    Broken,
    /// Nothing is known of it.
    Unknown,
}

/// What one promise brings into the score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// How well it is kept.
    pub standing: Standing,
    /// How bad it is when it is broken: what penalties go by.
    pub severity: Severity,
    /// What it weighs among the others: what shares go by.
    pub weight: f64,
    /// Whether the whole fails where it is not kept: shares only.
    pub is_key: bool,
}

/// Returns the score of a target's promises; `None` where there is none to score.
pub fn score(scoring: &Scoring, shares: &[Share]) -> Option<f64> {
    if shares.is_empty() {
        return None;
    }
    Some(match scoring {
        Scoring::Penalty(weights) => {
            let penalty: f64 = shares.iter().map(|share| penalty(weights, share)).sum();
            (FULL_MARKS - penalty).max(0.0)
        }
        Scoring::Weighted => weighted(shares),
    })
}

fn penalty(weights: &Weights, share: &Share) -> f64 {
    let broken = weights.of(share.severity);
    match share.standing {
        Standing::Kept | Standing::Warned => 0.0,
        Standing::Broken => broken,
        Standing::Unknown => broken.max(weights.unknown),
    }
}

fn weighted(shares: &[Share]) -> f64 {
    let failed = |share: &Share| matches!(share.standing, Standing::Broken | Standing::Unknown);
    let whole: f64 = shares.iter().map(|share| share.weight).sum();
    // Weights of nothing but zero are refused where they are written.
    if whole <= 0.0 || shares.iter().any(|share| share.is_key && failed(share)) {
        return 0.0;
    }
    let counts = |share: &Share| match share.standing {
        Standing::Kept => share.weight,
        Standing::Warned => share.weight * WARNING_COUNTS,
        Standing::Broken | Standing::Unknown => 0.0,
    };
    FULL_MARKS * shares.iter().map(counts).sum::<f64>() / whole
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PENALTY: Scoring = Scoring::Penalty(Weights::DEFAULT);

    /// The promises of acceptance row S0-16, in its order.
    const PROMISES: [(&str, Severity); 6] = [
        ("avg", Severity::High),
        ("p95", Severity::Medium),
        ("error", Severity::Critical),
        ("availability", Severity::Critical),
        ("throughput", Severity::Medium),
        ("cache hit", Severity::Medium),
    ];

    fn share(standing: Standing, severity: Severity) -> Share {
        Share { standing, severity, weight: 1.0, is_key: false }
    }

    fn virtuoso(broken: &[&str], how: Standing) -> f64 {
        let shares: Vec<Share> = PROMISES
            .iter()
            .map(|(name, severity)| {
                share(if broken.contains(name) { how } else { Standing::Kept }, *severity)
            })
            .collect();
        score(&PENALTY, &shares).expect("there are promises")
    }

    #[test]
    fn s0_17_penalties_are_those_of_the_script() {
        let all: Vec<&str> = PROMISES.iter().map(|(name, _)| *name).collect();
        let cases: [(&[&str], f64); 7] = [
            (&[], 100.0),
            (&["p95"], 90.0),
            (&["avg"], 80.0),
            (&["error"], 70.0),
            (&["avg", "p95"], 70.0),
            (&["error", "availability"], 40.0),
            (&all, 0.0), // 110 in all
        ];
        for (broken, expected) in cases {
            assert_eq!(virtuoso(broken, Standing::Broken), expected, "{broken:?}");
            assert_eq!(virtuoso(broken, Standing::Unknown), expected, "unknown: {broken:?}");
        }
    }

    #[test]
    fn s0_16_a_missing_promise_is_never_full_marks() {
        let free = Weights { critical: 0.0, high: 0.0, medium: 0.0, low: 0.0, unknown: 5.0 };
        for severity in [Severity::Critical, Severity::High, Severity::Medium, Severity::Low] {
            let shares = [share(Standing::Unknown, severity), share(Standing::Kept, severity)];
            assert_eq!(score(&Scoring::Penalty(free), &shares), Some(95.0));
            let own = score(&PENALTY, &shares).expect("there are promises");
            assert_eq!(own, 100.0 - Weights::DEFAULT.of(severity).max(5.0));
            assert_eq!(score(&Scoring::Weighted, &shares), Some(50.0));
        }
        assert_eq!(score(&PENALTY, &[]), None);
        assert_eq!(score(&Scoring::Weighted, &[]), None);
    }

    #[test]
    fn shares_are_weighted_and_a_key_promise_fails_the_whole() {
        use Standing::{Broken, Kept, Unknown, Warned};
        // Standing, weight, key; then the score.
        type Case = (&'static [(Standing, f64, bool)], f64);
        let cases: [Case; 8] = [
            (&[(Kept, 1.0, false), (Kept, 3.0, true)], 100.0),
            (&[(Kept, 1.0, false), (Broken, 3.0, false)], 25.0),
            (&[(Warned, 1.0, false), (Kept, 3.0, false)], 87.5),
            (&[(Warned, 1.0, true)], 50.0),
            (&[(Broken, 1.0, true), (Kept, 99.0, false)], 0.0),
            (&[(Unknown, 1.0, true), (Kept, 99.0, false)], 0.0),
            (&[(Unknown, 1.0, false), (Kept, 1.0, false)], 50.0),
            (&[(Broken, 0.0, false), (Kept, 1.0, false)], 100.0),
        ];
        for (promises, expected) in cases {
            let shares: Vec<Share> = promises
                .iter()
                .map(|(standing, weight, is_key)| Share {
                    weight: *weight,
                    is_key: *is_key,
                    ..share(*standing, Severity::High)
                })
                .collect();
            assert_eq!(score(&Scoring::Weighted, &shares), Some(expected), "{promises:?}");
        }
    }

    fn shares() -> impl Strategy<Value = Vec<Share>> {
        let standing = prop_oneof![
            Just(Standing::Kept),
            Just(Standing::Warned),
            Just(Standing::Broken),
            Just(Standing::Unknown)
        ];
        let severity = prop_oneof![
            Just(Severity::Critical),
            Just(Severity::High),
            Just(Severity::Medium),
            Just(Severity::Low)
        ];
        let one =
            (standing, severity, 0u8..20, any::<bool>()).prop_map(|(standing, severity, weight, is_key)| {
                Share { standing, severity, weight: f64::from(weight), is_key }
            });
        proptest::collection::vec(one, 1..12)
    }

    /// The score in whole numbers, by counting: an obvious model. Weights of severities are whole, and shares are
    /// compared as fractions.
    fn model(shares: &[Share]) -> (i64, Option<(i64, i64)>) {
        let (mut left, mut got, mut whole, mut dead) = (100i64, 0i64, 0i64, false);
        for share in shares {
            let cost = match share.severity {
                Severity::Critical => 30,
                Severity::High => 20,
                Severity::Medium => 10,
                Severity::Low => 5,
            };
            let weight = share.weight as i64;
            whole += weight * 2;
            match share.standing {
                Standing::Kept => got += weight * 2,
                Standing::Warned => got += weight,
                Standing::Broken | Standing::Unknown => {
                    left -= cost;
                    dead |= share.is_key;
                }
            }
        }
        (left.max(0), (whole > 0).then_some((if dead { 0 } else { got }, whole)))
    }

    proptest! {
        #[test]
        fn both_scores_are_those_of_a_slow_model(shares in shares()) {
            let (left, fraction) = model(&shares);
            prop_assert_eq!(score(&PENALTY, &shares), Some(left as f64));
            let got = score(&Scoring::Weighted, &shares).expect("there are promises");
            let (part, whole) = fraction.unwrap_or((0, 1));
            prop_assert!((got - 100.0 * part as f64 / whole as f64).abs() < 1e-9);
            let unknown = shares.iter().any(|share| share.standing == Standing::Unknown && share.weight > 0.0);
            prop_assert!(!unknown || got < 100.0);
        }
    }
}
