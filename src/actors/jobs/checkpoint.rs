//! What a run found, in parts that are stored before results are: a job that stops in between goes on from there.
//!
//! It leaves rows to `stage` and tables to `db::checkpoints`. A part is the JSON of some thousand results, texts or problems; it is
//! stored as it is made, so that no more than one is held. The one thing easy to get wrong: a checkpoint is used only by the
//! code that made it, for another one may find something else.
use super::run::{Run, Stop};
use crate::db::checkpoints;
use crate::db::jobs::{Counts, JobState};
use crate::db::records::batch_rows;
use crate::db::results::{ResultStatus, RowProblem};
use crate::db::staging::{NewLine, NewResult, ResultText, Staged};
use serde::{Deserialize, Serialize};

/// Most rows of one part.
const PART_ROWS: usize = 10_000;
/// Bytes of text after which a part takes no more rows: a cell may have 64 KiB, and a row dozens of them.
const PART_BYTES: usize = 2 << 20;

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
    /// So few that they are not worth storing.
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
    /// Records in all results.
    lines: u64,
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
    pub(super) fn at(self, ordinal: u64) -> NewResult {
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

/// Takes rows as they come, makes parts of them and stores each at once, unless one batch will stage all results.
pub(super) struct Parting<'a> {
    run: &'a Run,
    held: Vec<Held>,
    here: Option<Vec<String>>,
    results: u64,
    lines: u64,
    matches: u64,
}

impl<'a> Parting<'a> {
    /// For so many results, matches among them.
    pub(super) fn new(run: &'a Run, results: u64, matches: u64) -> Self {
        let here = (results <= batch_rows(&run.shared.store) as u64).then(Vec::new);
        Self { run, held: Vec::new(), here, results, lines: 0, matches }
    }

    pub(super) fn results(&mut self, rows: impl Iterator<Item = NewResult>) -> Result<(), Stop> {
        let bytes = |kept: &Kept| kept.6.len() + kept.7.len() + kept.9.len() * LINE_BYTES;
        self.all(rows.map(Kept::from), bytes, Part::Results)
    }

    pub(super) fn texts(&mut self, rows: impl Iterator<Item = ResultText>) -> Result<(), Stop> {
        self.all(rows, |text| text.comparisons.len() + text.explanation.len(), Part::Texts)
    }

    pub(super) fn problems(&mut self, rows: impl Iterator<Item = RowProblem>) -> Result<(), Stop> {
        let bytes = |problem: &RowProblem| problem.column.len() + problem.value.len() + problem.reason.len();
        self.all(rows, bytes, Part::Problems)
    }

    fn all<T>(
        &mut self,
        rows: impl Iterator<Item = T>,
        bytes: impl Fn(&T) -> usize,
        part: impl Fn(Vec<T>) -> Part,
    ) -> Result<(), Stop> {
        let mut first = 0;
        for rows in cut(rows, PART_ROWS, PART_BYTES, bytes) {
            self.run.check()?;
            let next = first + rows.len() as u64;
            self.add(first, &part(rows))?;
            first = next;
        }
        Ok(())
    }

    fn add(&mut self, first: u64, part: &Part) -> Result<(), Stop> {
        if let Part::Results(rows) = part {
            self.lines += rows.iter().map(|kept| kept.9.len() as u64).sum::<u64>();
        }
        let held = part.held(first);
        self.held.push(held);
        let body = serde_json::to_string(part).expect("rows are plain data");
        if let Some(here) = &mut self.here {
            here.push(body);
            return Ok(());
        }
        let (store, job, fence) = (&self.run.shared.store, self.run.job.id, self.run.flight.fence);
        let number = self.held.len() as u64;
        self.run.store(|| checkpoints::store_part(store, job, fence, number, body.clone()))?;
        if held.kind == Kind::Results {
            let done = first + held.rows;
            self.run.meter.report(JobState::Publishing, "saving", done, self.results, self.matches, false);
        }
        Ok(())
    }

    /// All that was taken; from here on the job can go on from it.
    pub(super) fn found(self, counts: Counts) -> Result<Found, Stop> {
        let Self { run, held, here, results, lines, matches } = self;
        let attempt = run.flight.fence;
        let head = Head { made_by: MADE_BY.into(), parts: held, results, lines, matches, counts };
        let parts = match here {
            Some(here) => Parts::Here(here),
            None => {
                let body = serde_json::to_string(&head).expect("a head is plain data");
                run.store(|| checkpoints::store_head(&run.shared.store, run.job.id, attempt, body.clone()))?;
                Parts::Stored
            }
        };
        Ok(Found { attempt, head, parts })
    }
}

/// About what a line of a result takes.
const LINE_BYTES: usize = 40;

/// Cuts rows into runs of so many rows, or of about so many bytes; one row alone may have more.
fn cut<T>(
    mut rows: impl Iterator<Item = T>,
    most_rows: usize,
    most_bytes: usize,
    bytes: impl Fn(&T) -> usize,
) -> impl Iterator<Item = Vec<T>> {
    std::iter::from_fn(move || {
        let (mut run, mut held) = (Vec::new(), 0);
        while run.len() < most_rows && held < most_bytes {
            let Some(row) = rows.next() else { break };
            held += bytes(&row);
            run.push(row);
        }
        (!run.is_empty()).then_some(run)
    })
}

impl Head {
    /// What is staged of it in the end.
    pub(super) fn staged(&self) -> Staged {
        let rows = |kind| self.parts.iter().filter(|held| held.kind == kind).map(|held| held.rows).sum();
        Staged { results: self.results, lines: self.lines, texts: rows(Kind::Texts), problems: rows(Kind::Problems) }
    }
}

impl Found {
    /// One of the parts that the head names.
    pub(super) fn part(&self, run: &Run, at: usize) -> Result<Part, Stop> {
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

    #[test]
    fn a_part_ends_after_its_rows_or_its_bytes_whichever_comes_first() {
        let parts = |bytes: &[usize]| -> Vec<usize> {
            cut(bytes.iter(), 4, 100, |bytes| **bytes).map(|part| part.len()).collect()
        };
        assert_eq!(parts(&[1; 10]), [4, 4, 2]);
        assert_eq!(parts(&[50, 50, 1, 250, 99, 1, 1]), [2, 2, 2, 1]);
        assert!(parts(&[]).is_empty());
    }
}
