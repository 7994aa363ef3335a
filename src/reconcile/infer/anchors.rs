//! Rows tied together by something rare, and how the other columns behave on them.
//!
//! A value or word that one row of each file has, and no other, ties the two rows. Of two columns that hold the same
//! thing most tied pairs agree, far more than pairs picked at random; of two running numbers they do not. A tie counts
//! only when other columns bear it out.
use super::facts::{Class, Column, Facts, token_keys, value_key};
use crate::formats::is_missing;
use crate::table::{NO_DATE, Table, Typed};
use crate::text;
use rustc_hash::{FxHashMap, FxHashSet};

/// Tied pairs looked at for one pair of columns.
const TIES: usize = 400;
/// Shifts by which tied pairs are mixed up to see what chance gives.
const SHIFTS: usize = 3;

/// What tied pairs say of two columns.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Support {
    /// Tied pairs in which both have a value.
    pub(super) ties: usize,
    /// Share of them that agree, and that are equal.
    pub(super) agree: f64,
    pub(super) equal: f64,
    /// Share of mixed-up pairs that agree.
    pub(super) chance: f64,
}

impl Support {
    /// Enough ties to believe them either way.
    pub(super) fn is_known(&self) -> bool {
        self.ties >= 5
    }

    /// The two columns agree where rows are tied, and more than by chance (or everything agrees).
    pub(super) fn holds(&self) -> bool {
        let more = self.agree - self.chance;
        self.is_known() && (more >= 0.15 || (more >= 0.05 && self.agree >= 3.0 * self.chance) || self.agree >= 0.9)
    }

    /// The ties say that the two columns have nothing to do with each other.
    pub(super) fn denies(&self) -> bool {
        self.is_known() && !self.holds()
    }

    /// In words, for people.
    pub(super) fn words(&self) -> String {
        let percent = |share: f64| (share * 100.0).round();
        format!(
            "agree in {} % of {} rows tied by other columns, {} % by chance",
            percent(self.agree),
            self.ties,
            percent(self.chance)
        )
    }
}

/// Pairs of columns with what ties say of them.
pub(super) struct Evidence {
    support: FxHashMap<(usize, usize), Support>,
    /// Day differences, right less left, on tied pairs, by pair of date columns; sorted.
    days: FxHashMap<(usize, usize), Vec<i32>>,
}

type Pair = (usize, usize);
/// Which sources are believed, by their columns and the rows they tie.
type Believed<'a> = &'a dyn Fn(&Pair, &[(u32, u32)]) -> bool;

