//! What an overlay gives the cluster: references, ports, probes, users, time to stop. Leaves the fields' own grammar to
//! the cluster. Easy to get wrong: a selector that matches nothing is no error to Kubernetes.
use serde_json::{Value, json};
use tieout::config::Config;

use super::{
    compose::host,
    image::Image,
    kustomize,
    manifests::{Files, Report, items, names, text},
    settings::{self, Environment},
};

/// One overlay's objects.
struct Objects<'a> {
    overlay: &'a str,
    all: Vec<Value>,
}

impl Objects<'_> {
    fn of(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        self.all.iter().filter(move |object| object["kind"] == kind)
    }

    fn has(&self, kind: &'static str, name: &str) -> bool {
        self.of(kind).any(|object| object["metadata"]["name"] == name)
    }

    /// The only one of its kind; null when it is not the only one.
    fn only(&self, kind: &'static str, found: &mut Report) -> &Value {
        let mut all = self.of(kind);
        let one = all.next().filter(|_| all.next().is_none());
        found.expect(one.is_some(), format!("{}: there is not exactly one {kind}", self.overlay));
        one.unwrap_or(&Value::Null)
    }
}

pub(crate) fn check(files: &Files, found: &mut Report) {
    let image = Image::read(files);
    for overlay in kustomize::overlays(files) {
        let objects = Objects { overlay: &overlay, all: kustomize::rendered(files, &overlay, found) };
        for object in &objects.all {
            let named = ["/apiVersion", "/kind", "/metadata/name"].iter().all(|place| !text(object, place).is_empty());
            found.expect(named, format!("{overlay}: an object has no version, kind or name: {object}"));
        }
        let deployment = objects.only("Deployment", found);
        let pod = &deployment["spec"]["template"]["spec"];
        let [container] = items(&pod["containers"]) else {
            found.problems.push(format!("{overlay}: the pod has not exactly one container"));
            continue;
        };
        let secret = objects.only("Secret", found);
        selectors(&objects, deployment, found);
        references(&objects, pod, container, found);
        ports(&objects, container, &image, files, found);
        rights(&overlay, pod, container, &image, found);
        environment(&objects, pod, container, secret, &image, found);
        stores(&objects, secret, found);
        policy(&objects, found);
        scaling(&objects, deployment, files, found);
    }
}

fn selectors(objects: &Objects<'_>, deployment: &Value, found: &mut Report) {
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let whose = objects.overlay;
    let mut selectors = vec![("Deployment", &deployment["spec"]["selector"]["matchLabels"])];
    selectors.push(("Service", &objects.only("Service", found)["spec"]["selector"]));
    let budget = objects.only("PodDisruptionBudget", found);
    selectors.push(("PodDisruptionBudget", &budget["spec"]["selector"]["matchLabels"]));
    let policy = objects.only("NetworkPolicy", found);
    selectors.push(("NetworkPolicy", &policy["spec"]["podSelector"]["matchLabels"]));
    let spread = &deployment["spec"]["template"]["spec"]["topologySpreadConstraints"][0];
    selectors.push(("topologySpreadConstraints", &spread["labelSelector"]["matchLabels"]));
    for (kind, selector) in selectors {
        let entries = selector.as_object().into_iter().flatten();
        let matches =
            !names(selector).is_empty() && entries.into_iter().all(|(key, value)| labels.get(key) == Some(value));
        found.expect(matches, format!("{whose} {kind}: selects {selector}, the pods have {labels}"));
    }
    let some_stay = budget["spec"]["maxUnavailable"] == 1;
    found.expect(some_stay, format!("{whose} PodDisruptionBudget: lets more than one replica go at a time"));
    let sick_go = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
    found.expect(sick_go, format!("{whose} PodDisruptionBudget: keeps nodes whose replicas serve nobody"));
}

