//! The rules of a run: which columns are compared how, and what a result must reach.
mod check;
mod rule_set;

pub(crate) use rule_set::MAX_COMPARISONS;
pub use rule_set::{
    Assign, Block, BlockKey, BlockWindow, By, Compare, CompareKind, Method, Model, RuleError, RuleSet, RunLimits,
    States, Sums,
};

#[cfg(test)]
mod tests;
