//! What is not stored: progress, presence, claims, and forgetting rooms that nobody is in.
//!
//! Easy to get wrong: presence goes out in batches that continue the snapshot a joiner got, by `rev`.
use super::*;

impl Core {
    pub(super) fn send_progress(&mut self, project: ProjectId, job: JobId, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        let Some(line) = room.jobs.get_mut(&job) else { return };
        let Some(bytes) = line.pending.take() else { return };
        line.sent_at = now.instant;
        let frame = RoomFrame { bytes, kind: Kind::Keyed(job.0.as_u128()) };
        broadcast(room, &mut self.out, project, &Outgoing::Ready(frame), None);
    }

    pub(super) fn time_presence(&mut self, project: ProjectId, now: Instant) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if !room.presence_due {
            room.presence_due = true;
            let wait = if room.members.len() > LARGE_ROOM { PRESENCE_EVERY_LARGE } else { PRESENCE_EVERY };
            self.timers.push(Reverse((now + wait, Timer::Presence(project))));
        }
    }

    pub(super) fn announce(&mut self, project: ProjectId) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        room.presence_due = false;
        let Some(change) = room.take_presence_change() else { return };
        let diff = PresenceDiff {
            project_id: project,
            rev: room.rev,
            joins: change.joins,
            leaves: change.leaves,
            count: change.count,
        };
        broadcast(room, &mut self.out, project, &Outgoing::Presence(Arc::new(diff)), None);
    }

    pub(super) fn time_empty(&mut self, project: ProjectId, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if room.members.is_empty() {
            let since = *room.empty_since.get_or_insert(now.instant);
            self.timers.push(Reverse((since + EMPTY_ROOM_KEPT, Timer::Empty(project))));
        }
    }

    pub(super) fn forget_if_empty(&mut self, project: ProjectId, now: Now) {
        let empty = self.rooms.get(&project).is_some_and(|room| {
            room.waiting.is_empty()
                && room.empty_since.is_some_and(|since| now.instant.duration_since(since) >= EMPTY_ROOM_KEPT)
        });
        if empty {
            self.rooms.remove(&project);
        }
    }

    pub(super) fn claim_as(
        &mut self,
        project: ProjectId,
        entity: &str,
        holder: Holder,
        now: Now,
    ) -> Result<(Claim, Arc<ClaimNews>), ClaimRefused> {
        let by = holder.conn;
        let user = holder.user.clone();
        let claim = self.book().claim(project, entity, holder, self.limits.claim_ttl, now)?;
        self.time_claims(project, now.instant);
        let news = Arc::new(ClaimNews {
            project,
            action: "claimed",
            entity_id: claim.entity_id.clone(),
            user,
            by,
            expires_at_ms: Some(claim.expires_at_ms),
        });
        if claim.granted {
            self.tell_claim(&news);
        } else if let Some(room) = self.rooms.get_mut(&project) {
            // A renewal concerns nobody but those who join later.
            room.stale();
        }
        Ok((claim, news))
    }

    pub(super) fn release_as(
        &mut self,
        project: ProjectId,
        entity: &str,
        user: &Arc<str>,
        by: Option<ConnId>,
    ) -> Result<Arc<ClaimNews>, ClaimRefused> {
        self.book().release(project, entity, user)?;
        let news = released(project, entity.to_string(), user.clone(), by);
        self.tell_claim(&news);
        Ok(news)
    }

    pub(super) fn tell_claim(&mut self, news: &Arc<ClaimNews>) {
        if let Some(room) = self.rooms.get_mut(&news.project) {
            room.stale();
            broadcast(room, &mut self.out, news.project, &Outgoing::Claim(news.clone()), None);
        }
    }

    pub(super) fn tell_released(&mut self, project: ProjectId, gone: Vec<(String, Arc<str>)>, by: Option<ConnId>) {
        for (entity, user) in gone {
            let news = released(project, entity, user, by);
            self.tell_claim(&news);
        }
    }

    pub(super) fn time_claims(&mut self, project: ProjectId, now: Instant) {
        let next = self.book().next_expiry(project);
        if let Some(due) = next
            && self.claims_timed.insert(project)
        {
            self.timers.push(Reverse((due.max(now), Timer::Claims(project))));
        }
    }

    pub(super) fn expire_claims(&mut self, project: ProjectId, now: Now) {
        self.claims_timed.remove(&project);
        let lapsed = self.book().expire(project, now.instant);
        self.tell_released(project, lapsed, None);
        self.time_claims(project, now.instant);
    }
}
