//! What a run found, in parts that are stored before results are: a job that stops in between goes on from there.
//!
//! It leaves rows to `stage` and tables to `db::checkpoints`. A part is the JSON of about ten thousand results, texts or problems;
//! parts are held as they are stored, which is a tenth of what they are made of. The one thing easy to get wrong: a checkpoint is used only by the
//! version that made it, for another one may find something else.
use super::run::{Run, Stop};
use crate::db::checkpoints;
use crate::db::jobs::{Counts, JobState};
use crate::db::records::batch_rows;
use crate::db::results::{ResultStatus, RowProblem};
use crate::db::staging::{NewLine, NewResult, ResultText};
use serde::{Deserialize, Serialize};

/// Rows of one part.
pub(super) const PART_ROWS: usize = 10_000;

/// The code that a checkpoint and a profile are of, by a hash of its sources: a commit is not known everywhere, and says nothing of
/// what was changed since.
pub const MADE_BY: &str = concat!(env!("CARGO_PKG_VERSION"), " ", env!("TIEOUT_CODE"));

/// Everything that will be stored of a run.
pub(super) struct Found {
    /// The attempt that found it.
    pub attempt: i64,
    pub head: Head,
    parts: Parts,
}

enum Parts {
    Here(Vec<String>),
    Stored,
}

/// What a checkpoint says of itself.
#[derive(Serialize, Deserialize)]
pub(super) struct Head {
    made_by: String,
    /// What each part holds: the ordinal of its first row, and its rows.
    pub parts: Vec<Held>,
    pub results: u64,
    pub matches: u64,
    pub counts: Counts,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
pub(super) struct Held {
    pub kind: Kind,
    pub first: u64,
    pub rows: u64,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Texts,
    Results,
    Problems,
}

/// One part.
#[derive(Serialize, Deserialize)]
pub(super) enum Part {
    Texts(Vec<ResultText>),
    Results(Vec<Kept>),
    Problems(Vec<RowProblem>),
}

impl Part {
    fn held(&self, first: u64) -> Held {
        let (kind, rows) = match self {
            Self::Texts(rows) => (Kind::Texts, rows.len()),
            Self::Results(rows) => (Kind::Results, rows.len()),
            Self::Problems(rows) => (Kind::Problems, rows.len()),
        };
        Held { kind, first, rows: rows as u64 }
    }
}

/// One of a few words; by another name than its type's, or serde would take it for one that lies in what is read.
type Word = &'static str;

/// A result without its ordinal, which its place says.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept(
    ResultStatus,
    Option<String>,
    #[serde(deserialize_with = "word")] Word,
    Option<String>,
    #[serde(deserialize_with = "word")] Word,
    Option<f64>,
    String,
    String,
    Option<u64>,
    Vec<NewLine>,
);

impl From<NewResult> for Kept {
    fn from(new: NewResult) -> Self {
        Self(
            new.status,
            new.match_id,
            new.kind,
            new.related_id,
            new.state,
            new.probability,
            new.comparisons,
            new.explanation,
            new.text,
            new.lines,
        )
    }
}

impl Kept {
    pub fn at(self, ordinal: u64) -> NewResult {
        let Self(status, match_id, kind, related_id, state, probability, comparisons, explanation, text, lines) = self;
        NewResult {
            ordinal,
            status,
            match_id,
            kind,
            related_id,
            state,
            probability,
            comparisons,
            explanation,
            text,
            lines,
        }
    }
}

/// A word of the results' columns.
fn word<'de, D: serde::Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    use crate::reconcile::{BreakKind as B, MatchKind as K, MatchState as S};
    let read = String::deserialize(from)?;
    let kinds = [K::OneToOne, K::OneToMany, K::ManyToOne, K::ManyToMany].map(K::as_str);
    let breaks = [B::Missing, B::Duplicate, B::Outbid, B::Unlike, B::Contra].map(B::as_str);
    let states = [S::Auto, S::Review, S::Discrepancy].map(S::as_str);
    let mut known = kinds.into_iter().chain(breaks).chain(states).chain([UNMATCHED]);
    known.find(|word| *word == read).ok_or_else(|| serde::de::Error::custom(format!("unknown word {read:?}")))
}

