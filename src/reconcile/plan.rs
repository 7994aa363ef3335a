//! Rules bound to two tables: columns found, values brought to one scale, comparators and blocking passes ready.
//!
//! The last place where a rule can be wrong: a missing column or a wrong type is an error here with its path.
use crate::candidates::{KeySource, Pass, Window};
use crate::compare::{
    Amounts, CodeIn, CodeLike, Comparator, Dates, Equal, Lexicon, NameIn, NameLike, Sought, Weighted, Words, WordsLike,
};
use crate::control::{Cancelled, Meter};
use crate::outcome::Side;
use crate::rules::{Block, By, Compare, CompareKind, Method, RuleError, RuleSet};
use crate::run::RunError;
use crate::table::{NO_AMOUNT, NO_DATE, Table, Typed};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Candidates a row takes from names alone, rarest first.
const NAME_CAP: usize = 64;
/// Files of so few pairs are compared row by row, so that nothing is missed for want of a common key.
pub(crate) const EVERY_PAIR: usize = 100_000;
/// Candidates a row takes from parts of a reference.
const CODE_CAP: usize = 48;

/// A rule set ready to run.
pub(crate) struct Plan {
    pub(crate) lexicon: Lexicon,
    pub(crate) comparators: Vec<Comparator>,
    pub(crate) passes: Vec<Pass>,
    /// Column positions of each comparison.
    pub(crate) columns: Vec<(usize, usize)>,
    /// The comparison of amounts that sums and allocations use.
    pub(crate) amount: Option<usize>,
    /// The comparison of dates.
    pub(crate) date: Option<usize>,
}

impl Plan {
    /// Binds `rules` to the tables.
    ///
    /// # Errors
    /// The rules do not fit the tables, or the run was cancelled.
    pub(crate) fn new(left: &Table, right: &Table, rules: &RuleSet, meter: &Meter<'_>) -> Result<Self, RunError> {
        let mut binder = Binder { left, right, lexicon: Lexicon::default(), words: FxHashMap::default(), meter };
        let columns = binder.columns(rules)?;
        // Every text column first: weights need the complete lexicon.
        for (compare, (l, r)) in rules.compare.iter().zip(&columns) {
            if !matches!(compare.kind, CompareKind::Tolerance | CompareKind::Window) {
                binder.load(Side::Left, *l)?;
                binder.load(Side::Right, *r)?;
            }
        }
        for (at, block) in rules.block.iter().enumerate() {
            binder.load_block(at, block)?;
        }
        binder.lexicon.complete();
        let mut comparators = Vec::new();
        for (at, (compare, (l, r))) in rules.compare.iter().zip(&columns).enumerate() {
            comparators.push(binder.comparator(at, compare, *l, *r)?);
            meter.check()?;
        }
        let of = |kind| rules.compare.iter().position(|c| c.kind == kind);
        let mut plan = Self {
            comparators,
            passes: Vec::new(),
            columns,
            amount: of(CompareKind::Tolerance),
            date: of(CompareKind::Window),
            lexicon: Lexicon::default(),
        };
        plan.passes = if rules.block.is_empty() {
            plan.derive(rules, (left.len(), right.len()))
        } else {
            binder.passes(rules)?
        };
        plan.require(rules);
        plan.lexicon = binder.lexicon;
        Ok(plan)
    }

    /// The amounts that sums and allocations use.
    pub(crate) fn amounts(&self) -> Option<&Amounts> {
        match &self.comparators[self.amount?] {
            Comparator::Amount(amounts) => Some(amounts),
            _ => None,
        }
    }

    /// The days, where the rules compare them.
    pub(crate) fn dates(&self) -> Option<&Dates> {
        match &self.comparators[self.date?] {
            Comparator::Date(dates) => Some(dates),
            _ => None,
        }
    }

    /// Adds the columns that must be equal to the key of every pass.
    fn require(&mut self, rules: &RuleSet) {
        for (compare, comparator) in rules.compare.iter().zip(&self.comparators) {
            if let (true, Comparator::Equal(equal)) = (compare.require, comparator) {
                for pass in &mut self.passes {
                    pass.keys.push(KeySource::Value(equal.left.clone(), equal.right.clone()));
                }
            }
        }
    }

