//! `series`, `labels` and `label/NAME/values`: what there is to ask about.

use std::collections::BTreeSet;

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::parameters::Parameters;
use super::reply::{self, Refusal};
use crate::daemon::queries::Queries;
use crate::engine::model::Labels;
use crate::engine::time::Timestamp;

/// `GET|POST /api/v1/series`: `match[]`, `start`, `end`, `limit`.
pub(super) async fn series(
    State(queries): State<Queries>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    if parameters.all("match[]").next().is_none() {
        return Err(Refusal::bad_data("no match[] parameter provided"));
    }
    answer(&queries, &parameters, |sets| sets).await
}

/// `GET|POST /api/v1/labels`: `match[]`, `start`, `end`, `limit`.
pub(super) async fn labels(
    State(queries): State<Queries>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let names = |sets: BTreeSet<Labels>| -> BTreeSet<String> {
        sets.iter().flat_map(|set| set.iter().map(|(name, _)| name.to_owned())).collect()
    };
    answer(&queries, &parameters, names).await
}

/// `GET /api/v1/label/NAME/values`: `match[]`, `start`, `end`, `limit`.
pub(super) async fn values(
    State(queries): State<Queries>,
    name: Result<Path<String>, PathRejection>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let Ok(Path(name)) = name else { return Err(Refusal::bad_data("the label's name is not UTF-8")) };
    let name = unescaped(&name).unwrap_or(name);
    let values = move |sets: BTreeSet<Labels>| -> BTreeSet<String> {
        sets.iter().filter_map(|set| set.get(&name).map(str::to_owned)).collect()
    };
    answer(&queries, &parameters, values).await
}

/// Reads a name as Prometheus' clients write those that a path cannot hold: `U__` before it, `_` as `__`, other
/// characters as `_HEX_`. `None` where it is not written like that.
fn unescaped(name: &str) -> Option<String> {
    let mut rest = name.strip_prefix("U__")?;
    let mut plain = String::new();
    while let Some((before, escaped)) = rest.split_once('_') {
        let (code, after) = escaped.split_once('_')?;
        let character =
            if code.is_empty() { '_' } else { char::from_u32(u32::from_str_radix(code, 16).ok()?)? };
        plain.push_str(before);
        plain.push(character);
        rest = after;
    }
    plain.push_str(rest);
    Some(plain)
}

async fn answer<T: Serialize>(
    queries: &Queries,
    parameters: &Parameters,
    pick: impl FnOnce(BTreeSet<Labels>) -> BTreeSet<T> + Send + 'static,
) -> Result<Response, Refusal> {
    let from = parameters.time("start")?.unwrap_or(Timestamp::from_millis(i64::MIN));
    let to = parameters.time("end")?.unwrap_or(Timestamp::from_millis(i64::MAX));
    let limit = parameters.limit()?;
    let selectors = parameters.selectors()?;
    let written = move |sets, mut warnings: Vec<String>| -> Bytes {
        let picked = pick(sets);
        if picked.len() > limit {
            warnings.push("results truncated due to limit".to_owned());
        }
        let first: Vec<&T> = picked.iter().take(limit).collect();
        reply::success(&first, &warnings, &[])
    };
    let body = queries.label_sets(selectors, (from, to), written).await?;
    Ok(reply::json(StatusCode::OK, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_read_and_others_left_alone() {
        let cases = [
            ("U__l_e4_bel", Some("l\u{e4}bel")),
            ("U__http_2e_status__code", Some("http.status_code")),
            ("U__plain", Some("plain")),
            ("plain_name", None),
            ("U__broken_", None),
            ("U__no_zz_hex", None),
            ("U__no_d800_character", None),
        ];
        for (written, expected) in cases {
            assert_eq!(unescaped(written).as_deref(), expected, "{written}");
        }
    }
}
