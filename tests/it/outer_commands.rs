//! The commands as a shell uses them: pipes that close, disks that are full, folders in place of files, input by a pipe, and
//! what other users of the machine may see. Leaves results to the engine's tests.
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::{LONG, Options, Run, Sample, Server, http::text};

const TIEOUT: &str = env!("CARGO_BIN_EXE_tieout");
const LEFT: &str = "id,amount,text\n1,-5.00,=1+1\n2,7.50,@SUM(A1)\n3,8.00,plain\n";
const RIGHT: &str = "id,amount,text\n1,-5.00,x\n2,7.50,y\n9,100.00,-2+3\n";

/// A shell line with `$T` for the program, in this folder.
fn shell(line: &str, folder: &Path) -> Output {
    Command::new("bash")
        .args(["-o", "pipefail", "-c", line])
        .env("T", TIEOUT)
        .env_remove("TIEOUT_TOKEN")
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// A child that ends with the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed, which is well.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn two_files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("l.csv"), LEFT).unwrap();
    fs::write(folder.path().join("r.csv"), RIGHT).unwrap();
    folder
}

#[test]
fn a_reader_that_has_gone_or_a_full_disk_ends_a_command_without_a_panic() {
    let folder = two_files();
    let made = shell("$T generate 30 g && $T reconcile g/ledger.csv g/bank.csv --out o", folder.path());
    assert!(made.status.success(), "{}", told(&made));
    let commands = [
        "reconcile l.csv r.csv",
        "reconcile l.csv r.csv --print-rules",
        "reconcile --help",
        "evaluate o/matches.csv g/truth.csv",
        "generate 3 g2",
        "migrate status --data-dir d",
        "migrate up --data-dir d",
        "sweep --data-dir d",
        "backup b1 --data-dir d",
        "restore b1 --data-dir e",
        "--version",
        "--help",
    ];
    for command in commands {
        let closed = shell(&format!("$T {command} | true"), folder.path());
        let code = closed.status.code();
        assert!(
            matches!(code, Some(0 | 1)) && !told(&closed).contains("panicked"),
            "{command}: {code:?} {}",
            told(&closed)
        );
        fs::remove_dir_all(folder.path().join("b1")).ok();
        fs::remove_dir_all(folder.path().join("g2")).ok();
        if command.starts_with("backup") {
            continue;
        }
        let full = shell(&format!("$T {command} > /dev/full"), folder.path());
        let code = full.status.code();
        assert!(
            matches!(code, Some(0 | 1)) && !told(&full).contains("panicked"),
            "{command}: {code:?} {}",
            told(&full)
        );
        fs::remove_dir_all(folder.path().join("g2")).ok();
    }
    for line in ["$T reconcile no.csv r.csv 2> /dev/full", "$T backup b3 --data-dir none 2> /dev/full"] {
        let full = shell(line, folder.path());
        assert!(matches!(full.status.code(), Some(1 | 2)), "{line}: {:?}", full.status);
    }
    let full = shell("$T reconcile l.csv r.csv > /dev/full", folder.path());
    assert!(
        full.status.code() == Some(1) && told(&full).contains("cannot write to standard output"),
        "{}",
        told(&full)
    );
    let first = shell("$T reconcile l.csv r.csv | head -1", folder.path());
    assert!(first.status.success() && first.stderr.is_empty(), "{}", told(&first));
}

#[test]
fn a_folder_as_input_is_bad_input() {
    let folder = two_files();
    fs::create_dir(folder.path().join("d")).unwrap();
    for line in [
        "$T reconcile d r.csv",
        "$T reconcile l.csv d",
        "$T reconcile l.csv r.csv --rules d",
        "$T reconcile l.csv - < d",
        "$T evaluate d d",
        "$T reconcile l.csv no.csv",
    ] {
        let output = shell(line, folder.path());
        let known = told(&output).contains("folder") || told(&output).contains("directory");
        assert!(output.status.code() == Some(2) && known, "{line}: {:?} {}", output.status, told(&output));
    }
}

