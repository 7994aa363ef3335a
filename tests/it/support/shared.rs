//! Data sets that stand beside the repository on some machines: `$TIEOUT_SHARED` or `../shared`. Leaves deciding what to
//! do without them to the test, which then says that it was skipped. Easy to get wrong: depending on them.
use std::{env, fs, path::PathBuf};

/// The folder of a data set, when this machine has it.
pub(crate) fn data_set(name: &str) -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = env::var_os("TIEOUT_SHARED").map_or(beside, PathBuf::from);
    Some(shared.join("data").join(name)).filter(|folder| folder.is_dir())
}

/// A file of a data set as text.
pub(crate) fn read(folder: &std::path::Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{}/{name}: {e}", folder.display()))
}
