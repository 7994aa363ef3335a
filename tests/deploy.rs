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
