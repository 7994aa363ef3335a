//! Files of sources under a server whose database is another one, and what `tieout sweep` does about it beside the server.
//! Leaves the rules of what may go to the jobs' tests. Easy to get wrong: a first sweep comes half a minute after the start;
//! whoever waits for it here waits for the mark that a command left.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::store_support::command;
use crate::support::{LONG, Options, Server, eventually};

fn uploads(data: &Path) -> BTreeSet<String> {
    let names =
        fs::read_dir(data.join("uploads")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// Moves the database's files from one folder to another.
fn move_database(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in ["tieout.sqlite", "tieout.sqlite-wal", "tieout.sqlite-shm"] {
        if from.join(name).exists() {
            fs::rename(from.join(name), to.join(name)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_server_over_the_files_of_another_database_says_so_and_the_right_one_finds_them_all_again() {
    let mut server = Server::start(Options::default().sqlite()).await;
    let (data, home) = (server.data().to_owned(), tempfile::tempdir().unwrap());
    let sweep = |words: &[&str]| command(&[&["sweep"], words].concat(), &data, "");
    let api = server.api();
    let project = api.project("books").await;
    for n in 0..12 {
        api.upload(&project, &format!("{n}.csv"), format!("id,amount\n{n},1.00\n")).await.expect(201);
    }
    assert_eq!(sweep(&["--adopt"]).0, Some(0), "beside the running server");
    let (code, said) = sweep(&[]);
    assert!(code == Some(0) && said.contains("every one of 12 files"), "{said}");
    let before = uploads(&data);
    let hours_ago = SystemTime::now() - Duration::from_secs(7_200);
    for name in &before {
        fs::File::options().write(true).open(data.join("uploads").join(name)).unwrap().set_modified(hours_ago).unwrap();
    }

    server.terminate();
    server.exit(LONG).await;
    move_database(&data, home.path());
    server.spawn();
    server.ready().await;
    eventually(LONG, "the server to be degraded for its uploads", || async {
        let ready = server.api().try_get("/api/ready").await?.expect(200);
        let reason = ready["checks"]["uploads"]["reason"].as_str().unwrap_or_default();
        let says = ready["status"] == "degraded" && reason.contains("another installation");
        if says { Ok(()) } else { Err(ready.to_string()) }
    })
    .await;
    let (code, said) = sweep(&["--confirm"]);
    assert!(code == Some(1) && said.contains("another installation"), "{said}");
    assert_eq!(uploads(&data), before);
    let (code, said) = sweep(&["--adopt"]);
    assert!(code == Some(0) && said.contains("no longer that of"), "{said}");
    let (code, said) = sweep(&[]);
    assert!(code == Some(0) && said.contains("12 of 12 files have no source"), "{said}");
    assert!(before.iter().all(|name| said.contains(name)), "every one is listed: {said}");
    let (code, said) = sweep(&["--confirm"]);
    assert!(code == Some(0) && said.contains("moved to uploads/.trash: 12"), "{said}");
    assert!(uploads(&data).is_empty());

    server.terminate();
    server.exit(LONG).await;
    move_database(&data, &home.path().join("wrong"));
    move_database(home.path(), &data);
    assert_eq!(sweep(&["--adopt"]).0, Some(0));
    let (code, said) = sweep(&["--confirm"]);
    assert!(code == Some(0) && said.contains("put back: 12"), "{said}");
    assert_eq!(uploads(&data), before, "nothing was lost");
    let listed = {
        server.spawn();
        server.ready().await;
        server.api().get(&format!("/api/v1/projects/{project}/sources")).await.expect(200)
    };
    assert_eq!(listed["items"].as_array().unwrap().len(), 12);
}
