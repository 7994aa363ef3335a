//! How telling each word of two columns is, and what share of two texts is the same.
use super::{Lexicon, Words};
use crate::text;
use std::sync::Arc;

/// Two text columns, and the weight of each word.
pub(crate) struct Weighted {
    pub(crate) left: Arc<Words>,
    pub(crate) right: Arc<Words>,
    weight: Vec<f32>,
}

impl Weighted {
    pub(crate) fn new(left: Arc<Words>, right: Arc<Words>, lexicon: &Lexicon) -> Self {
        let weight = word_weights(&left, &right, lexicon);
        Self { left, right, weight }
    }

    /// Weighted share of the words in common: cosine of the two weight vectors, near words counted when few.
    pub(super) fn shared(&self, l: usize, r: usize, lexicon: &Lexicon) -> f32 {
        let (left, right) = (self.left.words(l), self.right.words(r));
        let square = |words: &[u32]| words.iter().map(|w| self.weight[*w as usize].powi(2)).sum::<f32>();
        let soft = left.len() <= 10 && right.len() <= 10;
        let mut both = 0.0;
        for word in left {
            let weight = self.weight[*word as usize];
            if right.contains(word) {
                both += weight * weight;
            } else if soft {
                let other = right.iter().find(|other| lexicon.near(*word, **other));
                both += other.map_or(0.0, |other| 0.8 * weight * self.weight[*other as usize].min(weight));
            }
        }
        both / (square(left) * square(right)).sqrt().max(f32::MIN_POSITIVE)
    }
}

/// How telling each word is: the bits of its rarity over both columns; little for a legal form.
pub(super) fn word_weights(left: &Words, right: &Words, lexicon: &Lexicon) -> Vec<f32> {
    let rows = (left.value.len() + right.value.len()).max(1) as f32;
    let weight = |(word, (l, r)): (usize, (&u32, &u32))| {
        let bits = (rows / (l + r).max(1) as f32).log2().max(0.3);
        if text::is_legal_form(lexicon.word(word as u32)) { bits.min(0.3) } else { bits }
    };
    left.rows_with(lexicon).iter().zip(&right.rows_with(lexicon)).enumerate().map(weight).collect()
}
