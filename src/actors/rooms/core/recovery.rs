//! Order and what is missing: handing events out by offset, holes, replaced histories, shards behind after a restart.
//!
//! Easy to get wrong: an event is handed out exactly when it is `head + 1`, whatever way it came.
use super::*;

impl Core {
    /// A durable event was committed.
    pub fn publish(&mut self, publish: Publish, now: Now) {
        let Publish { project, ep, event } = publish;
        let off = event.off;
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if !room.live {
            return room.put_ahead(ep, event);
        }
        if room.ep != ep {
            // Which history is the later one only the store can tell: this may be a late word of the one before.
            room.put_ahead(ep, event);
            return self.watch_hole(project, HOLE_WAIT, now);
        }
        if off <= room.head {
            return;
        }
        if off == room.head + 1 {
            self.hand_out(project, event, now);
            self.hand_out_ahead(project, now);
        } else {
            room.put_ahead(ep, event);
            self.watch_hole(project, HOLE_WAIT, now);
        }
    }

    /// A publish may have been lost on its way, or the project deleted: compare with the store.
    pub fn check(&mut self, project: ProjectId) {
        if self.rooms.get(&project).is_some_and(|room| room.live) {
            self.out.push(Output::ReadHead(project, Purpose::Check));
        }
    }

    pub(super) fn hand_out(&mut self, project: ProjectId, event: Event, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if self.lag_at.is_none_or(|at| now.instant.duration_since(at) >= LAG_EVERY) {
            self.lag_at = Some(now.instant);
            let lag = u64::try_from(now.unix_ms - event.ts_ms).unwrap_or(0);
            self.meters.lag.record(Duration::from_millis(lag));
        }
        if event.ends.is_some_and(|job| room.jobs.remove(&job).is_some()) {
            room.stale();
        }
        let (frame, deletes) = (Outgoing::Ready(room::durable(&event.bytes)), event.deletes);
        room.append(event, &self.given.limits, now.instant);
        let cursor = room.cursor();
        broadcast(room, &mut self.out, project, &frame, Some(&cursor));
        if deletes {
            self.check(project);
        }
    }

    pub(super) fn hand_out_ahead(&mut self, project: ProjectId, now: Now) {
        while let Some(event) = self.rooms.get_mut(&project).and_then(Room::next_ahead) {
            self.hand_out(project, event, now);
        }
        let Some(room) = self.rooms.get_mut(&project) else { return };
        room.keep_ahead();
        if room.has_ahead() {
            self.watch_hole(project, HOLE_WAIT, now);
        }
    }

    pub(super) fn watch_hole(&mut self, project: ProjectId, wait: Duration, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if !room.hole_watched {
            room.hole_watched = true;
            self.timers.push(Reverse((now.instant + wait, Timer::Hole(project))));
        }
    }

