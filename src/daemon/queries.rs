//! Queries from outside: bounded in number, time and samples, and never on the engine's thread.
//!
//! The engine hands out a copy of what a query needs and goes on; the rest happens on a few threads of its own. Outside
//! speaks wall time, the engine its own: here one becomes the other.

pub mod answer;
pub mod rules;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, oneshot};

use super::core::Message;
use crate::config::QueryLimits;
use crate::engine::Engine;
use crate::engine::evaluation::groups::{GroupLook, RULES_SOURCE};
use crate::engine::model::{Labels, SourceName};
use crate::engine::promql::{self, EvalContext, EvalError, Plan, QueryRange, RangeEvaluation, Scope};
use crate::engine::series::{Catalogue, Kept, Selector, SeriesCopy, Store, TooManySamples};
use crate::engine::time::{Span, Timestamp};
use answer::{Answered, Data};

/// How many queries may wait for each one that is evaluated.
const WAITING_PER_WORKER: usize = 8;

/// How many selectors are tried on a series between two looks at the clock.
const SELECTORS_AT_ONCE: usize = 32;

/// How many regular expressions one query may have: compiled, each may take a megabyte.
const PATTERNS_MAX: usize = 64;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The expression.
    pub expression: String,
    /// For when.
    pub when: When,
}

/// For when something is asked, in milliseconds of wall time since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum When {
    /// The time at which the engine hears of it.
    Now {},
    /// One instant.
    At {
        /// The instant.
        wall_ms: i64,
    },
    /// Every step of a range.
    Range {
        /// The first step.
        start_wall_ms: i64,
        /// The last instant.
        end_wall_ms: i64,
        /// The distance of two steps, in milliseconds.
        step_ms: i64,
    },
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// What was asked cannot be understood.
    #[error("{0}")]
    BadData(String),
    /// It was understood and has no value.
    #[error("{0}")]
    Execution(String),
    /// It took too long.
    #[error("the query took longer than {0} (`query.timeout`)")]
    Timeout(Span),
    /// Too many others ask, or the engine is going down.
    #[error("{0}")]
    Unavailable(String),
    /// A mistake of ours.
    #[error("{0}")]
    Internal(String),
}

impl From<TooManySamples> for QueryError {
    fn from(error: TooManySamples) -> Self {
        Self::Execution(error.to_string())
    }
}

impl From<EvalError> for QueryError {
    fn from(error: EvalError) -> Self {
        Self::Execution(error.to_string())
    }
}

/// What the engine's thread is asked for. Each is answered in a moment, with copies.
#[derive(Debug)]
pub enum Need {
    /// Which series there are, and which could be.
    Catalogue {
        /// Their names; all, where `None`.
        names: Option<BTreeSet<Arc<str>>>,
        /// The wall time within which they must have a sample; both ends count.
        within_wall: (Timestamp, Timestamp),
        /// Where it goes.
        answer: oneshot::Sender<Catalogue>,
    },
    /// Samples.
    Samples {
        /// Of which series.
        series: Vec<(SourceName, Labels)>,
        /// The first instant that is asked about, in wall time; `None` for now.
        first_wall: Option<Timestamp>,
        /// From how far before that instant on; `None` for all that is remembered.
        reach: Option<Span>,
        /// How many at most.
        limit: u64,
        /// Where they go.
        answer: oneshot::Sender<Result<Taken, TooManySamples>>,
    },
    /// A sign of life.
    Alive(oneshot::Sender<()>),
    /// The rules and their alerts.
    Rules(oneshot::Sender<RulesTaken>),
}

/// Copied samples, and how time stood when they were copied.
#[derive(Debug)]
pub struct Taken {
    copies: Vec<SeriesCopy>,
    now: Timestamp,
    /// The first instant that is asked about.
    first: Timestamp,
    wall_offset: Span,
    /// Nothing before this is remembered.
    horizon: Timestamp,
}

/// The rules and their alerts, in engine time.
#[derive(Debug)]
pub struct RulesTaken {
    /// Every group: imported ones, then the native rules of each target as one group.
    pub groups: Vec<GroupLook>,
    /// Wall time minus engine time.
    pub wall_offset: Span,
}

