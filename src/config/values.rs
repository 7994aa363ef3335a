//! The value types of settings: how each is read from text and shown again.
//!
//! Leaves names and bounds to `settings`. Easy to get wrong: a message that names the setting here; the caller does
//! that, together with where the value came from.
use std::{fmt, str::FromStr, time::Duration};

/// A number of bytes: `65536`, `64KiB`, `2GiB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ByteSize(pub u64);

const BYTE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = (&text[..digits], text[digits..].trim());
        let factor = match BYTE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
            Some((_, factor)) => *factor,
            None if unit.is_empty() => 1,
            None => return Err(format!("the unit {unit:?} is none of B, KiB, MiB, GiB")),
        };
        let number: u64 = number.parse().map_err(|_| "expected a whole number of bytes, such as 64KiB".to_owned())?;
        number.checked_mul(factor).map(ByteSize).ok_or_else(|| "the number of bytes is too large".into())
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match BYTE_UNITS.iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) if *factor > 1 => write!(f, "{}{unit}", self.0 / factor),
            _ => self.0.fmt(f),
        }
    }
}

/// Addresses and networks separated by commas: `10.0.0.0/8,::1`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Networks(pub Vec<ipnet::IpNet>);

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = |word: &str| {
            let address = word.parse::<std::net::IpAddr>().map(ipnet::IpNet::from);
            let network = address.or_else(|_| word.parse().map(|network: ipnet::IpNet| network.trunc()));
            network.map_err(|_| format!("{word:?} is no address or network such as 10.0.0.0/8"))
        };
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(network).collect::<Result<_, _>>().map(Self)
    }
}

/// A duration in seconds: `30`, `30s`, `2m`, `24h`, `7d`, `250ms`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Seconds(pub Duration);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..digits].parse().map_err(|_| "expected a time such as 30s, 2m or 250ms".to_owned())?;
        let seconds = match text[digits..].trim() {
            "ms" => return Ok(Self(Duration::from_millis(number))),
            "" | "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 24 * 3_600,
            unit => return Err(format!("the unit {unit:?} is none of ms, s, m, h, d")),
        };
        let number = number.checked_mul(seconds).ok_or_else(|| "the time is too long".to_owned())?;
        Ok(Self(Duration::from_secs(number)))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_millis() {
            0 => write!(f, "{}s", self.0.as_secs()),
            _ => write!(f, "{}ms", self.0.as_millis()),
        }
    }
}

/// When the live part (hub and WebSocket) starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RealtimeMode {
    /// With the process.
    On,
    /// With the first WebSocket.
    Lazy,
    /// Never: `/ws` answers 503, everything else works.
    Off,
}

/// The least severe log line that is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// Someone must look.
    Error,
    /// Degraded.
    Warn,
    /// Life of the process and of a job.
    Info,
    /// The rest.
    Debug,
    /// As `Debug`: what libraries say at this level has tokens and customers' cells in it, and is never written.
    Trace,
}

impl From<LogLevel> for log::LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::Off,
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}

macro_rules! words {
    ($name:ident { $($word:literal => $variant:ident),+ }) => {
        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text.to_ascii_lowercase().as_str() {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(concat!("expected one of:" $(, " ", $word)+).into()),
                }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }
    };
}
words!(RealtimeMode { "on" => On, "lazy" => Lazy, "off" => Off });
words!(LogLevel {
    "off" => Off, "error" => Error, "warn" => Warn, "info" => Info, "debug" => Debug, "trace" => Trace
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_back_what_they_show() {
        for text in ["0", "1", "1000", "64KiB", "2GiB", "1025"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        for text in ["30s", "250ms", "120s"] {
            assert_eq!(text.parse::<Seconds>().unwrap().to_string(), text);
        }
        assert_eq!("2m".parse::<Seconds>().unwrap().0, Duration::from_secs(120));
        for bad in ["", "-1", "1 kilo", "99999999999GiB", "GiB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
        assert_eq!("7d".parse::<Seconds>().unwrap(), "168h".parse().unwrap());
        assert!("999999999999999999d".parse::<Seconds>().is_err());
        assert!("5 years".parse::<Seconds>().is_err());
    }
}
