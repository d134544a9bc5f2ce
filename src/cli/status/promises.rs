//! Objectives and error budgets in `rearguard status`.

use crate::engine::evaluation::{BudgetLook, BurnLook, ObjectiveLook, PromiseLook, Standing, Verdict};

/// Returns one row per target, and one per promise that is not kept.
pub(super) fn objectives(looks: &[ObjectiveLook]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for look in looks {
        let score = look.score.map_or("not scored yet: a source has not answered".to_owned(), |score| {
            format!("score {}", short(score))
        });
        let lowest = look
            .lowest
            .map_or(String::new(), |lowest| format!("lowest within {}: {}", look.window, short(lowest)));
        rows.push(vec![look.target.to_string(), score, lowest]);
        let not_kept = look.promises.iter().filter(|promise| promise.standing != Standing::Kept);
        rows.extend(not_kept.map(promise));
    }
    rows
}

fn promise(look: &PromiseLook) -> Vec<String> {
    let standing = match look.standing {
        Standing::Kept => "kept",
        Standing::Warned => "half kept",
        Standing::Broken => "BROKEN",
        Standing::Unknown => "UNKNOWN, counts as broken",
    };
    vec![
        format!("  {} ({})", look.name, look.severity),
        standing.to_owned(),
        format!("{}: {}", look.keep, look.seen),
    ]
}

/// Returns one row per budget, and one per burn rate.
pub(super) fn budgets(looks: &[BudgetLook]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for look in looks {
        let left = match (&look.blind, look.remaining) {
            (Some(why), _) => format!("cannot be counted: {}", why_blind(why)),
            (None, Some(remaining)) => format!("{}% left", short(remaining * 100.0)),
            (None, None) => "no events yet".to_owned(),
        };
        let promised = format!(
            "{}% of {}: {} of {} events bad",
            short(look.objective * 100.0),
            look.period,
            look.errors.round(),
            look.total.round()
        );
        rows.push(vec![format!("{}/{}", look.target, look.budget), left, promised]);
        rows.extend(look.burn_rates.iter().map(burn_rate));
    }
    rows
}

fn burn_rate(look: &BurnLook) -> Vec<String> {
    let standing = match (look.burns, look.enough) {
        (true, _) => "BURNS TOO FAST",
        (false, true) => "fine",
        (false, false) => "too few events to judge",
    };
    let rate = |rate: Option<f64>| rate.map_or("nothing".to_owned(), short);
    let rates = format!(
        "{} over {}, {} over {}; limit {}",
        rate(look.long_rate),
        look.long,
        rate(look.short_rate),
        look.short,
        look.above
    );
    vec![format!("  {} and {}", look.long, look.short), standing.to_owned(), rates]
}

fn why_blind(why: &Verdict) -> String {
    match why {
        Verdict::Unknown(why) => why.to_string(),
        Verdict::NoData => "`good` or `total` selects nothing".to_owned(),
        Verdict::Holds | Verdict::Breached => String::new(),
    }
}

/// Three decimals at most.
fn short(value: f64) -> String {
    ((value * 1000.0).round() / 1000.0).to_string()
}
