//! What the last page came to, so that of the next one only what is new has to be worked out.
//!
//! From one scrape to the next a page's series stay what they were and stay in their places, and so do most of its numbers.
//! Nothing is taken for granted for that: every line is checked anew, and something is recalled only where the same text
//! stands at the same place. What a text comes to depends on the text alone, so a page means the same with and without.

/// Texts in the order of a page, each with what it came to.
#[derive(Debug)]
pub struct Recalled<T> {
    /// All texts, one behind the other.
    texts: String,
    /// Where each of them ends, and what it came to.
    known: Vec<(usize, T)>,
}

impl<T> Default for Recalled<T> {
    fn default() -> Self {
        Self { texts: String::new(), known: Vec::new() }
    }
}

impl<T> Recalled<T> {
    /// Returns what the text at a place came to; `None` where another text stood there, or none.
    pub fn get(&self, place: usize, text: &str) -> Option<&T> {
        let (end, value) = self.known.get(place)?;
        let start = place.checked_sub(1).map_or(0, |before| self.known[before].0);
        (self.texts.get(start..*end)? == text).then_some(value)
    }

    /// Returns the number of texts.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Returns whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

impl<'t, T> FromIterator<(&'t str, T)> for Recalled<T> {
    fn from_iter<I: IntoIterator<Item = (&'t str, T)>>(pairs: I) -> Self {
        let mut new = Self::default();
        new.known.extend(pairs.into_iter().map(|(text, value)| {
            new.texts.push_str(text);
            (new.texts.len(), value)
        }));
        new.texts.shrink_to_fit();
        new.known.shrink_to_fit();
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_text_at_the_same_place_is_recalled() {
        let recalled: Recalled<u32> = [("ab", 1), ("", 2), ("c", 3)].into_iter().collect();
        let cases = [
            (0, "ab", Some(1)),
            (0, "a", None),
            (0, "abc", None),
            (1, "", Some(2)),
            (1, "c", None),
            (2, "c", Some(3)),
            (2, "", None),
            (3, "", None),
        ];
        for (place, text, expected) in cases {
            assert_eq!(recalled.get(place, text).copied(), expected, "{text:?} at {place}");
        }
        assert_eq!((recalled.len(), Recalled::<u32>::default().is_empty()), (3, true));
    }
}
