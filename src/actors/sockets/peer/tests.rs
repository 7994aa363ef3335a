//! A connection that is written to by nobody but its taker: when it is woken, and when it counts as slow.
use super::*;
use crate::actors::rooms::limits::Limits;
use crate::actors::sockets::line::Line;
use crate::actors::sockets::outbox::{Kind, RoomFrame};
use futures_util::task::{ArcWake, waker};
use std::{sync::atomic::AtomicUsize, time::Duration};

#[derive(Default)]
struct Woken(AtomicUsize);

impl ArcWake for Woken {
    fn wake_by_ref(this: &Arc<Self>) {
        this.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn queued() -> Arc<Peer> {
    Peer::queued(ConnId(1), 0, Arc::new(Shared::new(Limits::default())))
}

#[test]
fn a_role_is_read_as_it_was_stored() {
    for role in [Role::Viewer, Role::Reviewer, Role::Owner] {
        assert_eq!(role_of(role as u8), role);
    }
}

/// Looks for frames once: what was there, and who is woken when there are more.
fn poll(peer: &Peer) -> (Poll<Option<Vec<Bytes>>>, Arc<Woken>) {
    let woken = Arc::new(Woken::default());
    let polled = peer.poll_frames(&mut Context::from_waker(&waker(woken.clone())), 1_000);
    (polled, woken)
}

fn times(woken: &Woken) -> usize {
    woken.0.load(Ordering::Relaxed)
}

/// Hands something over.
type Hand<'a> = &'a dyn Fn(&Peer);

#[test]
fn whoever_waits_for_frames_is_woken_by_whatever_is_handed_over() {
    let event = RoomFrame { bytes: "event".into(), kind: Kind::Durable };
    let (nothing, one) = (Batch::new(Vec::new()), Batch::new(vec![event]));
    let room = ProjectId::generate();
    let handed: [(&str, Hand<'_>); 7] = [
        ("a join with nothing missed", &|peer| peer.enter(room, "joined".into(), &nothing)),
        ("a join with an event missed", &|peer| peer.enter(room, "joined".into(), &one)),
        ("an event", &|peer| peer.deliver(room, &one)),
        ("a reply", &|peer| peer.control("reply".into())),
        ("the end of a membership", &|peer| peer.leave(room, "left".into())),
        ("a hole", &|peer| peer.break_room(room, "slow")),
        ("the end", &|peer| peer.close(CloseCode::Draining, None)),
    ];
    for (what, hand) in handed {
        let peer = queued();
        let (polled, woken) = poll(&peer);
        assert!(polled.is_pending());
        hand(&peer);
        assert!(times(&woken) > 0, "{what}");
        assert!(matches!(poll(&peer).0, Poll::Ready(Some(frames)) if !frames.is_empty()), "{what}");
    }
}

#[test]
fn only_who_was_offered_something_counts_as_slow() {
    let start = Instant::now();
    let at = |secs| start + Duration::from_secs(secs);
    for waits in [true, false] {
        let peer = queued();
        peer.authenticate(&Principal::local_owner().into());
        let mut line = Line::new(peer.clone(), 0, 1_000_000);
        let limits = peer.shared().limits.clone();
        let (_, woken) = poll(&peer);
        if !waits {
            // It has taken something, and is still busy with that.
            peer.control("first".into());
            assert!(poll(&peer).0.is_ready());
        }
        // A wake-up that was lost, by whatever fault.
        let before = times(&woken);
        assert_eq!(peer.outbox().control(&Transport::Queued, peer.shared(), "second".into()), After::Waiting);
        line.sweep(&limits, 0, at(1));
        assert!(!peer.is_closed() && times(&woken) == before);
        line.sweep(&limits, 0, at(6));
        assert_eq!(peer.is_closed(), !waits, "it waits for frames: {waits}");
        assert!(!waits || times(&woken) > before, "it is woken instead");
        line.sweep(&limits, 0, at(12));
        assert_eq!(peer.is_closed(), !waits, "it waits for frames: {waits}");
    }
}
