//! What a run compares with what, on what evidence, and what it leaves out: said, never guessed in silence.
//!
//! Filled by `infer` (or from the rules as given) and shown in `summary.json`, on standard output and in the API.
use crate::outcome::Side;
use crate::rules::{CompareKind, RuleSet};
use crate::table::Table;
use serde_json::{Value, json};

/// Why a balance is not compared.
pub(crate) const RUNNING_BALANCE: &str = "running balance";
/// Why the first columns of a file that Tieout wrote are not compared.
pub(crate) const EARLIER_RUN: &str = "written by an earlier run";

/// What is compared, what is not, and what a reader must know about it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Comparing {
    /// The comparisons, in the order of the rules.
    pub compared: Vec<Compared>,
    /// Columns that take no part, and why.
    pub left_out: Vec<LeftOut>,
    /// What keeps pairs from being settled without a person.
    pub warnings: Vec<String>,
    /// Column positions of the amounts that sums and allocations use.
    pub amount: Option<(usize, usize)>,
    /// Column positions of the dates.
    pub date: Option<(usize, usize)>,
}

/// One comparison.
#[derive(Clone, PartialEq, Debug)]
pub struct Compared {
    /// What it does.
    pub kind: CompareKind,
    /// Column of the left file.
    pub left: String,
    /// Column of the right file.
    pub right: String,
    /// Why these two columns, in words; empty for rules by hand.
    pub evidence: String,
}

/// A column that is not compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftOut {
    /// Which file.
    pub side: Side,
    /// The column.
    pub column: String,
    /// Why.
    pub reason: String,
}

impl Comparing {
    /// The comparisons of rules as they are.
    pub(crate) fn of(rules: &RuleSet) -> Self {
        let compared = rules.compare.iter().map(|c| Compared {
            kind: c.kind,
            left: c.left.clone(),
            right: c.right.clone(),
            evidence: String::new(),
        });
        Self { compared: compared.collect(), ..Self::default() }
    }

    /// The section `comparing` of `summary.json`.
    pub(crate) fn json(&self, left: &Table, right: &Table) -> Value {
        let compared: Vec<Value> = self
            .compared
            .iter()
            .map(|c| json!({ "kind": c.kind, "left": c.left, "right": c.right, "evidence": c.evidence }))
            .collect();
        let out = |side| -> Vec<Value> {
            let own = self.left_out.iter().filter(|out| out.side == side);
            own.map(|out| json!({ "column": out.column, "reason": out.reason })).collect()
        };
        let name = |table: &Table, at: usize| table.columns[at].profile.name.clone();
        let pair =
            |at: Option<(usize, usize)>| at.map(|(l, r)| json!({ "left": name(left, l), "right": name(right, r) }));
        json!({
            "compared": compared,
            "left_out": { "left": out(Side::Left), "right": out(Side::Right) },
            "amount": pair(self.amount),
            "date": pair(self.date),
            "warnings": self.warnings,
        })
    }

    /// [`Comparing::lines`] of one file against itself.
    pub fn lines_of_one(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for c in self.compared.iter().take(6) {
            let what = if c.left == c.right { c.left.clone() } else { format!("{} with {}", c.left, c.right) };
            let evidence = if c.evidence.is_empty() { String::new() } else { format!(" ({})", c.evidence) };
            lines.push(format!("compares {what}: {}{evidence}", c.kind.as_str()));
        }
        if self.compared.len() > 6 {
            lines.push(format!("and {} more comparisons, see summary.json", self.compared.len() - 6));
        }
        let out = self.left_out.iter().filter(|out| out.side == Side::Left);
        let names: Vec<String> = out.map(|out| format!("{} ({})", out.column, out.reason)).collect();
        if !names.is_empty() {
            lines.push(format!("left out: {}", names.join(", ")));
        }
        lines.extend(self.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines
    }

    /// The same in a few lines for people, at most ten.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for c in self.compared.iter().take(6) {
            let evidence = if c.evidence.is_empty() { String::new() } else { format!(" ({})", c.evidence) };
            lines.push(format!("compares {} with {}: {}{evidence}", c.left, c.right, c.kind.as_str()));
        }
        if self.compared.len() > 6 {
            lines.push(format!("and {} more comparisons, see summary.json", self.compared.len() - 6));
        }
        for side in [Side::Left, Side::Right] {
            let names: Vec<String> = self
                .left_out
                .iter()
                .filter(|o| o.side == side)
                .map(|o| format!("{} ({})", o.column, o.reason))
                .collect();
            if !names.is_empty() {
                lines.push(format!("left out on the {} side: {}", side.as_str(), names.join(", ")));
            }
        }
        lines.extend(self.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines
    }
}
