//! Who is shown in a room that clients of a `Swarm` are in, to somebody who comes new to a replica. Leaves changes of it to the
//! swarm, which keeps them. Easy to get wrong: whoever looks is in the room too; only `user-…` count.
use std::{collections::BTreeSet, net::SocketAddr};

use serde_json::json;

use crate::{
    support::{LONG, Socket, eventually},
    ws_auth::token,
};

/// Waits until whoever comes new to any of these replicas is shown `user-0` to the last.
pub(super) async fn shown_everywhere(replicas: &[SocketAddr], project: &str, users: usize) {
    for (n, replica) in replicas.iter().enumerate() {
        let bearer = format!("Bearer {}", token(&format!("watcher-{n}"), "viewer", 600));
        eventually(LONG, &format!("{users} users to be shown at replica {n}"), || async {
            let mut socket = Socket::try_open(*replica, &[("authorization", &bearer)]).await?;
            let reply = socket.ask("JoinProject", json!({ "project_id": project })).await;
            let shown = reply["ProjectJoined"]["presence"]["users"].as_array().cloned().unwrap_or_default();
            socket.close().await;
            let shown: BTreeSet<String> = shown.iter().filter_map(|user| user.as_str().map(str::to_owned)).collect();
            let missing = (0..users).filter(|n| !shown.contains(&format!("user-{n}"))).count();
            if missing == 0 { Ok(()) } else { Err(format!("{missing} are missing")) }
        })
        .await;
    }
}

/// Those of them that are clients of the swarm.
pub(super) fn users_of(shown: Vec<String>) -> Vec<String> {
    shown.into_iter().filter(|user| user.starts_with("user-")).collect()
}