impl Evidence {
    pub(super) fn of(facts: &Facts<'_>, left: &Table, right: &Table) -> Self {
        let targets: Vec<Pair> = pairs(facts).collect();
        let sources: Vec<(Pair, Vec<(u32, u32)>)> = targets
            .iter()
            .map(|(l, r)| ((*l, *r), ties(&facts.left[*l], &facts.right[*r])))
            .filter(|(_, ties)| !ties.is_empty())
            .collect();
        let mut cells = Cells { left, right, words: FxHashMap::default(), scratch: String::new() };
        // What each source's ties say of each other target.
        let mut counts: FxHashMap<(Pair, Pair), Count> = FxHashMap::default();
        for (source, ties) in &sources {
            for target in targets.iter().filter(|target| *target != source) {
                let count = cells.count(facts, *target, ties);
                counts.insert((*source, *target), count);
            }
        }
        let borne_out = |source: &Pair| {
            targets.iter().filter(|target| *target != source).any(|target| {
                counts[&(*source, *target)]
                    .support()
                    .is_some_and(|s| s.ties >= 3 && s.agree >= 0.3 && s.agree >= s.chance + 0.2)
            })
        };
        let good: FxHashSet<Pair> = sources.iter().map(|(source, _)| *source).filter(borne_out).collect();
        let mut support = FxHashMap::default();
        for target in &targets {
            let mut all = Count::default();
            for (source, _) in sources.iter().filter(|(source, _)| source != target && good.contains(source)) {
                all.add(&counts[&(*source, *target)]);
            }
            support.insert(*target, all.support().unwrap_or_default());
        }
        let mut days: FxHashMap<Pair, Vec<i32>> = FxHashMap::default();
        for target in targets.iter().filter(|(l, _)| facts.left[*l].class == Class::Date) {
            let between = |believed: Believed<'_>| -> Vec<i32> {
                let found = sources.iter().filter(|(source, ties)| source != target && believed(source, ties));
                let found = found.flat_map(|(_, ties)| ties);
                found.filter_map(|(l, r)| cells.days(&facts.left[target.0], &facts.right[target.1], *l, *r)).collect()
            };
            let mut all = between(&|source, _| good.contains(source));
            if all.is_empty() {
                // One price, one day: nothing can bear a key out that ties nearly every row to one of its own.
                let smaller = left.len().min(right.len());
                all = between(&|(l, r), ties| {
                    let counts = facts.left[*l].counts_rows || facts.right[*r].counts_rows;
                    facts.left[*l].is_text() && !counts && ties.len() * 10 >= smaller.min(TIES) * 8
                });
            }
            all.sort_unstable();
            days.insert(*target, all);
        }
        Self { support, days }
    }

    /// Of two columns by position.
    pub(super) fn support(&self, left: &Column<'_>, right: &Column<'_>) -> Support {
        self.support.get(&(left.at, right.at)).copied().unwrap_or_default()
    }

    /// Day differences of two date columns on tied pairs, sorted.
    pub(super) fn days(&self, left: &Column<'_>, right: &Column<'_>) -> &[i32] {
        self.days.get(&(left.at, right.at)).map_or(&[], Vec::as_slice)
    }
}

/// Columns of one class that may take part. Positions are those of the file, which are also those of the lists.
fn pairs<'a>(facts: &'a Facts<'_>) -> impl Iterator<Item = Pair> + 'a {
    facts.left.iter().filter(|l| l.useless.is_none()).flat_map(move |l| {
        let fits = move |r: &&Column<'_>| r.useless.is_none() && r.class == l.class;
        facts.right.iter().filter(fits).map(move |r| (l.at, r.at))
    })
}

/// The pairs of rows that a value or word ties; those of the lowest hashes when there are many.
fn ties(left: &Column<'_>, right: &Column<'_>) -> Vec<(u32, u32)> {
    let mut found: Vec<(u64, u32, u32)> = Vec::new();
    for (own, other) in [(&left.values, &right.values), (&left.tokens, &right.tokens), (&left.bags, &right.bags)] {
        for (key, place) in own.iter().filter(|(_, place)| place.rows == 1) {
            if let Some(there) = other.get(key).filter(|there| there.rows == 1) {
                found.push((*key, place.row, there.row));
            }
        }
    }
    found.sort_unstable();
    let mut pairs: Vec<(u32, u32)> = found.into_iter().map(|(_, l, r)| (l, r)).take(TIES).collect();
    let mut seen = FxHashSet::default();
    pairs.retain(|pair| seen.insert(*pair));
    pairs
}

#[derive(Clone, Copy, Default)]
struct Count {
    ties: usize,
    agree: usize,
    equal: usize,
    mixed: usize,
    mixed_agree: usize,
}

impl Count {
    fn add(&mut self, other: &Self) {
        self.ties += other.ties;
        self.agree += other.agree;
        self.equal += other.equal;
        self.mixed += other.mixed;
        self.mixed_agree += other.mixed_agree;
    }

    fn support(&self) -> Option<Support> {
        (self.ties > 0).then(|| Support {
            ties: self.ties,
            agree: self.agree as f64 / self.ties as f64,
            equal: self.equal as f64 / self.ties as f64,
            chance: self.mixed_agree as f64 / self.mixed.max(1) as f64,
        })
    }
}

