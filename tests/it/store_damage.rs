//! A SQLite file on a full disk, and one with damaged pages: calls say why, and so does the store, once.
use crate::store_support::{TestStore, wait_status};
use crate::support::{LONG, eventually};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tieout::db::{Options, Status, Store, StoreError, projects};

/// A file system of 4 MB; it is gone with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount() -> Self {
        let place = tempfile::Builder::new().prefix("tieout-disk-").tempdir().expect("a temporary directory").keep();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tieout-test"]).arg(&place).output();
        let mount = mount.expect("mount can be run");
        assert!(mount.status.success(), "a tmpfs could not be mounted, which takes root: {mount:?}");
        Self(place)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may be in the middle of a failed test, so nothing panics here.
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        println!("the small disk is unmounted: {done:?}, removed: {:?}", std::fs::remove_dir(&self.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_known_to_the_store_until_there_is_room_again() {
    let disk = SmallDisk::mount();
    let mut options = Options::sqlite(disk.0.join("tieout.sqlite"));
    options.probe_interval = Duration::from_millis(100);
    let store = Store::start(options).unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    projects::create(&store, "books").await.unwrap();
    assert_eq!(store.refuses_writes(), None);
    let junk = disk.0.join("junk");
    // More than there is room for: what fits is written.
    let filled = std::fs::write(&junk, vec![7; 8 << 20]);
    assert!(filled.is_err(), "the disk is larger than it was to be");
    let said = eventually(LONG, "a write to be refused", || async {
        match projects::create(&store, "ledgers").await {
            Err(StoreError::Unavailable { reason, .. }) => Ok(reason),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(said.contains("full") || said.contains("I/O"), "{said}");
    assert!(store.refuses_writes().is_some(), "the store knows");
    assert!(projects::list(&store, None, 10).await.is_ok(), "what is there can be read");
    std::fs::remove_file(&junk).unwrap();
    eventually(LONG, "the store to find that there is room", || async { store.refuses_writes().map_or(Ok(()), Err) })
        .await;
    projects::create(&store, "ledgers").await.unwrap();
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_pages_are_known_to_the_store_once_a_call_has_met_them() {
    let kept = TestStore::sqlite(|options| options).await;
    for round in 0..400 {
        projects::create(&kept.store, &format!("books {round} {}", "x".repeat(150))).await.unwrap();
    }
    kept.store.stop().await;
    let path = kept.dir.path().join("tieout.sqlite");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    // All but what says which tables and migrations there are.
    for page in 30..pages {
        file.write_at(&[0xA5; 4096], page * 4096).unwrap();
    }
    let store = Store::start(Options::sqlite(&path)).unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    let told = projects::list(&store, None, 1_000).await;
    assert!(matches!(&told, Err(StoreError::Unavailable { .. })), "{told:?}");
    let said = store.refuses_writes().expect("the store knows");
    assert!(said.contains("malformed"), "{said}");
    store.stop().await;
}