fn references(objects: &Objects<'_>, pod: &Value, container: &Value, found: &mut Report) {
    let whose = objects.overlay;
    let account = text(pod, "/serviceAccountName");
    found.expect(objects.has("ServiceAccount", account), format!("{whose}: there is no ServiceAccount {account:?}"));
    for volume in items(&pod["volumes"]) {
        let places = [
            ("PersistentVolumeClaim", "/persistentVolumeClaim/claimName"),
            ("Secret", "/secret/secretName"),
            ("ConfigMap", "/configMap/name"),
        ];
        let used = places.iter().find(|(_, place)| !text(volume, place).is_empty());
        let known = used.is_some_and(|(kind, place)| objects.has(kind, text(volume, place)));
        found.expect(
            known || volume.get("emptyDir").is_some(),
            format!("{whose}: nothing is behind the volume {volume}"),
        );
    }
    for mount in items(&container["volumeMounts"]) {
        let known = items(&pod["volumes"]).iter().any(|volume| volume["name"] == mount["name"]);
        found.expect(known, format!("{whose}: mounts {} and there is no such volume", mount["name"]));
    }
    let claim = objects.only("PersistentVolumeClaim", found);
    found.expect(
        claim["spec"]["accessModes"] == json!(["ReadWriteMany"]),
        format!("{whose}: replicas can't share the uploads"),
    );
    for rule in objects.of("Ingress").flat_map(|ingress| items(&ingress["spec"]["rules"])) {
        for path in items(&rule["http"]["paths"]) {
            let (service, port) = (text(path, "/backend/service/name"), &path["backend"]["service"]["port"]["name"]);
            let known = objects.of("Service").any(|object| {
                object["metadata"]["name"] == service
                    && items(&object["spec"]["ports"]).iter().any(|p| p["name"] == *port)
            });
            found.expect(known, format!("{whose} Ingress: there is no service {service} with a port {port}"));
        }
    }
}

fn ports(objects: &Objects<'_>, container: &Value, image: &Image, files: &Files, found: &mut Report) {
    let whose = objects.overlay;
    let named: Vec<&str> = items(&container["ports"]).iter().map(|port| text(port, "/name")).collect();
    let exposed = items(&container["ports"]).iter().all(|port| port["containerPort"] == image.port);
    found.expect(exposed && named.len() == 1, format!("{whose}: the container's ports are not the image's"));
    for (probe, path) in
        [("startupProbe", "/api/health"), ("livenessProbe", "/api/health"), ("readinessProbe", "/api/ready")]
    {
        let get = &container[probe]["httpGet"];
        found.expect(get["path"] == path, format!("{whose} {probe}: asks {}, not {path}", get["path"]));
        found.expect(named.contains(&text(get, "/port")), format!("{whose} {probe}: there is no port {}", get["port"]));
        let route = files.text("src/http/router.rs").contains(&format!("\"{path}\""));
        found.expect(route, format!("{whose} {probe}: the server has no route {path}"));
    }
    for port in objects.of("Service").flat_map(|service| items(&service["spec"]["ports"])) {
        found.expect(named.contains(&text(port, "/targetPort")), format!("{whose} Service: there is no port {port}"));
    }
    for rule in objects.of("NetworkPolicy").flat_map(|policy| items(&policy["spec"]["ingress"])) {
        let known = items(&rule["ports"]).iter().all(|port| named.contains(&text(port, "/port")));
        found.expect(
            known && !items(&rule["ports"]).is_empty(),
            format!("{whose} NetworkPolicy: lets others in than to {named:?}"),
        );
    }
}

