//! Connections that stopped working while the server goes on: half-open ones, frozen server processes, the old server behind
//! a balancer. Nothing ever comes back on them, and the limits that a server keeps died with it.
//!
//! A connection on which an answer has been owed for a second is looked up at the server, by the probe's connection. It leaves
//! a server that is away to the probe. The one thing easy to get wrong: a statement may take long, and a lock longer; what
//! the server is at work on is left alone until it should have ended it itself.
use super::connections::Lines;
use super::wire::Line;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An answer that is owed for so long is asked about.
const ASKED_AFTER: Duration = Duration::from_secs(1);
/// How long after the server's own limit of a statement a connection is given up, whatever the server says.
const AFTER_THE_LIMIT: Duration = Duration::from_secs(2);
/// So many connections that are frozen within [`FROZEN_WITHIN`] say that all may be: they are opened anew.
const FROZEN: usize = 2;
const FROZEN_WITHIN: Duration = Duration::from_secs(10);

/// What the server knows of a process of its own.
#[derive(diesel::QueryableByName)]
struct Process {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    pid: i32,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    began_us: i64,
    /// It waits for our next statement, and has for a second.
    #[diesel(sql_type = diesel::sql_types::Bool)]
    idle: bool,
    /// It waits for a lock that somebody else holds, and for less long than it may.
    #[diesel(sql_type = diesel::sql_types::Bool)]
    held_up: bool,
}

/// Finds them.
pub(crate) struct Silence {
    lines: Lines,
    limit: Duration,
    frozen: VecDeque<Instant>,
}

impl Silence {
    /// Among `lines`, whose statements the server ends after `statement_timeout`.
    pub(crate) fn new(lines: Lines, statement_timeout: Duration) -> Self {
        Self { lines, limit: statement_timeout.saturating_add(AFTER_THE_LIMIT), frozen: VecDeque::new() }
    }

    /// When a connection on which an answer is owed is to be asked about, if it is not there by then.
    pub(crate) fn asks_in(&self) -> Option<Duration> {
        let silences = self.lines.open().into_iter().filter_map(|line| line.silent_for());
        silences.filter_map(|silence| ASKED_AFTER.checked_sub(silence)).min()
    }

    /// Gives up what does not work any longer. True when all connections are to be opened anew; `starved` says that
    /// nobody has been given one for longer than anybody waits, `doubted` that the probe's own connection was lost.
    pub(crate) async fn look(
        &mut self,
        own: &mut AsyncPgConnection,
        starved: bool,
        doubted: bool,
    ) -> Result<bool, String> {
        let lines = self.lines.open();
        let silent = |line: &Arc<Line>| line.silent_for().is_some_and(|silence| silence >= ASKED_AFTER);
        if !starved && !doubted && !lines.iter().any(silent) {
            return Ok(false);
        }
        let known = processes(own, &lines).await?;
        let (mut gone, mut frozen) = (Vec::new(), Vec::new());
        for line in &lines {
            let Some(pid) = line.pid() else { continue };
            match known.get(&(pid, line.began_us())) {
                None => gone.push(pid),
                Some(process) if silent(line) && process.idle => frozen.push(pid),
                _ if line.silent_for().is_some_and(|silence| silence > self.limit) => frozen.push(pid),
                _ => continue,
            }
            line.give_up();
        }
        if !gone.is_empty() {
            log::warn!("connections were given up: the server has none of them any longer count={}", gone.len());
        }
        if !frozen.is_empty() {
            log::warn!("connections were given up: the server stopped answering on them count={}", frozen.len());
            self.frozen.extend(frozen.iter().map(|_| Instant::now()));
            end(own, &frozen).await?;
        }
        while self.frozen.front().is_some_and(|when| when.elapsed() > FROZEN_WITHIN) {
            self.frozen.pop_front();
        }
        let held_up = known.values().any(|process| process.held_up);
        if self.frozen.len() < FROZEN && (!starved || held_up || !gone.is_empty()) {
            return Ok(false);
        }
        self.frozen.clear();
        // What they hold would hold up those that come after them.
        let all: Vec<i32> = known.keys().map(|(pid, _)| *pid).collect();
        end(own, &all).await?;
        Ok(true)
    }
}

/// What the server knows of the processes behind these connections, by number and beginning.
async fn processes(own: &mut AsyncPgConnection, lines: &[Arc<Line>]) -> Result<HashMap<(i32, i64), Process>, String> {
    let pids = listed(lines.iter().filter_map(|line| line.pid()));
    // A lock is waited for 5 s at most.
    let asked = format!(
        "SELECT pid, (extract(epoch FROM backend_start) * 1000000)::bigint AS began_us, \
         coalesce(state LIKE 'idle%' AND clock_timestamp() - state_change > interval '1 s', false) AS idle, \
         coalesce(wait_event_type = 'Lock' AND clock_timestamp() - query_start < interval '6 s' \
         AND EXISTS (SELECT 1 FROM unnest(pg_blocking_pids(pid)) AS other WHERE other <> ALL ({pids})), false) \
         AS held_up FROM pg_stat_activity WHERE pid = ANY ({pids}) AND backend_start IS NOT NULL"
    );
    let rows: Vec<Process> = diesel::sql_query(asked).load(own).await.map_err(|error| error.to_string())?;
    let ours = |row: &Process| lines.iter().any(|line| line.pid() == Some(row.pid) && line.began_us() == row.began_us);
    Ok(rows.into_iter().filter(ours).map(|row| ((row.pid, row.began_us), row)).collect())
}

/// Has the server end these processes of ours, with what they hold.
async fn end(own: &mut AsyncPgConnection, pids: &[i32]) -> Result<(), String> {
    let asked = format!("SELECT pg_terminate_backend(pid) FROM unnest({}) AS pid", listed(pids.iter().copied()));
    diesel::sql_query(asked).execute(own).await.map(drop).map_err(|error| error.to_string())
}

fn listed(pids: impl Iterator<Item = i32>) -> String {
    let pids: Vec<String> = pids.map(|pid| pid.to_string()).collect();
    format!("'{{{}}}'::int[]", pids.join(","))
}
