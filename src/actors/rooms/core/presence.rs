//! When presence is announced, and when a room and its presence are forgotten.
//!
//! Who is seen is `hub::presence`'s. Easy to get wrong: an announcement continues the snapshot a joiner got, by `rev`,
//! so the snapshot shows what was announced last, not who is there this instant.
use super::*;
use std::sync::MutexGuard;

impl Core {
    pub(super) fn remembered(&self) -> MutexGuard<'_, HashMap<ProjectId, Presence>> {
        // A change of a presence is complete when it could panic; a poisoned memory is still whole.
        self.given.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn presence<T>(&self, project: ProjectId, change: impl FnOnce(&mut Presence) -> T) -> T {
        change(self.remembered().entry(project).or_default())
    }

    /// Begin with what the incarnation before this one has shown.
    pub(super) fn remember(&mut self, now: Instant) {
        let until = now + self.given.limits.presence.linger;
        let empty = now + self.given.limits.room_kept;
        let known: Vec<ProjectId> = self.remembered().keys().copied().collect();
        for project in known {
            self.presence(project, |presence| presence.restarted(until));
            self.timers.push(Reverse((empty, Timer::Empty(project))));
        }
    }

    pub(super) fn time_presence(&mut self, project: ProjectId, now: Now) {
        let (dirty, next_leave, visible) =
            self.presence(project, |presence| (presence.dirty(), presence.next_leave(), presence.visible()));
        let Some(room) = self.rooms.get_mut(&project) else { return };
        let pace = &self.given.limits.presence;
        let from = if dirty { Some(now.instant) } else { next_leave };
        let Some(from) = from else { return };
        let due = from + if visible > pace.large { pace.every_large } else { pace.every };
        if room.presence_due.is_none_or(|at| at > due) {
            room.presence_due = Some(due);
            self.timers.push(Reverse((due, Timer::Presence(project))));
        }
    }

    pub(super) fn announce(&mut self, project: ProjectId, due: Instant, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        // A timer that was overtaken by an earlier one has nothing to do.
        if room.presence_due != Some(due) {
            return;
        }
        if !room.live || room.shards.iter().any(|view| view.behind.is_some()) {
            // A further restart would lose what is held for a shard, and its members a revision.
            let again = now.instant + self.given.limits.presence.every;
            room.presence_due = Some(again);
            return self.timers.push(Reverse((again, Timer::Presence(project))));
        }
        room.presence_due = None;
        let (listed, sample) = (self.given.limits.presence.listed, self.given.limits.presence.sample);
        let change = self.presence(project, |presence| presence.take_change(now.instant, listed, sample));
        if let Some(change) = change
            && let Some(room) = self.rooms.get_mut(&project)
        {
            room.stale();
            let diff = PresenceDiff {
                project_id: project,
                rev: change.rev,
                joins: change.joins,
                leaves: change.leaves,
                count: change.count,
                partial: change.partial,
            };
            broadcast(room, &mut self.out, project, &Outgoing::Presence(Arc::new(diff)), None);
        }
        self.time_presence(project, now);
        // Who lingered here and does no more.
        self.time_share(project, now);
    }

    pub(super) fn time_empty(&mut self, project: ProjectId, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if room.members.is_empty() {
            let since = *room.empty_since.get_or_insert(now.instant);
            self.timers.push(Reverse((since + self.given.limits.room_kept, Timer::Empty(project))));
        }
    }

    pub(super) fn forget_if_empty(&mut self, project: ProjectId, now: Now) {
        let kept = self.given.limits.room_kept;
        if self.attached.iter().any(|attached| !attached) {
            // A shard that has not reported may have members there.
            return self.timers.push(Reverse((now.instant + kept, Timer::Empty(project))));
        }
        let keep = self.rooms.get(&project).is_some_and(|room| {
            let wanted = !room.waiting.is_empty() || !room.behind_joins.is_empty();
            wanted || room.empty_since.is_none_or(|since| now.instant.duration_since(since) < kept)
        });
        if !keep {
            self.rooms.remove(&project);
            self.remembered().remove(&project);
        }
    }
}
