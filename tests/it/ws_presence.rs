//! Who is seen in a room, through real sockets: no flapping, fewer words in large rooms, a sample in huge ones.
use crate::{
    http_support::{PATIENCE, TestApp, eventually},
    support::Socket,
    ws_auth::{app_with, authenticated, project, token},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

async fn member(app: &TestApp, user: &str, project: &str) -> (Socket, Value) {
    let (mut socket, _) = authenticated(app, &token(user, "viewer", 600)).await;
    let joined = socket.join(project, None).await;
    (socket, joined["presence"].clone())
}

/// Reads presence until it says that there are so many connections; gives every `PresenceDiff` on the way.
async fn until_count(socket: &mut Socket, count: u64) -> Vec<Value> {
    let from = socket.seen.len();
    socket.wait(PATIENCE, &format!("{count} connections to be shown"), |m| m["PresenceDiff"]["count"] == count).await;
    diffs(&socket.seen[from..])
}

fn diffs(seen: &[Value]) -> Vec<Value> {
    seen.iter().map(|m| m["PresenceDiff"].clone()).filter(Value::is_object).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_shows_nothing_and_a_real_leave_shows_once() {
    let (app, _secret) = app_with(&[("presence_every", "20ms"), ("presence_leave", "1500ms")]).await;
    let project = project(&app).await;
    let (mut ana, _) = member(&app, "ana", &project).await;
    let (bob, _) = member(&app, "bob", &project).await;
    let shown = until_count(&mut ana, 2).await;
    let rev = shown.last().unwrap()["rev"].as_u64().unwrap();
    // Gone and back within `presence_leave`, like a page that is loaded again.
    bob.close().await;
    eventually("the server to see that bob is gone", || app.connections() == 1).await;
    let (bob, presence) = member(&app, "bob", &project).await;
    assert_eq!((&presence["count"], &presence["rev"]), (&json!(2), &json!(rev)), "{presence}");
    let (carol, _) = member(&app, "carol", &project).await;
    let next = until_count(&mut ana, 3).await;
    assert_eq!(next.len(), 1, "nothing but carol's coming: {next:?}");
    assert_eq!((&next[0]["joins"], &next[0]["leaves"]), (&json!(["carol"]), &json!([])));
    assert_eq!(next[0]["rev"], rev + 1, "and no revision between");
    let left_at = Instant::now();
    bob.close().await;
    carol.close().await;
    let gone = until_count(&mut ana, 1).await;
    assert!(left_at.elapsed() >= Duration::from_millis(1_400), "shown {:?} longer", left_at.elapsed());
    let leaves: BTreeSet<String> = gone.iter().flat_map(|diff| names(&diff["leaves"])).collect();
    assert_eq!(leaves.into_iter().collect::<Vec<_>>(), ["bob", "carol"]);
    ana.close().await;
    app.stop().await;
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn above_a_hundred_connections_presence_is_told_once_a_second() {
    const CROWD: usize = 104;
    let (app, _secret) = app_with(&[("presence_every", "20ms"), ("presence_leave", "0s")]).await;
    let project = project(&app).await;
    let (mut ana, _) = member(&app, "ana", &project).await;
    let mut crowd = Vec::new();
    for n in 0..CROWD {
        crowd.push(member(&app, &format!("u{n}"), &project).await.0);
    }
    until_count(&mut ana, CROWD as u64 + 1).await;
    // Somebody comes and goes all the time; how often is ana told?
    let busy = tokio_util::sync::CancellationToken::new();
    let coming = async {
        while !busy.is_cancelled() {
            member(&app, "eve", &project).await.0.close().await;
        }
    };
    let telling = async {
        let mut at = Vec::new();
        while at.len() < 4 {
            ana.wait(PATIENCE, "presence", |m| m["PresenceDiff"].is_object()).await;
            at.push(Instant::now());
        }
        busy.cancel();
        at
    };
    let ((), at) = tokio::join!(coming, telling);
    for pair in at[1..].windows(2) {
        let pause = pair[1] - pair[0];
        assert!(pause >= Duration::from_millis(900), "{pause:?} between two messages");
    }
    drop(crowd);
    ana.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_too_large_to_list_is_counted_and_sampled_and_listed_when_it_is_small_again() {
    const CROWD: usize = 24;
    let settings =
        [("presence_every", "10ms"), ("presence_leave", "0s"), ("presence_listed", "20"), ("presence_sample", "5")];
    let (app, _secret) = app_with(&settings).await;
    let project = project(&app).await;
    let (mut ana, _) = member(&app, "ana", &project).await;
    let mut crowd = Vec::new();
    for n in 0..CROWD {
        crowd.push(member(&app, &format!("u{n:02}"), &project).await.0);
    }
    let told = until_count(&mut ana, CROWD as u64 + 1).await;
    let last = told.last().unwrap();
    assert_eq!(last["partial"], true, "{last}");
    assert!(names(&last["joins"]).len() <= 5, "a sample: {last}");
    let (late, presence) = member(&app, "late", &project).await;
    assert_eq!((&presence["partial"], &presence["count"]), (&json!(true), &json!(CROWD + 1)), "{presence}");
    assert!(names(&presence["users"]).len() <= 6, "a sample, and the one who asks: {presence}");
    late.close().await;
    let stay = crowd.split_off(CROWD - 10);
    for socket in crowd {
        socket.close().await;
    }
    let told = until_count(&mut ana, 11).await;
    let whole = told.iter().find(|diff| diff["partial"] != true).expect("a message that lists again");
    let count = whole["count"].as_u64().unwrap();
    assert!(count <= 20, "{whole}");
    let mut here: BTreeSet<String> = names(&whole["joins"]).into_iter().collect();
    // Whoever knew only a sample knows everybody from here on.
    assert_eq!(here.len() as u64, count, "{whole}");
    let after = told.iter().skip_while(|diff| *diff != whole).skip(1);
    for diff in after {
        names(&diff["leaves"]).iter().for_each(|name| assert!(here.remove(name), "{name} left and was not there"));
    }
    let mut expected: BTreeSet<String> = (CROWD - 10..CROWD).map(|n| format!("u{n:02}")).collect();
    expected.insert("ana".into());
    assert_eq!(here, expected);
    for socket in stay {
        socket.close().await;
    }
    ana.close().await;
    app.stop().await;
}
