//! `Last-Event-ID`: what can be read of it reads back as itself, and is bounded.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tieout_protocol::positions::{MAX_POSITIONS, Positions};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let positions = Positions::read(text);
    assert!(positions.0.len() <= MAX_POSITIONS);
    let shown = positions.to_string();
    assert!(shown.bytes().all(|byte| byte.is_ascii_graphic()), "it becomes a header again: {shown:?}");
    assert_eq!(Positions::read(&shown), positions);
});
