//! Groups restart together what failed together: who, in which order, how often, and what is above them when that was too often.
//! Handles and queues outlive all of it.
use std::{
    sync::{Arc, Mutex, atomic::Ordering, mpsc},
    time::Duration,
};

use tieout_runtime::{
    AbortReason, Addr, AskError, Backoff, Event, Group, GroupSpec, GroupState, OnExhausted, OnStall, Restart, Runtime,
    StartError, State, StopReason, Strategy,
};
use tokio::time::timeout;

use crate::{
    actor::{LIMIT, Log, event, quick, stop},
    tree::{Add, Fail, Fate, Finish, Leaf, Never, fated, leaf},
};

const NAMES: [&str; 3] = ["a", "b", "c"];
const MINUTE: Duration = Duration::from_secs(60);

fn group(strategy: Strategy) -> GroupSpec {
    GroupSpec::new("group", strategy).backoff(quick())
}

/// A group of a, b and c, each with a sum of 1; what their starts logged is forgotten.
async fn three(rt: &Runtime, spec: GroupSpec, log: &Log) -> (Group, Vec<Addr<Leaf>>) {
    let group = rt.group(spec).unwrap();
    let mut members = Vec::new();
    for name in NAMES {
        let member = group.supervise(leaf(name, log)).await.unwrap();
        assert_eq!(member.ask(Add(1)).await.unwrap(), 1);
        members.push(member);
    }
    assert_eq!(log.lines(), ["+a", "+b", "+c"]);
    (group, members)
}

/// Awaits a restart of the group.
async fn restarted(group: &Group, times: u64) {
    let mut restarts = group.restarts();
    let found = timeout(LIMIT, restarts.wait_for(|n| *n == times)).await;
    found.unwrap_or_else(|_| panic!("the group does not restart: {:?}", group.watch().get())).unwrap();
}

async fn group_state(group: &Group, what: &str, is: impl Fn(&GroupState) -> bool) -> GroupState {
    let mut state = group.watch();
    let found = timeout(LIMIT, state.wait_for(|s| is(s))).await;
    found.unwrap_or_else(|_| panic!("{what} did not come: {:?}", group.watch().get())).unwrap()
}

async fn end(addr: &Addr<Leaf>) -> StopReason {
    let mut states = addr.watch();
    let found =
        timeout(LIMIT, states.wait_for(|s| matches!(s, State::Stopped { .. }))).await.expect("it ends").unwrap();
    let State::Stopped { why } = found.clone() else { unreachable!() };
    why
}

async fn sums(members: &[Addr<Leaf>]) -> Vec<u64> {
    let mut sums = Vec::new();
    for member in members {
        sums.push(member.ask(Add(0)).await.unwrap());
    }
    sums
}

#[tokio::test]
async fn a_failure_restarts_all_in_a_one_for_all_group_those_after_it_in_rest_for_one_and_itself_in_one_for_one() {
    let cases: [(Strategy, &[&str], [u64; 3]); 3] = [
        (Strategy::OneForAll, &["-c", "-a", "+a", "+b", "+c"], [0, 0, 0]),
        (Strategy::RestForOne, &["-c", "+b", "+c"], [1, 0, 0]),
        (Strategy::OneForOne, &["+b"], [1, 0, 1]),
    ];
    for (strategy, lines, left) in cases {
        let log = Log::default();
        let rt = Runtime::builder().start().unwrap();
        let (group, members) = three(&rt, group(strategy), &log).await;
        let mut events = rt.events();
        assert!(matches!(members[1].ask(Fail).await, Err(AskError::Panicked(_))));
        if strategy == Strategy::OneForOne {
            event(&mut events, "its restart", |e| matches!(e, Event::Restarted { actor, .. } if &**actor == "b")).await;
        } else {
            let e = event(&mut events, "the group's restart", |e| matches!(e, Event::GroupRestarted { .. })).await;
            let Event::GroupRestarted { group, restarts: 1, actors } = e else { panic!("{e:?}") };
            assert_eq!((&*group, actors), ("group", left.iter().filter(|n| **n == 0).count()));
        }
        assert_eq!(log.lines()[3..], *lines, "{strategy:?}: stopped in reverse order, started in order");
        assert_eq!(sums(&members).await, left, "{strategy:?}");
        group_state(&group, "running", |s| *s == GroupState::Running).await;
        assert!(rt.health().ok(), "{:?}", rt.health());
        stop(rt).await;
    }
}

