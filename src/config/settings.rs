//! The list of settings, one entry each: field, type, default, check, and the sentence that `--help` shows.
//!
//! Leaves reading the four places a value may come from to `sources`. Easy to get wrong: the flag and the variable
//! are made from the field's name (`max_rows`: `--max-rows`, `TIEOUT_MAX_ROWS`, `max_rows = …` in the file), so
//! renaming a field here renames a public setting.
use super::{
    sources::{ConfigError, Sources},
    values::{ByteSize, LogLevel, RealtimeMode, Seconds},
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// One setting as the help and the documentation show it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Name in the configuration file; the flag has `-` for `_`, the variable is upper case after `TIEOUT_`.
    pub name: &'static str,
    /// Placeholder of the value in the help.
    pub value: &'static str,
    /// The default as text; empty when there is none.
    pub default: &'static str,
    /// One sentence, with the unit and what happens at the bound.
    pub doc: &'static str,
    /// A switch takes no value on the command line.
    pub switch: bool,
    /// Not shown by `--help`.
    pub hidden: bool,
}

macro_rules! settings {
    ($( $(#[doc = $doc:literal])+ $name:ident : $type:ty = $default:literal, $value:literal, $check:expr $(, $flag:ident)? ; )+) => {
        /// The settings in force, each checked.
        #[derive(Clone, Debug)]
        pub struct Config { $( $(#[doc = $doc])+ pub $name: $type, )+ }

        /// Every setting in the order in which the help shows them.
        pub const SETTINGS: &[Setting] = &[ $( Setting {
            name: stringify!($name),
            value: $value,
            default: $default,
            doc: concat!($($doc),+),
            switch: settings!(@is switch $($flag)?),
            hidden: settings!(@is hidden $($flag)?),
        } ),+ ];

        impl Config {
            /// Takes each setting from where it is given first.
            ///
            /// # Errors
            /// The first value that can't be read or is out of bounds, with the setting's name and where it came from.
            pub(super) fn from_sources(sources: &Sources<'_>) -> Result<Self, ConfigError> {
                Ok(Self { $( $name: sources.take(stringify!($name), $default, $check)?, )+ })
            }
        }
    };
    (@is switch switch) => { true };
    (@is switch hook) => { true };
    (@is hidden hook) => { true };
    (@is $kind:ident $($flag:ident)?) => { false };
}

settings! {
    /// Address and port to serve on. Elsewhere than on loopback a bearer token is required.
    listen: SocketAddr = "127.0.0.1:2000", "ADDR:PORT", any;
    /// Folder of the database, the uploads and the generated token; made when absent.
    data_dir: PathBuf = "./tieout-data", "DIR", |path: &PathBuf| not_empty(path);
    /// Threads that serve requests; `auto` is one per processor.
    workers: Workers = "auto", "N", |w: &Workers| within(w.0 as u64, 1, 1024);
    /// When live updates start: `on` with the process, `lazy` with the first WebSocket, `off` never.
    realtime: RealtimeMode = "on", "MODE", any;
    /// File that holds the bearer token. Given a token, loopback needs it too.
    token_file: Optional<PathBuf> = "", "FILE", any;
    /// Further names that `Host` may have, with or without a port, separated by commas.
    allowed_hosts: List = "", "HOST,…", any;
    /// Further origins whose pages may talk to this server, such as `https://tieout.example`, separated by commas.
    allowed_origins: List = "", "ORIGIN,…", any;
    /// The least severe log line to write: off, error, warn, info, debug or trace.
    log: LogLevel = "info", "LEVEL", any;
    /// How long a stop may take; what is then still running is cut off and named in the log.
    shutdown_timeout: Seconds = "30s", "TIME", |t: &Seconds| within(t.0.as_secs(), 1, 3600);
    /// Bytes of one uploaded file; past it 413.
    max_upload_bytes: ByteSize = "2GiB", "BYTES", |s: &ByteSize| within(s.0, 1024, 1 << 40);
    /// Bytes of any other request body; past it 413.
    max_body_bytes: ByteSize = "1MiB", "BYTES", |s: &ByteSize| within(s.0, 1024, 1 << 30);
    /// Rows of one source; past it 413.
    max_rows: u64 = "10000000", "N", |n: &u64| within(*n, 1, 1 << 32);
    /// Columns of one source; past it 413.
    max_columns: u64 = "512", "N", |n: &u64| within(*n, 1, 65_536);
    /// Bytes of one field of a source; past it 413.
    max_field_bytes: ByteSize = "1MiB", "BYTES", |s: &ByteSize| within(s.0, 64, 1 << 30);
    /// Jobs that run or wait to run; past it 429.
    max_open_jobs: u64 = "100", "N", |n: &u64| within(*n, 1, 100_000);
    /// Open WebSockets; past it 503.
    max_sockets: u64 = "20000", "N", |n: &u64| within(*n, 1, 10_000_000);
    /// Messages a second that one WebSocket may send, twice as many at once; past it `RATE_LIMITED`; 0 is no limit.
    max_message_rate: u32 = "50", "N", |n: &u32| within(u64::from(*n), 0, 1_000_000);
    /// Open HTTP connections, WebSockets not counted; past it 503.
    max_http_connections: u64 = "4096", "N", |n: &u64| within(*n, 1, 1_000_000);
    /// Downloads and uploads at one time; past it 503.
    max_transfers: u64 = "64", "N", |n: &u64| within(*n, 1, 10_000);
    /// How long a request may take to answer, uploads and downloads apart; past it 503.
    request_timeout: Seconds = "30s", "TIME", |t: &Seconds| within(t.0.as_millis() as u64, 10, 3_600_000);
    /// How long an upload or a download may stand still; past it 408, or the connection is closed.
    transfer_idle_timeout: Seconds = "30s", "TIME", |t: &Seconds| within(t.0.as_millis() as u64, 10, 3_600_000);
    /// How long a client may take to send a request's headers.
    header_timeout: Seconds = "15s", "TIME", |t: &Seconds| within(t.0.as_millis() as u64, 10, 3_600_000);
    /// Lets tests make an actor panic from outside.
    enable_test_hooks: bool = "false", "BOOL", any, hook;
}

/// A number of worker threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Workers(pub usize);

impl std::str::FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(std::thread::available_parallelism().map_or(1, usize::from)));
        }
        text.parse().map(Self).map_err(|_| "expected a whole number, or auto".into())
    }
}

/// A value that may be absent: empty text is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Optional<T>(pub Option<T>);

impl<T: std::str::FromStr> std::str::FromStr for Optional<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|value| Self(Some(value))) }
    }
}

/// Words separated by commas.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct List(pub Vec<String>);

impl std::str::FromStr for List {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()))
    }
}

type Checked = Result<(), String>;

fn any<T>(_: &T) -> Checked {
    Ok(())
}

fn not_empty(path: &Path) -> Checked {
    if path.as_os_str().is_empty() { Err("must not be empty".into()) } else { Ok(()) }
}

fn within(value: u64, low: u64, high: u64) -> Checked {
    if (low..=high).contains(&value) { Ok(()) } else { Err(format!("must be from {low} to {high}")) }
}