    /// The passes that the comparisons themselves suggest.
    fn derive(&self, rules: &RuleSet, rows: (usize, usize)) -> Vec<Pass> {
        if rows.0 * rows.1 <= EVERY_PAIR {
            return vec![Pass { cap: EVERY_PAIR, ..Pass::new(vec![KeySource::Everything], None) }];
        }
        let around = |slack: i32| {
            let dates = self.dates()?;
            let (left, right) = (dates.left.clone(), dates.right.clone());
            Some(Arc::new(Window { left, right, before: dates.before + slack, after: dates.after + slack }))
        };
        // Names alone only inside the window; an equal amount is worth a look a little outside it too, so that a late
        // payment is found and reported as late.
        let (window, wide) = (around(0), around(5));
        let name_pass = |key: KeySource| Pass { cap: NAME_CAP, ..Pass::new(vec![key], window.clone()) };
        let mut passes = Vec::new();
        let mut names: Vec<KeySource> = Vec::new();
        let mut amounts: Vec<KeySource> = Vec::new();
        let mut prefixes: Vec<KeySource> = Vec::new();
        for (compare, comparator) in rules.compare.iter().zip(&self.comparators) {
            match comparator {
                Comparator::Equal(_) if compare.require => {}
                Comparator::Equal(Equal { left, right }) => {
                    passes.push(Pass::new(vec![KeySource::Value(left.clone(), right.clone())], None));
                }
                Comparator::Date(_) => {}
                Comparator::Amount(a) => amounts.push(KeySource::amount(a)),
                Comparator::CodeIn(CodeIn { sought, .. }) | Comparator::NameIn(NameIn { sought, .. }) => {
                    let (l, r) = (sought.of(Side::Left), sought.of(Side::Right));
                    if comparator.kind().is_code() {
                        let key = KeySource::Code(l.clone(), r.clone());
                        passes.push(Pass { cap: CODE_CAP, ..Pass::new(vec![key], None) });
                    } else {
                        names.push(KeySource::Token(l.clone(), r.clone()));
                        passes.push(name_pass(KeySource::Pair(l.clone(), r.clone())));
                    }
                    if window.is_none() {
                        passes.push(Pass::new(vec![KeySource::Token(l.clone(), r.clone())], None));
                    }
                }
                Comparator::CodeLike(CodeLike { left: l, right: r }) => {
                    passes.push(Pass::new(vec![KeySource::Value(l.clone(), r.clone())], None));
                    prefixes.push(KeySource::Prefix(l.clone(), r.clone()));
                }
                Comparator::NameLike(NameLike(columns)) | Comparator::WordsLike(WordsLike(columns)) => {
                    let (l, r) = (&columns.left, &columns.right);
                    passes.push(Pass::new(vec![KeySource::Value(l.clone(), r.clone())], None));
                    prefixes.push(KeySource::Prefix(l.clone(), r.clone()));
                    names.push(KeySource::Token(l.clone(), r.clone()));
                    passes.push(Pass::new(vec![KeySource::Pair(l.clone(), r.clone())], window.clone()));
                    passes.push(Pass::new(vec![KeySource::Token(l.clone(), r.clone())], window.clone()));
                }
            }
        }
        for amount in &amounts {
            passes.push(Pass::new(vec![amount.clone()], wide.clone()));
            if window.is_some() {
                passes.push(Pass { cap: 16, ..Pass::new(vec![amount.clone()], None) });
            }
            for name in &names {
                passes.push(Pass { cap: 32, ..Pass::new(vec![amount.clone(), name.clone()], None) });
            }
        }
        // Nothing but days tell rows apart when their amounts differ.
        if names.is_empty()
            && let Some(dates) = self.dates()
        {
            let key = KeySource::Day(Arc::new(dates.left.clone()), Arc::new(dates.right.clone()));
            passes.push(Pass { cap: 32, ..Pass::new(vec![key], None) });
        }
        // Two columns that begin alike, for rows in which no whole value survived.
        for two in prefixes.windows(2) {
            passes.push(Pass::new(two.to_vec(), None));
        }
        passes
    }
}

/// Finds columns and caches their words.
struct Binder<'a> {
    left: &'a Table,
    right: &'a Table,
    lexicon: Lexicon,
    words: FxHashMap<(Side, usize), Arc<Words>>,
    meter: &'a Meter<'a>,
}

