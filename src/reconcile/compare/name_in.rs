//! A name sought in a description: how much of its telling words is there.
use super::weighted::word_weights;
use super::{Kind, Level, Lexicon, Sought, Words};
use crate::outcome::Side;

const LEVELS: &[Level] = &[
    Level::MISSING,
    Level::new("not found", 0.0),
    Level::new("little found", 1.0 / 6.0),
    Level::new("partly found", 2.0 / 6.0),
    Level::new("mostly found", 3.0 / 6.0),
    Level::new("nearly all found", 4.0 / 6.0),
    Level::whole("found", 5.0 / 6.0),
    Level::whole("found (rare value)", 1.0),
];

/// Names and the texts they are sought in.
pub(crate) struct NameIn {
    pub(crate) sought: Sought,
    weight: Vec<f32>,
}

impl NameIn {
    pub(crate) fn new(sought: Sought, lexicon: &Lexicon) -> Self {
        let weight = word_weights(&sought.needle, &sought.hay, lexicon);
        Self { sought, weight }
    }
}

impl Kind for NameIn {
    fn levels(&self) -> &'static [Level] {
        LEVELS
    }

    fn level(&self, l: usize, r: usize, lexicon: &Lexicon) -> u8 {
        let Some((n, h)) = self.sought.rows(l, r) else { return 0 };
        let (needle, hay) = (self.sought.needle.words(n), self.sought.hay.words(h));
        let (mut found, mut all) = (0.0_f32, 0.0_f32);
        for word in needle {
            let weight = self.weight[*word as usize];
            all += weight;
            if hay.contains(word) {
                found += weight;
            } else if hay.iter().any(|other| lexicon.near(*word, *other)) {
                found += weight * 0.85;
            }
        }
        match found / all.max(f32::MIN_POSITIVE) {
            c if c >= 0.97 && self.sought.needle.rows_of[n] <= 30 => 7,
            c if c >= 0.97 => 6,
            c if c >= 0.82 => 5,
            c if c >= 0.62 => 4,
            c if c >= 0.40 => 3,
            c if c >= 0.18 => 2,
            _ => 1,
        }
    }

    fn words(&self, side: Side) -> Option<&Words> {
        Some(self.sought.of(side))
    }

    fn is_text(&self) -> bool {
        true
    }
}
