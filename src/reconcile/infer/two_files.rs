//! Rules for a run: evidence over the whole of both files, and what is left out for want of it.
use super::{Comparing, LeftOut, anchors, choose, facts};
use crate::control::{Cancelled, Control, Meter, Phase};
use crate::outcome::Side;
use crate::reading::SideReading;
use crate::rules::{Assign, Model, RuleSet, RunLimits, States, Sums};
use crate::table::Table;

/// Infers rules from the whole of both files, and says on what evidence and what is left out.
///
/// # Errors
/// The [`Control`] said stop.
pub fn infer_from_tables(
    left: &Table,
    right: &Table,
    control: &dyn Control,
) -> Result<(RuleSet, Comparing), Cancelled> {
    let meter = Meter::start(control, Phase::Indexing, 0, 0)?;
    let facts = facts::both(left, right, &meter)?;
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
    Ok((rules, comparing))
}
