//! Where a client is in the histories it follows, as one line of text: the `id` of server-sent events.
//!
//! `PROJECT~EPOCH~OFFSET`, several joined by commas. The browser gives the last one back as `Last-Event-ID` when it
//! reconnects. Easy to get wrong: it comes from outside, so its length and its count are bounded before it is believed.
use super::{client::Position, ids::ProjectId};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// Positions that one line may hold.
pub const MAX_POSITIONS: usize = 1_024;
/// Longest epoch, in bytes.
const MAX_EPOCH_BYTES: usize = 64;

/// Per project, what is known up to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Positions(pub BTreeMap<ProjectId, Position>);

/// The text is no list of positions.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPositions {
    /// One entry does not fit; its number, from 1.
    #[error("entry {0} is not PROJECT~EPOCH~OFFSET")]
    Entry(usize),
    /// There are too many.
    #[error("there are more than {MAX_POSITIONS} entries")]
    TooMany,
}

impl FromStr for Positions {
    type Err = BadPositions;

    fn from_str(text: &str) -> Result<Self, BadPositions> {
        let mut all = BTreeMap::new();
        if text.is_empty() {
            return Ok(Self(all));
        }
        for (index, entry) in text.split(',').enumerate() {
            if index >= MAX_POSITIONS {
                return Err(BadPositions::TooMany);
            }
            let (project, position) = read(entry).ok_or(BadPositions::Entry(index + 1))?;
            all.insert(project, position);
        }
        Ok(Self(all))
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

    #[test]
    fn what_is_shown_reads_back() {
        let mut positions = Positions::default();
        assert_eq!("".parse(), Ok(positions.clone()));
        for off in [0, 7, u64::MAX] {
            positions.0.insert(ProjectId::generate(), Position { ep: "k3f9".into(), off });
            assert_eq!(positions.to_string().parse(), Ok(positions.clone()), "{positions}");
        }
    }

    #[test]
    fn what_is_no_position_is_refused_by_its_number() {
        let good = format!("{}~k3~1", ProjectId::generate());
        assert!(good.parse::<Positions>().is_ok());
        for bad in ["x", "~~", ",", "a~b~1"] {
            assert_eq!(bad.parse::<Positions>(), Err(BadPositions::Entry(1)), "{bad}");
        }
        for tail in ["", "~~1", "~k3~-1", "~k3~+1", "~k3~18446744073709551616", "~k\n~1", "~k3~1~1"] {
            let text = format!("{good},{}{tail}", ProjectId::generate());
            assert_eq!(text.parse::<Positions>(), Err(BadPositions::Entry(2)), "{text}");
        }
        let many = vec![good; MAX_POSITIONS + 1].join(",");
        assert_eq!(many.parse::<Positions>(), Err(BadPositions::TooMany));
    }
}
