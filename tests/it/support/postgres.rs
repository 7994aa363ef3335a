//! A private PostgreSQL server on a free loopback port, for as long as the process that asked for it lives.
//! Leaves connecting to the tests. Easy to get wrong: no destructor runs after a kill -9, so a shell that reads a pipe from
//! us owns the server; when the pipe ends, whatever ended us, the shell stops the server and removes its directory.
#![allow(unsafe_code, reason = "signals to its servers")]
use std::fs::{self, File};
use std::io::PipeReader;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to accept connections: it copies 40 MB and replays nothing.
const START: Duration = Duration::from_secs(30);
/// Another process may take a port between our asking for a free one and the server's binding it.
const PORTS_TRIED: u32 = 3;
/// The oldest version that the product promises to work with.
const OLDEST: u32 = 15;
/// The superuser of every server here.
const USER: &str = "tieout";
/// PostgreSQL refuses to run as root; this uid and gid own nothing else.
const NOBODY: u32 = 65_534;

/// The shell that owns a server: $1 is its directory, the rest the server's command. A test may have frozen any of its
/// processes, and one that is frozen does not hear that the others end.
const OWNER: &str = r#"
dir=$1; shift
"$@" >"$dir/log" 2>&1 </dev/null &
server=$!
cat >/dev/null
each() { for one in /proc/[0-9]*; do [ "$one/cwd" -ef "$dir/data" ] && kill "$1" "${one#/proc/}" 2>/dev/null; done; }
each -CONT; kill -QUIT $server 2>/dev/null
for look in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do kill -0 $server 2>/dev/null || break; sleep 0.1; done
kill -KILL $server 2>/dev/null
wait $server
each -KILL
rm -rf "$dir"
"#;

/// A running server.
pub(crate) struct Postgres {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    /// Its directory: data, socket and log.
    pub dir: PathBuf,
    /// One a start; the latest one's server runs, if any does.
    owners: Vec<Child>,
    databases: AtomicU32,
}

impl Postgres {
    /// The server that all tests of this process share, each with databases of its own.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server of the caller's own, to be stopped and killed; it ends with the value or the process.
    pub(crate) fn start() -> Self {
        Self::start_with(Stdio::piped)
    }

    /// A server that ends when the last writer of the pipe is gone.
    pub(crate) fn start_until(lifeline: &PipeReader) -> Self {
        Self::start_with(|| Stdio::from(lifeline.try_clone().expect("a pipe can be shared")))
    }

    fn start_with(lifeline: impl Fn() -> Stdio) -> Self {
        let mut seen = String::new();
        for _ in 0..PORTS_TRIED {
            match Self::try_start(lifeline()) {
                Ok(mut server) => {
                    if std::env::var("TIEOUT_TEST_POSTGRES_SPEAKS").is_ok_and(|language| language == "german") {
                        server.speak_german();
                    }
                    return server;
                }
                Err(log) => seen = log,
            }
        }
        panic!("PostgreSQL did not start on {PORTS_TRIED} ports: {seen}");
    }

    fn try_start(lifeline: Stdio) -> Result<Self, String> {
        let template = template();
        let dir = private_dir();
        let data = dir.join("data");
        run(as_owner(&mut Command::new("cp")).arg("-a").arg(&template).arg(&data));
        let port = free_port();
        let owner = own_server(&dir, port, &[], lifeline);
        let server = Self { port, dir, owners: vec![owner], databases: AtomicU32::new(0) };
        server.wait()?;
        Ok(server)
    }