#[test]
fn input_may_come_through_a_pipe_which_is_read_once() {
    let folder = two_files();
    let expected = shell("$T reconcile l.csv r.csv --out plain && cat plain/*.csv", folder.path());
    assert!(expected.status.success(), "{}", told(&expected));
    let rules = shell("$T reconcile l.csv r.csv --print-rules > rules.json", folder.path());
    assert!(rules.status.success());
    for (n, line) in [
        "cat r.csv | $T reconcile l.csv -",
        "cat l.csv | $T reconcile - r.csv",
        "$T reconcile l.csv - < r.csv",
        "cat r.csv | $T reconcile l.csv /dev/stdin",
        "$T reconcile l.csv /dev/stdin < r.csv",
        "$T reconcile <(cat l.csv) <(cat r.csv)",
        "cat rules.json | $T reconcile l.csv r.csv --rules -",
        "mkfifo p; cat r.csv > p & $T reconcile l.csv p",
    ]
    .iter()
    .enumerate()
    {
        let output = shell(&format!("{line} --out o{n} > /dev/null && cat o{n}/*.csv"), folder.path());
        assert!(output.status.success(), "{line}: {}", told(&output));
        // Of what went before, only the text of the command differs: it names the files.
        let result = |text: &Output| {
            let text = told(text);
            let begin = text.find("side,id,line").unwrap_or_else(|| panic!("{line}: {text}"));
            text[begin..].to_owned()
        };
        assert_eq!(result(&output), result(&expected), "{line}");
    }
    for line in ["$T reconcile - - < l.csv", "$T reconcile l.csv - --rules - < l.csv"] {
        let output = shell(line, folder.path());
        assert!(output.status.code() == Some(2) && told(&output).contains("read once"), "{line}: {}", told(&output));
    }
    let empty = shell("true | $T reconcile l.csv -", folder.path());
    assert!(empty.status.code() == Some(2) && told(&empty).contains("standard input"), "{}", told(&empty));
}

#[test]
fn result_files_for_a_spreadsheet_have_no_formulas_and_keep_their_numbers() {
    let folder = two_files();
    // Three rows that belong together, and one on either side that does not.
    let write = |name: &str, header: &str, last: &str| {
        let rows = format!("{header}\n1,a,7.50\n2,b,8.00\n3,c,9.25\n{last}\n");
        fs::write(folder.path().join(name), rows).unwrap();
    };
    write("l.csv", "id,=cmd|x,amount", "4,=HYPERLINK(1),-5.00");
    write("r.csv", "id,b,amount", "=9,z,100.00");
    let plain =
        shell("$T reconcile l.csv r.csv --out a && cat a/unmatched_left.csv a/unmatched_right.csv", folder.path());
    assert!(told(&plain).contains(",=cmd|x,") && told(&plain).contains(",=HYPERLINK(1),"), "{}", told(&plain));
    let line = "$T reconcile l.csv r.csv --out b --safe spreadsheet && cat b/unmatched_left.csv b/unmatched_right.csv";
    let safe = told(&shell(line, folder.path()));
    assert!(safe.contains(",'=cmd|x,") && safe.contains(",'=HYPERLINK(1),-5.00") && safe.contains("\n'=9,"), "{safe}");
}

#[test]
fn the_version_names_the_commit_and_the_target() {
    let said = told(&shell("$T --version", Path::new(".")));
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words[..2], ["tieout", env!("CARGO_PKG_VERSION")], "{said}");
    assert!(said.contains(std::env::consts::ARCH) && said.contains(std::env::consts::OS), "{said}");
    let commit = words[2].trim_start_matches('(').trim_end_matches(',');
    let git =
        Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    match git {
        Ok(head) if head.status.success() => assert_eq!(commit, String::from_utf8_lossy(&head.stdout).trim(), "{said}"),
        _ => assert!(!commit.is_empty(), "{said}"),
    }
}

