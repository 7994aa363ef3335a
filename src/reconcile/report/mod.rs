//! The files a reconciliation leaves: the one writer for command line, server and examples.
mod files;
mod lines;

pub use files::{
    match_id, related_id, summary_json, write_all, write_candidates, write_errors, write_errors_csv, write_matches,
    write_matches_csv, write_unmatched, write_unmatched_csv,
};
pub(crate) use files::{write_file, write_json};
pub use lines::{
    CANDIDATES_HEADER, Cells, ERRORS_HEADER, Lines, MATCHES_HEADER, MatchedLine, UNMATCHED_HEADER, UnmatchedLine,
};
