//! Each check sees what it is for: a file is broken in one place, and the report must name it. Leaves the whole files to
//! `the_manifests_agree_with_the_server_and_with_each_other`. Easy to get wrong: an edit that no longer finds its text
//! breaks nothing; that fails here.
use super::{manifests::Files, problems};

/// File, text to be replaced everywhere in it, its replacement, and words of the problem that this must cause.
const BREAKAGES: &[(&str, &str, &str, &str)] = &[
    ("compose.yaml", "services:", "services: [", "is no YAML"),
    ("compose.yaml", "TIEOUT_LISTEN:", "TIEOUT_LISTN:", "TIEOUT_LISTN is no setting"),
    ("compose.yaml", "0.0.0.0:2000", "0.0.0.0:2001", "listens elsewhere"),
    ("compose.yaml", "0.0.0.0:2000", "127.0.0.1:2000", "not reachable"),
    ("compose.yaml", "TIEOUT_SHUTDOWN_TIMEOUT: 90s", "TIEOUT_SHUTDOWN_TIMEOUT: soon", "setting shutdown_timeout"),
    ("compose.yaml", "TIEOUT_SHUTDOWN_TIMEOUT: 90s", "TIEOUT_SHUTDOWN_TIMEOUT: 100s", "may need 105 s"),
    ("compose.yaml", "TIEOUT_DRAIN_WINDOW: 25s", "TIEOUT_DRAIN_WINDOW: 28s", "less than drain_window"),
    ("compose.yaml", "TIEOUT_REPLICA: tieout-2", "TIEOUT_REPLICA: tieout-1", "two replicas have one name"),
    ("compose.yaml", "  tieout-2:\n", "  tieout-3:\n", "haproxy.cfg backend tieout"),
    ("compose.yaml", "depends_on: [postgres, valkey]", "depends_on: [postgres, redis]", "depends_on names redis"),
    ("compose.yaml", "redis://valkey", "redis://redis", "no service redis"),
    ("compose.yaml", "secrets: [database_url, token]", "secrets: [database_url]", "TIEOUT_TOKEN_FILE is no secret"),
    ("compose.yaml", "secrets/token", "secrets/tokn", "does not make the secret token"),
    ("compose.yaml", "data:/data", "data:/var/data", "do not share one data volume"),
    ("compose.yaml", "  data: {}\n", "", "the volume data is not there"),
    ("compose.yaml", "127.0.0.1:2000:2000", "127.0.0.1:2000:80", "compose.yaml publishes"),
    ("compose.yaml", "POSTGRES_DB: tieout", "POSTGRES_DB: other", "is not where compose.yaml has PostgreSQL"),
    ("compose.yaml", "nofile: 65536", "nofile: 1024", "1024 descriptors"),
    ("deploy/compose/secrets.sh", "keep token", "keep -f token", "does not make the secret token"),
    ("deploy/compose/secrets.sh", "[ -s \"secrets/$1\" ] ||", "", "a second run changes"),
    ("deploy/compose/haproxy.cfg", "tieout-2:2000", "tieout-2:2001", "haproxy.cfg backend"),
    ("deploy/compose/haproxy.cfg", "uri /api/ready", "uri /", "is not checked by /api/ready"),
    ("deploy/compose/haproxy.cfg", "timeout tunnel 90s", "timeout tunnel 30s", "ends a WebSocket that is alive"),
    ("deploy/compose/haproxy.cfg", "timeout server 65s", "timeout server 20s", "timeout server of 20 s"),
    ("deploy/compose/haproxy.cfg", "hard-stop-after 40s", "hard-stop-after 60s", "before it stops by itself"),
    ("deploy/compose/haproxy.cfg", "balance leastconn", "balance leastconn\n    cookie S insert", "ties clients"),
    ("deploy/compose/haproxy.cfg", "maxconn 50000", "maxconn 100000", "each of which takes two"),
    ("Dockerfile", "USER 10001:10001", "USER 10002:10002", "the image as 10002:10002"),
    ("Dockerfile", "EXPOSE 2000", "EXPOSE 8080", "the container's ports are not the image's"),
    ("src/http/router.rs", "\"/api/ready\"", "\"/api/up\"", "no route /api/ready"),
    ("docs/METRICS.md", "tieout_rt_connections", "tieout_rt_sockets", "no gauge \"tieout_rt_connections\""),
    ("deploy/k8s/base/kustomization.yaml", "  - hpa.yaml\n", "", "deploy/k8s/base: lists"),
    ("deploy/k8s/base/kustomization.yaml", "hpa.yaml", "scale.yaml", "deploy/k8s/base: lists"),
    ("deploy/k8s/overlays/example/storage.yaml", "tieout-data", "other", "patches an object that is not there"),
    ("deploy/k8s/overlays/example/kustomization.yaml", "- name: tieout", "- name: other", "no container has the image"),
    ("deploy/k8s/overlays/example/limits.yaml", "TIEOUT_MAX_UPLOAD_BYTES", "TIEOUT_MAX_UPLOAD", "is no setting"),
    ("deploy/k8s/overlays/example/limits.yaml", "value: 4GiB", "value: 4 gigs", "setting max_upload_bytes"),
    ("deploy/k8s/overlays/example/secret.yaml", "  token:", "  tokn:", "TIEOUT_TOKEN_FILE is no key"),
    ("deploy/k8s/overlays/example/secret.yaml", "postgres_ca.crt: |", "ca.crt: |", "sslrootcert"),
    (
        "deploy/k8s/overlays/example/secret.yaml",
        "postgres.example:5432",
        "postgres.example:5433",
        "does not let database_url",
    ),
    (
        "deploy/k8s/overlays/example/ingress.yaml",
        "                name: tieout",
        "                name: other",
        "no service other",
    ),
    (
        "deploy/k8s/base/service.yaml",
        "    app.kubernetes.io/name: tieout\n  ports",
        "    app: tieout\n  ports",
        "Service: selects",
    ),
    ("deploy/k8s/base/service.yaml", "targetPort: http", "targetPort: web", "Service: there is no port"),
    ("deploy/k8s/base/pdb.yaml", "maxUnavailable: 1", "maxUnavailable: 2", "more than one replica go"),
    ("deploy/k8s/base/pvc.yaml", "[ReadWriteMany]", "[ReadWriteOnce]", "can't share the uploads"),
    ("deploy/k8s/base/serviceaccount.yaml", "name: tieout\n", "name: other\n", "no ServiceAccount"),
    ("deploy/k8s/base/deployment.yaml", "path: /api/ready", "path: /api/health", "readinessProbe: asks"),
    ("deploy/k8s/base/deployment.yaml", "path: /api/health", "path: /api/ready", "livenessProbe: asks"),
    (
        "deploy/k8s/base/deployment.yaml",
        "terminationGracePeriodSeconds: 105",
        "terminationGracePeriodSeconds: 100",
        "may need 105 s",
    ),
    ("deploy/k8s/base/deployment.yaml", "[\"sleep\", \"10\"]", "[\"sleep\", \"1\"]", "gives balancers no time"),
    ("deploy/k8s/base/deployment.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "rights that it does not need"),
    ("deploy/k8s/base/deployment.yaml", "readOnlyRootFilesystem: true", "", "rights that it does not need"),
    ("deploy/k8s/base/deployment.yaml", "claimName: tieout-data", "claimName: data", "nothing is behind the volume"),
    ("deploy/k8s/base/deployment.yaml", "mountPath: /data", "mountPath: /var/data", "data_dir is not on the claim"),
    ("deploy/k8s/base/deployment.yaml", "TIEOUT_TOKEN_FILE", "TIEOUT_JWT_SECRET_FILE", "make a token of its own"),
    (
        "deploy/k8s/base/deployment.yaml",
        "  selector:\n    matchLabels:\n      app.kubernetes.io/name: tieout",
        "  replicas: 3\n  selector:\n    matchLabels:\n      app.kubernetes.io/name: web",
        "Deployment: selects",
    ),
    ("deploy/k8s/base/deployment.yaml", "  # No `replicas`", "  replicas: 3\n  # No `replicas`", "fights it"),
    ("deploy/k8s/base/networkpolicy.yaml", "port: 6379", "port: 6380", "does not let redis_url"),
    ("deploy/k8s/base/hpa.yaml", "minReplicas: 2", "minReplicas: 1", "a single replica"),
    ("deploy/compose/secrets.sh", "sslmode=disable", "sslmode=off", "sslmode=off is none of"),
    ("deploy/k8s/overlays/example/secret.yaml", "postgres://", "mysql://", "it must begin with postgres://"),
    (
        "deploy/k8s/overlays/example/secret.yaml",
        "redis_url: rediss://",
        "redis_url: http://",
        "overlays/example Secret: ",
    ),
    ("compose.yaml", "networks: [front, stores]", "networks: [front]", "is on no network of postgres"),
    ("compose.yaml", "networks: [front, stores]", "networks: [stores]", "balancer: is on no network of tieout-1"),
    ("compose.yaml", "postgres:17.6", "postgres:17", "may be another version tomorrow"),
    ("deploy/k8s/base/networkpolicy.yaml", "[Ingress, Egress]", "[Ingress]", "refuses no Egress"),
    (
        "deploy/k8s/base/networkpolicy.yaml",
        "protocol: UDP\n          port: 53",
        "protocol: UDP\n          port: 54",
        "over UDP",
    ),
    ("deploy/k8s/base/networkpolicy.yaml", ", monitoring]", "]", "does not let monitoring in"),
    ("deploy/k8s/base/networkpolicy.yaml", "[haproxy-controller, ", "[", "does not let haproxy-controller in"),
    ("deploy/k8s/base/pdb.yaml", "AlwaysAllow", "IfHealthyBudget", "serve nobody"),
    ("deploy/k8s/overlays/example/limits.yaml", "value: \"7\"", "value: \"10\"", "open 112 connections"),
    ("deploy/k8s/overlays/example/secret.yaml", "redis_ca.crt: |", "ca.crt: |", "sslrootcert"),
    (".gitignore", "/deploy/compose/secrets/", "", "could be committed"),
];

#[test]
fn every_check_can_fail() {
    let whole = Files::of_the_repository();
    for (path, old, new, words) in BREAKAGES {
        let mut files = whole.clone();
        let text = files.0.get_mut(*path).unwrap_or_else(|| panic!("there is no {path} to break"));
        assert!(text.contains(old), "{path} has no {old:?} to break");
        *text = text.replace(old, new);
        let found = problems(&files);
        assert!(found.iter().any(|problem| problem.contains(words)), "{path}: {new:?} goes unseen; found {found:#?}");
    }
}