    pub(super) fn read_hole(&mut self, project: ProjectId) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if !room.has_ahead() && room.waiting.is_empty() && room.stored <= room.head {
            room.hole_watched = false;
            return;
        }
        self.meters.gaps.increment(1);
        self.out.push(Output::ReadSince(project, room.cursor(), Purpose::Hole));
    }

    pub(super) fn hole_read(&mut self, project: ProjectId, history: History, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        room.hole_watched = false;
        match history {
            History::Events { events, head } => {
                room.stored = room.stored.max(head);
                let before = room.head;
                for event in events {
                    if self.rooms.get(&project).is_some_and(|room| event.off == room.head + 1) {
                        self.hand_out(project, event, now);
                    }
                }
                self.hand_out_ahead(project, now);
                if let Some(room) = self.rooms.get(&project).filter(|room| room.head < room.stored) {
                    // There was more than one read brings, or it was read before the rest was there.
                    let wait = if room.head > before { Duration::ZERO } else { RETRY };
                    self.watch_hole(project, wait, now);
                }
                self.admit_waiting(project, false, now);
            }
            History::Gone { ep, off } => self.replaced(project, ep, off, now),
            _ => self.watch_hole(project, RETRY, now),
        }
    }

    pub(super) fn checked(&mut self, project: ProjectId, history: History, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        match history {
            History::Head { ep, off } if ep != room.ep => self.replaced(project, ep, off, now),
            History::Head { off, .. } if off > room.head => {
                // What was just committed may still be on its way.
                room.stored = room.stored.max(off);
                self.watch_hole(project, HOLE_WAIT, now);
            }
            History::Unavailable if !std::mem::replace(&mut room.check_timed, true) => {
                self.timers.push(Reverse((now.instant + RETRY, Timer::Check(project))));
            }
            _ => {}
        }
    }

    pub(super) fn check_again(&mut self, project: ProjectId) {
        if self.rooms.get_mut(&project).is_some_and(|room| std::mem::take(&mut room.check_timed)) {
            self.check(project);
        }
    }

    /// The history is another one: everybody starts afresh.
    pub(super) fn replaced(&mut self, project: ProjectId, ep: Arc<str>, off: u64, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        room.restart_at(ep, off);
        let cursor = room.cursor();
        for (shard, view) in room.shards.iter_mut().enumerate() {
            if !self.attached[shard] {
                continue;
            }
            view.behind = None;
            if view.members > 0 {
                let job =
                    ShardCommand::Break { room: project, reason: "history_replaced", cursor: Some(cursor.clone()) };
                self.out.push(Output::Shard(shard, job));
            }
        }
        self.hand_out_ahead(project, now);
        self.admit_waiting(project, false, now);
    }

    /// Bring a shard's members up to date after a restart, from the ring or the store.
    pub(super) fn catch_up(&mut self, project: ProjectId, shard: usize) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if !room.live || !self.attached[shard] {
            return;
        }
        let here = room.cursor();
        let Some(behind) = &mut room.shards[shard].behind else { return };
        match behind.cursor.clone() {
            Some(cursor) if cursor.ep == here.ep && cursor.off <= here.off => {
                if let Some(missed) = room.after(cursor.off) {
                    self.send_missed(project, shard, cursor.off, missed);
                } else if let Some(behind) = &mut room.shards[shard].behind
                    && !std::mem::replace(&mut behind.reading, true)
                {
                    self.out.push(Output::ReadSince(project, cursor, Purpose::Catchup(shard)));
                }
            }
            _ => self.break_shard(project, shard),
        }
    }

    pub(super) fn catchup_read(&mut self, project: ProjectId, shard: usize, history: History, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        let upto = room.head;
        let Some(behind) = &mut room.shards[shard].behind else { return };
        behind.reading = false;
        let from = behind.cursor.as_ref().map_or(0, |cursor| cursor.off);
        match history {
            History::Events { events, head } if events.last().is_none_or(|event| event.off == head) => {
                let reached = events.last().map_or(from, |event| event.off).min(upto);
                let mut missed: Vec<RoomFrame> =
                    events.iter().filter(|event| event.off <= upto).map(|event| room::durable(&event.bytes)).collect();
                match room.after(reached) {
                    Some(rest) => {
                        missed.extend(rest);
                        self.send_missed(project, shard, from, missed);
                    }
                    None => self.break_shard(project, shard),
                }
            }
            History::Unavailable => {
                self.timers.push(Reverse((now.instant + RETRY, Timer::Catchup(project, shard))));
                return;
            }
            _ => self.break_shard(project, shard),
        }
        self.admit_waiting(project, true, now);
    }

    pub(super) fn send_missed(&mut self, project: ProjectId, shard: usize, from: u64, missed: Vec<RoomFrame>) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        for (off, frame) in (from + 1..).zip(missed) {
            let cursor = Some(Cursor { ep: room.ep.clone(), off });
            let job = ShardCommand::Frame { room: project, frame: Outgoing::Ready(frame), cursor };
            self.out.push(Output::Shard(shard, job));
        }
        let_go(room, &mut self.out, project, shard);
    }

    pub(super) fn break_shard(&mut self, project: ProjectId, shard: usize) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        let job = ShardCommand::Break { room: project, reason: "restarted", cursor: Some(room.cursor()) };
        self.out.push(Output::Shard(shard, job));
        let_go(room, &mut self.out, project, shard);
    }
}