/// Answers what the shell needs of the engine, on the engine's thread.
pub(super) fn hand_out(need: Need, engine: &Engine, now: Timestamp) {
    let wall_offset = engine.state().wall_offset;
    // Whoever asked may have given up: nothing is lost.
    match need {
        Need::Catalogue { names, within_wall: (from, to), answer } => {
            let within = (from - wall_offset, to - wall_offset);
            drop(answer.send(engine.store().catalogue(names.as_ref(), within)));
        }
        Need::Samples { series, first_wall, reach, limit, answer } => {
            let first = first_wall.map_or(now, |wall| wall - wall_offset);
            let from = reach.map_or(Timestamp::from_millis(i64::MIN), |reach| first - reach);
            let taken = engine.store().excerpt(&series, from, limit).map(|copies| Taken {
                copies,
                now,
                first,
                wall_offset,
                horizon: now - engine.retention(),
            });
            drop(answer.send(taken));
        }
        Need::Alive(answer) => answer.send(()).unwrap_or_default(),
        Need::Rules(answer) => {
            drop(answer.send(RulesTaken { groups: rules::looks(engine, now), wall_offset }))
        }
    }
}

/// The door through which everybody asks.
#[derive(Clone, Debug)]
pub struct Queries {
    inbox: Sender<Message>,
    limits: QueryLimits,
    /// Those who are evaluated.
    workers: Arc<Semaphore>,
    /// Those who are evaluated or wait for it.
    places: Arc<Semaphore>,
}

impl Queries {
    /// Opens the door.
    pub fn new(inbox: Sender<Message>, limits: QueryLimits) -> Self {
        let workers = usize::try_from(limits.concurrency).unwrap_or(1).max(1);
        Self {
            inbox,
            limits,
            workers: Arc::new(Semaphore::new(workers)),
            places: Arc::new(Semaphore::new(workers * (WAITING_PER_WORKER + 1))),
        }
    }

    /// Answers a question; `finish` runs on the query's own thread: what it does may take its time too.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn ask<T: Send + 'static>(
        &self,
        question: Question,
        timeout: Option<Span>,
        finish: impl FnOnce(Answered) -> T + Send + 'static,
    ) -> Result<T, QueryError> {
        let timeout = timeout.map_or(self.limits.timeout, |timeout| timeout.min(self.limits.timeout));
        let asker = Asker { inbox: self.inbox.clone(), limits: self.limits };
        self.work(timeout, move |patience| asker.answer(&question, patience).map(finish)).await
    }

    /// Returns the label sets of series that a selector selects (of all, where there is none) and that have a sample within a range of wall time.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn label_sets<T: Send + 'static>(
        &self,
        selectors: Vec<Selector>,
        within_wall: (Timestamp, Timestamp),
        finish: impl FnOnce(BTreeSet<Labels>, Vec<String>) -> T + Send + 'static,
    ) -> Result<T, QueryError> {
        let inbox = self.inbox.clone();
        self.work(self.limits.timeout, move |patience| {
            let names = if selectors.is_empty() { None } else { names(&selectors) };
            let catalogue = fetch(&inbox, |answer| Need::Catalogue { names, within_wall, answer })?;
            let series = match selectors.as_slice() {
                [] => catalogue.series().to_vec(),
                some => select(&catalogue, some, patience)?,
            };
            let sets = series.into_iter().map(|(_, labels)| labels).collect();
            Ok(finish(sets, not_kept(&selectors, &catalogue)))
        })
        .await
    }

    /// Returns the rules and their alerts.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn rules(&self) -> Result<RulesTaken, QueryError> {
        let inbox = self.inbox.clone();
        self.work(self.limits.timeout, move |_| fetch(&inbox, Need::Rules)).await
    }

    /// Returns whether the engine turns; does not come back where it hangs.
    pub async fn is_alive(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.inbox.send(Message::Needed(Need::Alive(answer))).is_ok() && answered.await.is_ok()
    }

    /// Waits for its turn, then works on a thread of its own. A work that is given up keeps its place until it ends.
    async fn work<T: Send + 'static>(
        &self,
        timeout: Span,
        work: impl FnOnce(Patience) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        let patience = Patience { until: Instant::now() + timeout.to_std(), timeout };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(QueryError::Unavailable(
                "too many queries at once: try again later (`query.concurrency` in rearguard.yaml)"
                    .to_owned(),
            ));
        };
        let worked = async {
            let closed = |_| QueryError::Unavailable("the daemon is going down".to_owned());
            let worker = Arc::clone(&self.workers).acquire_owned().await.map_err(closed)?;
            let working = tokio::task::spawn_blocking(move || {
                let done = work(patience);
                drop((worker, place));
                done
            });
            working
                .await
                .unwrap_or_else(|_| Err(QueryError::Internal("the query broke off; see the log".to_owned())))
        };
        tokio::time::timeout(patience.left(), worked).await.unwrap_or(Err(QueryError::Timeout(timeout)))
    }
}

