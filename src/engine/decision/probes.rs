//! What probes say to decisions: what is told of them, what absence may do beside them, and whether it is we who are cut
//! off.
//!
//! Absence never acts by itself (E2). A trigger that missing data can make fire acts only while a probe that it reads is
//! bad; and what a bad probe says counts only while a reference probe says that we see anything at all.

use std::collections::BTreeSet;

use super::alerts::is_imported;
use super::draft::Draft;
use super::event::{Cause, Refusal};
use super::setup::Setup;
use crate::engine::evaluation::{Judgement, ProbeSeen, TriggerKey};
use crate::engine::model::{SourceName, TargetName};
use crate::engine::rules::{Condition, Trigger};

/// Returns the probes that a trigger's expression or its `given` reads, and those of the triggers that it names.
fn read_by(trigger: &Trigger, setup: &Setup) -> BTreeSet<SourceName> {
    let read = trigger.when.sources().into_iter().chain(trigger.given.iter().flat_map(Condition::sources));
    let read = read.chain(trigger.reads.sources.iter().cloned());
    read.filter(|source| setup.probes.contains(source)).collect()
}

/// Returns why a trigger must not act on what is seen, whatever its target allows.
pub fn barred_by_absence(setup: &Setup, trigger: &Trigger, probes: &[ProbeSeen]) -> Option<Refusal> {
    let read = read_by(trigger, setup);
    let bad: Vec<&ProbeSeen> =
        probes.iter().filter(|probe| !probe.good && read.contains(&probe.source)).collect();
    if trigger.rests_on_absence() && bad.is_empty() {
        return Some(Refusal::RestsOnAbsence);
    }
    isolated(setup, &trigger.target, &bad, probes)
}

/// Returns that it may be we who see nothing, where `bad` is all that is bad and no reference probe says otherwise.
///
/// One that says otherwise was asked since the others turned bad, and was good already when they were asked last: what
/// comes back when a network does is not taken for what broke it.
fn isolated(setup: &Setup, target: &TargetName, bad: &[&ProbeSeen], probes: &[ProbeSeen]) -> Option<Refusal> {
    let reference = &setup.targets.get(target)?.reference;
    let turned = bad.iter().map(|probe| probe.since).max()?;
    let asked = bad.iter().map(|probe| probe.at).min()?;
    if reference.is_empty() {
        return None;
    }
    let seen: Vec<&ProbeSeen> = probes.iter().filter(|probe| reference.contains(&probe.source)).collect();
    if seen.iter().any(|probe| probe.good && probe.at >= turned && probe.since <= asked) {
        return None;
    }
    Some(Refusal::Isolated(match seen.iter().find(|probe| !probe.good) {
        Some(probe) => format!("reference probe {} is bad too ({})", probe.source, probe.why),
        None => {
            let names: Vec<&str> = reference.iter().map(SourceName::as_str).collect();
            format!("no reference probe ({}) has been good since", names.join(", "))
        }
    }))
}

