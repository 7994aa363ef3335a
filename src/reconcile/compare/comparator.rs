//! A comparison of any kind.
//!
//! [`Comparator::level`] is the hottest code of the engine, so it knows its kinds by name; everything else goes through
//! [`Comparator::kind`].
use super::{Amounts, CodeIn, CodeLike, Dates, Equal, Kind, Level, Lexicon, NameIn, NameLike, WordsLike};

/// A comparison made ready for its two tables.
pub(crate) enum Comparator {
    Equal(Equal),
    Amount(Amounts),
    Date(Dates),
    CodeIn(CodeIn),
    NameIn(NameIn),
    CodeLike(CodeLike),
    NameLike(NameLike),
    WordsLike(WordsLike),
}

impl Comparator {
    /// The level of a pair.
    pub(crate) fn level(&self, l: usize, r: usize, lexicon: &Lexicon) -> u8 {
        match self {
            Self::Equal(kind) => kind.level(l, r, lexicon),
            Self::Amount(kind) => kind.level(l, r, lexicon),
            Self::Date(kind) => kind.level(l, r, lexicon),
            Self::CodeIn(kind) => kind.level(l, r, lexicon),
            Self::NameIn(kind) => kind.level(l, r, lexicon),
            Self::CodeLike(kind) => kind.level(l, r, lexicon),
            Self::NameLike(kind) => kind.level(l, r, lexicon),
            Self::WordsLike(kind) => kind.level(l, r, lexicon),
        }
    }

    /// Its kind.
    pub(crate) fn kind(&self) -> &dyn Kind {
        match self {
            Self::Equal(kind) => kind,
            Self::Amount(kind) => kind,
            Self::Date(kind) => kind,
            Self::CodeIn(kind) => kind,
            Self::NameIn(kind) => kind,
            Self::CodeLike(kind) => kind,
            Self::NameLike(kind) => kind,
            Self::WordsLike(kind) => kind,
        }
    }

    /// What its levels mean.
    pub(crate) fn levels(&self) -> &'static [Level] {
        self.kind().levels()
    }
}