#[tokio::test]
async fn queues_and_handles_outlive_a_group_restart_and_replies_under_way_say_why_they_do_not_come() {
    let log = Log::default();
    let rt = Runtime::builder().start().unwrap();
    let pause = Duration::from_millis(300);
    let slow = Backoff { first: pause, max: pause, jitter: 0.0, ..Backoff::default() };
    let (group, members) = three(&rt, group(Strategy::OneForAll).backoff(slow), &log).await;
    let under_way = tokio::spawn({
        let a = members[0].clone();
        async move { a.ask(Never).await }
    });
    let in_flight = async {
        while rt.health().actors[0].mailbox_depth > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, in_flight).await.expect("it is being handled");
    assert_eq!(members[0].ask(Add(1)).await.unwrap(), 2, "so it was taken before this");
    assert!(members[2].ask(Fail).await.is_err());
    let state = group_state(&group, "the pause", |s| matches!(s, GroupState::Restarting { .. })).await;
    assert_eq!(state, GroupState::Restarting { attempt: 1, retry_after: pause });
    let mut states = members[0].watch();
    timeout(LIMIT, states.wait_for(|s| matches!(s, State::Restarting { .. }))).await.expect("a is down").unwrap();
    assert!(!rt.health().ok());
    let got = under_way.await.unwrap().unwrap_err();
    let AskError::Aborted(AbortReason::GroupRestarted(cause)) = &got else { panic!("{got:?}") };
    assert!(cause.contains("c fails"), "{cause}");
    let (first, second) = tokio::join!(members[0].ask(Add(5)), members[0].ask(Add(5)));
    assert_eq!((first.unwrap(), second.unwrap()), (5, 10), "what came while it was down waited in its queue");
    stop(rt).await;
}

#[tokio::test]
async fn a_new_member_waits_until_its_group_has_restarted() {
    let log = Log::default();
    let rt = Runtime::builder().start().unwrap();
    let pause = Duration::from_millis(100);
    let slow = Backoff { first: pause, max: pause, jitter: 0.0, ..Backoff::default() };
    let (group, members) = three(&rt, group(Strategy::OneForAll).backoff(slow), &log).await;
    assert!(members[0].ask(Fail).await.is_err());
    group_state(&group, "the pause", |s| matches!(s, GroupState::Restarting { .. })).await;
    group.supervise(leaf("d", &log)).await.unwrap();
    assert_eq!(log.lines()[3..], ["-c", "-b", "+a", "+b", "+c", "+d"]);
    stop(rt).await;
}

#[tokio::test]
async fn past_the_groups_intensity_whichever_members_failed_it_gives_up_and_ends_its_members() {
    let log = Log::default();
    let rt = Runtime::builder().start().unwrap();
    let spec = group(Strategy::OneForOne).intensity(2, MINUTE).on_exhausted(OnExhausted::GiveUp);
    let beside = rt.supervise(leaf("beside", &Log::default())).await.unwrap();
    let (group, members) = three(&rt, spec, &log).await;
    for member in &members[..2] {
        assert!(matches!(member.ask(Fail).await, Err(AskError::Panicked(_))));
        assert_eq!(member.ask(Add(0)).await.unwrap(), 0, "restarted alone");
    }
    assert!(matches!(members[2].ask(Fail).await, Err(AskError::Panicked(_))));
    let why = end(&members[0]).await;
    let StopReason::Exhausted(text) = &why else { panic!("{why:?}") };
    assert!(text.contains("group group") && text.contains("c fails"), "{text}");
    let GroupState::Stopped { why: of_group } =
        group_state(&group, "the end", |s| matches!(s, GroupState::Stopped { .. })).await
    else {
        unreachable!()
    };
    assert_eq!(of_group, why);
    assert_eq!(log.lines()[5..], ["-b", "-a"], "the healthy ones stopped in reverse order, with their hooks");
    assert!(rt.health().groups.is_empty());
    assert_eq!(rt.health().failed, None, "it gave up, nothing more");
    assert_eq!(beside.ask(Add(1)).await.unwrap(), 1, "others go on");
    let refused = group.supervise(leaf("late", &log)).await.unwrap_err();
    assert!(matches!(refused, StartError::GroupStopped { .. }), "{refused}");
    stop(rt).await;
}