/// Compares cells, and keeps the words it has cut.
struct Cells<'a> {
    left: &'a Table,
    right: &'a Table,
    words: FxHashMap<(bool, usize, u32), Vec<u64>>,
    scratch: String,
}

impl Cells<'_> {
    fn count(&mut self, facts: &Facts<'_>, (l, r): Pair, ties: &[(u32, u32)]) -> Count {
        let (left, right) = (&facts.left[l], &facts.right[r]);
        let mut count = Count::default();
        for (row, other) in ties {
            if let Some((agree, equal)) = self.agree(left, right, *row, *other) {
                count.ties += 1;
                count.agree += usize::from(agree);
                count.equal += usize::from(equal);
            }
        }
        for (at, (row, own)) in ties.iter().enumerate() {
            for shift in 1..=SHIFTS {
                let (_, other) = ties[(at + shift) % ties.len()];
                if other == *own {
                    continue;
                }
                if let Some((agree, _)) = self.agree(left, right, *row, other) {
                    count.mixed += 1;
                    count.mixed_agree += usize::from(agree);
                }
            }
        }
        count
    }

    /// Whether two cells agree, and whether they are equal; `None` when one is missing.
    fn agree(&mut self, left: &Column<'_>, right: &Column<'_>, l: u32, r: u32) -> Option<(bool, bool)> {
        let own = value_key(self.left, left.at, l as usize, &mut self.scratch)?;
        let other = value_key(self.right, right.at, r as usize, &mut self.scratch)?;
        if own == other {
            return Some((true, true));
        }
        let agree = match left.class {
            Class::Amount => self.near_amounts(left, right, l, r),
            Class::Date => (-7..=21).contains(&self.days(left, right, l, r)?),
            Class::Text => {
                let a = self.words_of(true, left, l);
                let b = self.words_of(false, right, r);
                let shared = a.iter().filter(|word| b.contains(word)).count();
                2 * shared >= a.len().min(b.len()).max(1) || self.is_part(left, right, l, r)
            }
        };
        Some((agree, false))
    }

    /// The words that tell rows apart.
    fn words_of(&mut self, is_left: bool, column: &Column<'_>, row: u32) -> Vec<u64> {
        let table = if is_left { self.left } else { self.right };
        let cut = || {
            let mut words = Vec::new();
            let cell = table.cell(row as usize, column.at);
            if !is_missing(cell) {
                token_keys(cell, &mut words);
            }
            words.retain(|word| !column.common.contains(word));
            words
        };
        self.words.entry((is_left, column.at, row)).or_insert_with(cut).clone()
    }

    /// Whether the letters and digits of one cell are a part of the other's, however both are punctuated.
    fn is_part(&self, left: &Column<'_>, right: &Column<'_>, l: u32, r: u32) -> bool {
        let a = text::compact(self.left.cell(l as usize, left.at));
        let b = text::compact(self.right.cell(r as usize, right.at));
        let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
        short.len() >= 4 && long.contains(&short)
    }

    /// Within a tenth: a fee is less.
    fn near_amounts(&self, left: &Column<'_>, right: &Column<'_>, l: u32, r: u32) -> bool {
        let value = |table: &Table, at: usize, row: u32| match &table.columns[at].typed {
            Typed::Money { units, scale } => units[row as usize] as f64 / 10_f64.powi(i32::from(*scale)),
            _ => 0.0,
        };
        let (a, b) = (value(self.left, left.at, l), value(self.right, right.at, r));
        (a - b).abs() <= 0.1 * a.abs().max(b.abs())
    }

    fn days(&self, left: &Column<'_>, right: &Column<'_>, l: u32, r: u32) -> Option<i32> {
        match (&self.left.columns[left.at].typed, &self.right.columns[right.at].typed) {
            (Typed::Date(a), Typed::Date(b)) => {
                let (a, b) = (a[l as usize], b[r as usize]);
                (a != NO_DATE && b != NO_DATE).then(|| b - a)
            }
            _ => None,
        }
    }
}
