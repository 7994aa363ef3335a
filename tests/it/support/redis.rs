//! Private Redis servers on free loopback ports: killed, restarted on the same port, frozen, made replicas of each other.
//! Leaves talking to them to the product, but for one command at a time. Easy to get wrong: no destructor runs after a
//! kill -9, so a shell that takes its orders from a pipe of ours owns the server; when the pipe ends, it ends both.
use std::fs;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::process::free_address;

/// How long a server may take to accept connections.
const START: Duration = Duration::from_secs(20);
/// How long it may take to answer a command.
const ANSWER: Duration = Duration::from_secs(10);

/// The shell that owns a server: $1 is its directory, the rest the server's command. It answers each order with a line.
const OWNER: &str = r#"
dir=$1; shift
server=
end() { if [ -n "$server" ]; then kill -KILL $server; wait $server; server=; fi; } 2>/dev/null
while read -r order; do
  case $order in
    start) "$@" >>"$dir/log" 2>&1 </dev/null & server=$! ;;
    kill) end ;;
    empty) rm -rf "$dir/data"; mkdir "$dir/data" ;;
    freeze) kill -STOP $server ;;
    thaw) kill -CONT $server ;;
  esac
  echo "$order"
done
end
rm -rf "$dir"
"#;

/// A server, running or killed.
pub(crate) struct Redis {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    /// Its directory: data and log.
    pub dir: PathBuf,
    owner: Child,
    orders: Option<PipeWriter>,
    answers: BufReader<ChildStdout>,
}

impl Redis {
    /// A server that keeps its data over a restart; it ends with the value or the process.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server with further options, such as `--requirepass`.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        Self::start_on(std::io::pipe().expect("a pipe"), options)
    }

    /// A server that ends when the last writer of the pipe is gone.
    pub(crate) fn start_on(pipe: (PipeReader, PipeWriter), options: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("tieout-redis-").tempdir().expect("a temporary directory").keep();
        let port = free_address().port();
        fs::create_dir(dir.join("data")).expect("a directory of ours");
        let mut owner = Command::new("/bin/sh")
            .args(["-c", OWNER, "owner"])
            .arg(&dir)
            .args(["redis-server", "--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"])
            .arg(dir.join("data"))
            // What a kill -9 leaves is in the append-only file; a file of cluster nodes is beside it.
            .args(["--save", "", "--appendonly", "yes", "--appendfsync", "no", "--repl-diskless-sync-delay", "0"])
            .args(options)
            // A group of its own: Ctrl-C must end the tests, not the one who tidies up after them.
            .process_group(0)
            .stdin(pipe.0)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let answers = BufReader::new(owner.stdout.take().expect("a pipe was asked for"));
        let mut server = Self { port, dir, owner, orders: Some(pipe.1), answers };
        server.restart();
        server
    }

    /// SIGKILL; the port is closed when it returns.
    pub(crate) fn kill(&mut self) {
        self.order("kill");
    }

    /// Starts it on the same port with the data it had. It must have been killed.
    pub(crate) fn restart(&mut self) {
        self.order("start");
        let deadline = Instant::now() + START;
        let mut seen = String::new();
        let ours = ["dir".to_owned(), self.dir.join("data").display().to_string()];
        while Instant::now() < deadline {
            // Another server may have taken the port between our choosing it and ours binding it.
            match self.try_command("CONFIG GET dir") {
                Ok(answer) if answer == ours || answer[0].starts_with("NOAUTH") => return,
                Ok(answer) => seen = answer.join(" "),
                Err(error) => seen = error.to_string(),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        panic!("Redis did not start on port {}: {seen}\n{log}", self.port);
    }

    /// Starts it on the same port without any data. It must have been killed.
    pub(crate) fn restart_empty(&mut self) {
        self.order("empty");
        self.restart();
    }

    /// SIGSTOP: connections stay open and nobody answers.
    pub(crate) fn freeze(&mut self) {
        self.order("freeze");
    }

    /// SIGCONT.
    pub(crate) fn thaw(&mut self) {
        self.order("thaw");
    }

    /// Runs one command without quotes in it; the answer's texts and numbers, an error as its text.
    pub(crate) fn command(&self, line: &str) -> Vec<String> {
        self.try_command(line).unwrap_or_else(|error| panic!("Redis on port {}: {line}: {error}", self.port))
    }

    fn try_command(&self, line: &str) -> std::io::Result<Vec<String>> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
        socket.set_read_timeout(Some(ANSWER))?;
        socket.write_all(format!("{line}\r\n").as_bytes())?;
        let mut found = Vec::new();
        read_answer(&mut BufReader::new(socket), &mut found)?;
        Ok(found)
    }

    /// Makes it follow another server, as a replica.
    pub(crate) fn follow(&self, master: &Self) {
        assert_eq!(self.command(&format!("REPLICAOF 127.0.0.1 {}", master.port)), ["OK"]);
    }

    /// Makes it a master again.
    pub(crate) fn promote(&self) {
        assert_eq!(self.command("REPLICAOF NO ONE"), ["OK"]);
    }

    /// Leaves the server to whoever else holds its pipe; its directory.
    pub(crate) fn leave(mut self) -> PathBuf {
        self.orders.take();
        self.dir.clone()
    }

    fn order(&mut self, order: &str) {
        let pipe = self.orders.as_mut().expect("orders are given until the end");
        writeln!(pipe, "{order}").expect("the owner takes orders");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the owner answers");
        assert_eq!(answer.trim_end(), order, "the owner has ended");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // The pipe's end tells the shell.
        if self.orders.take().is_some() {
            self.owner.wait().expect("the owner can be waited for");
        }
    }
}

/// One answer of the protocol's second version, arrays flattened.
fn read_answer(from: &mut impl BufRead, found: &mut Vec<String>) -> std::io::Result<()> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let (kind, rest) = line.trim_end().split_at(1);
    match (kind, rest.parse::<usize>()) {
        ("$", Ok(length)) => {
            let mut text = vec![0; length + 2];
            from.read_exact(&mut text)?;
            found.push(String::from_utf8_lossy(&text[..length]).into_owned());
        }
        ("*", Ok(count)) => {
            for _ in 0..count {
                read_answer(from, found)?;
            }
        }
        _ => found.push(rest.to_owned()),
    }
    Ok(())
}