#[tokio::test]
async fn other_users_of_the_machine_may_read_nothing_of_the_data_directory() {
    let mut server = Server::start(Options::default().sqlite().everywhere()).await;
    let token = fs::read_to_string(server.data().join("token")).unwrap();
    let api = server.api().with_token(token.trim());
    let project = api.project("p").await;
    api.upload(&project, "a.csv", "id,amount\n1,2\n").await.expect(201);
    let check = |data: &Path| {
        let mut folders = vec![data.to_owned()];
        while let Some(folder) = folders.pop() {
            assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700, "{}", folder.display());
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let Ok(found) = fs::symlink_metadata(&path) else { continue };
                if found.is_dir() {
                    folders.push(path);
                } else {
                    assert_eq!(found.mode() & 0o777, 0o600, "{}", path.display());
                }
            }
        }
    };
    check(server.data());
    // One that an older version left open is closed at the next start.
    server.terminate();
    server.exit(LONG).await;
    let (data, open) = (server.data().to_owned(), |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    });
    open(&data.join("tieout.sqlite"), 0o644);
    open(&data.join("uploads"), 0o755);
    open(&data, 0o755);
    server.spawn();
    server.ready().await;
    check(server.data());
}

#[tokio::test]
async fn a_short_token_is_refused_and_a_token_that_others_can_read_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("short"), "a".repeat(31)).unwrap();
    for line in ["TIEOUT_TOKEN=a $T serve --data-dir d", "$T serve --data-dir d --token-file short"] {
        let output = shell(
            &format!("timeout 20 env {}", line.replace("$T serve", "$T serve --listen 127.0.0.1:0")),
            folder.path(),
        );
        assert!(
            output.status.code() == Some(1) && told(&output).contains("needs at least 32"),
            "{line}: {}",
            told(&output)
        );
        assert!(!told(&output).contains(&"a".repeat(31)), "the token is not shown");
    }
    let long = folder.path().join("long");
    fs::write(&long, "b".repeat(32)).unwrap();
    for (mode, warned) in [(0o644, true), (0o640, false), (0o600, false)] {
        fs::set_permissions(&long, fs::Permissions::from_mode(mode)).unwrap();
        let server = Server::start(Options::default().arg("--token-file").arg(long.to_str().unwrap())).await;
        assert_eq!(
            server.log().contains("every user of the machine can read a secret"),
            warned,
            "{mode:o} {}",
            server.log()
        );
    }
}

#[tokio::test]
async fn no_token_and_no_cell_is_in_a_log_of_any_level() {
    const TOKEN: &str = "a-token-that-nobody-should-ever-find";
    const CELL: &str = "a-cell-that-belongs-to-a-customer";
    let options = Options::default().everywhere().env("TIEOUT_TOKEN", TOKEN).env("TIEOUT_LOG", "trace");
    let server = Server::start(options).await;
    let api = server.api().with_token(TOKEN);
    let sample = Sample::new(20, 3);
    let run = Run::prepare(&api, &sample).await;
    run.start().await;
    run.completed(LONG).await;
    api.upload(&run.project, "c.csv", format!("id,amount,text\n1,2,{CELL}\n")).await.expect(201);
    let ticket = text(&api.post("/api/realtime/ticket", json!({})).await.expect(200), "ticket");
    let mut socket = server.socket().await;
    socket.ask("Auth", json!({"token": TOKEN})).await;
    socket.join(&run.project, None).await;
    let cell = sample.ledger.lines().nth(1).unwrap().to_owned();
    for secret in [TOKEN, CELL, &ticket, &cell, "JoinProject"] {
        assert!(!server.log().contains(secret), "{secret} is in the log");
    }
    assert!(server.log().contains("DEBUG"), "the log is at work");
}

