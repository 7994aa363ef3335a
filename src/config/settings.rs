//! The list of settings, one entry each: field, type, default, check, and the sentence that `--help` shows.
//!
//! Leaves reading the four places a value may come from to `sources`. Easy to get wrong: the flag and the variable
//! are made from the field's name (`max_rows`: `--max-rows`, `TIEOUT_MAX_ROWS`, `max_rows = …` in the file), so
//! renaming a field here renames a public setting.
use super::{
    secret::Secret,
    sources::{ConfigError, Sources},
    values::{ByteSize, LogLevel, Networks, RealtimeMode, Seconds},
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
    /// The heading it stands under in the help and in docs/LIMITS.md.
    pub group: &'static str,
}

macro_rules! settings {
    ($( $group:literal { $( $(#[doc = $doc:literal])+ $name:ident : $type:ty = $default:literal, $value:literal, $check:expr $(, $flag:ident)? ; )+ } )+) => {
        /// The settings in force, each checked.
        #[derive(Clone, Debug)]
        pub struct Config { $( $( $(#[doc = $doc])+ pub $name: $type, )+ )+ }

        /// Every setting in the order in which the help shows them.
        pub const SETTINGS: &[Setting] = &[ $( $( Setting {
            name: stringify!($name),
            value: $value,
            default: $default,
            doc: concat!($($doc),+),
            switch: settings!(@is switch $($flag)?),
            hidden: settings!(@is hidden $($flag)?),
            group: $group,
        } ),+ ),+ ];

        impl Config {
            /// Takes each setting from where it is given first.
            ///
            /// # Errors
            /// The first value that can't be read or is out of bounds, with the setting's name and where it came
            /// from.
            pub(super) fn from_sources(sources: &Sources<'_>) -> Result<Self, ConfigError> {
                Ok(Self { $( $( $name: sources.take(stringify!($name), $default, $check)?, )+ )+ })
            }
        }
    };
    (@is switch switch) => { true };
    (@is switch hook) => { true };
    (@is hidden hook) => { true };
    (@is $kind:ident $($flag:ident)?) => { false };
}

settings! {
    "Server" {
        /// Address and port to serve on. A bearer token is required on any address but loopback.
        listen: SocketAddr = "127.0.0.1:2000", "ADDR:PORT", any;
        /// Folder of the database, the uploads and the generated token; created when missing.
        data_dir: PathBuf = "./tieout-data", "DIR", |path: &PathBuf| not_empty(path);
        /// Threads that serve requests; `auto` is one per processor.
        workers: Threads<1> = "auto", "N", |t: &Threads<1>| within(t.0 as u64, 1, 1024);
        /// Threads that read and write live connections; `auto` is one per two processors.
        socket_threads: Threads<2> = "auto", "N", |t: &Threads<2>| within(t.0 as u64, 1, 1024);
        /// When live updates start: `on` with the process, `lazy` with the first client, `off` never.
        realtime: RealtimeMode = "on", "MODE", any;
        /// The least severe log line to write: off, error, warn, info, debug or trace.
        log: LogLevel = "info", "LEVEL", any;
        /// How long a shutdown may take; parts that are still running then are aborted and named in the log.
        shutdown_timeout: Seconds = "30s", "TIME", |t: &Seconds| within(t.0.as_secs(), 1, 3600);
        /// Lets tests make an actor panic from outside.
        enable_test_hooks: bool = "false", "BOOL", any, hook;
    }
    "Stores and replicas" {
        /// Address of a PostgreSQL that replicas share,
        /// `postgres://user:password@host/db?sslmode=verify-full&sslrootcert=FILE`; without it, the store is a
        /// SQLite file in `data_dir`. Prefer the environment or a file: every user of the machine can see a flag.
        database_url: Optional<Secret> = "", "URL", any;
        /// File that holds that address.
        database_url_file: Optional<PathBuf> = "", "FILE", any;
        /// Connections of this process to PostgreSQL, besides a few for rows in bulk; a request that waits 2 s for
        /// one gets 503.
        database_connections: u32 = "10", "N", |n: &u32| within(u64::from(*n), 1, 1_000);
        /// Time limit of one PostgreSQL statement; above it, the request gets 503. Keep it below `request_timeout`,
        /// so that the response names the cause.
        database_statement_timeout: Seconds = "20s", "TIME", |t: &Seconds| time(t, 100, HOUR);
        /// Number of newest events that are kept per project; a client that has missed older ones starts from a
        /// snapshot.
        events_per_project: u64 = "100000", "N", |n: &u64| within(*n, 1, 1 << 40);
        /// How long an event is kept; older ones as under `events_per_project`.
        event_age: Seconds = "7d", "TIME", |t: &Seconds| time(t, 1_000, YEAR);
        /// How long the response to a request with an `Idempotency-Key` is kept; after that, a repeated request is
        /// executed again.
        idempotency_key_age: Seconds = "24h", "TIME", |t: &Seconds| time(t, 1_000, YEAR);
        /// How long a file without a source stays in `uploads/.trash` before it is removed for good.
        trash_age: Seconds = "7d", "TIME", |t: &Seconds| time(t, 0, YEAR);
        /// Migrate an older schema at the start; otherwise the server refuses it until `tieout migrate up` was run.
        auto_migrate: bool = "true", "BOOL", any;
        /// Address of a Redis through which replicas reach each other, `redis://:password@host:port` or, for TLS,
        /// `rediss://…?sslrootcert=FILE`; several, separated by commas, are nodes of one cluster; without it, this
        /// process is the only replica. Prefer the environment or a file.
        redis_url: Optional<Secret> = "", "URL,…", any;
        /// File that holds that address.
        redis_url_file: Optional<PathBuf> = "", "FILE", any;
        /// Prefix of this installation's channels in Redis: the same for all of its replicas, and for no other
        /// installation.
        relay_prefix: String = "tieout", "NAME", |name: &String| plain(name);
        /// Name of this process in logs and among replicas; random by default.
        replica: Optional<String> = "", "NAME", |name: &Optional<String>| name.0.as_ref().map_or(Ok(()), |name| plain(name));
    }
    "Access" {
        /// File that holds the owner's bearer token. With one, the token is required on loopback too.
        token_file: Optional<PathBuf> = "", "FILE", any;
        /// File with the shared secret of signed tokens (JWT, HS256), at least 32 bytes.
        jwt_secret_file: Optional<PathBuf> = "", "FILE", any;
        /// File with the public key of signed tokens (JWT) in PEM: RSA for RS256, Ed25519 for EdDSA.
        jwt_public_key_file: Optional<PathBuf> = "", "FILE", any;
        /// Required `iss` of signed tokens.
        jwt_issuer: Optional<String> = "", "TEXT", any;
        /// Audience that `aud` of signed tokens must contain.
        jwt_audience: Optional<String> = "", "TEXT", any;
        /// Allowed difference between the clocks of this server and of the issuer of tokens.
        jwt_leeway: Seconds = "5s", "TIME", |t: &Seconds| within(t.0.as_secs(), 0, 300);
        /// Additional names that `Host` may have, with or without a port, separated by commas.
        allowed_hosts: List = "", "HOST,…", any;
        /// Additional origins whose pages may use this server, such as `https://tieout.example`, separated by commas.
        allowed_origins: List = "", "ORIGIN,…", any;
    }
    "Limits of requests" {
        /// Bytes of one uploaded file; above it: 413.
        max_upload_bytes: ByteSize = "2GiB", "BYTES", |s: &ByteSize| within(s.0, 1024, 1 << 40);
        /// Bytes of any other request body; above it: 413.
        max_body_bytes: ByteSize = "1MiB", "BYTES", |s: &ByteSize| within(s.0, 1024, 1 << 30);
        /// Rows of one source; above it: 413.
        max_rows: u64 = "10000000", "N", |n: &u64| within(*n, 1, 1 << 32);
        /// Columns of one source; above it: 413.
        max_columns: u64 = "512", "N", |n: &u64| within(*n, 1, 65_536);
        /// Bytes of one field of a source; above it: 413.
        max_field_bytes: ByteSize = "1MiB", "BYTES", |s: &ByteSize| within(s.0, 64, 1 << 30);
        /// Running and queued jobs of the whole installation; above it: 503.
        max_open_jobs: u64 = "100", "N", |n: &u64| within(*n, 1, 100_000);
        /// How long a replica may be silent before another one takes over its running jobs.
        job_lease: Seconds = "15s", "TIME", |t: &Seconds| time(t, 500, HOUR);
        /// Open HTTP connections, without WebSockets; above it: 503.
        max_http_connections: u64 = "4096", "N", |n: &u64| within(*n, 1, 1_000_000);
        /// Open HTTP connections of one address; above it: 503; 0 is half of `max_http_connections`.
        connections_per_address: u64 = "0", "N", |n: &u64| within(*n, 0, 1_000_000);
        /// Addresses and networks of proxies, separated by commas: one of them stands for many clients, so the
        /// limits per address do not hold for it.
        trusted_proxies: Networks = "127.0.0.1,::1", "NET,…", any;
        /// Concurrent downloads and uploads; above it: 503. One user or one address may have half of them; above
        /// that: 429.
        max_transfers: u64 = "64", "N", |n: &u64| within(*n, 1, 10_000);
        /// Bytes that an upload or a download must move in each `transfer_window`; a slower one ends as under
        /// `transfer_idle_timeout`; 0 is no limit.
        transfer_least_bytes: ByteSize = "60KiB", "BYTES", |s: &ByteSize| within(s.0, 0, 1 << 30);
        /// Time spent waiting for the client over which those bytes are counted.
        transfer_window: Seconds = "60s", "TIME", |t: &Seconds| time(t, 10, HOUR);
        /// Bytes of responses of 64 KiB and more that wait to be read by their clients; above it: 503. One user or
        /// one address may have half, one connection an eighth.
        answer_budget: ByteSize = "128MiB", "BYTES", |s: &ByteSize| within(s.0, 1 << 20, 1 << 40);
        /// Time limit of a request, except uploads and downloads; above it: 503.
        request_timeout: Seconds = "30s", "TIME", |t: &Seconds| time(t, 10, HOUR);
        /// How long an upload or a download may make no progress; then 408, or the connection is closed.
        transfer_idle_timeout: Seconds = "30s", "TIME", |t: &Seconds| time(t, 10, HOUR);
        /// Time limit for the headers of a request.
        header_timeout: Seconds = "15s", "TIME", |t: &Seconds| time(t, 10, HOUR);
    }
    "Limits of live connections" {
        /// Open WebSockets and event streams; above it: 503.
        max_sockets: u64 = "20000", "N", |n: &u64| within(*n, 1, 10_000_000);
        /// Live connections of one user, except the owner; above it: 503, or 4409 after `Auth`.
        connections_per_user: u64 = "20", "N", |n: &u64| within(*n, 1, 1_000_000);
        /// Unanswered requests of one connection; above it: `LIMIT_EXCEEDED`.
        pending_requests: u32 = "256", "N", |n: &u32| within(u64::from(*n), 1, 1_000_000);
        /// Projects that one connection may join; above it: `LIMIT_EXCEEDED`.
        rooms_per_connection: u64 = "128", "N", |n: &u64| within(*n, 1, 65_536);
        /// Messages per second of one connection; above it: `RATE_LIMITED`; 0 is no limit.
        max_message_rate: u32 = "50", "N", |n: &u32| within(u64::from(*n), 0, 1_000_000);
        /// Messages that one connection may send at once; 0 is twice the rate.
        max_message_burst: u32 = "0", "N", |n: &u32| within(u64::from(*n), 0, 10_000_000);
        /// Bytes of one message from a client; above it, the connection is closed with 4413.
        inbound_bytes: ByteSize = "64KiB", "BYTES", |s: &ByteSize| within(s.0, 1024, 16 << 20);
        /// Bytes of one message from a client that has not authenticated; above it: 4413.
        unauthenticated_bytes: ByteSize = "4KiB", "BYTES", |s: &ByteSize| within(s.0, 256, 1 << 20);
        /// Bytes queued for one connection; above it, frames of a room are discarded and `ResyncRequired` is sent.
        queue_bytes: ByteSize = "1MiB", "BYTES", |s: &ByteSize| within(s.0, 4096, 1 << 30);
        /// Frames queued for one connection; above it as under `queue_bytes`.
        queue_frames: u64 = "1024", "N", |n: &u64| within(*n, 8, 1_000_000);
        /// Bytes queued for all connections together; above it as under `queue_bytes`.
        queue_budget: ByteSize = "256MiB", "BYTES", |s: &ByteSize| within(s.0, 64 << 10, 1 << 40);
        /// How long a client may read nothing while frames wait for it; then the connection is closed with 4508.
        slow_no_progress: Seconds = "5s", "TIME", |t: &Seconds| time(t, 100, HOUR);
        /// How long the queue of a connection may stay full; then 4508.
        slow_full_for: Seconds = "10s", "TIME", |t: &Seconds| time(t, 100, HOUR);
        /// Time limit for the first `Auth` of a client; then 4408.
        auth_within: Seconds = "10s", "TIME", |t: &Seconds| time(t, 100, HOUR);
        /// How long before the expiry of a token `AuthExpiring` is sent.
        auth_warning: Seconds = "60s", "TIME", |t: &Seconds| time(t, 0, HOUR);
        /// How long after the expiry of a token its connection is closed with 4401.
        auth_grace: Seconds = "25s", "TIME", |t: &Seconds| time(t, 0, HOUR);
        /// Lifetime of a ticket.
        ticket_ttl: Seconds = "30s", "TIME", |t: &Seconds| time(t, 100, HOUR);
        /// Unused, unexpired tickets; above it: 503.
        max_tickets: u64 = "10000", "N", |n: &u64| within(*n, 1, 10_000_000);
        /// Time between pings of a WebSocket.
        ping_every: Seconds = "25s", "TIME", |t: &Seconds| time(t, 100, HOUR);
        /// How long a client may stay silent after a ping; then 4504.
        pong_within: Seconds = "10s", "TIME", |t: &Seconds| time(t, 100, HOUR);
        /// Lifetime of a claim that is not renewed.
        claim_ttl: Seconds = "60s", "TIME", |t: &Seconds| time(t, 100, 24 * HOUR);
        /// Active claims of one project; above it: 429, over a live connection `LIMIT_EXCEEDED`.
        claims_per_project: u64 = "10000", "N", |n: &u64| within(*n, 1, 10_000_000);
    }
    "Limits of rooms" {
        /// Bytes of one event as sent; a longer one carries the URL of its entity instead of its data.
        outbound_bytes: ByteSize = "256KiB", "BYTES", |s: &ByteSize| within(s.0, 1024, 64 << 20);
        /// Recent events that a room keeps for reconnecting clients; older ones are read from the store.
        ring_frames: u64 = "300", "N", |n: &u64| within(*n, 0, 1_000_000);
        /// Bytes of recent events that a room keeps.
        ring_bytes: ByteSize = "1MiB", "BYTES", |s: &ByteSize| within(s.0, 0, 1 << 30);
        /// How long a room keeps an event.
        ring_age: Seconds = "5m", "TIME", |t: &Seconds| time(t, 0, 24 * HOUR);
        /// How long an empty room is kept.
        room_kept: Seconds = "60s", "TIME", |t: &Seconds| time(t, 0, 24 * HOUR);
        /// Minimum time between two progress messages of one job.
        progress_every: Seconds = "250ms", "TIME", |t: &Seconds| time(t, 0, HOUR);
        /// Once frames for rooms come faster than this, what comes for live connections is gathered for as long; 0
        /// is never.
        gather: Seconds = "2ms", "TIME", |t: &Seconds| time(t, 0, 50);
        /// Time between two presence messages of a room.
        presence_every: Seconds = "250ms", "TIME", |t: &Seconds| time(t, 10, HOUR);
        /// The same in a room with more than `presence_large` connections.
        presence_every_large: Seconds = "1s", "TIME", |t: &Seconds| time(t, 10, HOUR);
        /// Number of connections above which `presence_every_large` applies.
        presence_large: u64 = "100", "N", |n: &u64| within(*n, 0, 10_000_000);
        /// Number of connections above which presence is a count and a sample.
        presence_listed: u64 = "1000", "N", |n: &u64| within(*n, 0, 10_000_000);
        /// Names in such a sample.
        presence_sample: u64 = "50", "N", |n: &u64| within(*n, 0, 10_000);
        /// How long a user who has left is still shown; one who returns within it is not reported as away.
        presence_leave: Seconds = "5s", "TIME", |t: &Seconds| time(t, 0, HOUR);
        /// Longest time over which a shutdown closes live connections; shorter when `shutdown_timeout` leaves less.
        drain_window: Seconds = "25s", "TIME", |t: &Seconds| time(t, 0, HOUR);
        /// Live connections that a shutdown closes per second, within `drain_window`.
        drain_per_second: u32 = "500", "N", |n: &u32| within(u64::from(*n), 1, 1_000_000);
    }
}

/// One hour in milliseconds.
const HOUR: u64 = 3_600_000;
/// One year.
const YEAR: u64 = 365 * 24 * HOUR;

/// A number of threads; `auto` is one for every `SHARE` processors, at least one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Threads<const SHARE: usize>(pub usize);

impl<const SHARE: usize> std::str::FromStr for Threads<SHARE> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            let processors = std::thread::available_parallelism().map_or(1, usize::from);
            return Ok(Self((processors / SHARE).max(1)));
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

/// A name that may be part of other names.
fn plain(name: &str) -> Checked {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(good) {
        Ok(())
    } else {
        Err("must be 1 to 64 letters, digits, `-`, `_` or `.`".into())
    }
}

/// Bounds of a time, in milliseconds.
fn time(time: &Seconds, low: u64, high: u64) -> Checked {
    match within(time.0.as_millis() as u64, low, high) {
        Ok(()) => Ok(()),
        Err(_) => Err(format!("must be from {low} ms to {high} ms")),
    }
}

fn within(value: u64, low: u64, high: u64) -> Checked {
    if (low..=high).contains(&value) { Ok(()) } else { Err(format!("must be from {low} to {high}")) }
}