/// Until when somebody waits.
#[derive(Clone, Copy, Debug)]
struct Patience {
    until: Instant,
    timeout: Span,
}

impl Patience {
    fn left(self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    fn check(self) -> Result<(), QueryError> {
        if self.left().is_zero() { Err(QueryError::Timeout(self.timeout)) } else { Ok(()) }
    }
}

/// Asks the engine's thread, and waits.
fn fetch<T>(inbox: &Sender<Message>, need: impl FnOnce(oneshot::Sender<T>) -> Need) -> Result<T, QueryError> {
    let (answer, answered) = oneshot::channel();
    let down = || QueryError::Unavailable("the engine is going down".to_owned());
    inbox.send(Message::Needed(need(answer))).map_err(|_| down())?;
    answered.blocking_recv().map_err(|_| down())
}

/// Compiles an expression for everybody's eyes: it may read every source.
///
/// # Errors
/// Every problem, one a line.
pub fn compile(expression: &str) -> Result<Plan, QueryError> {
    // Told by the text alone: compiling them is what must be avoided.
    let patterns: usize =
        ["=~", "!~", "label_replace"].iter().map(|word| expression.matches(word).count()).sum();
    if patterns > PATTERNS_MAX && expression.len() <= promql::MAX_TEXT {
        return Err(QueryError::BadData(format!(
            "more than {PATTERNS_MAX} regular expressions in one query"
        )));
    }
    let compiled = promql::parse(expression).and_then(|expr| promql::compile(&expr, &Scope::EVERYTHING));
    compiled.map_err(|problems| {
        let problems: Vec<_> = problems.iter().map(|problem| format!("parse error: {problem}")).collect();
        QueryError::BadData(problems.join("\n"))
    })
}

struct Asker {
    inbox: Sender<Message>,
    limits: QueryLimits,
}

impl Asker {
    fn answer(&self, question: &Question, patience: Patience) -> Result<Answered, QueryError> {
        let plan = compile(&question.expression)?;
        let millis = Timestamp::from_millis;
        let start = match question.when {
            When::Now {} => None,
            When::At { wall_ms } => Some(millis(wall_ms)),
            When::Range { start_wall_ms, end_wall_ms, step_ms } => {
                let (start, end) = (millis(start_wall_ms), millis(end_wall_ms));
                let range = QueryRange { start, end, step: Span::from_millis(step_ms) };
                plan.check_range(&range).map_err(|refused| QueryError::BadData(refused.to_string()))?;
                Some(start)
            }
        };
        let selectors: Vec<Selector> = plan.selectors().cloned().collect();
        // Regular expressions run here: the engine only lists.
        let (names, within_wall) = (names(&selectors), (millis(i64::MIN), millis(i64::MAX)));
        let catalogue = fetch(&self.inbox, |answer| Need::Catalogue { names, within_wall, answer })?;
        let series = select(&catalogue, &selectors, patience)?;
        let warnings = not_kept(&selectors, &catalogue);
        patience.check()?;
        // What looks at a fixed time may look at anything that is remembered.
        let reach = plan.pinned().is_empty().then(|| plan.reach());
        let limit = self.limits.max_samples;
        let need = |answer| Need::Samples { series, first_wall: start, reach, limit, answer };
        let taken = fetch(&self.inbox, need)??;
        patience.check()?;
        let at = |wall: i64| millis(wall) - taken.wall_offset;
        let first = taken.first;
        let infos = forgotten(&plan, first, &taken, &catalogue);
        let copied: u64 = taken.copies.iter().map(|copy| copy.points.len() as u64).sum();
        let store = Store::of_copies(taken.copies, &selectors);
        let context = EvalContext {
            wall_offset: taken.wall_offset,
            max_samples: Some(limit),
            ..EvalContext::at(first)
        };
        let data = match question.when {
            When::Now {} | When::At { .. } => Data::of(plan.evaluate(&store, &context)?.value, &context),
            When::Range { start_wall_ms, end_wall_ms, step_ms } => {
                let range = QueryRange {
                    start: at(start_wall_ms),
                    end: at(end_wall_ms),
                    step: Span::from_millis(step_ms),
                };
                let mut steps = RangeEvaluation::new(&plan, &store, range, &context)?;
                let mut is_more = true;
                while is_more {
                    patience.check()?;
                    is_more = steps.advance()?;
                    let samples = copied + steps.points();
                    if samples > limit {
                        return Err(TooManySamples { samples, limit }.into());
                    }
                }
                Data::of_range(steps.finish(), taken.wall_offset)
            }
        };
        Ok(Answered { data, warnings, infos })
    }
}

/// Says what is not known because no rule selects it: nothing is ever empty in silence.
fn not_kept(selectors: &[Selector], catalogue: &Catalogue) -> Vec<String> {
    let own = SourceName::from(RULES_SOURCE);
    let mut told: Vec<String> = Vec::new();
    for selector in selectors {
        let name = selector.shown();
        let line = match catalogue.kept(selector, &own) {
            Kept::Everything => continue,
            Kept::Some => format!(
                "only some series of `{name}` are kept, those that a loaded rule selects; add it to `keep:` of its source"
            ),
            Kept::Nothing => format!(
                "series of `{name}` are not kept: no loaded rule selects them; add it to `keep:` of its source"
            ),
        };
        if !told.contains(&line) {
            told.push(line);
        }
    }
    told
}

/// Returns the series that one of the selectors selects. Expressions of strangers may take long to match.
fn select(
    catalogue: &Catalogue,
    selectors: &[Selector],
    patience: Patience,
) -> Result<Vec<(SourceName, Labels)>, QueryError> {
    let mut selected = Vec::new();
    for (source, labels) in catalogue.series() {
        for some in selectors.chunks(SELECTORS_AT_ONCE) {
            patience.check()?;
            if some.iter().any(|selector| selector.selects(source, labels)) {
                selected.push((source.clone(), labels.clone()));
                break;
            }
        }
    }
    Ok(selected)
}

/// Returns the metrics that the selectors name; `None` where one of them could select others.
fn names(selectors: &[Selector]) -> Option<BTreeSet<Arc<str>>> {
    selectors.iter().map(|selector| selector.metric_name().map(Arc::from)).collect()
}

/// Says where a query looks back further than anything is remembered, or than its series have been kept.
fn forgotten(plan: &Plan, first: Timestamp, taken: &Taken, catalogue: &Catalogue) -> Vec<String> {
    // The lookback is a tolerance and not a need; a plan that reaches no further needs the instant alone.
    let reach = if plan.reach() <= promql::LOOKBACK { Span::ZERO } else { plan.reach() };
    let from = first - reach;
    let mut told = BTreeSet::new();
    for selector in plan.selectors() {
        if let Some(since) = catalogue.kept_since(selector).filter(|since| *since > from.max(taken.horizon)) {
            let (name, ago) = (selector.shown(), taken.now.since(since));
            told.insert(format!(
                "series of `{name}` are kept since {ago} ago; this query looks back further"
            ));
        }
    }
    if from < taken.horizon && plan.selectors().next().is_some() {
        let kept = taken.now - taken.horizon;
        told.insert(format!(
            "samples are kept for {kept}, as far back as the loaded rules look; this query looks back further"
        ));
    }
    told.into_iter().collect()
}