#[tokio::test]
async fn a_terminal_that_closes_ends_a_server_in_order_but_one_under_nohup() {
    let mut server = Server::start(Options::default()).await;
    let hang_up = |pid: i32| {
        // SAFETY: the pid is that of our own child, which has not been reaped.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGHUP) }, 0);
    };
    hang_up(server.pid());
    assert_eq!(server.exit(Duration::from_secs(20)).await.code(), Some(0));
    assert!(server.log().contains("signal=SIGHUP") && server.log().contains("stopped clean=true"), "{}", server.log());
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new("nohup")
        .args([TIEOUT, "serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path().join("data"))
        .stdin(Stdio::null())
        .stdout(fs::File::create(folder.path().join("out")).unwrap())
        .stderr(fs::File::create(folder.path().join("err")).unwrap())
        .spawn()
        .unwrap();
    let mut child = Ended(child);
    let pid = child.0.id() as i32;
    let said = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    crate::support::eventually(LONG, "the server under nohup to listen", || async {
        if said("out").contains("listens on") { Ok(()) } else { Err(said("err")) }
    })
    .await;
    hang_up(pid);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    let status = tokio::task::spawn_blocking(move || child.0.wait().unwrap()).await.unwrap();
    assert!(status.success() && said("err").contains("signal=SIGTERM"), "{}", said("err"));
}

#[tokio::test]
async fn an_export_for_a_spreadsheet_has_no_formulas_and_unmatched_rows_name_what_they_relate_to() {
    let server = Server::start(Options::default()).await;
    let api = server.api();
    let project = api.project("p").await;
    let folder = tempfile::tempdir().unwrap();
    let left = "id,amount,day,=note\nA,-5.00,2025-01-01,=1+1\nB,7.50,2025-01-02,-1\nC,99.00,2025-01-03,@x\nA2,-5.00,2025-01-01,=1+1\n";
    let right = "id,amount,day,note\nX,-5.00,2025-01-01,a\nY,7.50,2025-01-02,b\nZ,12.00,2025-02-03,c\n";
    let ids = [
        text(&api.upload(&project, "l.csv", left).await.expect(201), "id"),
        text(&api.upload(&project, "r.csv", right).await.expect(201), "id"),
    ];
    let jobs = format!("/api/v1/projects/{project}/jobs");
    let job = api.post(&jobs, json!({"left": ids[0], "right": ids[1], "start": true})).await.expect(201);
    let [left_id, right_id] = ids;
    let run = Run { api: api.clone(), project, left: left_id, right: right_id, job: text(&job, "id") };
    run.completed(LONG).await;
    fs::File::create(folder.path().join("l.csv")).unwrap().write_all(left.as_bytes()).unwrap();
    fs::write(folder.path().join("r.csv"), right).unwrap();
    for (option, query) in [("", ""), ("--safe spreadsheet", "&safe=spreadsheet")] {
        let out = format!("o{}", query.len());
        let made = shell(&format!("$T reconcile l.csv r.csv --out {out} {option}"), folder.path());
        assert!(made.status.success(), "{}", told(&made));
        for side in ["unmatched_left", "unmatched_right"] {
            let served = api.get(&run.path(&format!("/export?format=csv&status={side}{query}"))).await;
            let written = fs::read_to_string(folder.path().join(&out).join(format!("{side}.csv"))).unwrap();
            assert_eq!(served.text, written, "the server and the command line write the same {side}");
        }
    }
    let safe = api.get(&run.path("/export?format=csv&status=unmatched_left&safe=spreadsheet")).await.text;
    assert!(safe.lines().next().unwrap().ends_with(",'=note") && safe.contains("99.00,2025-01-03,'@x"), "{safe}");
    api.get(&run.path("/export?format=jsonl&safe=spreadsheet")).await.expect_problem(422, "invalid");
    let duplicates = run.results("unmatched_left").await;
    let related: Vec<_> =
        duplicates.iter().filter(|item| item["kind"] == "duplicate").map(|item| item["related_id"].clone()).collect();
    assert!(!related.is_empty() && related.iter().all(serde_json::Value::is_string), "{duplicates:?}");
}
