//! What the engine asks for, done: rollback steps and pages.
//!
//! The executors here have no choices left. A step runs at most once, because its process waits at a gate until its
//! start is durable ([`step`]). A message is tried until its receiver says yes or can never say yes ([`receiver`],
//! [`outbox`]); whether another channel is used meanwhile is decided by the engine, which is told of the first failure.

#[cfg(test)]
mod fixture;
pub mod http;
pub mod outbox;
pub mod printable;
pub mod receiver;
pub mod step;

pub use outbox::{Outbox, RetryPolicy};
pub use receiver::{Channel, Receipt, Receiver, SendError};
pub use step::{Prepared, StepRunner};
