//! Which rows stand together: parts joined by their best pair while their members agree with each other on the whole.
//!
//! Easy to get wrong: connected components alone make one cluster of a chain of rows in which only neighbours are alike.
use super::pairs::Weighed;
use rayon::prelude::*;

/// Clusters of different rows.
pub(super) struct Parts {
    /// Members in the order of their content; single rows are parts of one.
    pub(super) parts: Vec<Vec<u32>>,
    /// Pairs above the floor whose parts were not joined, as the two parts.
    pub(super) refused: Vec<(usize, usize)>,
}

/// Joins rows, best pair first. Two parts are joined when a member of one and a member of the other belong together with a probability
/// of `floor` or more in the mean over all such pairs.
pub(super) fn cluster(weighed: &Weighed, rows: usize, floor: f64) -> Parts {
    let least = (floor.max(1e-6) / (1.0 - floor)).log2();
    let mut links: Vec<(u32, u32, f64)> = weighed.pairs.iter().copied().filter(|(_, _, bits)| *bits > least).collect();
    links.par_sort_unstable_by(|x, y| y.2.total_cmp(&x.2).then_with(|| (x.0, x.1).cmp(&(y.0, y.1))));
    let mut part_of: Vec<u32> = (0..rows as u32).collect();
    let mut parts: Vec<Vec<u32>> = (0..rows as u32).map(|row| vec![row]).collect();
    let mut apart: Vec<(u32, u32)> = Vec::new();
    for (a, b, _) in links {
        let (x, y) = (part_of[a as usize] as usize, part_of[b as usize] as usize);
        if x == y {
            continue;
        }
        if mean(weighed, &parts[x], &parts[y]) < floor {
            apart.push((a, b));
            continue;
        }
        let (into, from) = if parts[x].len() >= parts[y].len() { (x, y) } else { (y, x) };
        let moved = std::mem::take(&mut parts[from]);
        moved.iter().for_each(|row| part_of[*row as usize] = into as u32);
        parts[into].extend(moved);
        parts[into].sort_unstable();
    }
    let refused = apart.into_iter().map(|(a, b)| (part_of[a as usize] as usize, part_of[b as usize] as usize));
    let refused = refused.filter(|(x, y)| x != y).collect();
    Parts { parts, refused }
}

/// The mean probability over all pairs of a member of one part and a member of the other; in the order of content, so that the sum is the
/// same to the last bit whatever the order of rows.
fn mean(weighed: &Weighed, one: &[u32], other: &[u32]) -> f64 {
    let (one, other) = if one[0] < other[0] { (one, other) } else { (other, one) };
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b)));
    pairs.map(|(a, b)| weighed.probability(weighed.levels(a, b))).sum::<f64>() / (one.len() * other.len()) as f64
}