#[tokio::test]
async fn a_nested_groups_exhaustion_is_its_parents_failure_and_at_the_root_the_runtimes() {
    let log = Log::default();
    let rt = Runtime::builder().start().unwrap();
    let outer = rt.group(GroupSpec::new("outer", Strategy::OneForAll).backoff(quick()).intensity(1, MINUTE)).unwrap();
    let x = outer.supervise(leaf("x", &log)).await.unwrap();
    let inner = outer.group(GroupSpec::new("inner", Strategy::OneForOne).intensity(0, MINUTE)).unwrap();
    let y = inner.supervise(leaf("y", &log)).await.unwrap();
    let z = inner.supervise(leaf("z", &log)).await.unwrap();
    let health = rt.health();
    let tree: Vec<_> = health.groups.iter().map(|g| (&*g.name, g.group.as_deref(), g.members.len())).collect();
    assert_eq!(tree, [("outer", None, 2), ("inner", Some("outer"), 2)]);
    let of: Vec<_> = health.actors.iter().map(|a| (&*a.name, a.group.as_deref())).collect();
    assert_eq!(of, [("x", Some("outer")), ("y", Some("inner")), ("z", Some("inner"))]);
    let mut events = rt.events();
    assert!(y.ask(Fail).await.is_err());
    let up = event(&mut events, "the escalation", |e| matches!(e, Event::Escalated { .. })).await;
    let Event::Escalated { child, to: Some(to), cause } = &up else { panic!("{up:?}") };
    assert_eq!((&**child, &**to), ("inner", "outer"));
    assert!(cause.contains("y fails"), "{cause}");
    restarted(&outer, 1).await;
    assert_eq!(log.lines()[3..], ["-z", "-x", "+x", "+y", "+z"], "the whole tree, from the last to the first and back");
    assert_eq!((x.ask(Add(1)).await.unwrap(), z.ask(Add(1)).await.unwrap()), (1, 1));
    assert_eq!(rt.health().failed, None);
    assert!(z.ask(Fail).await.is_err());
    let mut failed = rt.failed();
    let failure = timeout(LIMIT, failed.wait_for(Option::is_some)).await.expect("the runtime fails").unwrap();
    let failure = failure.unwrap();
    assert_eq!(&*failure.name, "outer");
    assert!(failure.cause.contains("z fails") && failure.cause.contains("group inner"), "{failure:?}");
    assert!(matches!(end(&x).await, StopReason::Exhausted(_)));
    assert!(!rt.health().ok(), "and stays failed, for whoever owns the process");
    assert_eq!(rt.health().failed, Some(failure));
    stop(rt).await;
}

#[tokio::test]
async fn a_parent_that_restarts_takes_over_the_restart_of_a_group_in_it() {
    let log = Log::default();
    let rt = Runtime::builder().start().unwrap();
    let outer = rt.group(GroupSpec::new("outer", Strategy::OneForAll).backoff(quick())).unwrap();
    let x = outer.supervise(leaf("x", &log)).await.unwrap();
    let hour = Backoff { first: 60 * MINUTE, max: 60 * MINUTE, ..Backoff::default() };
    let inner = outer.group(GroupSpec::new("inner", Strategy::OneForAll).backoff(hour)).unwrap();
    let y = inner.supervise(leaf("y", &log)).await.unwrap();
    assert!(y.ask(Fail).await.is_err());
    group_state(&inner, "the hour's pause", |s| matches!(s, GroupState::Restarting { .. })).await;
    assert!(x.ask(Fail).await.is_err());
    restarted(&outer, 1).await;
    assert_eq!(y.ask(Add(1)).await.unwrap(), 1, "not after an hour");
    group_state(&inner, "running", |s| *s == GroupState::Running).await;
    assert_eq!(rt.health().groups[1].recent_failures, 0, "a new count");
    stop(rt).await;
}

