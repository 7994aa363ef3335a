//! `tieout serve`: start, say so, wait for a signal or the failure of a vital actor, stop.
//!
//! Leaves what is started to `app`. Easy to get wrong: a second signal means "now", whatever is still draining.
use crate::{
    app::App,
    cli::output::{complain, say},
    config::{Config, Overrides, Token, close_to_others, only_for_this_user},
    telemetry,
};
use std::{net::SocketAddr, process::ExitCode, time::Duration};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The settings given on the command line.
#[derive(clap::Args, Debug)]
pub struct ServeArgs {
    /// Any of them.
    #[command(flatten)]
    pub settings: Overrides,
}

/// For threads that are still at work when all that was to be stopped was stopped or cut off.
const LEFT_OVER: Duration = Duration::from_secs(1);

/// A vital actor used up its restarts.
const FAILED: u8 = 3;
/// The store did not close in time.
const NOT_CLOSED: u8 = 4;

/// Serves until a signal arrives. 0 after an orderly end, 1 when the server could not start, 2 for bad settings,
/// 3 when a vital actor used up its restarts (after the same orderly end), 4 when the store did not close in time.
pub fn run(arguments: &ServeArgs) -> ExitCode {
    only_for_this_user();
    let config = match Config::load(&arguments.settings) {
        Ok(config) => config,
        Err(error) => return fail(2, &error),
    };
    telemetry::start_log(config.log.into());
    if let Err(error) = close_to_others(&config.data_dir) {
        log::warn!("the data directory is not closed to other users: {error}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.workers.0)
        .thread_name("tieout-worker")
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(serve(config));
            // All that ends was waited for; a migration on a server that stopped answering does not.
            runtime.shutdown_timeout(LEFT_OVER);
            code
        }
        Err(error) => fail(1, &format_args!("cannot start {} worker threads: {error}", config.workers.0)),
    }
}

async fn serve(config: Config) -> ExitCode {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(1, &format_args!("cannot listen for signals: {error}")),
    };
    let data_dir = config.data_dir.clone();
    let app = match App::start(config).await {
        Ok(app) => app,
        Err(error) => return fail(1, &error),
    };
    // Nobody may be there to read it; the server is there all the same.
    let _read = say(&banner(app.address(), &data_dir.display().to_string(), app.token()), ExitCode::SUCCESS);
    let code = tokio::select! {
        name = signals.next() => {
            log::info!("stopping signal={name}");
            ExitCode::SUCCESS
        }
        failure = app.failed() => {
            log::error!("stopping: an actor used up its restarts actor={} cause={}", failure.name, failure.cause);
            ExitCode::from(FAILED)
        }
    };
    tokio::select! {
        stopped = app.stop() => {
            log::info!("stopped clean={}", stopped.clean);
            if stopped.store_closed { code } else { ExitCode::from(NOT_CLOSED) }
        }
        name = signals.next() => {
            log::warn!("stopped at once by a second signal signal={name}");
            std::process::exit(130);
        }
    }
}

/// SIGTERM, SIGINT and SIGHUP, which a terminal sends when it closes.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// None where whoever started the process had it ignored, as `nohup` does.
    hang_up: Option<Signal>,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let hang_up = if is_hang_up_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())?, hang_up })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = Self::hung_up(&mut self.hang_up) => "SIGHUP",
        }
    }

    async fn hung_up(signal: &mut Option<Signal>) {
        match signal {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
}

/// Whether SIGHUP is ignored; a handler of ours would undo that. Where the system does not say, it is not.
fn is_hang_up_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Bit N - 1 is signal N, and SIGHUP is 1.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

fn banner(address: SocketAddr, data_dir: &str, token: &Token) -> String {
    let reachable =
        if address.ip().is_unspecified() { format!("127.0.0.1:{}", address.port()) } else { address.to_string() };
    let header = if token.text().is_some() { " -H \"Authorization: Bearer $TIEOUT_TOKEN\"" } else { "" };
    let mut text =
        format!("Tieout {} listens on http://{address}\n  data directory  {data_dir}\n", env!("CARGO_PKG_VERSION"));
    if let Token::Fresh { text: token, kept } = token {
        text += &format!("  token           {token}\n");
        text += &match kept {
            Some(path) => format!("                  shown this once, kept in {}\n", path.display()),
            None => "                  shown this once and not kept: the data directory can't be written\n".into(),
        };
    }
    text += &format!(
        "\nTry next:\n  open http://{reachable}/ and drop two CSV files\n  curl{header} http://{reachable}/api/v1/projects\n  \
         tieout reconcile LEFT.csv RIGHT.csv --out result\n\n"
    );
    text
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    complain(&format!("tieout: {error}"));
    ExitCode::from(code)
}
