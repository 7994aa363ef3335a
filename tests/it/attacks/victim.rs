//! A server under attack: what it takes of memory and processor, and an honest client beside the attack. Leaves attacks to
//! the tests. Easy to get wrong: a peak that was there before; the kernel's mark is set back when an attack begins.
use std::{
    env, fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{Answer, Api, Options, Server, eventually, publisher::human};

/// A server and its figures at the beginning of an attack.
pub(super) struct Victim {
    pub server: Server,
    rss: u64,
    cpu: Duration,
    honest: Honest,
}

/// What an attack cost, and what an honest client saw meanwhile.
pub(super) struct Cost {
    /// Bytes above what was taken before.
    pub memory: u64,
    pub cpu: Duration,
    pub seen: Seen,
}

/// Answers to requests, each over a connection of its own.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen {
    pub answered: u32,
    pub refused: u32,
    pub cut: u32,
    pub slowest: Duration,
}

impl Victim {
    /// A server with these settings on top of the defaults, and the honest client at work.
    pub(super) async fn start(options: Options) -> Victim {
        Victim::begin(Server::start(options.sqlite()).await)
    }

    /// The attack begins.
    pub(super) fn begin(server: Server) -> Victim {
        fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").expect("the mark of our own child is set back");
        let (rss, cpu) = (kib(&server, "VmRSS:"), cpu(&server));
        let honest = Honest::start(&server);
        Victim { server, rss, cpu, honest }
    }

    /// What it takes now, in bytes above what was taken before.
    pub(super) fn memory(&self) -> u64 {
        kib(&self.server, "VmRSS:").saturating_sub(self.rss)
    }

    /// The attack is over.
    pub(super) async fn cost(self) -> (Server, Cost) {
        let memory = kib(&self.server, "VmHWM:").saturating_sub(self.rss);
        let cpu = cpu(&self.server).saturating_sub(self.cpu);
        (self.server, Cost { memory, cpu, seen: self.honest.stop().await })
    }

    /// The most memory that the process may ask the kernel for.
    pub(super) fn limit_memory(&self, bytes: u64) {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
        // SAFETY: the pid is that of our own child, which has not been reaped; the old limit is not asked for.
        let set = unsafe { libc::prlimit(self.server.pid(), libc::RLIMIT_AS, &limit, std::ptr::null_mut()) };
        assert_eq!(set, 0, "the limit of our own child can be lowered");
    }
}

impl Cost {
    /// Files a row; `name` orders the table. `size` is how much of the attack there was, `told` what the attacker got.
    pub(super) fn report(&self, name: &str, attack: &str, size: &str, told: &str) {
        let folder = env::var_os("TIEOUT_ATTACK_TABLE").map_or_else(default_folder, PathBuf::from);
        fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        assert!(![attack, size, told].iter().any(|cell| cell.contains('|')), "a cell has no bar in it");
        let line = format!(
            "| {attack} | {size} | {told} | {:.0} MiB | {:.1} s | {} |",
            self.memory as f64 / f64::from(1 << 20),
            self.cpu.as_secs_f64(),
            self.seen
        );
        fs::write(folder.join(format!("{name}.row")), format!("{line}\n")).expect("a row is written");
        println!("{line}");
    }

    /// Fails when it took more.
    pub(super) fn at_most(&self, mib: u64, cpu: Duration) {
        assert!(self.memory <= mib << 20, "{} MiB were taken, at most {mib} may be", self.memory >> 20);
        assert!(self.cpu <= cpu, "{:?} of a processor were taken, at most {cpu:?} may be", self.cpu);
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Seen { answered, refused, cut, slowest } = self;
        write!(f, "{answered} answers, slowest {}, refused × {refused}, cut off × {cut}", human(*slowest))
    }
}

fn default_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("attacks")
}

/// Asks again and again until it is stopped.
struct Honest {
    stop: CancellationToken,
    asking: JoinHandle<Seen>,
}

impl Honest {
    fn start(server: &Server) -> Honest {
        let stop = CancellationToken::new();
        let (told, url) = (stop.clone(), format!("http://{}/api/v1/projects", server.addr));
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).timeout(Duration::from_secs(30)).build();
        let client = client.expect("a client without TLS always builds");
        let asking = tokio::spawn(async move {
            let mut seen = Seen::default();
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            while !told.is_cancelled() {
                let start = Instant::now();
                match client.get(&url).send().await {
                    Ok(answer) if answer.status() == 200 => seen.answered += 1,
                    Ok(_) => seen.refused += 1,
                    Err(_) => seen.cut += 1,
                }
                seen.slowest = seen.slowest.max(start.elapsed());
                pace.tick().await;
            }
            seen
        });
        Honest { stop, asking }
    }

    async fn stop(self) -> Seen {
        self.stop.cancel();
        self.asking.await.expect("the honest client ends")
    }
}

/// A refusal's body, which must name this limit.
pub(super) fn refused(answer: Answer, status: u16, limit: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text);
    let seen = answer.json();
    assert_eq!(seen["limit"], limit, "{seen}");
    seen
}

/// An upload that is made while it is sent: `head`, then `bytes` of `fill`.
pub(super) async fn upload_of(api: &Api, project: &str, head: &'static str, fill: u8, bytes: usize) -> Answer {
    const PIECE: usize = 256 * 1024;
    let filling = bytes::Bytes::from(vec![fill; PIECE]);
    let pieces = std::iter::once(bytes::Bytes::from_static(head.as_bytes()))
        .chain(std::iter::repeat_n(filling, bytes.div_ceil(PIECE)))
        .map(Ok::<_, std::io::Error>);
    api.upload(project, "f.csv", reqwest::Body::wrap_stream(futures_util::stream::iter(pieces))).await
}

/// Waits until no more than this is taken above what was before.
pub(super) async fn memory_back(victim: &Victim, mib: u64, within: Duration) {
    eventually(within, "memory to be given back", || async {
        let taken = victim.memory() >> 20;
        if taken <= mib { Ok(()) } else { Err(format!("{taken} MiB above the beginning")) }
    })
    .await;
}

fn kib(server: &Server, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the server is running");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel says it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB") * 1024
}

fn cpu(server: &Server) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid())).expect("the server is running");
    // Behind the name, which may hold anything: user time is the 12th, system time the 13th.
    let (_, fields) = stat.rsplit_once(')').expect("the kernel puts the name in brackets");
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("a number of ticks")).sum();
    Duration::from_millis(ticks * 10)
}
