//! The passes of a run as indexes, those that would compare nearly everything with everything left out or refused.
use super::{Index, NONE, Pass, Rows, Settled};
use crate::control::Meter;
use crate::rules::RuleSet;
use crate::run::RunError;

/// Below this many pairs nothing is refused: it is done before anyone notices.
const ALWAYS_ALLOWED: u64 = 2_000_000;

/// Builds the index of every pass over the rows that are not settled, and refuses passes that amount to a cross
/// product. A derived pass that is too large is left out when another remains, and its position is returned; one that
/// the rules ask for is an error.
pub(crate) fn indexes<'a>(
    passes: &'a [Pass],
    settled: &Settled,
    rules: &RuleSet,
    meter: &Meter<'_>,
) -> Result<(Vec<Index<'a>>, Vec<usize>), RunError> {
    let rows = (settled.left.len(), settled.right.len());
    let allowed = u64::from(rules.limits.max_pairs_per_row) * (rows.0 + rows.1) as u64;
    let allowed = allowed.max(ALWAYS_ALLOWED);
    let (left, right) = (|row: usize| settled.left[row] == NONE, |row: usize| settled.right[row] == NONE);
    let (left, right) = (Rows { count: rows.0, take: &left }, Rows { count: rows.1, take: &right });
    let mut kept = Vec::new();
    let mut left_out = Vec::new();
    let mut refused: Option<(u64, String)> = None;
    for (at, pass) in passes.iter().enumerate() {
        let build = || Index::build(pass, &left, &right, rules.limits.max_block_rows as usize, meter);
        meter.add(1, 0)?;
        // Counted over all rows, settled or not: whether rules are refused is no matter of luck.
        let (index, pairs) = match pass.pairs_of_values() {
            _ if !pass.is_refusable() => (Some(build()?), 0),
            Some(pairs) => ((pairs <= allowed).then(build).transpose()?, pairs),
            None => {
                let index = build()?;
                let pairs = index.estimate(&left);
                (Some(index), pairs)
            }
        };
        meter.check()?;
        match index {
            Some(index) if pairs <= allowed => kept.push(index),
            _ => {
                left_out.push(at);
                if refused.as_ref().is_none_or(|(least, _)| pairs < *least) {
                    refused = Some((pairs, format!("block[{at}]")));
                }
            }
        }
    }
    let everything = rows.0 as u64 * rows.1 as u64;
    let hint = "block on a column with more different values, add a key, or narrow the window".to_owned();
    match refused {
        Some((pairs, path)) if !rules.block.is_empty() => Err(RunError::CrossProduct { path, pairs, hint }),
        Some((pairs, _)) if kept.is_empty() => Err(RunError::CrossProduct { path: "compare".into(), pairs, hint }),
        None if kept.is_empty() && everything > 0 => {
            Err(RunError::CrossProduct { path: "compare".into(), pairs: everything, hint })
        }
        _ => Ok((kept, left_out)),
    }
}
