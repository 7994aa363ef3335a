//! `tieout backup` and `tieout restore`, beside a server at work: whole, of one point in time, checked, and nothing overwritten.
//! Leaves what becomes of clients' positions to the epochs' tests. Easy to get wrong: a backup that was only ever taken of a
//! server at rest.
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::store_support::command;
use crate::support::postgres::{Postgres, binaries};
use crate::support::{LONG, Options, Run, Sample, Server, http::text};

/// `tieout` with these words on a SQLite data directory: its exit code and what it printed.
fn tieout(words: &[&str], data: &Path) -> (Option<i32>, String) {
    command(words, data, "")
}

/// Names and bytes of all files under a folder.
fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(content(&entry.path()).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}

/// Uploads that are there, without the mark.
fn uploads(data: &Path) -> BTreeMap<String, Vec<u8>> {
    content(&data.join("uploads")).into_iter().filter(|(name, _)| !name.starts_with('.')).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_beside_a_server_at_work_is_restored_whole_with_new_epochs_and_runs_its_jobs() {
    let server = Server::start(Options::default().sqlite()).await;
    let sample = Sample::new(300, 7);
    let run = Run::prepare(&server.api(), &sample).await;
    run.start().await;
    let done = run.completed(LONG).await;
    let before = run.export("csv", "all").await.text;
    // Somebody uploads all the while.
    let (api, project) = (server.api(), run.project.clone());
    let busy = tokio::spawn(async move {
        for n in 0..60 {
            api.upload(&project, &format!("u{n}.csv"), format!("id,amount\n{n},1.00\n")).await.expect(201);
        }
    });
    let home = tempfile::tempdir().unwrap();
    for (place, restored) in [("backup", "one"), ("backup.tar", "two")] {
        let place = home.path().join(place);
        let (words, data) = (place.to_str().unwrap().to_owned(), server.data().to_owned());
        let (code, said) = tokio::task::spawn_blocking(move || tieout(&["backup", &words], &data)).await.unwrap();
        assert_eq!(code, Some(0), "{said}");
        let (code, said) = tieout(&["backup", place.to_str().unwrap()], server.data());
        assert!(code == Some(1) && said.contains("is there already"), "{said}");
        let data = home.path().join(restored);
        let (code, said) = tieout(&["restore", place.to_str().unwrap()], &data);
        assert!(code == Some(0) && said.contains("projects with a new epoch: 1"), "{said}");
        let files = uploads(&data);
        assert_eq!(files[&run.left], sample.ledger.as_bytes());
        let (code, again) = tieout(&["restore", place.to_str().unwrap()], &data);
        assert!(code == Some(1) && again.contains("is there already and is not overwritten"), "{again}");
        assert_eq!(uploads(&data), files, "a refused restore touches nothing");

        let copy = Server::start(Options::default().sqlite().data(&data)).await;
        let listed = copy.api().all(&format!("/api/v1/projects/{}/sources", run.project), 100).await;
        let ids: Vec<String> = listed.iter().map(|source| text(source, "id")).collect();
        assert!(
            ids.iter().all(|id| files.contains_key(id)) && ids.len() == files.len(),
            "{} {}",
            ids.len(),
            files.len()
        );
        let its = Run {
            api: copy.api(),
            project: run.project.clone(),
            left: run.left.clone(),
            right: run.right.clone(),
            job: run.job.clone(),
        };
        assert_eq!(its.state().await["counts"], done["counts"]);
        assert_eq!(its.export("csv", "all").await.text, before);
        let body = serde_json::json!({"left": run.left, "right": run.right, "start": true});
        let job = copy.api().post(&format!("/api/v1/projects/{}/jobs", run.project), body).await.expect(201);
        Run { job: text(&job, "id"), ..its }.completed(LONG).await;
        let position = |api: crate::support::Api| {
            let path = format!("/api/v1/projects/{}", run.project);
            async move { text(&api.get(&path).await.expect(200), "ep") }
        };
        assert_ne!(position(copy.api()).await, position(server.api()).await, "another history, another epoch");
        let ready = copy.api().get("/api/ready").await.expect(200);
        assert_eq!(ready["status"], "ready", "{ready}");
    }
    busy.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_damaged_is_refused_by_name_and_leaves_nothing() {
    let server = Server::start(Options::default().sqlite()).await;
    let run = Run::prepare(&server.api(), &Sample::new(30, 7)).await;
    let home = tempfile::tempdir().unwrap();
    let backup = home.path().join("backup");
    assert_eq!(tieout(&["backup", backup.to_str().unwrap()], server.data()).0, Some(0));
    let (upload, database) = (backup.join("uploads").join(&run.left), backup.join("tieout.sqlite"));
    let list = backup.join("tieout-backup.json");
    let data = home.path().join("data");
    for (path, what) in [(&upload, run.left.as_str()), (&database, "tieout.sqlite"), (&list, "tieout-backup.json")] {
        let good = fs::read(path).unwrap();
        let mut bad = good.clone();
        let at = bad.len() / 2;
        bad[at] ^= 0xff;
        for damage in [Some(bad), None] {
            match damage {
                Some(bad) => fs::write(path, bad).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
            let (code, said) = tieout(&["restore", backup.to_str().unwrap()], &data);
            assert!(code == Some(1) && said.contains("nothing was restored") && said.contains(what), "{said}");
            let left = content(&data).into_keys().filter(|name| name != "tieout.sqlite.lock").collect::<Vec<_>>();
            assert!(left.is_empty(), "{left:?}");
            fs::write(path, &good).unwrap();
        }
    }
    assert_eq!(tieout(&["restore", backup.to_str().unwrap()], &data).0, Some(0));
    for (words, what) in [
        (["backup", home.path().join("b.tar.gz").to_str().unwrap()], "ends in .tar"),
        (["restore", home.path().join("missing").to_str().unwrap()], "missing"),
        (["restore", home.path().to_str().unwrap()], "is no backup"),
    ] {
        let (code, said) = tieout(&words, &home.path().join("other"));
        assert!(code == Some(1) && said.contains(what), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_damaged_before_keeps_the_others_from_nothing_and_is_named() {
    let server = Server::start(Options::default().sqlite()).await;
    let run = Run::prepare(&server.api(), &Sample::new(30, 7)).await;
    let path = server.data().join("uploads").join(&run.left);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, bytes).unwrap();
    fs::remove_file(server.data().join("uploads").join(&run.right)).unwrap();
    let whole = text(&server.api().upload(&run.project, "c.csv", "id,amount\n1,2\n").await.expect(201), "id");
    let home = tempfile::tempdir().unwrap();
    for name in ["b", "b.tar"] {
        let backup = home.path().join(name);
        let (code, said) = tieout(&["backup", backup.to_str().unwrap()], server.data());
        assert!(
            code == Some(1) && said.contains(&run.left) && said.contains(&run.right) && said.contains("saved in"),
            "{said}"
        );
        let data = home.path().join(format!("{name}-data"));
        let (code, said) = tieout(&["restore", backup.to_str().unwrap()], &data);
        assert!(code == Some(0) && said.contains(&run.left) && said.contains("ledger.csv"), "{said}");
        assert_eq!(uploads(&data).into_keys().collect::<Vec<_>>(), [whole.as_str()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_the_dump_comes_first_the_uploads_second_and_nothing_is_missing() {
    let url = Postgres::shared().database().await;
    let data = tempfile::tempdir().unwrap();
    let options = || Options::default().env("TIEOUT_DATABASE_URL", &url);
    let server = Server::start(options().data(data.path().join("a"))).await;
    let sample = Sample::new(30, 7);
    let run = Run::prepare(&server.api(), &sample).await;
    let deleted = server.api().upload(&run.project, "c.csv", "id,amount\n1,2\n").await.expect(201);
    let (dump, backup) = (data.path().join("dump"), data.path().join("uploads.tar"));
    let database = |program: &str, words: &[&str], url: &str| {
        let output = Command::new(binaries().join(program)).args(words).args(["-d", url]).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    };
    database("pg_dump", &["-Fc", "-f", dump.to_str().unwrap()], &url);
    // Between the two somebody deletes a source that the dump has, and uploads one that it has not.
    server.api().delete(&format!("/api/v1/sources/{}", text(&deleted, "id"))).await;
    let late = server.api().upload(&run.project, "d.csv", "id,amount\n1,3\n").await.expect(201);
    let (code, said) = command(&["backup", backup.to_str().unwrap()], server.data(), &url);
    assert_eq!(code, Some(0), "{said}");

    let other = Postgres::shared().database().await;
    let target = data.path().join("b");
    let (code, said) = command(&["restore", backup.to_str().unwrap()], &target, &other);
    assert!(code == Some(1) && said.contains("restore its dump first"), "{said}");
    let third = Postgres::shared().database().await;
    database("pg_restore", &[dump.to_str().unwrap()], &third);
    let (code, said) = command(&["restore", backup.to_str().unwrap()], &target, &third);
    assert!(code == Some(0) && said.contains("3 uploads") && said.contains("left out: 1"), "{said}");
    let files = uploads(&target);
    assert_eq!(files[&run.right], sample.bank.as_bytes());
    assert!(files.contains_key(&text(&deleted, "id")) && !files.contains_key(&text(&late, "id")));
    let copy = Server::start(Options::default().env("TIEOUT_DATABASE_URL", &third).data(&target)).await;
    let its = Run { api: copy.api(), ..run };
    its.start().await;
    its.completed(LONG).await;
}
