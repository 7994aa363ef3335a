//! The W3C trace context (`traceparent`) that a client may send along, and that goes on with what it caused.
//!
//! Leaves tracing to whoever reads logs and frames. Easy to get wrong: it comes from outside and goes into logs and
//! frames, so nothing but the exact form is taken: 55 characters, lower-case hexadecimal and dashes.
use std::{fmt, str::FromStr};

const LENGTH: usize = 55;

/// A `traceparent` of version 00.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Trace([u8; LENGTH]);

/// The text is no `traceparent`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("must be a W3C traceparent: 00-TRACE-SPAN-FLAGS with 32, 16 and 2 hexadecimal digits")]
pub struct NoTrace;

impl Trace {
    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits and dashes only")
    }
}

impl FromStr for Trace {
    type Err = NoTrace;

    fn from_str(text: &str) -> Result<Self, NoTrace> {
        let bytes: [u8; LENGTH] = text.as_bytes().try_into().map_err(|_| NoTrace)?;
        let sound = bytes.iter().enumerate().all(|(at, byte)| match at {
            2 | 35 | 52 => *byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
        let zero = |range: std::ops::Range<usize>| bytes[range].iter().all(|byte| *byte == b'0');
        if sound && text.starts_with("00-") && !zero(3..35) && !zero(36..52) { Ok(Self(bytes)) } else { Err(NoTrace) }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_form_is_taken() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(good.parse::<Trace>().unwrap().as_str(), good);
        for bad in [
            "",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0\n",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert!(bad.parse::<Trace>().is_err(), "{bad}");
        }
    }
}
