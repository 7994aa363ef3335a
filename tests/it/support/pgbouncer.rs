//! A private pgbouncer before a private PostgreSQL. Leaves what goes through it to the tests. Easy to get wrong: it refuses to run as
//! root, and it is a child that must not outlive its test.
use super::postgres::Postgres;
use super::process::free_address;
use super::wait::{LONG, eventually};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// The uid and gid that own nothing else, for when the tests run as root.
const NOBODY: u32 = 65_534;

/// A running pgbouncer; it ends with the value.
pub(crate) struct Pgbouncer {
    pub port: u16,
    child: Child,
}

impl Pgbouncer {
    /// Before this server, in this pool mode; waits until it accepts connections.
    pub(crate) async fn start(server: &Postgres, mode: &str) -> Self {
        let port = free_address().port();
        let users = server.file("users.txt", "\"tieout\" \"\"\n");
        let config = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=tieout\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\nmax_client_conn = 100\n\
             default_pool_size = 40\n",
            server.port,
            users.display()
        );
        let config = server.file("pgbouncer.ini", &config);
        let program =
            ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().find(|path| std::path::Path::new(path).exists());
        let program = program.expect("no pgbouncer in /usr/sbin or /usr/bin: install pgbouncer");
        let mut command = Command::new(program);
        command.arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        // SAFETY: geteuid reads a number of this process and cannot fail.
        if unsafe { libc::geteuid() } == 0 {
            command.uid(NOBODY).gid(NOBODY);
        }
        let started = Self { port, child: command.spawn().expect("pgbouncer starts") };
        eventually(LONG, "pgbouncer to accept connections", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
        started
    }

    /// The same database through it.
    pub(crate) fn url(&self, database_url: &str) -> String {
        let name = database_url.rsplit('/').next().expect("an address ends with a name");
        format!("postgres://tieout@127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        self.child.kill().expect("a child of ours can be killed");
        self.child.wait().expect("a killed child is reaped");
    }
}
