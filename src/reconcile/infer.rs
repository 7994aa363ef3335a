//! Rules from what two files hold: which columns mean the same, and how to compare them.
//!
//! [`infer_from_tables`] is what a run uses: evidence over the whole of both files. [`infer_rules`] proposes rules from two
//! profiles alone, before the files are read. Names of columns only break ties.
mod anchors;
mod by_profile;
mod choose;
mod comparing;
mod facts;
mod one_file;

pub use by_profile::infer_rules;
pub use comparing::{Compared, Comparing, LeftOut};
pub(crate) use comparing::{EARLIER_RUN, RUNNING_BALANCE};
pub(crate) use one_file::infer_for_one;

use super::outcome::Side;
use super::reading::SideReading;
use super::rules::{Assign, Model, RuleSet, RunLimits, States, Sums};
use super::table::Table;

/// Infers rules from the whole of both files, and says on what evidence and what is left out.
pub fn infer_from_tables(left: &Table, right: &Table) -> (RuleSet, Comparing) {
    let facts = facts::both(left, right);
    let evidence = anchors::Evidence::of(&facts, left, right);
    let chosen = choose::choose(&facts, &evidence);
    let mut comparing = Comparing { compared: chosen.iter().map(|c| c.said.clone()).collect(), ..Comparing::default() };
    for (side, columns) in [(Side::Left, &facts.left), (Side::Right, &facts.right)] {
        for column in columns {
            let used = chosen.iter().any(|c| {
                let own = if side == Side::Left { &c.rule.left } else { &c.rule.right };
                own == column.name
            });
            if !used {
                let reason = column.useless.clone().unwrap_or_else(|| "nothing on the other side is like it".into());
                comparing.left_out.push(LeftOut { side, column: column.name.to_owned(), reason });
            }
        }
    }
    let rules = RuleSet {
        version: 1,
        left_id: left.id_column().map(str::to_owned),
        right_id: right.id_column().map(str::to_owned),
        compare: chosen.into_iter().map(|c| c.rule).collect(),
        left: SideReading::default(),
        right: SideReading::default(),
        block: Vec::new(),
        model: Model::FellegiSunter,
        assign: Assign::default(),
        sums: Sums::default(),
        states: States::default(),
        limits: RunLimits::default(),
    };
    (rules, comparing)
}
