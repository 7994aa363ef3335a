//! Attacks on the bounds of docs/LIMITS.md, one test each: what it cost the server, and what an honest client saw. Every test
//! files a row of docs/RELIABILITY.md; `./test attacks` runs them one at a time and puts the table there.
//! Easy to get wrong: an attack that misses; each test checks that the server noticed and said so. Sizes are small, for a
//! machine that runs all tests; `TIEOUT_ATTACKS=full ./test attacks` takes those of the bounds' defaults.
mod floods;
mod http2;
mod reading;
mod uploads;
mod victim;

/// The small size, or the full one when that is asked for.
fn sized<T>(small: T, full: T) -> T {
    if std::env::var("TIEOUT_ATTACKS").is_ok_and(|size| size == "full") { full } else { small }
}
