//! The choice of comparisons on the evidence: each column is used once, except that a long text may hold several things.
use super::anchors::Evidence;
use super::comparing::Compared;
use super::facts::{Class, Column, Facts};
use crate::rules::{Compare, CompareKind, MAX_COMPARISONS};
use crate::text;

/// A comparison and why it is made.
pub(super) struct Chosen {
    pub(super) rule: Compare,
    pub(super) said: Compared,
}

/// The comparisons; at least one, even of files that share nothing: then the run says that nothing matched.
pub(super) fn choose<'a>(facts: &'a Facts<'a>, evidence: &'a Evidence) -> Vec<Chosen> {
    let usable = |all: &'a [Column<'a>]| all.iter().filter(|c| c.useless.is_none()).collect();
    let mut choice = Choice { evidence, left: usable(&facts.left), right: usable(&facts.right), chosen: Vec::new() };
    choice.currencies();
    choice.amounts();
    choice.dates();
    choice.same_text();
    choice.contained_text();
    if choice.chosen.is_empty()
        && let (Some(l), Some(r)) = (facts.left.first(), facts.right.first())
    {
        choice.take(Compare::new(CompareKind::Exact, l.name, r.name), "nothing else to go by".into());
    }
    choice.chosen.truncate(MAX_COMPARISONS);
    choice.chosen
}

/// Columns not yet used, and the comparisons so far.
struct Choice<'a> {
    evidence: &'a Evidence,
    left: Vec<&'a Column<'a>>,
    right: Vec<&'a Column<'a>>,
    chosen: Vec<Chosen>,
}

impl<'a> Choice<'a> {
    fn take(&mut self, rule: Compare, evidence: String) {
        let said = Compared { kind: rule.kind, left: rule.left.clone(), right: rule.right.clone(), evidence };
        self.chosen.push(Chosen { rule, said });
    }

    /// Pairs columns greedily by score, best first, while the score is positive; both are used up.
    fn pair(
        &mut self,
        score: impl Fn(&Column<'_>, &Column<'_>) -> f64,
        found: impl Fn(&Column<'_>, &Column<'_>) -> Compare,
    ) {
        loop {
            let mut best: Option<(f64, usize, usize)> = None;
            for (i, l) in self.left.iter().enumerate() {
                for (j, r) in self.right.iter().enumerate() {
                    let value = score(l, r);
                    if value > 0.0 && best.is_none_or(|(top, _, _)| value > top + 1e-9) {
                        best = Some((value, i, j));
                    }
                }
            }
            let Some((_, i, j)) = best else { return };
            let (l, r) = (self.left.remove(i), self.right.remove(j));
            let said = self.words(l, r);
            self.take(found(l, r), said);
        }
    }

    fn words(&self, l: &Column<'_>, r: &Column<'_>) -> String {
        let support = self.evidence.support(l, r);
        if support.is_known() {
            return support.words();
        }
        let (values, words) = both_ways(l, r);
        format!("share {:.0} % of their values, {:.0} % of their words", values * 100.0, words * 100.0)
    }

    fn currencies(&mut self) {
        self.pair(
            |l, r| if l.is_currency() && r.is_currency() { 1.0 + name_likeness(l, r) } else { 0.0 },
            |l, r| Compare::new(CompareKind::Exact, l.name, r.name),
        );
    }

    fn amounts(&mut self) {
        let evidence = self.evidence;
        let has_pair = std::cell::Cell::new(false);
        self.pair(
            |l, r| {
                if l.class != Class::Amount || r.class != Class::Amount {
                    return 0.0;
                }
                let support = evidence.support(l, r);
                let same_kind = if l.is_money() == r.is_money() { 0.5 } else { 0.0 };
                let (values, _) = both_ways(l, r);
                let name = name_likeness(l, r);
                let score = 0.1 + same_kind + name + values;
                // The first pair is what sums are made of; a further one has to show that it is the same thing.
                match () {
                    () if support.holds() && support.equal >= 0.3 => 4.0 + 2.0 * support.equal + score,
                    () if support.holds() => 2.0 + support.agree - support.chance + 0.2 * score,
                    () if has_pair.get() && support.denies() => 0.0,
                    () if has_pair.get() && values < 0.2 && name < 0.99 => 0.0,
                    () if support.denies() => 0.05 * score,
                    () => score,
                }
            },
            |l, r| {
                has_pair.set(true);
                let tolerance = Some("0".to_owned());
                Compare { tolerance, ..Compare::new(CompareKind::Tolerance, l.name, r.name) }
            },
        );
    }

    fn dates(&mut self) {
        let evidence = self.evidence;
        let has_pair = std::cell::Cell::new(false);
        self.pair(
            |l, r| {
                if l.class != Class::Date || r.class != Class::Date {
                    return 0.0;
                }
                let support = evidence.support(l, r);
                let score = 0.1 + name_likeness(l, r) + l.overlap(r).0.min(r.overlap(l).0);
                // Of two dates that both follow, the nearer one.
                let days = evidence.days(l, r);
                let far = days.get(days.len() / 2).map_or(0, |day| day.unsigned_abs());
                match () {
                    () if support.holds() => 2.0 + support.agree + 0.2 * score - f64::from(far.min(60)) * 0.02,
                    () if support.denies() && has_pair.get() => 0.0,
                    () if support.denies() => 0.05 * score,
                    () if has_pair.get() && name_likeness(l, r) < 0.99 => 0.0,
                    () => score,
                }
            },
            |l, r| {
                has_pair.set(true);
                let (before, after) = window(evidence.days(l, r));
                let (before_days, after_days) = (Some(before), Some(after));
                Compare { before_days, after_days, ..Compare::new(CompareKind::Window, l.name, r.name) }
            },
        );
    }

