//! What connections have asked, and what must be so of the answers.
use super::*;

/// What a connection has asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub re: u64,
    pub conn: u64,
    pub room: usize,
    /// The claim, if it is about one.
    pub entity: Option<String>,
    pub leaves: bool,
}

impl World {
    /// Each request once.
    pub(super) fn is_answered(&mut self, re: Option<u64>) {
        if let Some(re) = re {
            self.unanswered.remove(&re);
            assert!(self.answered.insert(re), "request {re} was answered before");
        }
    }

    pub(super) fn request(&self, re: Option<u64>) -> Option<&Asked> {
        self.asked.iter().find(|asked| Some(asked.re) == re)
    }

    pub(super) fn replied(&mut self, conn: ConnId, re: Option<u64>, reply: &Reply) {
        match reply {
            Reply::Claim(news) if news.action == "claimed" => {
                let row = &self.rows[&(self.room(news.project), news.entity_id.clone())];
                assert_eq!(row.holder, format!("here:{}", conn.0), "told it is its own, and it is");
                assert_eq!(Some(row.token), news.fence);
            }
            Reply::Refused { code: ErrorCode::NotJoined, .. } => self.not_joined.extend(re),
            Reply::Refused { code: ErrorCode::AlreadyClaimed, holder: Some(holder), .. }
                if **holder == *user_of(conn.0) =>
            {
                let Some(Asked { re, room, entity: Some(entity), .. }) = self.request(re) else { return };
                let key = (*room, entity.clone());
                let holder = &self.rows[&key].holder;
                let number = holder.strip_prefix("here:").and_then(|number| number.parse().ok());
                let gone = number.is_none_or(|number: u64| self.ended.get(&number).is_some_and(|at| at < re));
                assert!(!gone || self.uncertain.contains(&key), "{holder} is gone, and its own user may take over");
            }
            _ => {}
        }
    }

    /// What was asked after a join that was granted, and before its connection asked to leave, was asked by a member.
    pub(super) fn in_order(&self, joined: &Asked) {
        let same = |asked: &&Asked| asked.conn == joined.conn && asked.room == joined.room && asked.re > joined.re;
        let later = self.asked.iter().filter(same).take_while(|asked| !asked.leaves);
        let refused: Vec<u64> = later.map(|asked| asked.re).filter(|re| self.not_joined.contains(re)).collect();
        assert!(refused.is_empty(), "{refused:?} came after {}, and were done before it", joined.re);
    }
}
