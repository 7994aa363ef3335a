//! One-to-one assignment of the largest total weight, not first come first served.
//!
//! Candidates above the floor fall into connected components, solved apart and in parallel. A component is solved
//! exactly by shortest augmenting paths with potentials (Jonker and Volgenant's method on sparse rows); only a very
//! large one goes to the auction, whose result is within a rounding step of the best. Rows enter in the order of their
//! content, so equal totals resolve the same way in any thread count and file order.
use crate::control::{Cancelled, Meter};
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A candidate above the floor; `gain` is positive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Edge {
    pub(crate) l: u32,
    pub(crate) r: u32,
    pub(crate) gain: i64,
}

/// Work (rows times edges) above which a component is auctioned.
const EXACT_WORK: u64 = 2_000_000_000;

/// The chosen pairs, sorted by left row. `left_order` and `right_order` rank the rows of each side by content;
/// `left_first` says which side's rows choose, so that swapped files give the swapped pairs.
pub(crate) fn assign(
    edges: &[Edge],
    left_order: &[u32],
    right_order: &[u32],
    left_first: bool,
    meter: &Meter<'_>,
) -> Result<Vec<Edge>, Cancelled> {
    if !left_first {
        let swap = |edge: &Edge| Edge { l: edge.r, r: edge.l, gain: edge.gain };
        let swapped: Vec<Edge> = edges.iter().map(swap).collect();
        let mut chosen: Vec<Edge> = assign(&swapped, right_order, left_order, true, meter)?.iter().map(swap).collect();
        chosen.sort_unstable_by_key(|edge| (edge.l, edge.r));
        return Ok(chosen);
    }
    let components = components(edges, left_order.len(), right_order.len());
    let solve = |component: &Vec<Edge>| -> Result<Vec<Edge>, Cancelled> {
        let chosen = match component.as_slice() {
            [single] => vec![*single],
            many => Local::new(many, left_order, right_order).solve(meter)?,
        };
        meter.add(component.len() as u64, chosen.len() as u64)?;
        Ok(chosen)
    };
    let parts: Vec<Vec<Edge>> = components.par_iter().with_min_len(64).map(solve).collect::<Result<_, _>>()?;
    let mut chosen = parts.concat();
    chosen.sort_unstable_by_key(|edge| (edge.l, edge.r));
    Ok(chosen)
}

/// Splits the edges by connected component, in the order of each component's first edge.
fn components(edges: &[Edge], left: usize, right: usize) -> Vec<Vec<Edge>> {
    let mut parent: Vec<u32> = (0..(left + right) as u32).collect();
    fn root(parent: &mut [u32], mut at: u32) -> u32 {
        while parent[at as usize] != at {
            parent[at as usize] = parent[parent[at as usize] as usize];
            at = parent[at as usize];
        }
        at
    }
    for edge in edges {
        let (a, b) = (root(&mut parent, edge.l), root(&mut parent, left as u32 + edge.r));
        parent[a.max(b) as usize] = a.min(b);
    }
    let mut place = vec![u32::MAX; left + right];
    let mut out: Vec<Vec<Edge>> = Vec::new();
    for edge in edges {
        let at = root(&mut parent, edge.l) as usize;
        if place[at] == u32::MAX {
            place[at] = out.len() as u32;
            out.push(Vec::new());
        }
        out[place[at] as usize].push(*edge);
    }
    out
}

/// One component with rows and columns renumbered in content order.
struct Local {
    rows: Vec<u32>,
    columns: Vec<u32>,
    /// Per row: (column, gain), best column order first.
    edges: Vec<Vec<(u32, i64)>>,
}

impl Local {
    fn new(edges: &[Edge], left_order: &[u32], right_order: &[u32]) -> Self {
        let number = |mut all: Vec<u32>, order: &[u32]| {
            all.sort_unstable_by_key(|at| order[*at as usize]);
            all.dedup();
            all
        };
        let rows = number(edges.iter().map(|e| e.l).collect(), left_order);
        let columns = number(edges.iter().map(|e| e.r).collect(), right_order);
        let find = |all: &[u32], order: &[u32], at: u32| {
            all.binary_search_by_key(&order[at as usize], |x| order[*x as usize])
                .expect("every end of an edge was numbered") as u32
        };
        let mut lists = vec![Vec::new(); rows.len()];
        for edge in edges {
            let row = find(&rows, left_order, edge.l);
            lists[row as usize].push((find(&columns, right_order, edge.r), edge.gain));
        }
        lists.iter_mut().for_each(|list| list.sort_unstable());
        Self { rows, columns, edges: lists }
    }

