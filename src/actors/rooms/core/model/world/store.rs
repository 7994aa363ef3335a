//! The store as it should be: one history for each room, one row for each thing that can be claimed.
use super::*;

impl World {
    pub(super) fn answer(&mut self, failing: bool) {
        let Some((project, from, purpose)) = self.reads.pop_front() else { return };
        let room = self.room(project);
        let (ep, off) = ("e".into(), self.heads[room]);
        let history = match from {
            _ if failing => History::Unavailable,
            // Claims are read by themselves, of whatever project.
            _ if self.deleted[room] && !matches!(purpose, Purpose::Claims) => History::NotFound,
            None if matches!(purpose, Purpose::Open) => History::Opened { ep, off, claims: self.in_force(room) },
            None if matches!(purpose, Purpose::Claims) => History::Claims(self.in_force(room)),
            None => History::Head { ep, off },
            Some(from) if from.off < self.trimmed[room] => History::Gone { ep, off },
            Some(from) => {
                History::Events { events: (from.off + 1..=off).map(|off| event(room, off)).collect(), head: off }
            }
        };
        self.core.told(Told { generation: self.generation, project, purpose, history }, self.now);
    }

    pub(super) fn in_force(&self, room: usize) -> Vec<Row> {
        let rows = self.rows.iter().filter(|((of, _), row)| *of == room && row.expires_at_ms > self.now.unix_ms);
        rows.map(|(_, row)| row.clone()).collect()
    }

    /// The store as it should be: one row for each thing.
    pub(super) fn decide(&mut self, which: usize, failing: bool) {
        if self.asks.is_empty() {
            return;
        }
        let (generation, ask) = self.asks.remove(which % self.asks.len());
        let room = self.room(ask.project);
        let key = (room, ask.entity_id.clone());
        if failing || generation != self.generation {
            self.uncertain.insert(key.clone());
        }
        let expires_at_ms = self.now.unix_ms + self.given.limits.claim_ttl.as_millis() as i64;
        let row = self.rows.get(&key).filter(|row| row.expires_at_ms > self.now.unix_ms).cloned();
        let outcome = match (row, ask.change) {
            _ if failing => ClaimOutcome::Failed(ClaimRefused::Unavailable("failing")),
            (row, Change::Abandon) => {
                let had = row.is_some_and(|row| row.holder == ask.holder);
                if let Some(row) = self.rows.get_mut(&key).filter(|_| had) {
                    row.holder = abandoned(&ask.holder);
                }
                ClaimOutcome::Abandoned(had)
            }
            _ if self.deleted[room] => ClaimOutcome::Failed(ClaimRefused::NoProject),
            (row, change @ (Change::Release | Change::ReleaseOwn)) => {
                let own = |row: &Row| row.holder == ask.holder || row.holder == abandoned(&ask.holder);
                let freed = row.is_some_and(|row| row.user_id == *ask.user && (change == Change::Release || own(&row)));
                if let Some(row) = self.rows.get_mut(&key).filter(|_| freed) {
                    row.expires_at_ms = self.now.unix_ms;
                }
                ClaimOutcome::Released(freed)
            }
            (Some(mut row), Change::Take) if row.holder == ask.holder => {
                row.expires_at_ms = expires_at_ms;
                self.rows.insert(key, row.clone());
                ClaimOutcome::Taken(Taken::Renewed(row))
            }
            (Some(row), Change::Take) if row.user_id != *ask.user || row.holder.starts_with("here:") => {
                ClaimOutcome::Taken(Taken::Held(row))
            }
            (_, Change::Take) => {
                let token = self.rows.get(&key).map_or(1, |row| row.token + 1);
                let (entity_id, user_id, holder) = (ask.entity_id.clone(), ask.user.to_string(), ask.holder.clone());
                let row = Row { entity_id, user_id, holder, token, expires_at_ms };
                self.rows.insert(key, row.clone());
                ClaimOutcome::Taken(Taken::Granted(row))
            }
        };
        self.core.claim_told(ClaimTold { generation, ask, outcome }, self.now);
    }

    pub(super) fn renew(&mut self, project: ProjectId, claims: &[(String, String)]) {
        let room = self.room(project);
        let until = self.now.unix_ms + self.given.limits.claim_ttl.as_millis() as i64;
        let mut renewed = Vec::new();
        for (entity, holder) in claims {
            let row = self.rows.get_mut(&(room, entity.clone())).filter(|row| row.holder == *holder);
            if let Some(row) = row.filter(|row| row.expires_at_ms > self.now.unix_ms) {
                row.expires_at_ms = until;
                renewed.push(row.clone());
            }
        }
        self.core.renew_told(&RenewTold { project, asked: claims.to_vec(), renewed }, self.now);
    }
}
