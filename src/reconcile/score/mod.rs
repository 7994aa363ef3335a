//! How likely two rows belong together: pairs as patterns of levels, and the weights of the levels.
mod pairs;
mod parts;
mod rivals;
mod weights;

pub(crate) use pairs::{Pair, Scored, level, pattern, score};
pub use parts::{Part, Parts};
pub(crate) use rivals::{Rivals, odds};
pub(crate) use weights::{ByContent, Weights, probability, train};
