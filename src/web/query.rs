//! `query` and `query_range`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::parameters::Parameters;
use super::reply::{self, Refusal};
use crate::daemon::queries::answer::Answered;
use crate::daemon::queries::{Queries, Question, When};
use crate::engine::promql::{InvalidRange, LOOKBACK, QueryRange};

/// `GET|POST /api/v1/query`: `query`, `time`, `timeout`, `limit`.
pub(super) async fn instant(
    State(queries): State<Queries>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let when = match parameters.time("time")? {
        None => When::Now {},
        Some(at) => When::At { wall_ms: at.as_millis() },
    };
    answer(&queries, &parameters, when).await
}

/// `GET|POST /api/v1/query_range`: `query`, `start`, `end`, `step`, `timeout`, `limit`.
pub(super) async fn range(
    State(queries): State<Queries>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let (start, end) = (parameters.required_time("start")?, parameters.required_time("end")?);
    let step = parameters.duration("step")?;
    let step = step.ok_or_else(|| Refusal::bad_data("invalid parameter \"step\": it is missing"))?;
    if let Err(invalid) = (QueryRange { start, end, step }).step_count() {
        let name = if invalid == InvalidRange::EndBeforeStart { "end" } else { "step" };
        return Err(Refusal::bad_data(format!("invalid parameter \"{name}\": {invalid}")));
    }
    let when = When::Range {
        start_wall_ms: start.as_millis(),
        end_wall_ms: end.as_millis(),
        step_ms: step.as_millis(),
    };
    answer(&queries, &parameters, when).await
}

async fn answer(queries: &Queries, parameters: &Parameters, when: When) -> Result<Response, Refusal> {
    let Some(expression) = parameters.get("query") else {
        return Err(Refusal::bad_data("invalid parameter \"query\": it is missing or empty"));
    };
    let timeout = parameters.duration("timeout")?;
    if timeout.is_some_and(|timeout| timeout.is_zero_or_negative()) {
        return Err(Refusal::bad_data("invalid parameter \"timeout\": it must be longer than zero"));
    }
    // Another lookback is another answer: not what was asked for.
    if parameters.duration("lookback_delta")?.is_some_and(|lookback| lookback != LOOKBACK) {
        let message =
            format!("invalid parameter \"lookback_delta\": the lookback is {LOOKBACK} here, leave it out");
        return Err(Refusal::bad_data(message));
    }
    let limit = parameters.limit()?;
    let question = Question { expression: expression.to_owned(), when };
    // Much of a large answer's time goes into writing it: on the query's own thread.
    let written = move |mut answered: Answered| {
        if answered.data.truncate(limit) {
            answered.warnings.push("results truncated due to limit".to_owned());
        }
        reply::success(&answered.data, &answered.warnings, &answered.infos)
    };
    let body = queries.ask(question, timeout, written).await?;
    Ok(reply::json(StatusCode::OK, body))
}
