//! Claims that other replicas grant: their news, and looking at the store when news may have been lost.
//!
//! Who gets a claim is the store's to decide (`claims`); this is about what the room is shown. Easy to get wrong: what is
//! read may be older than what was settled or heard while it was read, and news may come in another order than they
//! were made; fencing numbers tell.
use super::*;
use crate::actors::rooms::claims::Held;
use crate::db::claims::Claim as Row;

impl Core {
    /// A row that another process wrote, or may have written: the room is told if it did not know.
    pub(super) fn learned(&mut self, project: ProjectId, row: &Row, by: Option<ConnId>, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        let known = room.claims.fence(&row.entity_id);
        if known.is_some_and(|fence| fence > row.token) {
            return;
        }
        room.settle(&row.entity_id);
        let certain = room.claims.get(&row.entity_id, now.instant).is_some_and(Held::is_certain);
        if known == Some(row.token) && certain {
            return;
        }
        self.seen(project, row, now);
        if known != Some(row.token) {
            self.tell(&Arc::new(ClaimNews {
                project,
                action: "claimed",
                entity_id: row.entity_id.clone(),
                user: row.user_id.as_str().into(),
                by,
                expires_at_ms: Some(row.expires_at_ms),
                fence: Some(row.token),
            }));
        }
    }

    /// Another replica has let one go. Without its number there is no telling whether that is news.
    pub(super) fn hear_released(
        &mut self,
        project: ProjectId,
        (entity_id, user): (String, Arc<str>),
        fence: Option<u64>,
        by: Option<ConnId>,
    ) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        let Some(fence) = fence else { return self.read_claims(project) };
        let known = room.claims.fence(&entity_id);
        if known.is_none_or(|known| known <= fence) {
            room.settle(&entity_id);
        }
        if known.is_some_and(|known| known <= fence) {
            room.claims.remove(&entity_id);
            self.tell_released(project, entity_id, user, by);
        }
    }

    /// The claims of many rooms are about to be read together. Gives those whose are not being read already.
    pub fn begin_claims(&mut self, generation: u64, of: &[ProjectId]) -> Vec<ProjectId> {
        if generation != self.generation {
            return Vec::new();
        }
        let begins = |project: &ProjectId| match self.rooms.get_mut(project) {
            Some(room) if room.live && !room.reading_claims => {
                room.reading_claims = true;
                Some(*project)
            }
            _ => None,
        };
        of.iter().filter_map(begins).collect()
    }

    /// They have been read, or could not be.
    pub fn claims_told(&mut self, told: ClaimsTold, now: Now) {
        if told.generation != self.generation {
            return;
        }
        for (project, claims) in told.rooms {
            if self.rooms.get(&project).is_some_and(|room| room.live) {
                self.claims_read(project, claims.map_or(History::Unavailable, History::Claims), now);
            }
        }
    }

    pub(super) fn read_claims(&mut self, project: ProjectId) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if room.reading_claims {
            // What is being read may be older than what calls for this.
            room.read_claims_again = true;
            return;
        }
        room.reading_claims = true;
        self.out.push(Output::ReadHead(project, Purpose::Claims));
    }

    /// Read the claims once more, if something came up while they were read.
    pub(super) fn read_claims_again(&mut self, project: ProjectId) {
        if self.rooms.get_mut(&project).is_some_and(|room| std::mem::take(&mut room.read_claims_again)) {
            self.read_claims(project);
        }
    }

    pub(super) fn claims_read(&mut self, project: ProjectId, history: History, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        let settled = room.claims_were_read();
        // Of a store that is away nothing is asked again at once; the comparison of all rooms comes anyway.
        let History::Claims(rows) = history else { return };
        let newer = |entity: &String| settled.contains(entity) || self.asked.contains_key(&(project, entity.clone()));
        let rows: Vec<Row> = rows.into_iter().filter(|row| !newer(&row.entity_id)).collect();
        let in_force: HashSet<&String> = rows.iter().map(|row| &row.entity_id).collect();
        let gone = room.claims.holders().filter(|(entity, _)| !in_force.contains(entity) && !newer(entity));
        let gone: Vec<(String, Arc<str>)> = gone.map(|(entity, user)| (entity.clone(), user.clone())).collect();
        for (entity_id, user) in gone {
            if let Some(room) = self.rooms.get_mut(&project) {
                room.claims.remove(&entity_id);
            }
            self.tell_released(project, entity_id, user, None);
        }
        for row in rows {
            self.learned(project, &row, None, now);
        }
        self.read_claims_again(project);
    }

    pub(super) fn mail_claimed(&mut self, news: &ClaimNews, row: &Row) {
        let message = Message::Claimed {
            entity_id: row.entity_id.clone(),
            user_id: row.user_id.clone(),
            holder: row.holder.clone(),
            fence: row.token,
            expires_at_ms: row.expires_at_ms,
            by: news.by.map(|conn| conn.0),
        };
        self.mail(Channel::Room(news.project), message);
    }

    pub(super) fn mail_released(&mut self, news: &ClaimNews, fence: Option<u64>) {
        let (entity_id, user_id) = (news.entity_id.clone(), news.user.to_string());
        let message = Message::Released { entity_id, user_id, fence, by: news.by.map(|conn| conn.0) };
        self.mail(Channel::Room(news.project), message);
    }

    fn tell_released(&mut self, project: ProjectId, entity_id: String, user: Arc<str>, by: Option<ConnId>) {
        let (action, expires_at_ms, fence) = ("released", None, None);
        self.tell(&Arc::new(ClaimNews { project, action, entity_id, user, by, expires_at_ms, fence }));
    }
}
