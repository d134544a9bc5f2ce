//! What follows from verdicts: triggers' states, incidents, arbitration, rollback plans, pages.

pub mod effect;
pub mod event;
pub mod input;
pub mod setup;

pub use effect::{
    Delivery, DeliveryReport, Effect, EffectClass, IncidentFacts, Message, MessageKind, StepEnding,
    StepHandle, StepOrder, StepResult,
};
pub use event::{Cause, CheckSeen, EVENT_VERSION, Event, Happening, Outcome, Refusal};
pub use input::{Command, EffectOutcome, Input, Restart};
pub use setup::{
    AtMost, DetectVersion, Level, Mode, OnError, Plan, Policy, Setup, SourcePace, Step, StepAction, Target,
    Verify,
};
