//! Where samples come from: each source answers with an [`Observation`](crate::engine::series::Observation), or says
//! why it cannot, which is an answer too.
//!
//! A source is whole or it failed (E2): no part of a page that was cut off, or that has one bad line, ever reaches the
//! engine.

pub mod exposition;
pub mod http_client;
pub mod identity;
pub mod probe;
pub mod scrape;
