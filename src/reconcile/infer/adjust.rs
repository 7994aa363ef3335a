//! Inferred comparisons that turn out to tell nothing are dropped, and said to be: in a reconciliation and within one file.
use super::{Comparing, LeftOut};
use crate::outcome::Side;
use crate::rules::RuleSet;
use crate::run::RunError;
use crate::score::level;

/// Share of the likely pairs in which a useless comparison disagrees.
const NEARLY_ALL: f64 = 0.9;
/// Fewer pairs than these tell nothing about a comparison.
const LEAST_PAIRS: u64 = 4;

/// Trains, and drops the comparisons that `useless` finds, for `reason`, until there is none or they are all there are.
pub(crate) fn adjust<T>(
    rules: &mut RuleSet,
    comparing: &mut Comparing,
    reason: &str,
    train: impl Fn(&RuleSet) -> Result<T, RunError>,
    useless: impl Fn(&T) -> Result<Vec<usize>, RunError>,
) -> Result<T, RunError> {
    loop {
        rules.validate()?;
        let trained = train(rules)?;
        let useless = useless(&trained)?;
        if useless.is_empty() || useless.len() == rules.compare.len() {
            return Ok(trained);
        }
        for at in useless.into_iter().rev() {
            let gone = rules.compare.remove(at);
            comparing.compared.remove(at);
            for (side, column) in [(Side::Left, gone.left), (Side::Right, gone.right)] {
                comparing.left_out.push(LeftOut { side, column, reason: reason.to_owned() });
            }
        }
    }
}

/// Comparisons that disagree in nearly every pair, given the levels of the likely pairs and how many have them.
pub(crate) fn disagreeing(comparisons: usize, likely: impl Iterator<Item = (u64, u64)>) -> Vec<usize> {
    let mut seen = vec![[0_u64; 2]; comparisons];
    for (levels, pairs) in likely {
        for (at, seen) in seen.iter_mut().enumerate() {
            let level = level(levels, at);
            if level > 0 {
                seen[usize::from(level == 1)] += pairs;
            }
        }
    }
    let useless = |[agree, differ]: &[u64; 2]| {
        let all = agree + differ;
        all >= LEAST_PAIRS && *differ as f64 >= NEARLY_ALL * all as f64
    };
    seen.iter().enumerate().filter(|(_, seen)| useless(seen)).map(|(at, _)| at).collect()
}