    /// Text columns that hold the same thing: alike by name, or with values in common and of like length.
    fn same_text(&mut self) {
        let evidence = self.evidence;
        self.pair(
            |l, r| {
                if !l.is_text() || !r.is_text() {
                    return 0.0;
                }
                let name = name_likeness(l, r);
                let (values, tokens) = both_ways(l, r);
                let support = evidence.support(l, r);
                // Two counters of rows are only the same thing when other columns say so.
                let suspicious = l.counts_rows && r.counts_rows;
                if support.denies() || (suspicious && !support.holds()) {
                    return 0.0;
                }
                if support.holds() && support.equal >= 0.5 {
                    return 4.0 + support.equal + tokens + name;
                }
                if name >= 0.99 && (tokens > 0.0 || values > 0.0) {
                    return 2.0 + tokens;
                }
                let longer = l.words.max(r.words) / l.words.min(r.words).max(1.0);
                // One way alone would say that a name column is like a free text that is sometimes a bare name.
                let back = l.overlap(r).0.min(r.overlap(l).0);
                let alike = (values >= 0.2 && back >= 0.04) || (tokens >= 0.5 && longer <= 1.2);
                if alike { values + tokens / 2.0 + name } else { 0.0 }
            },
            |l, r| Compare::new(CompareKind::Fuzzy, l.name, r.name),
        );
    }

    /// Columns of one side whose words are found in a longer text of the other.
    fn contained_text(&mut self) {
        let (in_right, in_left) = (self.held(false), self.held(true));
        for (found, swapped) in [(in_right, false), (in_left, true)] {
            let mut used: Vec<&str> = Vec::new();
            for (share, short, long) in &found {
                let repeats = found.iter().any(|(other_share, other, _)| {
                    let (here, there) = (short.overlap(other).1, other.overlap(short).1);
                    other.name != short.name && *other_share >= share * 0.7 && here >= 0.8 && there < here
                });
                if repeats || used.contains(&short.name) {
                    continue;
                }
                used.push(short.name);
                let (left, right) = if swapped { (*long, *short) } else { (*short, *long) };
                let twice = self.chosen.iter().any(|c| c.rule.left == left.name && c.rule.right == right.name);
                if twice {
                    continue;
                }
                let mut compare = Compare::new(CompareKind::Contains, left.name, right.name);
                compare.label = Some(short.name.to_owned());
                let said = self.words(left, right);
                self.take(compare, said);
            }
        }
    }

    /// Each unused column with the text of the other side that holds most of its words.
    fn held(&self, swapped: bool) -> Vec<(f64, &'a Column<'a>, &'a Column<'a>)> {
        let (shorts, longs) = if swapped { (&self.right, &self.left) } else { (&self.left, &self.right) };
        let mut found = Vec::new();
        for short in shorts.iter().filter(|c| c.is_text()) {
            let score = |long: &&&'a Column<'a>| -> f64 {
                let (l, r) = if swapped { (**long, *short) } else { (*short, **long) };
                let support = self.evidence.support(l, r);
                let share = short.overlap(long).1.max(short.tied(long));
                let longer = long.words > short.words * 1.3;
                match () {
                    () if !long.is_text() || support.denies() || short.counts_rows => 0.0,
                    () if support.holds() && long.words >= short.words => 1.0 + support.agree + share,
                    () if (longer && share >= 0.1) || (long.words >= short.words && share >= 0.3) => share,
                    () => 0.0,
                }
            };
            let best = longs.iter().map(|long| (score(&long), *short, *long)).max_by(|a, b| a.0.total_cmp(&b.0));
            found.extend(best.filter(|(score, _, _)| *score > 0.0));
        }
        found
    }
}

/// Days before and after that hold nearly all differences of tied rows; never less than is usual between books.
fn window(days: &[i32]) -> (u32, u32) {
    const USUAL: i32 = 5;
    const FAR: i32 = 60;
    let near: Vec<i32> = days.iter().copied().filter(|day| day.abs() <= FAR).collect();
    if near.len() < 10 {
        return (USUAL as u32, USUAL as u32);
    }
    let at = |share: f64| near[((near.len() - 1) as f64 * share).round() as usize];
    // A few rows a month off are what is looked for, and no custom: the others say how far a day may be.
    let (before, after) = (2 * (-at(0.2)).max(0) + USUAL, 2 * at(0.8).max(0) + USUAL);
    ((1 - at(0.03)).min(before).max(USUAL) as u32, (at(0.97) + 1).min(after).max(USUAL) as u32)
}

/// The larger of the two containments, for values and for words.
fn both_ways(l: &Column<'_>, r: &Column<'_>) -> (f64, f64) {
    let (a, b) = (l.overlap(r), r.overlap(l));
    (a.0.max(b.0), a.1.max(b.1))
}

/// Jaccard index of the words of two headers: 1 for the same name in any spelling.
fn name_likeness(l: &Column<'_>, r: &Column<'_>) -> f64 {
    let words = |name: &str| {
        let mut words = Vec::new();
        text::tokens(name, |t| words.push(t.to_owned()));
        words.sort();
        words.dedup();
        words
    };
    let (a, b) = (words(l.name), words(r.name));
    let both = a.iter().filter(|w| b.contains(w)).count();
    both as f64 / (a.len() + b.len() - both).max(1) as f64
}
