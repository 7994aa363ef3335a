//! How likely two rows belong together: pairs as patterns of levels, and the weights of the levels.
mod pairs;
mod weights;

pub(crate) use pairs::{Pair, Part, Scored, level, pattern, score};
pub(crate) use weights::{ByContent, Rivals, Weights, probability, train};
