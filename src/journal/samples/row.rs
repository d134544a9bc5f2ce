//! The form in which a turn is stored.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::codec::{self, Numbered};
use super::{Turn, first_eight, json};
use crate::engine::model::{Labels, Sample, SourceName};
use crate::engine::series::{Observation, SourceFailure};
use crate::engine::time::{Span, Timestamp};
use crate::journal::error::Fault;

/// A turn as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) turn_ms: i64,
    pub(super) at_ms: i64,
    pub(super) source: Option<String>,
    pub(super) took_ms: i64,
    pub(super) failure: Option<String>,
    pub(super) samples: Vec<u8>,
}

impl Row {
    pub(super) fn digest(&self) -> [u8; 8] {
        let failure = self.failure.as_deref().unwrap_or_default();
        let source = self.source.as_deref().unwrap_or_default();
        let mut hasher = Sha256::new();
        for number in [self.turn_ms, self.at_ms, self.took_ms] {
            hasher = hasher.chain_update(number.to_be_bytes());
        }
        hasher = hasher.chain_update([u8::from(self.source.is_some()), u8::from(self.failure.is_some())]);
        for part in [source.as_bytes(), failure.as_bytes(), &self.samples] {
            hasher = hasher.chain_update((part.len() as u64).to_be_bytes()).chain_update(part);
        }
        first_eight(hasher)
    }

    /// Returns a turn as it is stored; `numbered` are its samples.
    pub(super) fn of(turn: &Turn, numbered: Vec<Numbered>) -> Result<Self, Fault> {
        let turn_ms = turn.at.as_millis();
        let Some(observation) = &turn.observation else {
            let nothing = Vec::new();
            return Ok(Self {
                turn_ms,
                at_ms: turn_ms,
                source: None,
                took_ms: 0,
                failure: None,
                samples: nothing,
            });
        };
        Ok(Self {
            turn_ms,
            at_ms: observation.at.as_millis(),
            source: Some(observation.source.as_str().to_owned()),
            took_ms: observation.took.as_millis(),
            failure: observation.answer.as_ref().err().map(json).transpose()?,
            samples: codec::encode(observation.at, numbered),
        })
    }

    /// Returns the turn, or `None` where the row is damaged.
    pub(super) fn turn(&self, digest: &[u8], sets: &HashMap<i64, &Labels>) -> Option<Turn> {
        if digest != self.digest() {
            return None;
        }
        let turn = |observation| Turn { at: Timestamp::from_millis(self.turn_ms), observation };
        let Some(source) = &self.source else { return Some(turn(None)) };
        let at = Timestamp::from_millis(self.at_ms);
        let answer = match &self.failure {
            Some(failure) => Err(serde_json::from_str::<SourceFailure>(failure).ok()?),
            None => {
                let numbered = codec::decode(at, &self.samples)?;
                let sample = |one: Numbered| {
                    let labels = (*sets.get(&one.labels)?).clone();
                    Some(Sample { labels, at: one.at, value: one.value })
                };
                Ok(numbered.into_iter().map(sample).collect::<Option<Vec<_>>>()?)
            }
        };
        let source = SourceName::from(source.as_str());
        Some(turn(Some(Observation {
            source,
            at,
            took: Span::from_millis(self.took_ms),
            answer,
            told: None,
        })))
    }
}