impl Draft<'_> {
    /// Returns why a trigger must not act now.
    pub(super) fn barred(&self, trigger: &Trigger) -> Option<Refusal> {
        barred_by_absence(self.setup, trigger, &self.probes)
    }

    /// Says what the bad ones of a trigger's probes answered, for its page.
    pub(super) fn told_by_probes(&self, trigger: &Trigger) -> Vec<String> {
        let read = read_by(trigger, self.setup);
        let is_bad = |probe: &&ProbeSeen| !probe.good && read.contains(&probe.source);
        let bad: Vec<&ProbeSeen> = self.probes.iter().filter(is_bad).collect();
        let told = bad.iter().map(|probe| {
            let since = self.now.since(probe.since).rounded();
            format!("Probe {} has been bad for {since}: {}.", probe.source, probe.why)
        });
        // Where a rollback is wanted, this is why there is none.
        let isolated = isolated(self.setup, &trigger.target, &bad, &self.probes);
        let isolated = isolated.filter(|_| trigger.then.rollback.is_none());
        told.chain(isolated.map(|refusal| format!("No rollback would be begun: {refusal}."))).collect()
    }

    /// Goes on with a trigger that fires: a level may come to the top, and what absence barred may be confirmed by now.
    pub(super) fn go_on(&mut self, trigger: &Trigger, judgement: &Judgement) {
        self.rise(trigger, judgement);
        let cause = Cause::Trigger(judgement.key.clone());
        let Some(incident) = self.state().open_incident(&cause) else { return };
        let refused = self.state().incidents.get(&incident).and_then(|known| known.refused.as_ref());
        let waits = matches!(refused, Some(Refusal::RestsOnAbsence | Refusal::Isolated(_)));
        if !waits || !judgement.window.full || self.is_busy(incident) || self.barred(trigger).is_some() {
            return;
        }
        if self.outranked_by(trigger, judgement).is_none() {
            let firing = self.firing(trigger, judgement);
            self.begin_rollback(incident, &firing);
        }
    }

    /// Returns that we may be cut off, for an imported alert that speaks of a bad probe: its label `job` names it.
    pub(super) fn isolated_alert(&self, key: &TriggerKey) -> Option<Refusal> {
        let job = key.labels.get("job").filter(|_| is_imported(key))?;
        let bad = self.probes.iter().find(|probe| !probe.good && probe.source.as_str() == job)?;
        isolated(self.setup, &key.target, &[bad], &self.probes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decision::tests::setup;
    use crate::engine::time::Timestamp;

    /// A probe that has been good or bad from the first to the second time on.
    fn seen(source: &str, good: bool, since: i64, at: i64) -> ProbeSeen {
        let (since, at) = (Timestamp::from_millis(since * 1000), Timestamp::from_millis(at * 1000));
        ProbeSeen { source: source.into(), at, good, since, why: "it said so".to_owned() }
    }

    #[test]
    fn only_a_reference_that_was_good_all_the_while_tells_that_it_is_not_we() {
        let mut setup = setup();
        let (name, target) = setup.targets.first_key_value().expect("a target");
        let (name, mut target) = (name.clone(), target.clone());
        target.reference = ["dns".into(), "gateway".into()].into();
        setup.targets.insert(name.clone(), target);
        let bad = [seen("health", false, 10, 20)];
        let bad: Vec<&ProbeSeen> = bad.iter().collect();
        let unheard = Some("no reference probe (dns, gateway) has been good since");
        let bad_too = Some("reference probe gateway is bad too (it said so)");
        let cases = [
            ("asked with the last question", vec![seen("gateway", true, 0, 20)], None),
            ("asked when it turned bad", vec![seen("gateway", true, 0, 10)], None),
            ("asked before it turned bad", vec![seen("gateway", true, 0, 9)], unheard),
            ("good since the last question", vec![seen("gateway", true, 20, 20)], None),
            ("good only after the last question", vec![seen("gateway", true, 21, 21)], unheard),
            ("bad", vec![seen("gateway", false, 0, 20)], bad_too),
            ("one of two", vec![seen("dns", true, 0, 20), seen("gateway", false, 0, 20)], None),
            ("not known", Vec::new(), unheard),
            ("another probe", vec![seen("blue", true, 0, 20)], unheard),
        ];
        for (case, probes, expected) in cases {
            let expected = expected.map(|why| Refusal::Isolated(why.to_owned()));
            assert_eq!(isolated(&setup, &name, &bad, &probes), expected, "{case}");
        }
        assert_eq!(isolated(&setup, &name, &[], &[]), None, "nothing is bad");
        let mut without = setup.clone();
        without.targets.values_mut().for_each(|target| target.reference.clear());
        assert_eq!(isolated(&without, &name, &bad, &[]), None, "nothing is configured");
    }
}
