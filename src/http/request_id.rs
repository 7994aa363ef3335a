//! The id that ties an answer to the lines it left in the log.
//!
//! A caller (a proxy, another service) may bring its own in `x-request-id`. Easy to get wrong: it goes into the log
//! and back into a header, so only harmless characters of a bounded length are taken over.
use http::{HeaderMap, HeaderValue};
use std::fmt;

/// Longest id taken over from a caller.
const MAX_LENGTH: usize = 128;

/// The id of one request.
#[derive(Clone, Debug)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    /// The caller's id if it is a sane one, else a fresh one.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get("x-request-id").filter(|value| is_sane(value.as_bytes()));
        Self(given.cloned().unwrap_or_else(|| {
            let fresh = uuid::Uuid::now_v7().hyphenated().to_string();
            HeaderValue::from_str(&fresh).expect("a UUID is a header value")
        }))
    }

    /// As text.
    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().expect("only visible ASCII is taken over or made")
    }

    /// As the value of the answer's header.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_sane(id: &[u8]) -> bool {
    (1..=MAX_LENGTH).contains(&id.len()) && id.iter().all(|c| c.is_ascii_alphanumeric() || b"-_.:/+=".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_ids_are_taken_over() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-request-id", text.parse().unwrap());
            RequestId::of(&headers).to_string()
        };
        assert_eq!(of("abc-1"), "abc-1");
        for bad in ["", "two words", "a\"b", &"x".repeat(129)] {
            assert_ne!(of(bad), bad);
        }
    }
}
