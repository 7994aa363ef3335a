//! Where a client is in the histories it follows, as one line of text: the `id` of server-sent events.
//!
//! A few are spelt out, `PROJECT~EPOCH~OFFSET`, joined by commas; more are packed, for every event has all of them. The
//! browser gives the last one back as `Last-Event-ID` when it reconnects. Easy to get wrong: it comes from outside, so
//! its length and its count are bounded before it is believed.
mod packed;

use super::{client::Position, ids::ProjectId};
use std::{collections::BTreeMap, fmt};

/// Positions that one line may hold.
pub const MAX_POSITIONS: usize = 1_024;
/// Above it they are packed.
const MAX_SPELT_OUT: usize = 4;
/// Begins what is packed.
const PACKED: char = '.';
/// Longest epoch, in bytes.
const MAX_EPOCH_BYTES: usize = 64;

/// Per project, what is known up to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Positions(pub BTreeMap<ProjectId, Position>);

impl Positions {
    /// What of the text can be read, up to [`MAX_POSITIONS`]. The rest is left out: a position that is not known is not
    /// recovered, and its client is told so.
    pub fn read(text: &str) -> Self {
        if let Some(packed) = text.strip_prefix(PACKED) {
            return Self(packed::unpack(packed));
        }
        Self(text.split(',').take(MAX_POSITIONS).filter_map(read).collect())
    }
}

fn read(entry: &str) -> Option<(ProjectId, Position)> {
    let mut parts = entry.split('~');
    let (project, ep, off) = (parts.next()?, parts.next()?, parts.next()?);
    let sound = !ep.is_empty() && ep.len() <= MAX_EPOCH_BYTES && ep.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if parts.next().is_some() || !sound || !off.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((project.parse().ok()?, Position { ep: ep.to_owned(), off: off.parse().ok()? }))
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() > MAX_SPELT_OUT {
            return write!(f, "{PACKED}{}", packed::pack(&self.0));
        }
        for (index, (project, position)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}~{}~{}", project.0.simple(), position.ep, position.off)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the store makes them.
    fn many(rooms: usize) -> Positions {
        let one = |n: usize| {
            let ep = format!("{}k{}f9x", char::from(b'a' + (n % 8) as u8), 2 + n % 7);
            (ProjectId::generate(), Position { ep, off: 1 + (n as u64 * 97) % 20_000 })
        };
        Positions((0..rooms).map(one).collect())
    }

    #[test]
    fn what_is_shown_reads_back() {
        assert_eq!(Positions::read(""), Positions::default());
        for rooms in [1, MAX_SPELT_OUT, MAX_SPELT_OUT + 1, 128, MAX_POSITIONS] {
            let mut positions = many(rooms);
            for (position, odd) in positions.0.values_mut().zip(["e", "UPPER1", "abcdefg", "lettersl0"]) {
                (position.ep, position.off) = (odd.to_owned(), u64::MAX);
            }
            assert_eq!(Positions::read(&positions.to_string()), positions, "{rooms} rooms");
        }
    }

    #[test]
    fn an_id_of_as_many_rooms_as_a_connection_may_follow_fits_a_header() {
        let id = many(128).to_string();
        assert!(id.len() < 3_500, "{} bytes", id.len());
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')), "{id}");
    }

    #[test]
    fn what_is_no_position_is_left_out() {
        let (good, positions) = (format!("{}~k3~1", ProjectId::generate()), many(20));
        for bad in ["", "x", "~~", "a~b~1", ".", ".!", ".AAAA"] {
            assert_eq!(Positions::read(bad), Positions::default(), "{bad}");
        }
        for tail in ["", "~~1", "~k3~-1", "~k3~+1", "~k3~18446744073709551616", "~k\n~1", "~k3~1~1"] {
            let text = format!("{good},{}{tail}", ProjectId::generate());
            assert_eq!(Positions::read(&text), Positions::read(&good), "{text}");
        }
        let packed = positions.to_string();
        for cut in 0..packed.len() {
            let read = Positions::read(&packed[..cut]);
            assert!(read.0.len() < positions.0.len(), "{cut}");
            let known = |(id, at): (&ProjectId, &Position)| positions.0.get(id).is_some_and(|all| at.off <= all.off);
            assert!(read.0.iter().all(known), "cut to {cut} it says nothing new");
        }
    }
}