    fn solve(&self, meter: &Meter<'_>) -> Result<Vec<Edge>, Cancelled> {
        let count: usize = self.edges.iter().map(Vec::len).sum();
        let matched = if self.rows.len() as u64 * count as u64 <= EXACT_WORK {
            self.shortest_paths(meter)?
        } else {
            self.auction(meter)?
        };
        let edge = |(row, column): (usize, Option<u32>)| {
            let column = column?;
            let gain = self.edges[row].iter().find(|(c, _)| *c == column)?.1;
            Some(Edge { l: self.rows[row], r: self.columns[column as usize], gain })
        };
        Ok(matched.into_iter().enumerate().filter_map(edge).collect())
    }

    /// Successive shortest augmenting paths. Costs are `-gain`; staying single costs 0, through a sink that every row
    /// may use, so the result is the best matching of any size.
    fn shortest_paths(&self, meter: &Meter<'_>) -> Result<Vec<Option<u32>>, Cancelled> {
        let (rows, columns) = (self.rows.len(), self.columns.len());
        let mut row_of: Vec<Option<u32>> = vec![None; columns];
        let mut column_of: Vec<Option<u32>> = vec![None; rows];
        // Feasible start: price of a row is its best gain, so every reduced cost `price_row + price_col - gain` is >= 0.
        let mut row_price: Vec<i64> =
            self.edges.iter().map(|list| list.iter().map(|e| e.1).max().unwrap_or(0)).collect();
        let mut column_price = vec![0_i64; columns];
        let mut distance = vec![i64::MAX; columns];
        let mut from: Vec<u32> = vec![0; columns];
        let mut done = vec![false; columns];
        let mut touched: Vec<u32> = Vec::new();
        let mut heap: BinaryHeap<Reverse<(i64, u32)>> = BinaryHeap::new();
        for start in 0..rows {
            if start % 64 == 0 {
                meter.check()?;
            }
            heap.clear();
            // The cheapest end: a free column (cost of its path), or a row on the path that turns single.
            let mut best = row_price[start];
            let mut single = Some(start as u32);
            let mut free = None;
            let mut row = start;
            let mut base = 0_i64;
            let mut scanned: Vec<(u32, i64)> = vec![(start as u32, 0)];
            loop {
                for (column, gain) in &self.edges[row] {
                    let at = *column as usize;
                    let reduced = base + row_price[row] + column_price[at] - gain;
                    if !done[at] && reduced < distance[at] && reduced < best {
                        if distance[at] == i64::MAX {
                            touched.push(*column);
                        }
                        distance[at] = reduced;
                        from[at] = row as u32;
                        heap.push(Reverse((reduced, *column)));
                    }
                }
                let next = loop {
                    match heap.pop() {
                        Some(Reverse((d, column))) if done[column as usize] || d > distance[column as usize] => {}
                        other => break other,
                    }
                };
                let Some(Reverse((d, column))) = next else { break };
                if d >= best {
                    break;
                }
                done[column as usize] = true;
                base = d;
                match row_of[column as usize] {
                    None => {
                        best = d;
                        free = Some(column);
                        single = None;
                        break;
                    }
                    Some(other) => {
                        row = other as usize;
                        scanned.push((other, d));
                        if d + row_price[row] < best {
                            best = d + row_price[row];
                            single = Some(other);
                            free = None;
                        }
                    }
                }
            }
            // New prices keep every reduced cost >= 0 and make the path tight.
            for (row, d) in &scanned {
                row_price[*row as usize] -= best - d.min(&best);
            }
            for column in &touched {
                let at = *column as usize;
                if done[at] {
                    column_price[at] += best - distance[at].min(best);
                }
            }
            let mut column = match (free, single) {
                (Some(column), _) => Some(column),
                (None, Some(row)) => column_of[row as usize].take(),
                (None, None) => None,
            };
            // Walk back to the start, giving each row the column after it.
            while let Some(at) = column {
                let row = from[at as usize];
                row_of[at as usize] = Some(row);
                column = column_of[row as usize].replace(at);
                if row as usize == start {
                    break;
                }
            }
            for column in touched.drain(..) {
                distance[column as usize] = i64::MAX;
                done[column as usize] = false;
            }
        }
        Ok(column_of)
    }

