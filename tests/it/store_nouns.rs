//! Projects, sources, claims and the event log: what a caller may rely on.
use crate::store_support::{TestStore, new_job, new_source};
use crate::support::LONG;
use std::time::Duration;
use tieout::db::events::{self, Recovery};
use tieout::db::{
    StoreError,
    claims::{self, Taken, Wanted},
    jobs, projects, sources, sweep,
};

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_project_takes_the_next_offset_and_is_recovered_in_order() {
    let kept = TestStore::new().await;
    let made = projects::create(&kept.store, "books").await.unwrap();
    let first = made.event.unwrap();
    assert_eq!((first.off, made.value.off), (1, 1));
    let writers = (0..8).map(|writer| {
        let (store, id) = (kept.store.clone(), made.value.id);
        tokio::spawn(async move {
            for round in 0..10 {
                projects::rename(&store, id, &format!("books {writer}.{round}")).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let found = events::since(&kept.store, made.value.id, &first.ep, 0, 1_000).await.unwrap();
    let Recovery::Recovered { events, head } = found else { panic!("{found:?}") };
    assert_eq!(head, 81);
    assert!(events.iter().map(|event| event.off).eq(1..=81), "offsets have a hole");
    let body: serde_json::Value = serde_json::from_str(&format!("{{{}}}", events[0].body)).unwrap();
    assert_eq!(body["DataUpdate"]["entity"], "project");
    assert_eq!(body["DataUpdate"]["action"], "created");
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_that_was_trimmed_or_is_of_another_epoch_is_unrecoverable_and_the_rest_is_not() {
    let kept = TestStore::new().await;
    let project = projects::create(&kept.store, "books").await.unwrap().value;
    for round in 0..20 {
        projects::rename(&kept.store, project.id, &format!("books {round}")).await.unwrap();
    }
    let mut removed = 0;
    while let went @ 1.. = events::trim(&kept.store, 5, Duration::MAX, 4).await.unwrap() {
        assert!(went <= 4);
        removed += went;
    }
    assert_eq!(removed, 16);
    let since = |ep: String, off| events::since(&kept.store, project.id, Box::leak(ep.into_boxed_str()), off, 100);
    assert!(matches!(since(project.ep.clone(), 15).await.unwrap(), Recovery::Unrecoverable { off: 21, .. }));
    assert!(matches!(since("other".into(), 20).await.unwrap(), Recovery::Unrecoverable { .. }));
    assert!(matches!(since(project.ep.clone(), 99).await.unwrap(), Recovery::Unrecoverable { .. }));
    let Recovery::Recovered { events, head } = since(project.ep.clone(), 16).await.unwrap() else { panic!("kept") };
    assert_eq!((events.len(), head), (5, 21));
    let Recovery::Recovered { events, .. } = since(project.ep.clone(), 21).await.unwrap() else { panic!("at head") };
    assert!(events.is_empty());
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_position_of_a_list_is_that_of_its_rows_whoever_writes_meanwhile() {
    const WRITERS: usize = 4;
    const EACH: usize = 50;
    let kept = TestStore::new().await;
    let project = projects::create(&kept.store, "books").await.unwrap().value.id;
    let writers = (0..WRITERS).map(|writer| {
        let store = kept.store.clone();
        tokio::spawn(async move {
            for round in 0..EACH {
                let source = new_source(project, &format!("{writer}-{round}"));
                while let Err(busy) = sources::create(&store, source.clone()).await {
                    assert!(busy.retryable(), "{busy}");
                }
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let readers = (0..2).map(|_| {
        let store = kept.store.clone();
        tokio::spawn(async move {
            loop {
                let page = match sources::list(&store, project, None, 1_000).await {
                    Ok(page) => page,
                    Err(busy) if busy.retryable() => continue,
                    Err(other) => panic!("{other}"),
                };
                // The project's own event, and one of each source.
                assert_eq!(page.position.unwrap().off, 1 + page.items.len() as u64);
                if page.items.len() == WRITERS * EACH {
                    return;
                }
            }
        })
    });
    for task in readers.collect::<Vec<_>>().into_iter().chain(writers) {
        tokio::time::timeout(LONG, task).await.expect("all is written and read").unwrap();
    }
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_twice_in_a_project_are_one_source() {
    let kept = TestStore::new().await;
    let (project, left, _) = kept.project().await;
    let again = sources::create(&kept.store, new_source(project, "bank")).await.unwrap();
    assert_eq!((again.value.source.id, again.value.created, again.event), (left, false, None));
    let other = projects::create(&kept.store, "other").await.unwrap().value.id;
    assert!(sources::create(&kept.store, new_source(other, "bank")).await.unwrap().value.created);
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_in_use_is_kept_and_the_conflict_names_the_job() {
    let kept = TestStore::new().await;
    let (project, left, right) = kept.project().await;
    let job = jobs::create(&kept.store, new_job(project, left, right)).await.unwrap().value;
    let refused = sources::delete(&kept.store, right).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Conflict(text) if text.contains(&job.id.to_string())), "{refused}");
    jobs::delete(&kept.store, job.id).await.unwrap();
    sources::delete(&kept.store, right).await.unwrap();
    assert_eq!(sources::get(&kept.store, right).await, Err(StoreError::NotFound));
    // The same bytes may come again.
    assert!(sources::create(&kept.store, new_source(project, "ledger")).await.unwrap().value.created);
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_page_through_every_row_once_and_refuse_a_foreign_cursor() {
    let kept = TestStore::new().await;
    for round in 0..7 {
        projects::create(&kept.store, &format!("books {round}")).await.unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = projects::list(&kept.store, after.as_deref(), 3).await.unwrap();
        seen.extend(page.items.into_iter().map(|project| project.name));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..7).map(|round| format!("books {round}")).collect::<Vec<_>>());
    assert!(matches!(projects::list(&kept.store, Some("nonsense"), 3).await, Err(StoreError::Invalid(_))));
    for bad in ["", "  ", "a\u{7}b", &"x".repeat(201)] {
        assert!(matches!(projects::create(&kept.store, bad).await, Err(StoreError::Invalid(_))), "{bad:?}");
    }
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_project_is_invisible_at_once_and_swept_in_batches() {
    let kept = TestStore::new().await;
    let (project, left, right) = kept.project().await;
    let job = kept.queued_job_of(project, left, right).await;
    let gone = projects::delete(&kept.store, project).await.unwrap().event.unwrap();
    assert!(gone.body.contains("\"deleted\""));
    assert_eq!(projects::get(&kept.store, project).await, Err(StoreError::NotFound));
    assert_eq!(jobs::get(&kept.store, job.id).await, Err(StoreError::NotFound));
    assert_eq!(sources::get(&kept.store, left).await, Err(StoreError::NotFound));
    assert!(jobs::claim_next(&kept.store, "me", Duration::from_secs(9)).await.unwrap().is_none());
    while sweep::batch(&kept.store, 2, Duration::ZERO).await.unwrap() > 0 {}
    assert_eq!(events::head(&kept.store, project).await, Err(StoreError::NotFound));
    assert_eq!(sources::unknown(&kept.store, vec![left, right]).await.unwrap(), vec![left, right]);
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_users_who_claim_at_once_exactly_one_gets_it_and_the_next_after_release() {
    let kept = TestStore::new().await;
    let project = projects::create(&kept.store, "books").await.unwrap().value.id;
    let tries = (0..32).map(|user| {
        let store = kept.store.clone();
        tokio::spawn(async move {
            let user = format!("u{user}");
            let taken = claims::take(&store, project, wanted(&user, 1), Duration::from_secs(60), 100).await.unwrap();
            matches!(taken, Taken::Granted(_)).then_some(user)
        })
    });
    let mut winners = Vec::new();
    for attempt in tries.collect::<Vec<_>>() {
        winners.extend(attempt.await.unwrap());
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert!(!claims::release(&kept.store, project, "m1", "somebody else", None).await.unwrap());
    assert!(claims::release(&kept.store, project, "m1", &winners[0], None).await.unwrap());
    let next = claims::take(&kept.store, project, wanted("next", 1), Duration::from_secs(60), 100).await.unwrap();
    let Taken::Granted(next) = next else { panic!("free again: {next:?}") };
    assert_eq!((next.user_id.as_str(), next.token), ("next", 2));
    assert_eq!(claims::list(&kept.store, project).await.unwrap(), vec![next]);
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_its_connections_and_outlives_neither_lease_nor_limit() {
    let kept = TestStore::sqlite(|options| options).await;
    let project = projects::create(&kept.store, "books").await.unwrap().value.id;
    let lease = Duration::from_secs(60);
    let take = |wanted| claims::take(&kept.store, project, wanted, lease, 1);
    let Taken::Granted(first) = take(wanted("ana", 1)).await.unwrap() else { panic!("it was free") };
    assert!(matches!(take(wanted("ana", 1)).await.unwrap(), Taken::Renewed(claim) if claim.token == first.token));
    assert!(matches!(take(wanted("ana", 2)).await.unwrap(), Taken::Held(_)), "another tab of the same user");
    // The process that held it is gone, for nobody else can have this file: its user goes on, others wait.
    let bob = Wanted { holder: "p2:1".into(), ..wanted("bob", 1) };
    assert!(matches!(take(bob).await.unwrap(), Taken::Held(_)));
    let ana = Wanted { holder: "p2:1".into(), ..wanted("ana", 1) };
    assert!(matches!(take(ana).await.unwrap(), Taken::Granted(claim) if claim.token == first.token + 1));

    let other = Wanted { entity_id: "m2".into(), ..wanted("ana", 1) };
    let full = take(other).await.unwrap_err();
    assert!(matches!(full, StoreError::LimitExceeded { limit: "claims_per_project", .. }), "{full:?}");
    let asked = vec![("m1".to_owned(), "p2:1".to_owned()), ("m1".to_owned(), "p1:1".to_owned())];
    assert_eq!(claims::renew(&kept.store, project, asked, lease).await.unwrap().len(), 1);
    assert!(!claims::release(&kept.store, project, "m1", "ana", Some("p1:1".into())).await.unwrap());
    assert!(claims::release(&kept.store, project, "m1", "ana", Some("p2:1".into())).await.unwrap());
    let asked = vec![("m1".to_owned(), "p2:1".to_owned())];
    assert!(claims::renew(&kept.store, project, asked, lease).await.unwrap().is_empty(), "it was given back");
    kept.store.stop().await;
}

fn wanted(user: &str, conn: u64) -> Wanted {
    Wanted { entity_id: "m1".into(), user_id: user.into(), holder: format!("p1:{conn}") }
}

#[tokio::test]
async fn the_claims_of_many_projects_are_read_together_and_are_those_of_each() {
    let kept = TestStore::new().await;
    let lease = Duration::from_secs(60);
    let mut all = Vec::new();
    for claimed in [0, 3, 1] {
        let project = projects::create(&kept.store, "books").await.unwrap().value.id;
        for n in 0..claimed {
            let (entity_id, user_id) = (format!("m{n}"), "ana".to_owned());
            let wanted = Wanted { entity_id, user_id, holder: "p1:1".to_owned() };
            claims::take(&kept.store, project, wanted, lease, 100).await.unwrap();
        }
        all.push(project);
    }
    claims::release(&kept.store, all[2], "m0", "ana", None).await.unwrap();
    let mut found = claims::list_many(&kept.store, all.clone()).await.unwrap();
    let each = all.iter().map(|project| found.remove(project).unwrap_or_default());
    let each: Vec<_> = each.collect();
    for (project, together) in all.iter().zip(&each) {
        assert_eq!(*together, claims::list(&kept.store, *project).await.unwrap());
    }
    assert_eq!(each.iter().map(Vec::len).collect::<Vec<_>>(), [0, 3, 0]);
}
