//! Progress of running jobs: the newest to the room, at most so often, and to those who join.
//!
//! Easy to get wrong: what came within the interval is sent at its end, so the last value is never swallowed.
use super::*;

impl Core {
    /// A runner reports.
    pub fn progress(&mut self, progress: Progress, now: Now) {
        let Progress { project, job, bytes, json } = progress;
        let Some(room) = self.rooms.get_mut(&project) else { return };
        room.stale();
        match room.jobs.get_mut(&job) {
            Some(line) => {
                line.json = json;
                line.heard_at = now.instant;
                if line.pending.replace(bytes).is_none() {
                    let due = line.sent_at + self.given.limits.progress_every;
                    if due <= now.instant {
                        self.send_progress(project, job, now);
                    } else {
                        self.timers.push(Reverse((due, Timer::Progress(project, job))));
                    }
                }
            }
            None => {
                let line = Line { json, sent_at: now.instant, heard_at: now.instant, pending: Some(bytes) };
                room.jobs.insert(job, line);
                self.send_progress(project, job, now);
            }
        }
    }

    pub(super) fn send_progress(&mut self, project: ProjectId, job: JobId, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        let Some(line) = room.jobs.get_mut(&job) else { return };
        let Some(bytes) = line.pending.take() else { return };
        line.sent_at = now.instant;
        let frame = RoomFrame { bytes, kind: Kind::Keyed(job.0.as_u128()) };
        broadcast(room, &mut self.out, project, &Outgoing::Ready(frame), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::Mutex;

    fn frames(core: &mut Core) -> Vec<Bytes> {
        let frame = |output| match output {
            Output::Shard(_, ShardCommand::Frame { frame: Outgoing::Ready(frame), .. }) => Some(frame.bytes),
            _ => None,
        };
        core.outputs().filter_map(frame).collect()
    }

    #[test]
    fn a_job_is_heard_at_most_four_times_a_second_and_its_last_word_always() {
        let start = Instant::now();
        let at = |ms: u64| Now { instant: start + Duration::from_millis(ms), unix_ms: ms as i64 };
        let given = Given {
            limits: Limits::default(),
            memory: Arc::new(Mutex::default()),
            incarnation: "here".into(),
            heard: Arc::new(|_, _| None),
            replica: ReplicaId::new("here"),
            mesh: MeshLimits::default(),
        };
        let mut core = Core::new(1, 1, given, start);
        let (project, job) = (ProjectId::generate(), JobId::generate());
        core.attach(Attach { generation: 1, shard: 0, rooms: Vec::new() }, at(0));
        let asker = Asker { conn: ConnId(1), shard: 0, user: "ana".into(), re: None, pending: Pending::default() };
        core.join(Join { asker, project, since: None }, at(0));
        let history = History::Opened { ep: "e".into(), off: 0, claims: Vec::new() };
        core.told(Told { generation: 1, project, purpose: Purpose::Open, history }, at(0));
        core.outputs();
        let mut sent: Vec<(u64, Bytes)> = Vec::new();
        for ms in (0..2_050).step_by(10) {
            core.tick(at(ms));
            if ms <= 1_000 && ms % 100 == 0 {
                let bytes = Bytes::from(format!("{ms}"));
                let json = serde_json::value::RawValue::from_string("{}".into()).unwrap().into();
                core.progress(Progress { project, job, bytes, json }, at(ms));
            }
            sent.extend(frames(&mut core).into_iter().map(|bytes| (ms, bytes)));
        }
        assert!((4..=6).contains(&sent.len()), "{sent:?}");
        assert!(sent.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 250), "{sent:?}");
        assert_eq!(sent.last().unwrap().1, "1000");
    }
}
