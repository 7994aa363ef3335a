//! What every relay promises, held to each kind: in process, over Redis, and over a cluster with sharded channels.
//!
//! Easy to get wrong: order is promised within one channel only; on a cluster two channels are two servers'.
use bytes::Bytes;
use std::time::Duration;
use tieout::cluster::Channel;
use tieout::protocol::ids::ProjectId;

use crate::relay_support::Ground;
use crate::support::{LONG, SHORT, within};

macro_rules! on_both_relays {
    ($($name:ident)+) => {
        mod in_process {
            $(#[tokio::test] async fn $name() { super::$name(crate::relay_support::Ground::in_process()).await; })+
        }
        mod over_redis {
            $(#[tokio::test] async fn $name() { super::$name(crate::relay_support::Ground::over_redis()).await; })+
        }
    };
}

on_both_relays! {
    messages_arrive_in_their_senders_order_and_never_at_their_sender
    a_room_is_heard_from_the_follow_to_the_unfollow
    what_is_for_all_needs_no_follow_and_cannot_be_unfollowed
    a_payload_arrives_byte_for_byte
    what_finds_no_place_is_dropped_and_said_to_be_missing
    a_replica_that_has_stopped_hears_and_says_nothing
    installations_and_lives_are_told_apart
    what_is_for_one_reaches_it_alone
}

mod over_a_cluster {
    macro_rules! on_a_cluster {
        ($($name:ident)+) => {
            $(#[tokio::test] async fn $name() {
                super::$name(crate::relay_support::Ground::over_a_cluster().await).await;
            })+
        };
    }

    on_a_cluster! {
        what_is_for_all_needs_no_follow_and_cannot_be_unfollowed
        a_payload_arrives_byte_for_byte
        what_finds_no_place_is_dropped_and_said_to_be_missing
        a_replica_that_has_stopped_hears_and_says_nothing
        installations_and_lives_are_told_apart
        what_is_for_one_reaches_it_alone
    }
}

fn room() -> Channel {
    Channel::Room(ProjectId::generate())
}

async fn messages_arrive_in_their_senders_order_and_never_at_their_sender(ground: Ground) {
    let (mut a, mut b, mut c) = (ground.replica("a").await, ground.replica("b").await, ground.replica("c").await);
    let room = room();
    for replica in [&a, &b, &c] {
        replica.relay.follow(room);
    }
    c.hears(&a, room).await;
    c.hears(&b, room).await;
    a.hears(&c, room).await;
    b.hears(&c, room).await;
    // What a and b heard of the others' tries is read; c's own words may still come.
    for (sender, name) in [(&a, "a"), (&b, "b")] {
        for number in 0..500 {
            let channel = if number % 2 == 0 { room } else { Channel::All };
            sender.say(channel, &format!("{name}{number}"));
        }
    }
    let mut seen = [Vec::new(), Vec::new()];
    while seen.iter().map(Vec::len).sum::<usize>() < 1000 {
        let (from, text) = c.next_from().await;
        let of_a = from == a.relay.replica();
        assert!(of_a || from == b.relay.replica());
        seen[usize::from(!of_a)].push(text);
    }
    for (name, texts) in ["a", "b"].iter().zip(&seen) {
        let wanted: Vec<_> = (0..500).map(|number| format!("{name}{number}")).collect();
        assert_eq!(*texts, wanted);
    }
    a.say(Channel::All, "end");
    b.say(Channel::All, "end");
    for replica in [&mut a, &mut b] {
        let me = replica.relay.replica();
        let mut text = String::new();
        while text != "end" {
            let from;
            (from, text) = replica.next_from().await;
            assert_ne!(from, me, "its own message {text}");
        }
    }
}

async fn a_room_is_heard_from_the_follow_to_the_unfollow(ground: Ground) {
    let (a, mut b) = (ground.replica("a").await, ground.replica("b").await);
    let (followed, other) = (room(), room());
    b.relay.follow(followed);
    b.relay.follow(followed);
    b.hears(&a, followed).await;
    a.say(other, "not for b");
    a.say(followed, "once");
    a.say(Channel::All, "all");
    assert_eq!([b.next().await, b.next().await], ["once", "all"], "followed twice, heard once");
    b.relay.unfollow(followed);
    within(LONG, "the room not to be heard any more", async {
        for number in 0.. {
            let mark = number.to_string();
            a.say(followed, "room");
            a.say(Channel::All, &mark);
            let first = b.next().await;
            if first == mark {
                return;
            }
            assert_eq!((first, b.next().await), ("room".to_owned(), mark));
        }
    })
    .await;
    b.relay.follow(followed);
    b.hears(&a, followed).await;
}

async fn what_is_for_all_needs_no_follow_and_cannot_be_unfollowed(ground: Ground) {
    let (a, mut b) = (ground.replica("a").await, ground.replica("b").await);
    b.relay.unfollow(Channel::All);
    b.relay.follow(Channel::All);
    b.relay.unfollow(Channel::All);
    for text in ["one", "two"] {
        a.say(Channel::All, text);
        assert_eq!(b.next().await, text);
    }
}

async fn a_payload_arrives_byte_for_byte(ground: Ground) {
    let (a, mut b) = (ground.replica("a").await, ground.replica("b").await);
    for length in [0, 1, 255, 70_000, 1 << 20] {
        let payload: Bytes = (0..length).map(|n: u32| (n * 7 % 256) as u8).collect();
        a.relay.publish(Channel::All, payload.clone());
        let message = within(SHORT, "a message", b.incoming.recv()).await.unwrap();
        assert!(message.payload == payload, "{length} bytes came as {}", message.payload.len());
        assert_eq!((message.channel, message.from), (Channel::All, a.relay.replica()));
    }
}

async fn what_finds_no_place_is_dropped_and_said_to_be_missing(ground: Ground) {
    let (a, mut b) = (ground.replica("a").await, ground.replica("b").await);
    let before = b.gaps();
    let mut gaps = b.relay.gaps();
    within(LONG, "the gaps to rise", async {
        let mut said = 0..;
        while *gaps.borrow_and_update() == before {
            said.by_ref().take(500).for_each(|number| a.say(Channel::All, &number.to_string()));
            // Over Redis it takes a moment, in which less than all finds a place in the sender's queue.
            let _ = tokio::time::timeout(Duration::from_millis(20), gaps.changed()).await;
        }
    })
    .await;
    assert!(b.incoming.len() <= 4_096, "{} wait", b.incoming.len());
    assert_eq!(b.next().await, "0", "the oldest are kept: they continue what was before");
    while b.incoming.try_recv().is_ok() {}
    b.hears(&a, Channel::All).await;
}

async fn a_replica_that_has_stopped_hears_and_says_nothing(ground: Ground) {
    let (mut a, mut b) = (ground.replica("a").await, ground.replica("b").await);
    b.say(Channel::All, "the last word");
    within(SHORT, "the relay to stop", b.relay.stop()).await;
    assert_eq!(a.next().await, "the last word", "what was published before the stop is sent");
    a.say(Channel::All, "lost");
    b.say(Channel::All, "lost");
    assert!(within(SHORT, "the end", b.incoming.recv()).await.is_none());
    let c = ground.replica("c").await;
    c.say(Channel::All, "next");
    assert_eq!(a.next().await, "next", "nothing of b's before");
}

async fn installations_and_lives_are_told_apart(ground: Ground) {
    let (a, again) = (ground.replica("a").await, ground.replica("a").await);
    let mut b = ground.replica("b").await;
    assert_ne!(a.relay.replica(), again.relay.replica(), "a restarted replica is another one");
    again.say(Channel::All, "from the second life");
    assert_eq!(b.next_from().await.0, again.relay.replica());
    assert_eq!(a.gaps(), again.gaps(), "nobody is told of a loss that was none");
    tokio::time::timeout(Duration::ZERO, b.incoming.recv()).await.unwrap_err();
}

async fn what_is_for_one_reaches_it_alone(ground: Ground) {
    let (a, mut b, mut c) = (ground.replica("a").await, ground.replica("b").await, ground.replica("c").await);
    let [to_b, to_c] = [&b, &c].map(|replica| Channel::One(replica.relay.replica().mark()));
    for (text, channel) in [("for b", to_b), ("for c", to_c)] {
        a.say(channel, text);
    }
    assert_eq!([b.next().await, c.next().await], ["for b", "for c"]);
    b.say(to_c, "for c too");
    assert_eq!(c.next().await, "for c too");
}