fn rights(whose: &str, pod: &Value, container: &Value, image: &Image, found: &mut Report) {
    let (of_pod, own) = (&pod["securityContext"], &container["securityContext"]);
    let user = of_pod["runAsUser"].as_u64();
    found.expect(
        user.is_some() && user == image.uid(),
        format!("{whose}: runs as {user:?}, the image as {}", image.user),
    );
    found.expect(of_pod["fsGroup"] == of_pod["runAsGroup"], format!("{whose}: volumes are not its group's"));
    let right = of_pod["runAsNonRoot"] == true
        && of_pod["seccompProfile"]["type"] == "RuntimeDefault"
        && own["readOnlyRootFilesystem"] == true
        && own["allowPrivilegeEscalation"] == false
        && own["capabilities"]["drop"] == json!(["ALL"]);
    found.expect(right, format!("{whose}: the container has rights that it does not need"));
    found.expect(pod["automountServiceAccountToken"] == false, format!("{whose}: the account's token is mounted"));
}

fn environment(
    objects: &Objects<'_>,
    pod: &Value,
    container: &Value,
    secret: &Value,
    image: &Image,
    found: &mut Report,
) {
    let whose = objects.overlay;
    let entries = items(&container["env"]).iter();
    let environment: Environment =
        entries.map(|entry| (text(entry, "/name").to_owned(), entry["value"].as_str().map(str::to_owned))).collect();
    for entry in items(&container["env"]) {
        let given = entry["value"].is_string() || !text(entry, "/valueFrom/fieldRef/fieldPath").is_empty();
        found.expect(given, format!("{whose}: {} has no value", entry["name"]));
    }
    let mount = |name: &str| items(&container["volumeMounts"]).iter().find(|mount| mount["name"] == name);
    let volumes = || items(&pod["volumes"]).iter();
    let secrets = volumes().find(|volume| volume["secret"]["secretName"] == secret["metadata"]["name"]);
    let folder = secrets.and_then(|volume| mount(text(volume, "/name"))).map_or("", |mount| text(mount, "/mountPath"));
    let keys = names(&secret["stringData"]);
    let is_secret = |path: &str| path.strip_prefix(&format!("{folder}/")).is_some_and(|key| keys.contains(&key));
    for (name, value) in environment.iter().filter(|(name, _)| name.ends_with("_FILE")) {
        found.expect(value.as_deref().is_some_and(is_secret), format!("{whose}: {name} is no key of the Secret"));
    }
    for name in ["DATABASE_URL", "REDIS_URL", "TOKEN"].map(|name| format!("TIEOUT_{name}")) {
        found.expect(!environment.contains_key(&name), format!("{whose}: {name} stands in the open"));
    }
    for url in ["database_url", "redis_url"].map(|key| secret["stringData"][key].as_str().unwrap_or_default()) {
        let root = url.split_once("sslrootcert=").map_or("", |(_, path)| path).split('&').next().unwrap_or_default();
        found.expect(is_secret(root), format!("{whose}: sslrootcert {root:?} of {url} is not mounted"));
    }

    let Some(config) = settings::config(whose, &environment, found) else { return };
    settings::replica(whose, &config, image, found);
    connections(objects, &config, found);
    let data = volumes().find(|volume| !text(volume, "/persistentVolumeClaim/claimName").is_empty());
    let data = data.and_then(|volume| mount(text(volume, "/name"))).map_or("", |mount| text(mount, "/mountPath"));
    found.expect(config.data_dir.as_os_str() == data, format!("{whose}: data_dir is not on the claim"));
    let before = items(&container["lifecycle"]["preStop"]["exec"]["command"]);
    let before = before.get(1).filter(|_| before[0] == "sleep").and_then(|n| n.as_str()?.parse().ok());
    // What a balancer needs to see that the pod leaves: a few of its own looks.
    found.expect(before.is_some_and(|seconds: u64| seconds >= 5), format!("{whose}: preStop gives balancers no time"));
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap_or_default();
    settings::grace(whose, &config, before.unwrap_or_default(), grace, found);
}

