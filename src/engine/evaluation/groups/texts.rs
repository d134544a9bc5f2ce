//! Fills in the templates of alerts. What cannot be filled in stays as written, so that no fact is lost (E10).

use super::{Evaluation, covers};
use crate::engine::model::Labels;
use crate::engine::promql::{self, EvalContext, Scope, Value, VectorSample};
use crate::engine::rules::template::{RenderError, TemplateData};
use crate::engine::rules::{GroupRule, Template};
use crate::engine::series::Store;

impl Evaluation<'_> {
    /// Returns the label set of an alert: the result's labels without the name, then the rule's, then `alertname`.
    ///
    /// A label whose template fails gets the template's own text: the alert goes out, and its identity does not
    /// depend on what failed.
    pub(super) fn alert_labels(
        &self,
        rule: &GroupRule,
        result: &VectorSample,
        store: &Store,
        failed: &mut Option<String>,
    ) -> Labels {
        let bare = result.labels.without_name();
        let added = rule.labels.iter().map(|(name, template)| {
            let text = match self.render(template, result, store) {
                Ok(text) => text,
                Err(error) => {
                    failed.get_or_insert_with(|| format!("label `{name}`: {error}"));
                    template.text().to_owned()
                }
            };
            (name.to_string(), text)
        });
        let added: Vec<_> = added.collect();
        let own = bare.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Labels::from_pairs(own.chain(added).chain([(ALERT_NAME.to_owned(), rule.name().to_owned())]))
    }

    /// Returns the annotations of an alert. One that fails shows its raw text and, as in Prometheus, why.
    pub(super) fn annotations(
        &self,
        templates: &[(std::sync::Arc<str>, Template)],
        result: &VectorSample,
        store: &Store,
        failed: &mut Option<String>,
    ) -> Labels {
        let filled = templates.iter().map(|(name, template)| {
            let text = self.render(template, result, store).unwrap_or_else(|error| {
                failed.get_or_insert_with(|| format!("annotation `{name}`: {error}"));
                format!("{} <error expanding template: {error}>", template.text())
            });
            (name.to_string(), text)
        });
        Labels::from_pairs(filled)
    }

    fn render(
        &self,
        template: &Template,
        result: &VectorSample,
        store: &Store,
    ) -> Result<String, RenderError> {
        let query = |text: &str| self.answer(text, store);
        template.render(&TemplateData {
            // `$labels` of Prometheus are the result's, metric name included.
            labels: &result.labels,
            external_labels: self.context.external_labels,
            external_url: self.context.external_url,
            value: result.value,
            wall: self.at + self.context.wall_offset,
            query: &query,
        })
    }

    /// Answers `query` of a template, at the time of the evaluation itself as in Prometheus.
    fn answer(&self, text: &str, store: &Store) -> Result<Vec<VectorSample>, String> {
        let first = |problems: Vec<promql::Problem>| {
            problems.first().map_or_else(|| "it is not an expression".to_owned(), ToString::to_string)
        };
        let expr = promql::parse(text).map_err(first)?;
        let plan = promql::compile(&expr, &Scope::EVERYTHING).map_err(first)?;
        for selector in plan.selectors() {
            let is_kept = store.keeps(selector) || self.asked.iter().any(|asked| covers(asked, selector));
            if !is_kept {
                return Err(format!(
                    "no rule selects {}, so its series are not kept: select them in a recording rule",
                    selector.key()
                ));
            }
        }
        let context = EvalContext { wall_offset: self.context.wall_offset, ..EvalContext::at(self.at) };
        let evaluated = plan.evaluate(store, &context).map_err(|error| error.to_string())?;
        match evaluated.value {
            Value::Vector(vector) => Ok(vector),
            Value::Scalar(value) => Ok(vec![VectorSample { labels: Labels::empty(), value }]),
            Value::Matrix(_) | Value::String(_) => {
                Err("the query yields neither series nor a number".to_owned())
            }
        }
    }
}

/// The label that names an alert's rule.
pub const ALERT_NAME: &str = "alertname";