    /// Until it accepts connections; its log when it does not.
    fn wait(&self) -> Result<(), String> {
        let deadline = Instant::now() + START;
        while !self.accepts() {
            let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            if log.contains("database system is shut down") || Instant::now() > deadline {
                return Err(log);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The last line of the server's own pid file says when it accepts connections.
    fn accepts(&self) -> bool {
        fs::read_to_string(self.dir.join("data/postmaster.pid")).is_ok_and(|text| {
            let text = text.trim_end();
            // A follower serves readers alone.
            text.ends_with("ready") || text.ends_with("standby")
        })
    }

    /// SIGKILL for the server and its children, as when the machine is cut off its power.
    pub(crate) fn kill(&self) {
        self.signal(libc::SIGKILL);
        eventually_gone(&self.dir);
    }

    /// Starts it again on the same port and data, with further settings such as `max_connections=5`.
    pub(crate) fn restart(&mut self, settings: &[&str]) {
        let owner = own_server(&self.dir, self.port, settings, Stdio::piped());
        self.owners.push(owner);
        self.wait().unwrap_or_else(|log| panic!("PostgreSQL did not start again: {log}"));
    }

    /// A copy of `primary` that follows it, and may be promoted.
    pub(crate) fn following(primary: &Self) -> Self {
        let dir = private_dir();
        let data = dir.join("data");
        let mut copy = Command::new(binaries().join("pg_basebackup"));
        let from =
            ["-h", "127.0.0.1", "-p", &primary.port.to_string(), "-U", USER, "-R", "-c", "fast", "--no-sync", "-D"];
        run(as_owner(&mut copy).args(from).arg(&data));
        let port = free_port();
        let owner = own_server(&dir, port, &[], Stdio::piped());
        let server = Self { port, dir, owners: vec![owner], databases: AtomicU32::new(0) };
        server.wait().unwrap_or_else(|log| panic!("the follower did not start: {log}"));
        server
    }

    /// Has the server speak German, from its next start on. The locale is made for it alone; the catalogue of messages is its package's.
    pub(crate) fn speak_german(&mut self) {
        let locales = self.dir.join("locales");
        fs::create_dir_all(&locales).expect("a directory of ours");
        let made =
            Command::new("localedef").args(["-i", "de_DE", "-f", "UTF-8"]).arg(locales.join("de_DE.UTF-8")).output();
        let made = made.expect("localedef is part of libc-bin");
        // It warns with a status of 1, too.
        let there = locales.join("de_DE.UTF-8/LC_MESSAGES").exists();
        assert!(
            there,
            "no German locale, which the package `locales` describes: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        self.kill();
        self.restart(&[]);
    }

    /// It and its children.
    pub(crate) fn processes(&self) -> Vec<i32> {
        server_pids(&self.dir)
    }

    /// SIGSTOP for these of its processes.
    pub(crate) fn freeze_some(&self, pids: &[i32]) {
        self.signal_some(libc::SIGSTOP, pids);
    }

    /// SIGCONT for these.
    pub(crate) fn thaw_some(&self, pids: &[i32]) {
        self.signal_some(libc::SIGCONT, pids);
    }

    fn signal_some(&self, signal: i32, pids: &[i32]) {
        let own = server_pids(&self.dir);
        for pid in pids.iter().filter(|pid| own.contains(pid)) {
            // SAFETY: a plain system call; the pids are of the server that we own.
            unsafe { libc::kill(*pid, signal) };
        }
    }

    /// SIGSTOP: it holds its connections and answers nothing.
    pub(crate) fn freeze(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal(libc::SIGCONT);
    }

    /// A file of the server's own that only it can read; its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, text).expect("a file in the server's directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode can be set");
        give(&path);
        path
    }

    /// To the server and each of its children: they are the leader's group of a session of their own.
    fn signal(&self, signal: i32) {
        for pid in server_pids(&self.dir) {
            // SAFETY: a plain system call; the pids are of the server that we own.
            unsafe { libc::kill(pid, signal) };
        }
    }

    /// A new empty database; its `database_url`.
    pub(crate) async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let (client, task) = connect(&self.url("postgres")).await;
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a database is created");
        drop(client);
        task.await.expect("the connection ends").expect("the connection ends well");
        self.url(&name)
    }

    /// The same, from where nothing can be awaited.
    pub(crate) fn new_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut make = Command::new(binaries().join("createdb"));
        run(make.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER, &name]));
        self.url(&name)
    }

    /// The address of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Dropping the pipe's end tells the shell; a lifeline of the caller's is the caller's to cut.
        for owner in self.owners.iter_mut().rev() {
            if owner.stdin.take().is_some() {
                owner.wait().expect("the owner can be waited for");
            }
        }
    }
}