impl Binder<'_> {
    fn table(&self, side: Side) -> &Table {
        if side == Side::Left { self.left } else { self.right }
    }

    fn column(&self, side: Side, name: &str, path: &str) -> Result<usize, RuleError> {
        let table = self.table(side);
        table.column_index(name).ok_or_else(|| {
            let known: Vec<&str> = table.columns.iter().map(|c| c.profile.name.as_str()).collect();
            let reason = format!("no column {name:?} in {}; it has {}", table.name, known.join(", "));
            RuleError::new(format!("{path}.{}", side.as_str()), reason)
        })
    }

    fn columns(&self, rules: &RuleSet) -> Result<Vec<(usize, usize)>, RuleError> {
        let both = |(at, c): (usize, &Compare)| {
            let path = format!("compare[{at}]");
            Ok((self.column(Side::Left, &c.left, &path)?, self.column(Side::Right, &c.right, &path)?))
        };
        rules.compare.iter().enumerate().map(both).collect()
    }

    fn load(&mut self, side: Side, column: usize) -> Result<(), Cancelled> {
        if !self.words.contains_key(&(side, column)) {
            let table = if side == Side::Left { self.left } else { self.right };
            let words = Words::build(table, column, &mut self.lexicon, self.meter)?;
            self.words.insert((side, column), Arc::new(words));
        }
        Ok(())
    }

    fn load_block(&mut self, at: usize, block: &Block) -> Result<(), RunError> {
        for (k, key) in block.on.iter().enumerate() {
            let path = format!("block[{at}].on[{k}]");
            for (side, name) in [(Side::Left, &key.left), (Side::Right, &key.right)] {
                let column = self.column(side, name, &path)?;
                self.load(side, column)?;
            }
        }
        Ok(())
    }

    fn both(&self, l: usize, r: usize) -> (Arc<Words>, Arc<Words>) {
        (self.words[&(Side::Left, l)].clone(), self.words[&(Side::Right, r)].clone())
    }

    fn comparator(&self, at: usize, compare: &Compare, l: usize, r: usize) -> Result<Comparator, RunError> {
        let path = format!("compare[{at}]");
        Ok(match compare.kind {
            CompareKind::Exact => {
                let (left, right) = self.both(l, r);
                Comparator::Equal(Equal { left, right })
            }
            CompareKind::Tolerance => Comparator::Amount(self.amounts(&path, compare, l, r)?),
            CompareKind::Window => Comparator::Date(Dates {
                left: self.days(&format!("{path}.left"), Side::Left, l)?,
                right: self.days(&format!("{path}.right"), Side::Right, r)?,
                before: compare.before_days.map_or(5, |d| d.min(100_000) as i32),
                after: compare.after_days.map_or(5, |d| d.min(100_000) as i32),
            }),
            CompareKind::Contains => self.contained(compare, l, r)?,
            CompareKind::Fuzzy => self.like(compare, l, r),
        })
    }

    /// One text sought in the other.
    fn contained(&self, compare: &Compare, l: usize, r: usize) -> Result<Comparator, Cancelled> {
        let (left, right) = self.both(l, r);
        let sought = Sought::new(left, right);
        let is_code = match compare.method.unwrap_or_default() {
            Method::Code => true,
            Method::Name | Method::Words => false,
            Method::Auto => sought.needle.code_share() >= 0.5,
        };
        Ok(if is_code {
            Comparator::CodeIn(CodeIn::new(sought, self.meter)?)
        } else {
            Comparator::NameIn(NameIn::new(sought, &self.lexicon))
        })
    }

    /// One text like the other.
    fn like(&self, compare: &Compare, l: usize, r: usize) -> Comparator {
        let (left, right) = self.both(l, r);
        let words = left.mean_words().max(right.mean_words());
        let method = match compare.method.unwrap_or_default() {
            Method::Auto if left.code_share().min(right.code_share()) >= 0.6 => Method::Code,
            Method::Auto if words <= 5.0 => Method::Name,
            method => method,
        };
        let weighted = |left, right| Weighted::new(left, right, &self.lexicon);
        match method {
            Method::Code => Comparator::CodeLike(CodeLike { left, right }),
            Method::Name => Comparator::NameLike(NameLike(weighted(left, right))),
            Method::Words | Method::Auto => Comparator::WordsLike(WordsLike(weighted(left, right))),
        }
    }

    fn amounts(&self, path: &str, compare: &Compare, l: usize, r: usize) -> Result<Amounts, RuleError> {
        let typed = |side, column: usize| match &self.table(side).columns[column].typed {
            Typed::Money { units, scale } => Ok((units, *scale)),
            _ => Err(self.wrong_type(&format!("{path}.{}", side.as_str()), side, column, "amounts")),
        };
        let ((left, left_scale), (right, right_scale)) = (typed(Side::Left, l)?, typed(Side::Right, r)?);
        let wanted =
            crate::amount::parse(compare.tolerance.as_deref().unwrap_or("0"), crate::amount::DecimalStyle::Point);
        let wanted = wanted.ok_or_else(|| RuleError::new(format!("{path}.tolerance"), "not a decimal"))?;
        let scale = left_scale.max(right_scale).max(wanted.scale);
        let raise = |units: &[i64], from: u8| -> Vec<i64> {
            let factor = 10_i64.pow(u32::from(scale - from));
            // An amount too large for the common scale is treated as missing rather than as a wrong number.
            units
                .iter()
                .map(|u| if *u == NO_AMOUNT { *u } else { u.checked_mul(factor).unwrap_or(NO_AMOUNT) })
                .collect()
        };
        let (left, right) = (raise(left, left_scale), raise(right, right_scale));
        let tolerance = wanted
            .at_scale(scale)
            .ok_or_else(|| RuleError::new(format!("{path}.tolerance"), "more digits than an amount can have"))?;
        Ok(Amounts::new(left, right, scale, tolerance, compare.percent.unwrap_or(0.0)))
    }

    fn days(&self, path: &str, side: Side, column: usize) -> Result<Vec<i32>, RuleError> {
        match &self.table(side).columns[column].typed {
            Typed::Date(days) => Ok(days.clone()),
            // Compact dates are read as codes, lest a typo cost the row; a rule that says they are dates is believed.
            Typed::Text => {
                let table = self.table(side);
                let cells = || (0..table.len()).map(|row| table.cell(row, column));
                let (style, fits) = crate::date::sniff_style(cells());
                let filled = cells().filter(|cell| !crate::formats::is_missing(cell)).count();
                if filled > 0 && fits * 2 >= filled {
                    return Ok(cells().map(|cell| crate::date::parse(cell, style).unwrap_or(NO_DATE)).collect());
                }
                Err(self.wrong_type(path, side, column, "dates"))
            }
            Typed::Money { .. } => Err(self.wrong_type(path, side, column, "dates")),
        }
    }

    fn wrong_type(&self, path: &str, side: Side, column: usize, wanted: &str) -> RuleError {
        let table = self.table(side);
        let profile = &table.columns[column].profile;
        let samples = profile.samples.join(", ");
        let reason = format!("column {:?} of {} does not hold {wanted}: {samples}", profile.name, table.name);
        RuleError::new(path, reason)
    }

    /// The passes the rules ask for.
    fn passes(&self, rules: &RuleSet) -> Result<Vec<Pass>, RuleError> {
        let mut passes = Vec::new();
        for (at, block) in rules.block.iter().enumerate() {
            let mut keys = Vec::new();
            for (k, key) in block.on.iter().enumerate() {
                let path = format!("block[{at}].on[{k}]");
                let (l, r) = (self.column(Side::Left, &key.left, &path)?, self.column(Side::Right, &key.right, &path)?);
                let (left, right) = self.both(l, r);
                let money =
                    |side: Side, column: usize| matches!(self.table(side).columns[column].typed, Typed::Money { .. });
                keys.push(match key.by {
                    By::Value if money(Side::Left, l) && money(Side::Right, r) => {
                        let exact = Compare::new(CompareKind::Tolerance, &key.left, &key.right);
                        KeySource::amount(&self.amounts(&path, &exact, l, r)?)
                    }
                    By::Value => KeySource::Value(left, right),
                    By::Token => KeySource::Token(left, right),
                    By::Pair => KeySource::Pair(left, right),
                    By::Code => KeySource::Code(left, right),
                    By::Prefix => KeySource::Prefix(left, right),
                });
            }
            let window = match &block.window {
                None => None,
                Some(w) => {
                    let path = format!("block[{at}].window");
                    let (l, r) = (self.column(Side::Left, &w.left, &path)?, self.column(Side::Right, &w.right, &path)?);
                    Some(Arc::new(Window {
                        left: self.days(&format!("{path}.left"), Side::Left, l)?,
                        right: self.days(&format!("{path}.right"), Side::Right, r)?,
                        before: w.before_days.min(100_000) as i32,
                        after: w.after_days.min(100_000) as i32,
                    }))
                }
            };
            passes.push(Pass::new(keys, window));
        }
        Ok(passes)
    }
}
