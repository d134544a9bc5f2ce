//! An armed target that can be rolled back.

use std::collections::BTreeSet;

use rearguard::engine::decision::{
    AtMost, DeploymentSettings, Level, Mode, OnError, Plan, Policy, Setup, Step, StepAction, Target,
};
use rearguard::engine::time::Span;

/// The armed target `app` with the plan `back` of one step, the policy `oncall` and its receiver `pager`.
pub fn armed_app(at_most_a_day: u32, cooldown: Span) -> Setup {
    let step = Step {
        name: "switch".to_owned(),
        action: StepAction::Exec { argv: vec!["/bin/switch".to_owned()] },
        timeout: Span::from_secs(20),
        on_error: OnError::Stop,
        idempotent: false,
    };
    let target = Target {
        mode: Mode::Armed,
        plans: BTreeSet::from(["back".into()]),
        at_most: AtMost { count: at_most_a_day, per: Span::from_secs(86_400) },
        cooldown,
        detect: None,
        deployments: DeploymentSettings::default(),
        reference: BTreeSet::new(),
    };
    let level = Level { after: Span::ZERO, notify: vec!["pager".into()], always: false };
    let plan = Plan { deadline: Span::from_secs(60), steps: vec![step], verify: None };
    Setup {
        fingerprint: "files".to_owned(),
        targets: [("app".into(), target)].into(),
        plans: [("back".into(), plan)].into(),
        policies: [("oncall".into(), Policy { levels: vec![level] })].into(),
        receivers: ["pager".into()].into(),
        ..Setup::default()
    }
}
