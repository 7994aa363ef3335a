//! How well two rows agree: one file per kind of comparison, each with its table of levels beside what finds them.
//!
//! A new kind is one file that implements [`Kind`], and one variant of [`Comparator`].
mod level;

mod amount;
mod code_in;
mod code_like;
mod date;
mod equal;
mod name_in;
mod name_like;
mod words_like;

mod comparator;
mod lexicon;
mod sought;
mod weighted;
mod words;

pub(crate) use amount::Amounts;
pub(crate) use code_in::CodeIn;
pub(crate) use code_like::CodeLike;
pub(crate) use comparator::Comparator;
pub(crate) use date::Dates;
pub(crate) use equal::Equal;
pub(crate) use level::{Kind, Level, MAX_LEVELS};
pub(crate) use lexicon::Lexicon;
pub(crate) use name_in::NameIn;
pub(crate) use name_like::NameLike;
pub(crate) use sought::Sought;
pub(crate) use weighted::Weighted;
pub(crate) use words::Words;
pub(crate) use words_like::WordsLike;

#[cfg(test)]
mod tests;
