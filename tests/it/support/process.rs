//! The real binary as a child process on a free loopback port: start, kill -9, SIGTERM, start again on the same data.
//! Leaves requests to `http` and `socket`. Easy to get wrong: a child that outlives its test; drop ends it, and the kernel
//! does when the test itself is killed.
use std::{
    cell::RefCell,
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{Api, LONG, Socket, eventually};

/// The setting that names a PostgreSQL.
const DATABASE_URL: &str = "TIEOUT_DATABASE_URL";

/// What differs from a plain `tieout serve --listen 127.0.0.1:FREE --data-dir TEMP`.
#[derive(Default, Clone)]
pub(crate) struct Options {
    args: Vec<String>,
    env: Vec<(String, String)>,
    data: Option<PathBuf>,
    everywhere: bool,
}

impl Options {
    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Options {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn env(mut self, key: &str, value: impl ToString) -> Options {
        self.env.push((key.into(), value.to_string()));
        self
    }

    /// A data directory of the caller's choice, instead of a fresh one inside the server's temporary folder.
    pub(crate) fn data(mut self, path: impl Into<PathBuf>) -> Options {
        self.data = Some(path.into());
        self
    }

    /// A SQLite file, whatever engine the tests are run on: for what only a file can do.
    pub(crate) fn sqlite(self) -> Options {
        self.env(DATABASE_URL, "")
    }

    /// The database of the engine that the tests are run on, unless the caller chose one.
    fn url(&self) -> Option<String> {
        if self.env.iter().any(|(name, _)| name == DATABASE_URL) { None } else { super::database_url() }
    }

    /// Listens on every address: what a token is required for. Tests still talk to it over loopback.
    pub(crate) fn everywhere(mut self) -> Options {
        self.everywhere = true;
        self
    }

    /// The test hooks, off in the product, let a test make an actor panic from outside.
    pub(crate) fn hooks(self) -> Options {
        self.env(HOOKS, "1")
    }
}

/// A running (or killed, or exited) server.
pub(crate) struct Server {
    home: TempDir,
    data: PathBuf,
    options: Options,
    pub addr: SocketAddr,
    child: RefCell<Option<Child>>,
    starts: usize,
}

impl Server {
    /// Starts the server and waits until it is ready for traffic.
    pub(crate) async fn start(options: Options) -> Server {
        let server = Server::launch(options);
        server.ready().await;
        server
    }

    /// Starts the server and waits for nothing.
    pub(crate) fn launch(options: Options) -> Server {
        let home = tempfile::tempdir().expect("a temporary folder");
        let mut options = options;
        if let Some(url) = options.url() {
            options = options.env(DATABASE_URL, url);
        }
        let data = options.data.clone().unwrap_or_else(|| home.path().join("data"));
        let mut server = Server { home, data, options, addr: free_address(), child: RefCell::new(None), starts: 0 };
        server.spawn();
        server
    }

    /// Starts the process again on the same address and data. It must not be running.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.get_mut().is_none(), "the server is already running");
        self.starts += 1;
        let log = File::create(self.log_path(self.starts)).expect("a log file");
        let host = if self.options.everywhere { "0.0.0.0" } else { "127.0.0.1" };
        let listen = format!("{host}:{}", self.addr.port());
        let mut command = Command::new(env!("CARGO_BIN_EXE_tieout"));
        command
            .arg("serve")
            .args(["--listen", &listen])
            .arg("--data-dir")
            .arg(&self.data)
            .args(&self.options.args)
            .env_remove("TIEOUT_TOKEN")
            .env("TIEOUT_LOG", "info")
            .envs(self.options.env.iter().map(|(k, v)| (k, v)))
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle of the log file"))
            .stderr(log);
        let parent = std::process::id();
        // SAFETY: between fork and exec only async-signal-safe calls are made: prctl, getppid, _exit.
        unsafe {
            command.pre_exec(move || {
                // The kernel kills the server when the thread that runs the test ends, however it ends.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if libc::getppid() as u32 != parent {
                    libc::_exit(1);
                }
                Ok(())
            });
        }
        *self.child.get_mut() = Some(command.spawn().expect("the tieout binary starts"));
    }

    /// Waits until `/api/ready` says 200.
    pub(crate) async fn ready(&self) {
        eventually(LONG, "the server to be ready", || async {
            if let Some(status) = self.ended() {
                panic!("the server ended with {status} before it was ready");
            }
            let answer = self.api().try_get("/api/ready").await?;
            if answer.status == 200 { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text)) }
        })
        .await;
    }

    pub(crate) fn api(&self) -> Api {
        Api::new(format!("http://{}", self.addr))
    }

    /// A WebSocket that is open and has said nothing yet.
    pub(crate) async fn socket(&self) -> Socket {
        Socket::open(self.addr).await
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.borrow().as_ref().expect("the server is running").id() as i32
    }

    /// SIGKILL, and waits for the kernel to take the process away.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("the server is running");
        child.kill().expect("a running child can be killed");
        child.wait().expect("a killed child is reaped");
    }

    /// SIGTERM; the caller waits for the exit.
    pub(crate) fn terminate(&self) {
        self.assert_running();
        // SAFETY: the pid is that of our own child, which has not been reaped.
        assert_eq!(unsafe { libc::kill(self.pid(), libc::SIGTERM) }, 0, "SIGTERM reaches our own child");
    }

    /// SIGKILL unless it has ended by itself.
    pub(crate) fn stop_if_running(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().expect("our own child is reaped");
        }
    }

    /// How the process ended, when it has.
    fn ended(&self) -> Option<ExitStatus> {
        let mut child = self.child.borrow_mut();
        child.as_mut().expect("the server was started").try_wait().expect("our own child can be asked")
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn exit(&mut self, within: Duration) -> ExitStatus {
        let status = eventually(within, "the server to exit", || async {
            self.ended().ok_or_else(|| format!("still running\n{}", self.log_tail()))
        })
        .await;
        self.child.take();
        status
    }

    /// Fails when the process has ended.
    pub(crate) fn assert_running(&self) {
        let seen = self.ended();
        assert!(seen.is_none(), "the server ended with {seen:?}\n{}", self.log_tail());
    }

    /// Everything that the server has logged since its latest start.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path(self.starts)).unwrap_or_default()
    }

    /// The same of every start.
    pub(crate) fn whole_log(&self) -> String {
        (1..=self.starts).map(|start| fs::read_to_string(self.log_path(start)).unwrap_or_default()).collect()
    }

    fn log_path(&self, start: usize) -> PathBuf {
        self.home.path().join(format!("server-{start}.log"))
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let from = log.lines().count().saturating_sub(60);
        log.lines().skip(from).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Server {
    /// Ends a server that still runs as an operator would, and fails when it does not end cleanly and in time: whatever
    /// a test did, no actor, task or socket may be left that holds the process up.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.stop_if_running();
            eprintln!("--- the server's log, start {} ---\n{}", self.starts, self.log_tail());
            return;
        }
        let Some(mut child) = self.child.take() else { return };
        // SAFETY: the pid is that of our own child, which has not been reaped.
        unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
        let start = Instant::now();
        while start.elapsed() < CLEAN_EXIT {
            if let Some(status) = child.try_wait().expect("our own child can be asked") {
                assert!(status.success(), "the server ended with {status} on SIGTERM\n{}", self.log_tail());
                let asked_for = self.options.env.iter().any(|(key, _)| key == HOOKS);
                let log = self.whole_log();
                assert!(asked_for || !log.contains("panicked at"), "something panicked\n{log}");
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().ok();
        child.wait().ok();
        panic!("the server was still there {CLEAN_EXIT:?} after SIGTERM\n{}", self.log_tail());
    }
}

/// The setting behind [`Options::hooks`].
const HOOKS: &str = "TIEOUT_TEST_HOOKS";

/// How long a server may take to end at the close of a test; the product's own deadline is shorter.
const CLEAN_EXIT: Duration = Duration::from_secs(40);

/// A port that nobody listens on, below the range from which the kernel takes ports for outgoing connections: a port
/// asked of the kernel could become some client's source port before the server binds it.
pub(crate) fn free_address() -> SocketAddr {
    for _ in 0..1000 {
        let addr = SocketAddr::from(([127, 0, 0, 1], rand::random_range(12_000..32_000)));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
    panic!("no free port between 12000 and 32000 in 1000 tries");
}
