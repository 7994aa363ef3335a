//! What the relay inside a process does: who hears what, and how the tests of replicas make it lose, double and reorder.
//!
//! What every kind of relay promises is held to in `relay_contract`. Easy to get wrong: messages are offered at once, so
//! what has not come by then has been lost.
use bytes::Bytes;
use std::time::Duration;
use tieout::{
    cluster::{Channel, Fate, Incoming, Link, LocalBus, Relay, ReplicaId},
    protocol::ids::ProjectId,
};
use tokio::{sync::mpsc::Receiver, time::timeout};

const WITHIN: Duration = Duration::from_secs(5);

fn replica(bus: &LocalBus, name: &str) -> (Relay, Receiver<Incoming>) {
    let relay = Relay::local(bus, ReplicaId::new(name));
    let incoming = relay.incoming().expect("given once");
    (relay, incoming)
}

async fn next(incoming: &mut Receiver<Incoming>) -> String {
    let message = timeout(WITHIN, incoming.recv()).await.expect("a message within 5 s").expect("the relay lives");
    String::from_utf8(message.payload.to_vec()).unwrap()
}

fn say(relay: &Relay, channel: Channel, text: &str) {
    relay.publish(channel, Bytes::copy_from_slice(text.as_bytes()));
}

#[tokio::test]
async fn a_message_reaches_the_others_that_follow_and_never_its_sender() {
    let bus = LocalBus::new();
    let ((a, mut at_a), (b, mut at_b), (c, mut at_c)) = (replica(&bus, "a"), replica(&bus, "b"), replica(&bus, "c"));
    let room = Channel::Room(ProjectId::generate());
    a.follow(room);
    b.follow(room);
    b.follow(room);
    say(&a, room, "one");
    say(&a, Channel::All, "two");
    assert_eq!([next(&mut at_b).await, next(&mut at_b).await], ["one", "two"], "in order, and once");
    assert_eq!(next(&mut at_c).await, "two", "c follows no room");
    b.unfollow(room);
    say(&c, room, "three");
    say(&c, Channel::All, "four");
    assert_eq!([next(&mut at_a).await, next(&mut at_a).await], ["three", "four"], "none of its own before");
    assert_eq!(next(&mut at_b).await, "four", "b follows the room no more");
    assert!(a.incoming().is_none(), "given once");
}

#[tokio::test]
async fn what_a_replica_has_no_room_for_is_dropped_and_said_to_be() {
    let bus = LocalBus::new();
    let ((a, _at_a), (b, mut at_b)) = (replica(&bus, "a"), replica(&bus, "b"));
    let gaps = b.gaps();
    let before = *gaps.borrow();
    (0..10_000).for_each(|n| say(&a, Channel::All, &n.to_string()));
    assert!(*gaps.borrow() > before, "b is told that it lacks something");
    assert_eq!(next(&mut at_b).await, "0", "the oldest are kept: they continue what was before");
}

#[tokio::test]
async fn a_replica_that_has_stopped_hears_and_says_nothing() {
    let bus = LocalBus::new();
    let ((a, _at_a), (b, mut at_b)) = (replica(&bus, "a"), replica(&bus, "b"));
    assert!(!a.is_alone());
    b.stop().await;
    say(&a, Channel::All, "lost");
    assert!(timeout(WITHIN, at_b.recv()).await.expect("it ends within 5 s").is_none());
    assert!(a.is_alone());
    assert_ne!(ReplicaId::new("a"), ReplicaId::new("a"), "a restarted replica is another one");
}

#[tokio::test]
async fn a_bus_loses_doubles_and_reorders_as_it_is_told() {
    let bus = LocalBus::new();
    let ((a, _at_a), (_b, mut at_b)) = (replica(&bus, "a"), replica(&bus, "b"));
    bus.interfere(|message, _| match &message.payload[..] {
        b"lost" => Fate::Lose,
        b"twice" => Fate::Double,
        b"late" => Fate::Delay,
        _ => Fate::Deliver,
    });
    ["lost", "late", "twice", "late"].iter().for_each(|text| say(&a, Channel::All, text));
    bus.leave_alone();
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(next(&mut at_b).await);
    }
    assert_eq!(seen, ["twice", "late", "twice", "late"]);
}

#[tokio::test]
async fn a_link_that_is_down_carries_nothing_and_each_change_may_have_lost_something() {
    let bus = LocalBus::new();
    let ((a, mut at_a), (b, mut at_b)) = (replica(&bus, "a"), replica(&bus, "b"));
    let (link, gaps) = (b.link(), b.gaps());
    assert_eq!(*link.borrow(), Link::Local);
    bus.set_link(&b.replica(), Link::Down { reason: "cut".to_owned() });
    assert!(!link.borrow().is_up());
    say(&a, Channel::All, "lost");
    say(&b, Channel::All, "lost");
    bus.set_link(&b.replica(), Link::Up);
    say(&a, Channel::All, "again");
    say(&b, Channel::All, "again");
    assert_eq!([next(&mut at_a).await, next(&mut at_b).await], ["again", "again"]);
    assert_eq!(*gaps.borrow(), 2);
}
