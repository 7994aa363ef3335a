//! What a comparison may say: options that belong to another kind are refused with their place.
use super::{Compare, CompareKind, Model, RuleError};

impl Compare {
    pub(super) fn validate(&self, path: &str, model: Model) -> Result<(), RuleError> {
        use CompareKind::{Contains, Exact, Fuzzy, Tolerance, Window};
        let only = |set: bool, option: &str, kinds: &[CompareKind], names: &str| {
            if set && !kinds.contains(&self.kind) {
                return Err(RuleError::new(format!("{path}.{option}"), format!("only for kind {names}")));
            }
            Ok(())
        };
        only(self.require, "require", &[Exact], "exact")?;
        only(self.tolerance.is_some(), "tolerance", &[Tolerance], "tolerance")?;
        only(self.percent.is_some(), "percent", &[Tolerance], "tolerance")?;
        only(self.before_days.is_some(), "before_days", &[Window], "window")?;
        only(self.after_days.is_some(), "after_days", &[Window], "window")?;
        only(self.method.is_some(), "method", &[Contains, Fuzzy], "contains or fuzzy")?;
        if let Some(text) = &self.tolerance {
            let value = crate::amount::parse(text, crate::amount::DecimalStyle::Point);
            if value.is_none_or(|d| d.units < 0) {
                return Err(RuleError::new(format!("{path}.tolerance"), format!("{text:?} is not a decimal from 0")));
            }
        }
        if self.percent.is_some_and(|p| !(0.0..=100.0).contains(&p)) {
            return Err(RuleError::new(format!("{path}.percent"), "0 to 100 is needed"));
        }
        if model == Model::Weighted && (self.agree.is_none() || self.disagree.is_none()) {
            return Err(RuleError::new(path, "the weighted model needs agree and disagree"));
        }
        if model == Model::FellegiSunter && (self.agree.is_some() || self.disagree.is_some()) {
            let option = if self.agree.is_some() { "agree" } else { "disagree" };
            return Err(RuleError::new(format!("{path}.{option}"), "only for model = \"weighted\""));
        }
        Ok(())
    }
}