/// The examples of addresses are of the form that the settings take, and can be reached.
fn stores(objects: &Objects<'_>, secret: &Value, found: &mut Report) {
    let open: Vec<u64> = objects
        .of("NetworkPolicy")
        .flat_map(|policy| items(&policy["spec"]["egress"]))
        .flat_map(|rule| items(&rule["ports"]))
        .filter_map(|port| port["port"].as_u64())
        .collect();
    for setting in ["database_url", "redis_url"] {
        let url = text(secret, &format!("/stringData/{setting}"));
        // The relay reads that file, and it is on no machine but the cluster's.
        let readable = if setting == "redis_url" { url.split("?sslrootcert=").next().unwrap_or_default() } else { url };
        settings::value(&format!("{} Secret", objects.overlay), setting, readable, found);
        let port = url
            .split_once(&format!("{}:", host(url)))
            .and_then(|(_, rest)| rest.split(['/', '?']).next().and_then(|port| port.parse().ok()));
        let reachable = port.is_some_and(|port: u64| open.contains(&port));
        found.expect(reachable, format!("{} NetworkPolicy: does not let {setting} at {port:?} out", objects.overlay));
    }
}

/// Whom the pods talk to: names by DNS out, the balancer and the monitoring in, and all else refused both ways.
fn policy(objects: &Objects<'_>, found: &mut Report) {
    let whose = format!("{} NetworkPolicy", objects.overlay);
    let policy = &objects.only("NetworkPolicy", found)["spec"];
    for way in ["Ingress", "Egress"] {
        found.expect(names(&policy["policyTypes"]).contains(&way), format!("{whose}: refuses no {way}"));
    }
    for protocol in ["UDP", "TCP"] {
        let mut ports = items(&policy["egress"]).iter().flat_map(|rule| items(&rule["ports"]));
        let asks = ports.any(|port| port["port"] == 53 && port["protocol"] == protocol);
        found.expect(asks, format!("{whose}: does not let the pods ask for names over {protocol}"));
    }
    let let_in: Vec<&str> = items(&policy["ingress"])
        .iter()
        .flat_map(|rule| items(&rule["from"]))
        .flat_map(|from| items(&from["namespaceSelector"]["matchExpressions"]))
        .flat_map(|expression| names(&expression["values"]))
        .collect();
    for namespace in ["haproxy-controller", "monitoring"] {
        found.expect(let_in.contains(&namespace), format!("{whose}: does not let {namespace} in"));
    }
}

/// All replicas that may run at once have their connections within what PostgreSQL allows by itself: 100, 3 of them for superusers.
fn connections(objects: &Objects<'_>, config: &Config, found: &mut Report) {
    let most = objects.only("HorizontalPodAutoscaler", found)["spec"]["maxReplicas"].as_u64().unwrap_or_default() + 1;
    let each = u64::from(config.database_connections) + 6;
    found.expect(
        each * most <= 97,
        format!("{}: {most} replicas open {} connections to PostgreSQL", objects.overlay, each * most),
    );
}

fn scaling(objects: &Objects<'_>, deployment: &Value, files: &Files, found: &mut Report) {
    let whose = format!("{} HorizontalPodAutoscaler", objects.overlay);
    let scaler = objects.only("HorizontalPodAutoscaler", found);
    let target = &scaler["spec"]["scaleTargetRef"];
    let same = target["name"] == deployment["metadata"]["name"] && target["kind"] == deployment["kind"];
    found.expect(same, format!("{whose}: scales {target}"));
    found.expect(
        deployment["spec"].get("replicas").is_none(),
        format!("{whose}: the Deployment fights it with `replicas`"),
    );
    found.expect(scaler["spec"]["minReplicas"].as_u64() >= Some(2), format!("{whose}: may leave a single replica"));
    for metric in items(&scaler["spec"]["metrics"]) {
        let name = text(metric, "/pods/metric/name");
        let known = !name.is_empty() && files.text("docs/METRICS.md").contains(&format!("| `{name}` | gauge |"));
        found.expect(known, format!("{whose}: the server has no gauge {name:?}"));
    }
    found.expect(!items(&scaler["spec"]["metrics"]).is_empty(), format!("{whose}: looks at no metric"));
}
