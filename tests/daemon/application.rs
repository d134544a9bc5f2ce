//! An application whose answer to a scrape the test sets.

use std::sync::{Arc, Mutex};

use crate::daemon_fixture::endpoint::{Endpoint, metrics};

/// A running application.
pub struct Application {
    endpoint: Endpoint,
    reply: Arc<Mutex<Vec<u8>>>,
}

impl Application {
    /// Starts one that exposes `text`.
    pub fn start(text: &str) -> Self {
        let reply = Arc::new(Mutex::new(metrics(text)));
        let current = Arc::clone(&reply);
        let endpoint = Endpoint::start(move |_| current.lock().expect("nobody panics here").clone());
        Self { endpoint, reply }
    }

    /// Exposes another text from now on.
    pub fn expose(&self, text: &str) {
        self.answer(metrics(text));
    }

    /// Answers these bytes from now on.
    pub fn answer(&self, bytes: Vec<u8>) {
        *self.reply.lock().expect("nobody panics here") = bytes;
    }

    /// Returns how often it was scraped.
    pub fn scrapes(&self) -> usize {
        self.endpoint.answered()
    }

    pub fn url(&self) -> String {
        self.endpoint.url("/metrics")
    }
}
