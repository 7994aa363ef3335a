//! Comparing in parts: what a part found is kept outside, so that a run that begins again, or another process that runs
//! the same, takes it from there.
//!
//! A part is a range of left rows; what a row's candidates are depends on no other left row, so parts can be computed
//! anywhere and in any order. A part's body lists its pairs: left rows as differences, right rows, and patterns by their
//! place in a list of its own, all as variable-length integers. A body that cannot be read is computed anew.
use super::pairs::Compared;
use crate::control::{Cancelled, Meter};
use rustc_hash::FxHashMap;

/// Left rows of one part.
pub(crate) const PART_ROWS: usize = 8_192;
/// Left rows below which nothing is kept: the whole takes less than a second.
pub(crate) const LEAST_ROWS: usize = 3 * PART_ROWS;

/// How it stands with a part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// Its body is there.
    Kept(Vec<u8>),
    /// It is the caller's to compute.
    Yours,
    /// Somebody else computes it now.
    Elsewhere,
}

/// Keeps the parts of one run, and says who computes which.
///
/// A step is one comparing of all rows; a run has several when comparisons turn out useless. Its number depends on the
/// rules alone: parts of other files, or of another version of this crate, are the caller's to keep apart.
pub trait Parts: Sync {
    /// A step begins, with parts `0..parts`.
    ///
    /// # Errors
    /// [`Cancelled`] ends the run.
    fn begin(&self, step: u64, parts: u32) -> Result<(), Cancelled>;

    /// How it stands with a part. [`Part::Yours`] is a promise to compute it.
    ///
    /// # Errors
    /// [`Cancelled`] ends the run.
    fn take(&self, step: u64, part: u32) -> Result<Part, Cancelled>;

    /// Keeps the body of a part that was the caller's.
    ///
    /// # Errors
    /// [`Cancelled`] ends the run.
    fn keep(&self, step: u64, part: u32, body: Vec<u8>) -> Result<(), Cancelled>;

    /// Every part that is left is computed elsewhere: waits a little.
    ///
    /// # Errors
    /// [`Cancelled`] ends the run.
    fn wait(&self) -> Result<(), Cancelled>;

    /// Whether to take the last part first: two that begin at opposite ends seldom ask for the same part.
    fn last_first(&self) -> bool {
        false
    }
}

/// Computes what is not kept, in order of parts.
pub(crate) fn in_parts(
    parts: &dyn Parts,
    step: u64,
    rows: (usize, usize),
    meter: &Meter<'_>,
    compute: impl Fn(std::ops::Range<usize>) -> Result<Compared, Cancelled>,
) -> Result<Vec<Compared>, Cancelled> {
    let count = rows.0.div_ceil(PART_ROWS) as u32;
    let rows_of = |part: u32| part as usize * PART_ROWS..rows.0.min((part as usize + 1) * PART_ROWS);
    parts.begin(step, count)?;
    let mut found: Vec<Option<Compared>> = (0..count).map(|_| None).collect();
    let mut open: Vec<u32> = (0..count).collect();
    if parts.last_first() {
        open.reverse();
    }
    while !open.is_empty() {
        let before = open.len();
        let mut elsewhere = Vec::new();
        for part in open {
            let own = rows_of(part);
            let kept = match parts.take(step, part)? {
                Part::Elsewhere => {
                    elsewhere.push(part);
                    continue;
                }
                Part::Yours => None,
                Part::Kept(body) => decode(&body, &own, rows.1),
            };
            found[part as usize] = Some(match kept {
                Some(compared) => {
                    meter.add(own.len() as u64, 0)?;
                    compared
                }
                None => {
                    let compared = compute(own.clone())?;
                    parts.keep(step, part, encode(&compared, own.start))?;
                    compared
                }
            });
        }
        if elsewhere.len() == before {
            parts.wait()?;
            meter.check()?;
        }
        open = elsewhere;
    }
    Ok(found.into_iter().flatten().collect())
}

fn encode((pairs, split): &Compared, first: usize) -> Vec<u8> {
    let mut places: FxHashMap<u64, u64> = FxHashMap::default();
    let mut patterns = Vec::new();
    for (_, _, pattern) in pairs {
        places.entry(*pattern).or_insert_with(|| {
            patterns.push(*pattern);
            patterns.len() as u64 - 1
        });
    }
    let mut body = Vec::with_capacity(pairs.len() * 5 + patterns.len() * 8 + 16);
    put(&mut body, *split);
    put(&mut body, patterns.len() as u64);
    patterns.iter().for_each(|pattern| put(&mut body, *pattern));
    put(&mut body, pairs.len() as u64);
    let mut before = first as u64;
    for (l, r, pattern) in pairs {
        put(&mut body, u64::from(*l) - before);
        put(&mut body, u64::from(*r));
        put(&mut body, places[pattern]);
        before = u64::from(*l);
    }
    body
}

/// What a body says; `None` when it is not the body of a part of these rows.
fn decode(mut body: &[u8], own: &std::ops::Range<usize>, right_rows: usize) -> Option<Compared> {
    let split = get(&mut body)?;
    // Each entry takes at least one byte, so neither count asks for more memory than the body has.
    let patterns = get(&mut body).filter(|count| *count <= body.len() as u64)?;
    let patterns: Vec<u64> = (0..patterns).map(|_| get(&mut body)).collect::<Option<_>>()?;
    let count = get(&mut body).filter(|count| *count <= body.len() as u64 / 3)?;
    let mut pairs = Vec::with_capacity(count as usize);
    let mut l = own.start as u64;
    for _ in 0..count {
        l = l.checked_add(get(&mut body)?).filter(|l| *l < own.end as u64)?;
        let r = get(&mut body).filter(|r| *r < right_rows as u64)?;
        let pattern = *patterns.get(usize::try_from(get(&mut body)?).ok()?)?;
        pairs.push((l as u32, r as u32, pattern));
    }
    (body.is_empty() && split <= own.len() as u64).then_some((pairs, split))
}

fn put(body: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        body.push(number as u8 | 0x80);
        number >>= 7;
    }
    body.push(number as u8);
}

fn get(body: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for at in 0..10 {
        let (byte, rest) = body.split_first()?;
        *body = rest;
        number |= u64::from(byte & 0x7f).checked_shl(7 * at)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_what_was_compared_and_a_broken_one_nothing() {
        let compared: Compared = (vec![(100, 7, 0x321), (100, 90_000, u64::MAX), (131, 0, 0x321)], 2);
        let body = encode(&compared, 96);
        assert_eq!(decode(&body, &(96..200), 90_001), Some(compared));
        assert_eq!(decode(&body, &(96..120), 90_001), None, "a left row of another part");
        assert_eq!(decode(&body, &(96..200), 90_000), None, "a right row that is not there");
        for end in 0..body.len() {
            assert_eq!(decode(&body[..end], &(96..200), 90_001), None, "cut off at {end}");
        }
        let longer = [body.as_slice(), &[0]].concat();
        assert_eq!(decode(&longer, &(96..200), 90_001), None);
        assert_eq!(decode(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 1], &(0..9), 9), None, "a count beyond the body");
    }
}
