//! Rules from what two files hold, or one: which columns mean the same, and how to compare them.
//!
//! [`infer_from_tables`] is what a run uses: evidence over the whole of both files. [`infer_rules`] proposes rules from two
//! profiles alone, before the files are read. Names of columns only break ties.
mod facts;

mod anchors;
mod choose;
mod two_files;

mod by_profile;
mod one_file;

pub(crate) mod adjust;
mod comparing;

pub use by_profile::infer_rules;
pub use comparing::{Compared, Comparing, LeftOut};
pub(crate) use comparing::{EARLIER_RUN, RUNNING_BALANCE};
pub(crate) use one_file::infer_for_one;
pub use two_files::infer_from_tables;
