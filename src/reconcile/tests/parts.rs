//! Parts of the comparing that are kept: a run that begins again and a second one beside it find what one alone finds.
mod support;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::sync::{Barrier, Mutex};
use support::table;
use tieout_reconcile::{
    Cancelled, Control, Outcome, Part, Parts, Progress, RunError, Table, Unattended, compare_parts, report,
    run_inferred,
};

/// Two files that are compared in several parts, whose rows no key settles: a customer has many payments.
fn files() -> (Table, Table) {
    const ROWS: u32 = 26_000;
    let side = |name: &str, moved: u32| {
        let mut csv = "id,date,amount,name\n".to_owned();
        for row in (0..ROWS).filter(|row| row % 97 != moved) {
            let (day, month) = (1 + (row + moved) % 28, 1 + row / 28 % 12);
            let cents = u64::from(row) * 7_919 % 400_000;
            let (whole, part) = (100 + cents / 100, cents % 100);
            writeln!(csv, "{name}{row},2025-{month:02}-{day:02},{whole}.{part:02},Customer {}", row * 31 % 977)
                .unwrap();
        }
        table(name, &csv)
    };
    (side("l", 0), side("r", 1))
}

fn found(outcome: &Outcome, left: &Table, right: &Table) -> String {
    let mut text = Vec::new();
    report::write_matches_csv(&mut text, outcome, left, right).unwrap();
    String::from_utf8(text).unwrap()
}

type Bodies = BTreeMap<(u64, u32), Option<Vec<u8>>>;

/// Parts in memory, and a limit to how many one run may compute.
struct Kept<'a> {
    bodies: &'a Mutex<Bodies>,
    computed: Mutex<u32>,
    limit: u32,
    last_first: bool,
    /// Where two that share the parts wait for each other at the beginning of a step: neither is done before the other begins.
    both: Option<&'a Barrier>,
}

impl<'a> Kept<'a> {
    fn new(bodies: &'a Mutex<Bodies>) -> Self {
        Self { bodies, computed: Mutex::new(0), limit: u32::MAX, last_first: false, both: None }
    }
}

impl Control for Kept<'_> {
    fn progress(&self, _: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn parts(&self) -> Option<&dyn Parts> {
        Some(self)
    }
}

impl Parts for Kept<'_> {
    fn begin(&self, _: u64, parts: u32) -> Result<(), Cancelled> {
        assert!(parts > 2, "the files are too small for this test");
        if let Some(both) = self.both {
            both.wait();
        }
        Ok(())
    }

    fn take(&self, step: u64, part: u32) -> Result<Part, Cancelled> {
        if *self.computed.lock().unwrap() >= self.limit {
            return Err(Cancelled);
        }
        match self.bodies.lock().unwrap().entry((step, part)) {
            Entry::Occupied(known) => Ok(known.get().clone().map_or(Part::Elsewhere, Part::Kept)),
            Entry::Vacant(free) => {
                free.insert(None);
                Ok(Part::Yours)
            }
        }
    }

    fn keep(&self, step: u64, part: u32, body: Vec<u8>) -> Result<(), Cancelled> {
        *self.computed.lock().unwrap() += 1;
        self.bodies.lock().unwrap().insert((step, part), Some(body));
        Ok(())
    }

    fn wait(&self) -> Result<(), Cancelled> {
        std::thread::yield_now();
        Ok(())
    }

    fn last_first(&self) -> bool {
        self.last_first
    }
}

#[test]
fn a_run_that_begins_again_computes_only_what_is_missing_or_broken() {
    let (left, right) = files();
    let alone = found(&run_inferred(&left, &right, &Unattended).unwrap(), &left, &right);
    let bodies = Mutex::default();

    let stopped = Kept { limit: 2, ..Kept::new(&bodies) };
    assert_eq!(run_inferred(&left, &right, &stopped).unwrap_err(), RunError::Cancelled);
    assert_eq!(bodies.lock().unwrap().len(), 2);

    let resumed = Kept::new(&bodies);
    assert_eq!(found(&run_inferred(&left, &right, &resumed).unwrap(), &left, &right), alone);
    let all = bodies.lock().unwrap().len() as u32;
    assert_eq!(*resumed.computed.lock().unwrap(), all - 2, "what the first one computed was taken");

    let again = Kept::new(&bodies);
    assert_eq!(found(&run_inferred(&left, &right, &again).unwrap(), &left, &right), alone);
    assert_eq!(*again.computed.lock().unwrap(), 0);

    if let Some(Some(body)) = bodies.lock().unwrap().values_mut().nth(1) {
        body.truncate(body.len() / 2);
    }
    let mended = Kept::new(&bodies);
    assert_eq!(found(&run_inferred(&left, &right, &mended).unwrap(), &left, &right), alone);
    assert_eq!(*mended.computed.lock().unwrap(), 1, "the broken part");
}

#[test]
fn two_that_share_the_parts_compute_each_once_and_find_what_one_alone_finds() {
    let (left, right) = files();
    let alone = found(&run_inferred(&left, &right, &Unattended).unwrap(), &left, &right);
    let bodies = Mutex::default();
    let both = Barrier::new(2);
    let owner = Kept { both: Some(&both), ..Kept::new(&bodies) };
    let helper = Kept { both: Some(&both), last_first: true, ..Kept::new(&bodies) };
    let shared = std::thread::scope(|scope| {
        let helping = scope.spawn(|| compare_parts(&left, &right, None, &helper));
        let shared = run_inferred(&left, &right, &owner).unwrap();
        helping.join().unwrap().unwrap();
        shared
    });
    assert_eq!(found(&shared, &left, &right), alone);
    let computed = [&owner, &helper].map(|one| *one.computed.lock().unwrap());
    assert_eq!(computed.iter().sum::<u32>(), bodies.lock().unwrap().len() as u32, "each part once");
    assert!(computed.iter().all(|parts| *parts > 0), "{computed:?}");
}
