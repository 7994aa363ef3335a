//! Words by number, the same in every column of both files, and which of them are near each other.
//!
//! Easy to get wrong: an [`Outline`] may only rule out what a full look at the letters would rule out.
use crate::text;

/// Numbers words; the same word has the same number in every column of both files.
#[derive(Default)]
pub(crate) struct Lexicon {
    /// Numbers by the hash of their word, a power of two of places, at most three quarters of them taken; of a collision
    /// the next free place.
    places: Vec<Place>,
    letters: String,
    ends: Vec<u32>,
    /// Rules out most words without touching their letters.
    outlines: Vec<Outline>,
}

/// A place of the lexicon: a part of the word's hash, and one more than its number; 0 when it is free.
#[derive(Clone, Copy, Default)]
struct Place {
    hash: u32,
    next_number: u32,
}

impl Lexicon {
    /// The number of a word, which is new or known.
    pub(super) fn number(&mut self, word: &str) -> u32 {
        if 4 * (self.ends.len() + 1) > 3 * self.places.len() {
            self.grow();
        }
        let (hash, last) = (text::hash(word) as u32, self.places.len() - 1);
        let mut at = hash as usize & last;
        loop {
            match self.places[at] {
                Place { next_number: 0, .. } => break,
                place if place.hash == hash && self.word(place.next_number - 1) == word => {
                    return place.next_number - 1;
                }
                _ => at = (at + 1) & last,
            }
        }
        let number = self.ends.len() as u32;
        self.letters.push_str(word);
        self.ends.push(self.letters.len() as u32);
        self.outlines.push(Outline::of(word.as_bytes()));
        self.places[at] = Place { hash, next_number: number + 1 };
        number
    }

    fn grow(&mut self) {
        let mut places = vec![Place::default(); (2 * self.places.len()).max(1 << 10)];
        let last = places.len() - 1;
        for place in self.places.iter().filter(|place| place.next_number > 0) {
            let mut at = place.hash as usize & last;
            while places[at].next_number > 0 {
                at = (at + 1) & last;
            }
            places[at] = *place;
        }
        self.places = places;
    }

    /// No word is added any more: gives back what only numbering needs.
    pub(crate) fn complete(&mut self) {
        self.places = Vec::new();
        self.letters.shrink_to_fit();
    }

    /// The word of a number.
    pub(crate) fn word(&self, number: u32) -> &str {
        let at = number as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.letters[start..self.ends[at] as usize]
    }

    /// Whether one word is the beginning of the other, or one edit away from it.
    pub(crate) fn near(&self, a: u32, b: u32) -> bool {
        let (x, y) = (self.outlines[a as usize], self.outlines[b as usize]);
        x.may_be_near(y) && near(self.word(a).as_bytes(), self.word(b).as_bytes())
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
}

/// A word in 64 bits: which letters and digits it has, its first one, its length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Outline(u64);

impl Outline {
    /// Bits for 10 digits, 26 letters and all other bytes.
    const LETTERS: u64 = (1 << 44) - 1;
    /// The longest length that is told exactly.
    const LONGEST: u64 = 255;

    fn of(word: &[u8]) -> Self {
        let number = |byte: u8| match byte {
            b'0'..=b'9' => u64::from(byte - b'0'),
            b'a'..=b'z' => u64::from(byte - b'a') + 10,
            _ => u64::from(byte & 7) + 36,
        };
        let letters = word.iter().fold(0, |letters, byte| letters | 1 << number(*byte));
        Self(letters | number(word[0]) << 44 | (word.len() as u64).min(Self::LONGEST) << 56)
    }

    /// Whether [`near`] may hold: never false when it does.
    fn may_be_near(self, other: Self) -> bool {
        let (short, long) = if self.0 >> 56 <= other.0 >> 56 { (self.0, other.0) } else { (other.0, self.0) };
        let (shorter, longer) = (short >> 56, long >> 56);
        if shorter < 3 || shorter == Self::LONGEST {
            return shorter == Self::LONGEST;
        }
        let begins = (short ^ long) >> 44 & 63 == 0 && short & !long & Self::LETTERS == 0;
        // One edit takes one letter away and brings one in, at most.
        let apart = (short ^ long) & Self::LETTERS;
        let but_one = apart & apart.wrapping_sub(1);
        begins || (shorter >= 4 && longer - shorter <= 1 && but_one & but_one.wrapping_sub(1) == 0)
    }
}

fn near(a: &[u8], b: &[u8]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if long.starts_with(short) {
        return true;
    }
    if short.len() < 4 || long.len() - short.len() > 1 {
        return false;
    }
    // One edit: what is left between the common beginning and the common end is one letter, or two swapped.
    let head = short.iter().zip(long).take_while(|(x, y)| x == y).count();
    let room = short.len() - head;
    let tail = short.iter().rev().zip(long.iter().rev()).take(room).take_while(|(x, y)| x == y).count();
    let (from_short, from_long) = (&short[head..short.len() - tail], &long[head..long.len() - tail]);
    match (from_short, from_long) {
        ([], [_]) | ([_], [_]) => true,
        ([a, b], [c, d]) => a == d && b == c,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn outlines_never_rule_out_a_near_word(a in "[ab0é]{1,6}", b in "[ab0é]{1,6}", more in 0_usize..2) {
            let (a, b) = (a.repeat(1 + 60 * more), b.repeat(1 + 60 * more));
            for b in [&b, &format!("{a}{b}")] {
                let (x, y) = (Outline::of(a.as_bytes()), Outline::of(b.as_bytes()));
                let near = a.len().min(b.len()) >= 3 && near(a.as_bytes(), b.as_bytes());
                proptest::prop_assert!(!near || (x.may_be_near(y) && y.may_be_near(x)));
            }
        }
    }

    #[test]
    fn near_words_are_cut_off_or_one_edit_away() {
        for (a, b) in [
            ("lighting", "light"),
            ("bakery", "bakesy"),
            ("bakery", "bakry"),
            ("bakery", "abkery"),
            ("bakery", "bakeery"),
        ] {
            assert!(near(a.as_bytes(), b.as_bytes()) && near(b.as_bytes(), a.as_bytes()), "{a} {b}");
        }
        for (a, b) in [("bakery", "backers"), ("abc", "abd"), ("steel", "stone")] {
            assert!(!near(a.as_bytes(), b.as_bytes()), "{a} {b}");
        }
    }
}
