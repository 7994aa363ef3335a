//! Log set-up of the process.
//!
//! Leaves what is logged to whoever knows, by the `log` facade. Easy to get wrong: a logger may be installed once for a
//! process; a second call (a test that starts two apps) is fine. And what libraries say below `warn` holds what they carry:
//! frames with tokens in them, headers, statements with customers' cells.

/// Writes log lines of `level` and worse to standard error, of libraries none below a warning. Does nothing when a logger is
/// installed already.
pub fn start_log(level: log::LevelFilter) {
    let libraries = level.min(log::LevelFilter::Warn);
    let installed = env_logger::Builder::new()
        .filter_level(libraries)
        .filter_module("tieout", level)
        .format_timestamp_millis()
        .try_init();
    if let Err(error) = installed {
        log::debug!("the logger stays as it is: {error}");
    }
}
