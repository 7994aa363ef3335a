//! What the HTTP layer needs to know from outside: where to listen, who may come, and its limits.
//!
//! Leaves reading settings to `config`. Easy to get wrong: a limit without its setting's name; callers are told the
//! name, so that they know which one to raise.
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Everything that `http` is told at start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to bind; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Uploads live in the folder `uploads` of this one.
    pub data_dir: PathBuf,
    /// Names that `Host` may have besides the loopback names.
    pub allowed_hosts: Vec<String>,
    /// Origins that may come besides the server's own.
    pub allowed_origins: Vec<String>,
    /// See [`Limits`].
    pub limits: Limits,
    /// Adds `POST /api/test/panic`.
    pub test_hooks: bool,
}

/// Bounds of the HTTP layer. Each field is the setting of the same name.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one uploaded file; past it 413.
    pub max_upload_bytes: u64,
    /// Bytes of any other request body; past it 413.
    pub max_body_bytes: u64,
    /// Rows of one source; past it 413.
    pub max_rows: u64,
    /// Columns of one source; past it 413.
    pub max_columns: u64,
    /// Bytes of one field of a source; past it 413.
    pub max_field_bytes: u64,
    /// Jobs that run or wait to run; past it 429.
    pub max_open_jobs: u64,
    /// Open WebSockets; past it 503.
    pub max_sockets: u64,
    /// Open HTTP connections, WebSockets not counted; past it 503.
    pub max_http_connections: u64,
    /// The same of one address; past it 503.
    pub connections_per_address: u64,
    /// Addresses that have no such share.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Uploads and downloads at one time; past it 503.
    pub max_transfers: u64,
    /// Bytes that a transfer must move in each `transfer_window`; past it 408, or the download breaks off.
    pub transfer_least_bytes: u64,
    /// Time over which they are counted.
    pub transfer_window: Duration,
    /// Bytes of long answers that wait to be read; past it 503.
    pub answer_budget: u64,
    /// Time to answer, uploads and downloads apart; past it 503.
    pub request_timeout: Duration,
    /// Standstill of an upload or a download; past it 408, or the connection is closed.
    pub transfer_idle_timeout: Duration,
    /// Time to send a request's headers; past it the connection is closed.
    pub header_timeout: Duration,
}