    /// Bertsekas' auction with shrinking steps; staying single is worth 0.
    fn auction(&self, meter: &Meter<'_>) -> Result<Vec<Option<u32>>, Cancelled> {
        let columns = self.columns.len();
        let mut price = vec![0_i64; columns];
        let mut row_of: Vec<Option<u32>> = vec![None; columns];
        let mut column_of: Vec<Option<u32>> = vec![None; self.rows.len()];
        let mut queue: std::collections::VecDeque<u32> = (0..self.rows.len() as u32).collect();
        let mut bids = 0_u64;
        // One step size: prices only rise from 0, so a column nobody wanted stays free and the result is within
        // one step per row of the best.
        const STEP: i64 = 16;
        while let Some(row) = queue.pop_front() {
            bids += 1;
            if bids.is_multiple_of(4096) {
                meter.check()?;
            }
            let (mut best, mut second) = ((0_i64, None), 0_i64);
            for (column, gain) in &self.edges[row as usize] {
                let value = gain - price[*column as usize];
                if value > best.0 {
                    second = best.0;
                    best = (value, Some(*column));
                } else if value > second {
                    second = value;
                }
            }
            let Some(column) = best.1 else { continue };
            price[column as usize] += best.0 - second + STEP;
            column_of[row as usize] = Some(column);
            if let Some(loser) = row_of[column as usize].replace(row) {
                column_of[loser as usize] = None;
                queue.push_back(loser);
            }
        }
        Ok(column_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Phase, Unattended};
    use proptest::prelude::*;

    /// The best total by trying everything.
    fn brute(edges: &[Edge], at: usize, used_l: u32, used_r: u32) -> i64 {
        let Some(edge) = edges.get(at) else { return 0 };
        let skip = brute(edges, at + 1, used_l, used_r);
        if used_l >> edge.l & 1 == 1 || used_r >> edge.r & 1 == 1 {
            return skip;
        }
        skip.max(edge.gain + brute(edges, at + 1, used_l | 1 << edge.l, used_r | 1 << edge.r))
    }

    fn edges() -> impl Strategy<Value = Vec<Edge>> {
        prop::collection::btree_map((0_u32..6, 0_u32..6), 1_i64..50, 1..14)
            .prop_map(|map| map.into_iter().map(|((l, r), gain)| Edge { l, r, gain }).collect())
    }

    proptest! {
        #[test]
        fn the_assignment_is_one_to_one_and_as_good_as_trying_everything(edges in edges()) {
            let meter = Meter::start(&Unattended, Phase::Assigning, 0, 0).unwrap();
            let order: Vec<u32> = (0..6).collect();
            let chosen = assign(&edges, &order, &order, true, &meter).unwrap();
            let (mut l, mut r) = (0_u32, 0_u32);
            for edge in &chosen {
                prop_assert!(edges.contains(edge));
                prop_assert!(l >> edge.l & 1 == 0 && r >> edge.r & 1 == 0);
                l |= 1 << edge.l;
                r |= 1 << edge.r;
            }
            prop_assert_eq!(chosen.iter().map(|e| e.gain).sum::<i64>(), brute(&edges, 0, 0, 0));
        }

        #[test]
        fn the_auction_is_within_a_step_per_row_of_the_best(edges in edges()) {
            let meter = Meter::start(&Unattended, Phase::Assigning, 0, 0).unwrap();
            let scaled: Vec<Edge> = edges.iter().map(|e| Edge { gain: e.gain * 1_000, ..*e }).collect();
            let order: Vec<u32> = (0..6).collect();
            let local = Local::new(&scaled, &order, &order);
            let found = local.auction(&meter).unwrap();
            let total: i64 = found.iter().enumerate().filter_map(|(row, c)| {
                local.edges[row].iter().find(|e| Some(e.0) == *c).map(|e| e.1)
            }).sum();
            prop_assert!(total + 6 * 16 >= brute(&scaled, 0, 0, 0));
        }
    }
}
