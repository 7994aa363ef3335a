//! What was just found out about values and words, because both repeat: nothing is worked out twice in a row.
//!
//! Bounded: a place for each of some hashes, and the newest one stays. Easy to get wrong: the text itself is kept and
//! compared, so that two texts of one hash are never taken for each other.
use rustc_hash::FxHasher;
use std::hash::Hasher;

/// Places; memory comes with use, in steps.
const PLACES: usize = 1 << 10;
/// Bytes of a text that is kept.
const BYTES: usize = 23;

/// The newest texts with what is known of each.
pub(super) struct Recent<T> {
    places: Vec<Place<T>>,
}

#[derive(Clone, Copy)]
struct Place<T> {
    text: [u8; BYTES],
    /// One more than its bytes; 0 when the place is free.
    length: u8,
    known: T,
}

impl<T: Copy + Default> Default for Recent<T> {
    fn default() -> Self {
        Self { places: Vec::new() }
    }
}

impl<T: Copy + Default> Recent<T> {
    /// What is known of the text; else it is found out now.
    pub(super) fn get(&mut self, text: &str, find: impl FnOnce(&str) -> T) -> (T, bool) {
        let bytes = text.as_bytes();
        if bytes.len() > BYTES {
            return (find(text), false);
        }
        if self.places.is_empty() {
            self.places.resize(PLACES, Place { text: [0; BYTES], length: 0, known: T::default() });
        }
        let mut hasher = FxHasher::default();
        hasher.write(bytes);
        let place = &mut self.places[(hasher.finish() >> 20) as usize % PLACES];
        let length = bytes.len() as u8 + 1;
        if place.length == length && &place.text[..bytes.len()] == bytes {
            return (place.known, true);
        }
        place.known = find(text);
        place.length = length;
        place.text[..bytes.len()].copy_from_slice(bytes);
        (place.known, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_known_after_it_was_seen_and_never_taken_for_another() {
        let mut recent = Recent::default();
        let texts: Vec<String> = (0..5_000).map(|at| format!("{at}")).chain(["x".repeat(BYTES + 1)]).collect();
        for text in texts.iter().chain(&texts) {
            let (known, _) = recent.get(text, |text| text.len() * 31 + usize::from(text.as_bytes()[0]));
            assert_eq!(known, text.len() * 31 + usize::from(text.as_bytes()[0]));
        }
        assert_eq!(recent.get("4999", |_| 0), (4 * 31 + usize::from(b'4'), true));
        assert_eq!(recent.get("", |_| 7), (7, false));
        assert_eq!(recent.get("", |_| 8), (7, true));
    }
}
