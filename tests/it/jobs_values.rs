//! What results show of their records: the values that were compared, wherever they stand.
//! Leaves paging to `store_jobs`. Easy to get wrong: a stored profile is that of the upload, which another version may have made;
//! the run's own reading of the file has the names that were compared.
use crate::jobs_support::{TestJobs, all, files, queued_of, upload, upload_as};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write;
use tieout::db::jobs::{Job, JobState};
use tieout::db::results::{ResultItem, ResultRecord};
use tieout::db::{projects, sources, staging};

/// The cells of a file by line and column.
fn cells(content: &[u8]) -> HashMap<(u64, String), String> {
    let text = String::from_utf8(content.to_vec()).unwrap();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let mut cells = HashMap::new();
    for (line, row) in (2..).zip(lines) {
        cells.extend(
            header.iter().zip(row.split(',')).map(|(name, cell)| ((line, (*name).to_owned()), cell.to_owned())),
        );
    }
    cells
}

fn matches(items: &[ResultItem]) -> impl Iterator<Item = &ResultItem> {
    items.iter().filter(|item| item.match_id.is_some())
}

/// What a result says of a comparison.
fn said<'a>(item: &'a ResultItem, label: &str) -> &'a Value {
    let all = item.comparisons.as_array().unwrap();
    all.iter().find(|said| said["label"] == label).unwrap_or_else(|| panic!("no {label} in {item:?}"))
}

fn line(records: &[ResultRecord]) -> u64 {
    assert_eq!(records.len(), 1, "{records:?}");
    records[0].ordinal
}

async fn completed(up: &TestJobs, job: &Job) -> (Job, Vec<ResultItem>) {
    up.jobs.nudge();
    let done = up.wait(job.id, "completed", |job| job.state == JobState::Completed).await;
    let items = all(&up.kept, job.id).await;
    (done, items)
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_those_of_the_file_also_where_another_version_called_its_columns_otherwise() {
    let up = TestJobs::new().await;
    let project = projects::create(&up.kept.store, "books").await.unwrap().value.id;
    let (left, right) = files(300);
    // Another version took the header for something else.
    let left_id = upload_as(&up.kept, project, "left", &left, |profile| {
        profile[sources::MADE_BY_KEY] = "0.0.1 an older one".into();
        for (column, name) in profile["columns"].as_array_mut().unwrap().iter_mut().zip(["a", "b", "c", "amount", "e"])
        {
            column["name"] = name.into();
        }
    })
    .await;
    let right_id = upload(&up.kept, project, "right", &right).await;
    let job = queued_of(&up.kept, project, (left_id, &left), (right_id, &right), |_| ()).await;
    let (_, items) = completed(&up, &job).await;
    let (of_left, of_right) = (cells(&left), cells(&right));
    let mut seen = 0;
    for item in matches(&items) {
        for label in ["amount", "date", "reference"] {
            let (said, name) = (said(item, label), label.to_owned());
            assert_eq!(said["left"], of_left[&(line(&item.left), name.clone())], "{item:?}");
            assert_eq!(said["right"], of_right[&(line(&item.right), name)], "{item:?}");
            seen += 1;
        }
    }
    assert!(seen >= 3 * 296, "{seen}");
    up.stop().await.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wording_is_shared_also_where_the_records_have_not_the_values_and_these_are_right() {
    const ROWS: u64 = 600;
    let up = TestJobs::new().await;
    let project = projects::create(&up.kept.store, "books").await.unwrap().value.id;
    // On the left an amount is worked out of two columns, and is in no record.
    let mut left = "id,date,debit,credit,reference\n".to_owned();
    let mut right = "id,date,amount,reference\n".to_owned();
    for row in 0..ROWS {
        let (day, month, cents) = (1 + row % 28, 1 + row / 28 % 12, 100 + row * 7_919 % 100_000);
        let amount = format!("{}.{:02}", cents / 100, cents % 100);
        let (debit, credit, sign) = if row % 3 == 0 { (&*amount, "", "-") } else { ("", &*amount, "") };
        let reference = format!("INV-{:06}", row * 104_729 % 1_000_003);
        writeln!(left, "L{row},2025-{month:02}-{day:02},{debit},{credit},{reference}").unwrap();
        writeln!(right, "R{row},2025-{month:02}-{day:02},{sign}{amount},{reference}").unwrap();
    }
    let (left, right) = (left.into_bytes(), right.into_bytes());
    let left_id = upload(&up.kept, project, "left", &left).await;
    let right_id = upload(&up.kept, project, "right", &right).await;
    let (of_left, of_right) = (cells(&left), cells(&right));
    for read_by_rules in [false, true] {
        let job = queued_of(&up.kept, project, (left_id, &left), (right_id, &right), |new| {
            if read_by_rules {
                new.rules["right"] = json!({"date": "ymd"});
                new.options["inferred"] = false.into();
            }
        })
        .await;
        let (done, items) = completed(&up, &job).await;
        let mut seen = 0;
        for item in matches(&items) {
            let (l, r) = (line(&item.left), line(&item.right));
            let (debit, credit) = (&of_left[&(l, "debit".into())], &of_left[&(l, "credit".into())]);
            let amount = if debit.is_empty() { credit.clone() } else { format!("-{debit}") };
            assert_eq!(said(item, "amount")["left"], amount, "{item:?}");
            assert_eq!(said(item, "amount")["right"], of_right[&(r, "amount".into())], "{item:?}");
            assert_eq!(said(item, "reference")["left"], of_left[&(l, "reference".into())], "{item:?}");
            assert_eq!(said(item, "reference")["right"], of_right[&(r, "reference".into())], "{item:?}");
            seen += 1;
        }
        assert!(seen >= ROWS - 10, "{seen}");
        let attempt = done.published_attempt.unwrap();
        let staged = staging::staged(&up.kept.store, job.id, attempt).await.unwrap();
        assert!(staged.texts > 0 && staged.texts < seen / 5, "{staged:?}");
    }
    up.stop().await.store.stop().await;
}
