//! What a command prints, on pipes that may be closed and disks that may be full.
//!
//! Easy to get wrong: `println!` panics when nobody reads any more, as after `tieout … | head -1`.
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// Prints to standard output and ends with this code; with 1 when it could not be written. A reader that has seen enough is no
/// failure.
pub(super) fn say(text: &str, code: ExitCode) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => code,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => code,
        Err(error) => {
            complain(&format!("tieout: cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes a line to standard error, where that can be written; there is nowhere else to say that it cannot.
pub(super) fn complain(line: &str) {
    let _written = writeln!(std::io::stderr().lock(), "{line}");
}