/// The state of a record without a match.
pub(super) const UNMATCHED: &str = "unmatched";

/// Takes rows as they come and makes parts of them.
#[derive(Default)]
pub(super) struct Parting {
    held: Vec<Held>,
    parts: Vec<String>,
}

impl Parting {
    pub fn add(&mut self, first: u64, part: &Part) {
        self.held.push(part.held(first));
        self.parts.push(serde_json::to_string(part).expect("rows are plain data"));
    }

    pub fn found(self, attempt: i64, results: u64, matches: u64, counts: Counts) -> Found {
        let head = Head { made_by: MADE_BY.into(), parts: self.held, results, matches, counts };
        Found { attempt, head, parts: Parts::Here(self.parts) }
    }
}

impl Found {
    /// One of the parts that the head names.
    pub fn part(&self, run: &Run, at: usize) -> Result<Part, Stop> {
        let stored;
        let text = match &self.parts {
            Parts::Here(parts) => &parts[at],
            Parts::Stored => {
                let (store, job, attempt) = (&run.shared.store, run.job.id, self.attempt);
                stored = run.store(|| checkpoints::part(store, job, attempt, at as u64 + 1))?;
                &stored
            }
        };
        let broken = |error| Stop::Failed(format!("internal error: part {at} of the job's checkpoint: {error}"));
        serde_json::from_str(text).map_err(broken)
    }

    /// Stores it all, unless one batch will do so at once.
    pub fn save(&self, run: &Run) -> Result<(), Stop> {
        let Parts::Here(parts) = &self.parts else { return Ok(()) };
        if self.head.results <= batch_rows(&run.shared.store) as u64 {
            return Ok(());
        }
        let (store, job, fence) = (&run.shared.store, run.job.id, run.flight.fence);
        let total = parts.len() as u64;
        for (part, body) in (1..).zip(parts) {
            run.store(|| checkpoints::store_part(store, job, fence, part, body.clone()))?;
            run.meter.report(JobState::Publishing, "saving", part, total, self.head.matches, false);
        }
        let head = serde_json::to_string(&self.head).expect("a head is plain data");
        run.store(|| checkpoints::store_head(store, job, fence, head.clone()))
    }
}

/// What an earlier attempt found, if it came so far and this version can go on with it.
pub(super) fn load(run: &Run) -> Result<Option<Found>, Stop> {
    // A first attempt has nothing before it.
    if run.job.attempt <= 1 {
        return Ok(None);
    }
    let (store, job) = (&run.shared.store, run.job.id);
    let Some(stored) = run.store(|| checkpoints::head(store, job))? else { return Ok(None) };
    match serde_json::from_str::<Head>(&stored.body) {
        Ok(head) if head.made_by == MADE_BY => {
            log::info!("a job goes on from its checkpoint job={job} attempt={}", stored.attempt);
            Ok(Some(Found { attempt: stored.attempt, head, parts: Parts::Stored }))
        }
        _ => {
            log::info!("a job's checkpoint is of other code and is dropped job={job}");
            run.store(|| checkpoints::discard(store, job, run.flight.fence))?;
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::Side;

    #[test]
    fn a_part_says_after_its_way_through_json_what_it_said_before() {
        let new = NewResult {
            ordinal: 7,
            status: ResultStatus::Matched,
            match_id: Some("m1".into()),
            kind: "one_to_many",
            related_id: None,
            state: "auto",
            probability: Some(0.1 + 0.2),
            comparisons: String::new(),
            explanation: "ü \u{0}".into(),
            text: Some(3),
            lines: vec![NewLine { side: Side::Right, record_ordinal: 9, allocated_minor: Some(-5) }],
        };
        let text = serde_json::to_string(&Part::Results(vec![new.clone().into()])).unwrap();
        let Part::Results(back) = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
        assert_eq!(back.into_iter().map(|kept| kept.at(7)).collect::<Vec<_>>(), [new]);
        assert!(serde_json::from_str::<Part>(&text.replace("one_to_many", "one_to_some")).is_err());
    }
}