/// Starts a server in the hands of a shell that outlives us.
fn own_server(dir: &Path, port: u16, settings: &[&str], lifeline: Stdio) -> Child {
    // What an earlier, killed one left would look like a running server.
    let _ = fs::remove_file(dir.join("data/postmaster.pid"));
    let mut shell = Command::new("/bin/sh");
    let locales = dir.join("locales");
    let language: &[&str] = if locales.exists() { &["lc_messages=de_DE.UTF-8"] } else { &[] };
    if locales.exists() {
        shell.env("LOCPATH", locales);
    }
    as_owner(&mut shell)
        .args(["-c", OWNER, "owner"])
        .arg(dir)
        .arg(binaries().join("postgres"))
        .arg("-D")
        .arg(dir.join("data"))
        .arg("-k")
        .arg(dir)
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        // Durability is not what these tests are about, and syncing is most of their time on a slow disk.
        .args(["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200"])
        .args(language.iter().chain(settings).flat_map(|setting| ["-c", setting]))
        // A group of its own: Ctrl-C must end the tests, not the one who tidies up after them.
        .process_group(0)
        .stdin(lifeline)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell starts")
}

/// The processes whose working directory is the server's data: it and its children.
fn server_pids(dir: &Path) -> Vec<i32> {
    let data = dir.join("data");
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_string_lossy().parse().ok()?;
        (fs::read_link(entry.path().join("cwd")).ok()? == data).then_some(pid)
    });
    pids.collect()
}

/// The server's processes of replicas and stores whose clients they wait for, out of any transaction.
pub(crate) async fn idle_processes(client: &tokio_postgres::Client) -> Vec<i32> {
    let asked = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'tieout %' AND state = 'idle'";
    client.query(asked, &[]).await.expect("a superuser sees all").iter().map(|row| row.get(0)).collect()
}

fn eventually_gone(dir: &Path) {
    let deadline = Instant::now() + START;
    while !server_pids(dir).is_empty() {
        assert!(Instant::now() < deadline, "a killed PostgreSQL is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A plain connection, and the task that drives it until the client is dropped.
pub(crate) async fn connect(
    url: &str,
) -> (tokio_postgres::Client, tokio::task::JoinHandle<Result<(), tokio_postgres::Error>>) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("PostgreSQL answers");
    (client, tokio::spawn(connection))
}

/// An initialised data directory, made once per machine and user, by whichever test process comes first.
fn template() -> PathBuf {
    // By user as well: nobody may change what another user's servers are copied from.
    let name = format!("tieout-postgres-{}-of-{}", version(&binaries()), effective_uid());
    let base = std::env::temp_dir().join(name);
    fs::create_dir_all(&base).expect("the template's directory can be made");
    own(&base);
    let lock = File::options().create(true).append(true).open(base.join("lock")).expect("the template's lock opens");
    lock.lock().expect("the template's lock can be waited for");
    let (made, making) = (base.join("data"), base.join("making"));
    if !made.exists() {
        // What a killed process left half-made.
        let _ = fs::remove_dir_all(&making);
        let mut initdb = Command::new(binaries().join("initdb"));
        run(as_owner(&mut initdb).arg("-D").arg(&making).args([
            "-U",
            USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ]));
        fs::rename(&making, &made).expect("the template is put in place");
    }
    made
}

/// The newest PostgreSQL installed where distributions put it.
pub(crate) fn binaries() -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let newest =
        installed.map(|path| path.join("bin")).filter(|bin| bin.join("initdb").exists()).max_by_key(|bin| version(bin));
    let found = newest.filter(|bin| version(bin) >= OLDEST);
    found.unwrap_or_else(|| panic!("no PostgreSQL {OLDEST} or newer below /usr/lib/postgresql: install postgresql"))
}

fn version(bin: &Path) -> u32 {
    let name = bin.parent().and_then(Path::file_name).unwrap_or_default();
    name.to_string_lossy().parse().unwrap_or(0)
}

fn private_dir() -> PathBuf {
    let dir = tempfile::Builder::new().prefix("tieout-pg-").tempdir().expect("a temporary directory").keep();
    own(&dir);
    dir
}

fn effective_uid() -> u32 {
    // SAFETY: geteuid reads a number of this process and cannot fail.
    unsafe { libc::geteuid() }
}

fn is_root() -> bool {
    effective_uid() == 0
}

fn own(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).expect("a directory of ours");
    give(dir);
}

/// To the user that the server runs as.
fn give(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("root may give a file away");
    }
}

fn as_owner(command: &mut Command) -> &mut Command {
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    // The caller's directory may be closed to that user.
    command.current_dir("/")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}

fn run(command: &mut Command) {
    let output = command.output().expect("the command starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
