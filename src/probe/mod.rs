//! What a probe asks, and what it takes for good: plain values that configuration writes and sources act on.
//!
//! A kind of probe more (a name that must resolve, a certificate that must not run out, a set of which a quorum must be
//! good) is a variant of [`Probe`] more, and an asker in `sources::probe`.

pub mod expectation;
pub mod json_path;

pub use expectation::{BodyPattern, Expectation};
pub use json_path::JsonPath;

use crate::engine::time::Span;

/// One question.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// An HTTP request, and what its answer must be like.
    Http(HttpProbe),
    /// A connection that must come about.
    Tcp {
        /// Host and port.
        address: String,
        /// What takes longer is bad; `None`: whatever the timeout allows.
        within: Option<Span>,
    },
    /// A program that must end with 0.
    Exec {
        /// The program's absolute path, then its arguments.
        argv: Vec<String>,
        /// What takes longer is bad; `None`: whatever the timeout allows.
        within: Option<Span>,
    },
}

/// An HTTP request, and what its answer must be like.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpProbe {
    /// Where to; `http` or `https`.
    pub url: String,
    /// `GET`, `HEAD` or `POST`.
    pub method: Method,
    /// Headers that the request carries. No secrets: the file that they stand in is kept in the journal.
    pub headers: Vec<(String, String)>,
    /// Whether redirects are followed.
    pub redirects: Redirects,
    /// What the answer must be like.
    pub expect: Expectation,
}

/// How an HTTP probe asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// For the whole answer.
    #[default]
    Get,
    /// For its head alone.
    Head,
    /// With an empty body, where an endpoint takes nothing else.
    Post,
}

/// What becomes of an answer that points elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirects {
    /// It is the answer: a login page behind it proves nothing.
    #[default]
    Refuse,
    /// The next address is asked, within the same timeout.
    Follow,
}