#[tokio::test]
async fn restart_types_hold_in_a_group() {
    let log = Log::default();
    let rt = Runtime::builder().start().unwrap();
    let group = rt.group(group(Strategy::OneForAll)).unwrap();
    let permanent = group.supervise(leaf("permanent", &log)).await.unwrap();
    let transient = group.supervise(leaf("transient", &log).restart(Restart::Transient)).await.unwrap();
    let finished = group.supervise(leaf("finished", &log).restart(Restart::Transient)).await.unwrap();
    let temporary = group.supervise(leaf("temporary", &log).restart(Restart::Temporary)).await.unwrap();
    let broken = group.supervise(leaf("broken", &log).restart(Restart::Temporary)).await.unwrap();
    assert!(broken.ask(Fail).await.is_err());
    assert!(matches!(end(&broken).await, StopReason::Panicked(_)), "temporary: its panic is its own");
    finished.ask(Finish).await.unwrap();
    assert_eq!(end(&finished).await, StopReason::Finished, "transient: an orderly end is no failure");
    assert_eq!(permanent.ask(Add(1)).await.unwrap(), 1);
    permanent.ask(Finish).await.unwrap();
    restarted(&group, 1).await;
    assert_eq!(
        end(&temporary).await,
        StopReason::GroupRestarted("group".into()),
        "stopped with the others, not started"
    );
    let starts: Vec<_> = log.lines().into_iter().skip(5).filter(|l| l.starts_with('+')).collect();
    assert_eq!(starts, ["+permanent", "+transient"], "permanent: stopping itself is a failure");
    assert!(transient.ask(Fail).await.is_err());
    restarted(&group, 2).await;
    stop(rt).await;
}

#[tokio::test]
async fn members_that_do_not_start_again_are_retried_and_counted() {
    let log = Log::default();
    let rt = Runtime::builder().start().unwrap();
    let group = rt.group(group(Strategy::OneForAll).intensity(3, MINUTE).on_exhausted(OnExhausted::GiveUp)).unwrap();
    let fate = Fate::default();
    let a = group.supervise(leaf("a", &log)).await.unwrap();
    let b = group.supervise(fated("b", &log, fate.clone())).await.unwrap();
    fate.failing_starts.store(2, Ordering::SeqCst);
    assert!(a.ask(Fail).await.is_err());
    restarted(&group, 1).await;
    assert_eq!(log.lines()[2..], ["-b", "+a", "-a", "+a", "-a", "+a", "+b"], "each attempt starts from the first");
    assert_eq!(rt.health().groups[0].recent_failures, 3, "a's panic and two failed starts");
    assert_eq!(b.ask(Add(1)).await.unwrap(), 1);
    fate.failing_starts.store(1, Ordering::SeqCst);
    assert!(b.ask(Fail).await.is_err());
    assert!(matches!(end(&a).await, StopReason::Exhausted(_)), "the fourth was too much");
    stop(rt).await;
}

#[tokio::test]
async fn an_intensity_of_its_own_bounds_a_member_inside_its_group() {
    let log = Log::default();
    let rt = Runtime::builder().start().unwrap();
    let group = rt.group(group(Strategy::OneForOne).intensity(5, MINUTE).on_exhausted(OnExhausted::GiveUp)).unwrap();
    let frail = group.supervise(leaf("frail", &log).intensity(0, MINUTE)).await.unwrap();
    let vital = leaf("vital", &log).intensity(0, MINUTE).on_exhausted(OnExhausted::Escalate);
    let vital = group.supervise(vital).await.unwrap();
    assert!(frail.ask(Fail).await.is_err());
    assert!(matches!(end(&frail).await, StopReason::Exhausted(_)));
    assert_eq!(vital.ask(Add(1)).await.unwrap(), 1, "frail gives up alone");
    assert!(vital.ask(Fail).await.is_err());
    let GroupState::Stopped { why: StopReason::Exhausted(why) } =
        group_state(&group, "the end", |s| matches!(s, GroupState::Stopped { .. })).await
    else {
        panic!("another reason")
    };
    assert!(why.contains("actor vital") && why.contains("vital fails"), "{why}");
    stop(rt).await;
}

#[tokio::test]
async fn a_group_may_end_the_process() {
    let said = Arc::new(Mutex::new(String::new()));
    let said2 = said.clone();
    let rt = Runtime::builder().on_fatal(move |why| *said2.lock().unwrap() = why.to_owned()).start().unwrap();
    let spec = group(Strategy::OneForAll).intensity(0, MINUTE).on_exhausted(OnExhausted::StopProcess);
    let (_group, members) = three(&rt, spec, &Log::default()).await;
    assert!(members[0].ask(Fail).await.is_err());
    end(&members[1]).await;
    let why = said.lock().unwrap().clone();
    assert!(why.contains("group used up its restarts") && why.contains("a fails"), "{why}");
    stop(rt).await;
}

