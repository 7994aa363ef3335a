//! `deploy/k8s`: each kustomization lists the files beside it, and an overlay as the cluster would get it. Leaves what is
//! in the objects to `kubernetes`. Easy to get wrong: this merges patches as far as ours need it, objects by key and
//! lists by `name`; `kubectl kustomize` is the judge.
use std::collections::BTreeMap;

use serde_json::Value;

use super::manifests::{Files, Report, items, names, text};

const BASE: &str = "deploy/k8s/base";
const OVERLAYS: &str = "deploy/k8s/overlays/";

pub(crate) fn check(files: &Files, found: &mut Report) {
    let overlays = overlays(files);
    found.expect(!overlays.is_empty(), format!("{OVERLAYS}: there is none"));
    for folder in overlays.iter().map(String::as_str).chain([BASE]) {
        let list = kustomization(files, folder, found);
        let mut listed = names(&list["resources"]);
        listed.retain(|name| !(*name == "../../base" && folder != BASE));
        listed.extend(items(&list["patches"]).iter().map(|patch| text(patch, "/path")));
        listed.sort_unstable();
        let beside = files.0.keys().filter_map(|path| path.strip_prefix(&format!("{folder}/")));
        let beside: Vec<&str> = beside.filter(|name| *name != "kustomization.yaml").collect();
        found.expect(listed == beside, format!("{folder}: lists {listed:?} and has {beside:?}"));
    }
}

pub(crate) fn overlays(files: &Files) -> Vec<String> {
    let all = files.0.keys().filter(|path| path.starts_with(OVERLAYS) && path.ends_with("/kustomization.yaml"));
    all.filter_map(|path| Some(path.rsplit_once('/')?.0.to_owned())).collect()
}

fn kustomization(files: &Files, folder: &str, found: &mut Report) -> Value {
    let path = format!("{folder}/kustomization.yaml");
    let list = files.yaml(&path, found);
    found.expect(list["kind"] == "Kustomization", format!("{path}: is no kustomization"));
    list
}

/// The objects that an overlay gives the cluster.
pub(crate) fn rendered(files: &Files, overlay: &str, found: &mut Report) -> Vec<Value> {
    let mut objects = Vec::new();
    let list = kustomization(files, overlay, found);
    let base = kustomization(files, BASE, found);
    for (folder, list) in [(BASE, &base), (overlay, &list)] {
        for name in names(&list["resources"]).into_iter().filter(|name| *name != "../../base") {
            let path = format!("{folder}/{name}");
            if files.0.contains_key(&path) {
                objects.push(files.yaml(&path, found));
            }
        }
    }
    for patch in items(&list["patches"]) {
        let path = format!("{overlay}/{}", text(patch, "/path"));
        if !files.0.contains_key(&path) {
            continue;
        }
        let patch = files.yaml(&path, found);
        let target = objects.iter_mut().find(|object| {
            ["/apiVersion", "/kind", "/metadata/name"].iter().all(|place| text(object, place) == text(&patch, place))
        });
        match target {
            Some(target) => merge(target, &patch),
            None => found.problems.push(format!("{path}: patches an object that is not there")),
        }
    }
    for image in items(&list["images"]) {
        let used = objects.iter().any(|object| {
            let containers = items(&object["spec"]["template"]["spec"]["containers"]);
            containers.iter().any(|container| container["image"] == image["name"])
        });
        found.expect(used, format!("{overlay}: no container has the image {}", image["name"]));
    }
    objects
}

/// By kind and name, without what an overlay's `namespace` and `images` set, which is not looked at here.
pub(crate) fn comparable(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let named = objects.into_iter().map(|mut object| {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        if let Some(containers) = object.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut) {
            // Named objects of a list come in another order.
            for container in containers {
                container["image"] = Value::Null;
                if let Some(entries) = container["env"].as_array_mut() {
                    entries.sort_by(|a, b| text(a, "/name").cmp(text(b, "/name")));
                }
            }
        }
        (format!("{} {}", text(&object, "/kind"), text(&object, "/metadata/name")), object)
    });
    named.collect()
}

/// A strategic merge patch: objects by key, lists of named objects by name; anything else is replaced.
fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(patch)) if patch.iter().all(|item| item.get("name").is_some()) => {
            for item in patch {
                match into.iter_mut().find(|known| known["name"] == item["name"]) {
                    Some(known) => merge(known, item),
                    None => into.push(item.clone()),
                }
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}
