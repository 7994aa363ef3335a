//! The composition root: what is started in which order, and stopped in the reverse order under one deadline.
//!
//! Leaves every part to itself. Easy to get wrong: a part that is not stopped here is a leak at shutdown; whatever
//! `start` makes, `stop` ends, and says so when it does not end in time.
use crate::actors::hub::Realtime;
use crate::actors::janitor::Janitor;
use crate::actors::jobs::{Jobs, JobsError};
use crate::actors::meter::Meter;
use crate::actors::{hub, janitor, jobs, rooms};
use crate::cluster::Relay;
use crate::config::{Config, RealtimeMode, Secret, SigningKeys, Token, TokenError};
use crate::db::Store;
use crate::http::{
    AppState, Auth, BadKey, Bound, Jwt, JwtOptions, Limits, Options, PAGES_AT_ONCE, Parts, Places, Server, Streams,
    Tickets,
};
use crate::reconcile::ReadLimits;
use crate::runtime::{Runtime, RuntimeFailure};
use crate::{cluster, db, runtime, telemetry};
use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, time::timeout_at};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How often recorded metrics are folded when nobody reads them.
const METRICS_FOLD: Duration = Duration::from_secs(10);

/// Why the process can't come up. An absent database is not among them.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can't be bound.
    #[error("cannot listen on {address}: {source}{}", hint(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
    /// The token file can't be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A key of signed tokens can't be used.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// The live part can't be started.
    #[error("cannot start the live part: {0}")]
    Realtime(#[from] hub::RealtimeError),
    /// The way to the other replicas can't ever work.
    #[error("cannot start the relay: {0}")]
    Relay(#[from] cluster::StartError),
    /// The store's options make no sense.
    #[error("cannot start the store: {0}")]
    Store(#[from] db::StartError),
    /// The actor thread can't be started.
    #[error("cannot start the actor thread: {0}")]
    Runtime(io::Error),
    /// An actor did not start.
    #[error("cannot start an actor: {0}")]
    Actor(#[from] runtime::StartError),
    /// The job dispatcher did not start.
    #[error(transparent)]
    Jobs(#[from] JobsError),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (another process has it; pick another with --listen)",
        io::ErrorKind::PermissionDenied => " (ports below 1024 need a privilege; pick another with --listen)",
        io::ErrorKind::AddrNotAvailable => " (no network interface of this machine has it)",
        _ => "",
    }
}

/// A running server.
pub struct App {
    address: SocketAddr,
    token: Token,
    state: AppState,
    server: Server,
    janitor: Janitor,
    shutdown_timeout: Duration,
}

impl App {
    /// Starts everything: address, store, actors, HTTP. Must be called on a multi-thread tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`]. A database that is away is no error: the server says so in `/api/ready` and retries.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let relay = Relay::start(&config.relay()?)?;
        Self::start_on(config, relay).await
    }

    /// As [`App::start`], as one of the replicas on this relay.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn start_on(config: Config, relay: Relay) -> Result<Self, StartError> {
        telemetry::start_metrics();
        let bound =
            Bound::new(config.listen).map_err(|source| StartError::Listen { address: config.listen, source })?;
        let address = bound.address();
        let token = Token::find(&config)?;
        let signed = Jwt::new(&jwt_options(&config)?)?;
        let auth = Auth::new(address, token.text(), &config.allowed_hosts.0, &config.allowed_origins.0).signed(signed);
        let store = Store::start(store_options(&config)?)?;
        let (builder, meter) = Meter::attach(Runtime::builder().name("tieout"));
        let runtime = builder.start().map_err(StartError::Runtime)?;
        Meter::start(&runtime).await?;
        let wakeups = db::postgres::wakeups::start(&store, relay.replica().as_str());
        let live = hub::Options { wakeups, ..realtime_options(&config, relay) };
        let realtime = Realtime::start(mode(config.realtime), &runtime, store.clone(), live).await?;
        let data_dir = &config.data_dir;
        let jobs = Jobs::start(&runtime, store.clone(), realtime.clone(), data_dir, job_limits(&config)).await?;
        let janitor = Janitor::start(&runtime, store.clone(), data_dir, janitor_options(&config)).await?;
        let state = AppState::new(Parts {
            auth: Arc::new(auth),
            tickets: Arc::new(Tickets::new(
                config.ticket_ttl.0,
                config.max_tickets as usize,
                realtime.replica().mark(),
            )),
            streams: Arc::new(Streams::new(realtime.replica().mark())),
            transfers: Places::new(config.max_transfers),
            answers: Places::new(config.answer_budget.0),
            pages: Arc::new(Semaphore::new(PAGES_AT_ONCE)),
            config: Arc::new(http_options(&config)),
            store,
            runtime,
            realtime,
            jobs,
            uploads: janitor.uploads(),
            meter,
            shutdown: CancellationToken::new(),
            tracker: TaskTracker::new(),
            started: Instant::now(),
        });
        state.tracker.spawn(fold_metrics(state.shutdown.clone()));
        let server = Server::start(bound, state.clone());
        Ok(Self { address, token, state, server, janitor, shutdown_timeout: config.shutdown_timeout.0 })
    }

    /// The address with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the token came from, for the banner.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// The handles that the handlers use; for tests inside the process.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// The janitor, to have it sweep now; for tests inside the process.
    pub fn janitor(&self) -> &Janitor {
        &self.janitor
    }

    /// Waits until an actor that the server can't do without has used up its restarts: the owner is to stop and end with an error.
    pub async fn failed(&self) -> RuntimeFailure {
        let mut failed = self.state.runtime.failed();
        match failed.wait_for(Option::is_some).await {
            Ok(Some(failure)) => failure,
            // The sender lives as long as the runtime, which `state` holds.
            _ => std::future::pending().await,
        }
    }

    /// Stops everything in the reverse order of `start`, within the configured time.
    pub async fn stop(self) -> Stopped {
        let deadline = tokio::time::Instant::now() + self.shutdown_timeout;
        let left = || deadline.saturating_duration_since(tokio::time::Instant::now());
        // Running jobs keep their leases until they are put back, behind the requests that may ask for them.
        self.state.jobs.claim_nothing();
        // From here on `/api/ready` says draining and no socket is opened.
        self.state.shutdown.cancel();
        let sockets = self.state.realtime.drain(left() / 2).await;
        if sockets > 0 {
            log::warn!("sockets were still open at the deadline count={sockets}");
        }
        let cut_off = self.server.stop(left() / 2).await;
        if cut_off > 0 {
            log::warn!("connections were cut off at the deadline count={cut_off}");
        }
        self.state.tracker.close();
        let mut tasks_ended = tokio::time::timeout(left() / 3, self.state.tracker.wait()).await.is_ok();
        if !tasks_ended {
            // What a database that stopped answering holds up ends with this; what comes below needs the database, too.
            log::warn!("calls of the store are given up: tasks wait for it still count={}", self.state.tracker.len());
            self.state.store.reopen();
            tasks_ended = tokio::time::timeout(left() / 3, self.state.tracker.wait()).await.is_ok();
        }
        if !tasks_ended {
            log::error!("tasks did not end in time count={}", self.state.tracker.len());
        }
        let jobs_ended = self.state.jobs.stop(left()).await;
        self.state.realtime.leave().await;
        if timeout_at(deadline, self.janitor.stop()).await.is_err() {
            log::error!("the janitor did not end in time");
        }
        let report = self.state.runtime.shutdown(left()).await;
        if !report.clean() {
            log::error!("actors did not end in time actors={:?} threads={:?}", report.timed_out, report.leaked_threads);
        }
        let store_closed = timeout_at(deadline, self.state.store.stop_within(left() / 2)).await.is_ok();
        if !store_closed {
            log::error!("the store did not close in time");
        }
        let clean = store_closed && tasks_ended && jobs_ended && sockets == 0 && cut_off == 0 && report.clean();
        Stopped { clean, store_closed }
    }
}

/// How a stop went.
#[derive(Debug, Clone, Copy)]
pub struct Stopped {
    /// All ended by itself.
    pub clean: bool,
    /// The store was closed. When it was not, what its last calls did is not known.
    pub store_closed: bool,
}

/// The database file inside the data directory.
const DATABASE: &str = "tieout.sqlite";

/// Where the settings say that the store is, and its bounds.
///
/// # Errors
/// [`StartError`] of a file or an address that cannot be used.
pub fn store_options(config: &Config) -> Result<db::Options, StartError> {
    let url = Secret::find(&config.database_url, &config.database_url_file)?;
    let defaults = match url {
        None => db::Options::sqlite(config.data_dir.join(DATABASE)),
        Some(url) => {
            let address = url.reveal().parse().map_err(db::StartError::BadAddress)?;
            let (connections, statement_timeout) = (config.database_connections, config.database_statement_timeout.0);
            db::Options { connections, statement_timeout, ..db::Options::postgres(address) }
        }
    };
    Ok(db::Options { open_jobs: config.max_open_jobs, migrate: config.auto_migrate, ..defaults })
}

fn mode(mode: RealtimeMode) -> hub::Mode {
    match mode {
        RealtimeMode::On => hub::Mode::On,
        RealtimeMode::Lazy => hub::Mode::Lazy,
        RealtimeMode::Off => hub::Mode::Off,
    }
}

fn jwt_options(config: &Config) -> Result<JwtOptions, TokenError> {
    let SigningKeys { secret, public_key } = SigningKeys::read(config)?;
    Ok(JwtOptions {
        secret,
        public_key,
        issuer: config.jwt_issuer.0.clone(),
        audience: config.jwt_audience.0.clone(),
        leeway: config.jwt_leeway.0,
    })
}

fn realtime_options(config: &Config, relay: Relay) -> hub::Options {
    let burst = match config.max_message_burst {
        0 => config.max_message_rate.saturating_mul(2),
        burst => burst,
    };
    let limits = rooms::Limits {
        sockets: config.max_sockets as usize,
        rooms_per_connection: config.rooms_per_connection as usize,
        inbound_rate: config.max_message_rate,
        inbound_burst: burst,
        inbound_bytes: config.inbound_bytes.0 as usize,
        unauthenticated_bytes: config.unauthenticated_bytes.0 as usize,
        queue_bytes: config.queue_bytes.0 as usize,
        queue_frames: config.queue_frames as usize,
        queue_budget: config.queue_budget.0 as usize,
        auth_within: config.auth_within.0,
        auth_warning: config.auth_warning.0,
        auth_grace: config.auth_grace.0,
        ping_every: config.ping_every.0,
        pong_within: config.pong_within.0,
        no_progress: config.slow_no_progress.0,
        full_for: config.slow_full_for.0,
        claim_ttl: config.claim_ttl.0,
        claims_per_project: config.claims_per_project as usize,
        connections_per_user: config.connections_per_user as usize,
        pending_requests: config.pending_requests,
        outbound_bytes: config.outbound_bytes.0 as usize,
        ring_frames: config.ring_frames as usize,
        ring_bytes: config.ring_bytes.0 as usize,
        ring_age: config.ring_age.0,
        room_kept: config.room_kept.0,
        progress_every: config.progress_every.0,
        presence: rooms::PresenceLimits {
            every: config.presence_every.0,
            every_large: config.presence_every_large.0,
            large: config.presence_large as usize,
            listed: config.presence_listed as usize,
            sample: config.presence_sample as usize,
            linger: config.presence_leave.0,
        },
        drain_window: config.drain_window.0,
        drain_per_second: config.drain_per_second,
        gather: config.gather.0,
    };
    hub::Options { threads: config.socket_threads.0, limits, relay, ..hub::Options::default() }
}

fn job_limits(config: &Config) -> jobs::Limits {
    let read = ReadLimits {
        max_columns: config.max_columns as usize,
        max_rows: config.max_rows as usize,
        max_field_bytes: config.max_field_bytes.0 as usize,
    };
    jobs::Limits { lease: config.job_lease.0, read, ..jobs::Limits::default() }
}

fn janitor_options(config: &Config) -> janitor::Options {
    janitor::Options {
        events_per_project: config.events_per_project,
        event_age: config.event_age.0,
        key_age: config.idempotency_key_age.0,
        trash_age: config.trash_age.0,
        ..janitor::Options::default()
    }
}

fn http_options(config: &Config) -> Options {
    Options {
        listen: config.listen,
        data_dir: config.data_dir.clone(),
        allowed_hosts: config.allowed_hosts.0.clone(),
        allowed_origins: config.allowed_origins.0.clone(),
        test_hooks: config.enable_test_hooks,
        limits: Limits {
            max_upload_bytes: config.max_upload_bytes.0,
            max_body_bytes: config.max_body_bytes.0,
            max_rows: config.max_rows,
            max_columns: config.max_columns,
            max_field_bytes: config.max_field_bytes.0,
            max_open_jobs: config.max_open_jobs,
            max_sockets: config.max_sockets,
            max_http_connections: config.max_http_connections,
            connections_per_address: match config.connections_per_address {
                0 => config.max_http_connections.div_ceil(2),
                share => share,
            },
            trusted_proxies: config.trusted_proxies.0.clone(),
            max_transfers: config.max_transfers,
            transfer_least_bytes: config.transfer_least_bytes.0,
            transfer_window: config.transfer_window.0,
            answer_budget: config.answer_budget.0,
            request_timeout: config.request_timeout.0,
            transfer_idle_timeout: config.transfer_idle_timeout.0,
            header_timeout: config.header_timeout.0,
        },
    }
}

async fn fold_metrics(shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(METRICS_FOLD);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        telemetry::fold_metrics();
    }
}
