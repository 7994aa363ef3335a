//! From chosen pairs and groups to what people see: states, explanations, candidates, breaks.
mod content;
mod found;
mod law;
mod rivals;

pub(crate) use content::Content;
pub(crate) use found::Found;
pub(crate) use law::Law;
