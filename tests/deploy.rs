//! What can be checked about `compose.yaml` and `deploy/` without a cluster: every file parses, every setting exists and
//! takes its value, every name that is used is defined, ports, paths and users agree with the Dockerfile, and nobody is
//! killed before the server's own deadline.
//! Leaves running them to people. Easy to get wrong: a check that looks at nothing, because a key moved; so
//! `every_check_can_fail` breaks each promise once.
#[path = "deploy/balancer.rs"]
mod balancer;
#[path = "deploy/breakages.rs"]
mod breakages;
#[path = "deploy/compose.rs"]
mod compose;
#[path = "deploy/image.rs"]
mod image;
#[path = "deploy/kubernetes.rs"]
mod kubernetes;
#[path = "deploy/kustomize.rs"]
mod kustomize;
#[path = "deploy/manifests.rs"]
mod manifests;
#[path = "deploy/settings.rs"]
mod settings;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use manifests::Files;

/// Everything that is wrong with these files.
fn problems(files: &Files) -> Vec<String> {
    let mut found = manifests::Report::default();
    compose::check(files, &mut found);
    balancer::check(files, &mut found);
    kustomize::check(files, &mut found);
    kubernetes::check(files, &mut found);
    found.problems
}

#[test]
fn the_manifests_agree_with_the_server_and_with_each_other() {
    let found = problems(&Files::of_the_repository());
    assert!(found.is_empty(), "{} problems\n{}", found.len(), found.join("\n"));
}

/// What the cluster's own program makes of an overlay is what was checked above.
#[test]
fn kubectl_renders_what_is_checked() {
    let Some(kubectl) = program("kubectl") else { return };
    let files = Files::of_the_repository();
    for overlay in kustomize::overlays(&files) {
        let mut found = manifests::Report::default();
        let ours = kustomize::comparable(kustomize::rendered(&files, &overlay, &mut found));
        let made =
            Command::new(&kubectl).args(["kustomize", &overlay]).current_dir(root()).output().expect("kubectl runs");
        assert!(made.status.success(), "{overlay}: {}", String::from_utf8_lossy(&made.stderr));
        let text = String::from_utf8(made.stdout).expect("kubectl writes text");
        let theirs = text.split("\n---\n").map(|object| serde_saphyr::from_str(object).expect("kubectl writes YAML"));
        assert_eq!(kustomize::comparable(theirs.collect()), ours, "{overlay}");
    }
}

#[test]
fn haproxy_takes_its_configuration() {
    let Some(haproxy) = program("haproxy") else { return };
    let checked = Command::new(haproxy).args(["-c", "-f", balancer::FILE]).current_dir(root()).output();
    let checked = checked.expect("haproxy runs");
    let said = [checked.stdout, checked.stderr].concat();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&said));
}

/// Where a program is that need not be installed; says so when it is not.
fn program(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let sbin = [PathBuf::from("/usr/sbin")];
    let found = std::env::split_paths(&folders).chain(sbin).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        println!("LEFT OUT: {name} is not installed");
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
