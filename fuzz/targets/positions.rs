//! `Last-Event-ID`: what is taken reads back as itself, and is bounded.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tieout::protocol::positions::{MAX_POSITIONS, Positions};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<Positions>() {
        Ok(positions) => {
            assert!(positions.0.len() <= MAX_POSITIONS);
            let shown = positions.to_string();
            assert!(shown.bytes().all(|byte| byte.is_ascii_graphic()), "it becomes a header again: {shown:?}");
            assert_eq!(shown.parse(), Ok(positions));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