#[tokio::test]
async fn stopping_follows_the_tree_and_not_the_order_of_starts() {
    let log = Log::default();
    let rt = Runtime::builder().start().unwrap();
    let early = rt.group(GroupSpec::new("early", Strategy::OneForOne)).unwrap();
    rt.supervise(leaf("between", &Log::default())).await.unwrap();
    early.supervise(leaf("first", &log)).await.unwrap();
    let nested = early.group(GroupSpec::new("nested", Strategy::OneForOne)).unwrap();
    early.supervise(leaf("last", &log)).await.unwrap();
    nested.supervise(leaf("deep", &log)).await.unwrap();
    let report = rt.shutdown(LIMIT).await;
    let drained: Vec<_> = report.drained.iter().map(|n| &**n).collect();
    assert_eq!(drained, ["between", "last", "deep", "first"], "a group's members stop when it is the group's turn");
    assert!(report.clean(), "{report:?}");
}

#[tokio::test]
async fn a_stopped_group_drains_its_members_refuses_new_ones_and_frees_its_name() {
    let log = Log::default();
    let rt = Runtime::builder().start().unwrap();
    let (trio, members) = three(&rt, group(Strategy::OneForAll), &log).await;
    assert!(matches!(rt.group(group(Strategy::OneForOne)), Err(StartError::NameTaken(_))));
    members[1].tell(Add(1)).await.unwrap();
    let report = trio.stop(LIMIT).await;
    assert_eq!(report.drained.iter().map(|n| &**n).collect::<Vec<_>>(), ["c", "b", "a"]);
    assert!(report.clean());
    assert_eq!(end(&members[0]).await, StopReason::Requested);
    assert!(matches!(trio.supervise(leaf("d", &log)).await, Err(StartError::GroupStopped { .. })));
    assert!(matches!(trio.group(GroupSpec::new("in", Strategy::OneForOne)), Err(StartError::GroupStopped { .. })));
    let second = rt.group(group(Strategy::OneForOne)).unwrap();
    second.supervise(leaf("a", &log)).await.expect("both names are free again");
    stop(rt).await;
}

#[tokio::test]
async fn a_group_can_be_stopped_in_the_middle_of_its_restart() {
    let log = Log::default();
    let rt = Runtime::builder().start().unwrap();
    let hour = Backoff { first: 60 * MINUTE, max: 60 * MINUTE, ..Backoff::default() };
    let (group, members) = three(&rt, group(Strategy::OneForAll).backoff(hour), &log).await;
    assert!(members[0].ask(Fail).await.is_err());
    group_state(&group, "the pause", |s| matches!(s, GroupState::Restarting { .. })).await;
    let waiting = tokio::spawn({
        let a = members[0].clone();
        async move { a.ask(Add(1)).await }
    });
    let report = group.stop(LIMIT).await;
    assert!(report.clean(), "{report:?}");
    let got = waiting.await.unwrap().unwrap_err();
    assert!(matches!(got, AskError::Stopped { .. } | AskError::Stopping(_)), "{got:?}");
    stop(rt).await;
}

#[tokio::test]
async fn a_member_that_blocks_while_it_is_stopped_is_rehomed_and_the_restart_goes_on() {
    let log = Log::default();
    let after = Duration::from_millis(200);
    let rt = Runtime::builder().stall_after(after).on_stall(OnStall::Rehome).start().unwrap();
    let group = rt.group(group(Strategy::OneForAll)).unwrap();
    let fate = Fate::default();
    let a = group.supervise(fated("a", &log, fate.clone())).await.unwrap();
    let b = group.supervise(leaf("b", &log)).await.unwrap();
    let (open, gate) = mpsc::channel();
    *fate.block_in_stopped.lock().unwrap() = Some(gate);
    // By stopping, not by a panic: printing a backtrace can take longer than this watchdog allows, and then b is moved, not restarted.
    b.ask(Finish).await.unwrap();
    restarted(&group, 1).await;
    assert_eq!((a.ask(Add(1)).await.unwrap(), b.ask(Add(1)).await.unwrap()), (1, 1));
    assert_eq!(rt.health().leaked_threads, 1);
    drop(open);
    stop(rt).await;
}
