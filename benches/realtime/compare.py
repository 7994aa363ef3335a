#!/usr/bin/env python3
"""Compare Tieout's realtime layer with a floor, side by side in one run.

    python3 benches/realtime/compare.py SCENARIO [REPEATS] [PEER,PEER,...]

Every run starts a fresh server; peers are interleaved; the table shows medians and their ratio to the first peer.
The figure to compare on a shared machine is server CPU per unit of work, never throughput.
TIEOUT_BIN names another binary than target/release/tieout.
"""
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
TIEOUT = os.environ.get("TIEOUT_BIN", os.path.join(TARGET, "release", "tieout"))
BENCH = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "target")), "release")

SCENARIOS = {
    "fan1k-paced": dict(rooms=1, members=1000, mode="paced", rate=20, warm=1, seconds=4),
    "fan1k-flat": dict(rooms=1, members=1000, mode="window", window=32, warm=1, seconds=3),
    "rooms-paced": dict(rooms=1000, members=5, mode="paced", rate=3000, warm=1, seconds=4),
    "slow1k": dict(rooms=1, members=999, mode="paced", rate=20, warm=1, seconds=3, peers=["tieout", "tieout-slow"]),
    "post-ask": dict(rooms=1, members=64, mode="none", warm=1, seconds=3, peers=["post-atomic", "post-ask"]),
    "ask": dict(rooms=1, members=64, mode="none", warm=1, seconds=3, ask=True),
    "handshake": dict(rooms=1, members=10000, mode="none", settle=1, seconds=0, upgrade=True, ratio="handshake_us"),
    "handshake-join": dict(rooms=1000, members=10, mode="none", settle=1, seconds=0, ratio="handshake_us"),
    "idle10k": dict(rooms=2000, members=5, mode="none", settle=5, seconds=0),
}
PEERS = ["raw-epoll", "raw-epoll-batch", "tieout"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, process):
    for _ in range(200):
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the server does not listen")


def make_projects(port, count, directory):
    ids = []
    for number in range(count):
        body = json.dumps({"name": f"room {number}"}).encode()
        url = f"http://127.0.0.1:{port}/api/v1/projects"
        for attempt in range(50):
            request = urllib.request.Request(url, body, {"content-type": "application/json"})
            try:
                ids.append(json.load(urllib.request.urlopen(request, timeout=10))["id"])
                break
            except urllib.error.HTTPError as error:
                if error.code != 503 or attempt == 49:
                    raise
                time.sleep(0.1)
    path = os.path.join(directory, "projects")
    with open(path, "w") as file:
        file.write("\n".join(ids) + "\n")
    return path


def writes_per_delivery(port):
    """What Tieout counts itself: each batch is one write unless the member's socket is full."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    counts = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    batches, frames = (float(counts.get(f"tieout_rt_{name}_total", 0)) for name in ("batches", "deliveries"))
    return batches / frames if frames else 0


def run(peer, scenario):
    plan = {key: value for key, value in scenario.items() if key not in ("peers", "ratio")}
    doing = "-ask" if plan.pop("ask", False) else "-upgrade" if plan.pop("upgrade", False) and peer == "tieout" else ""
    port = free_port()
    directory = tempfile.mkdtemp(prefix="tieout-bench-")
    post = peer.startswith("post-")
    tieout = peer.startswith("tieout")
    if tieout:
        command = [TIEOUT, "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", directory, "--workers",
                   os.environ.get("WORKERS", "2"), "--max-message-rate", "0", "--log", "error"]
        proto = "tieout"
    elif post:
        command = [os.path.join(os.path.dirname(TIEOUT), "examples", "post_ask"), str(port), peer.removeprefix("post-")]
        proto = "post-inc"
    else:
        command = [os.path.join(BENCH, "floor"), str(port), "batch" if peer.endswith("batch") else "direct"]
        proto = "raw"
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(port, server)
        arguments = {"proto": proto + doing, "port": port, "pid": server.pid, **plan}
        if tieout:
            slow = peer.endswith("-slow")
            arguments.update(slow=int(slow))
            arguments["projects-file"] = make_projects(port, plan["rooms"] + slow, directory)
        time.sleep(0.3)
        words = [str(word) for pair in arguments.items() for word in ("--" + pair[0], pair[1])]
        done = subprocess.run([os.path.join(BENCH, "loadgen"), *words], capture_output=True, text=True, timeout=180)
        if done.stderr.strip():
            print(f"{peer}: {done.stderr.strip()[:300]}", file=sys.stderr)
        result = json.loads(done.stdout)
        result["writes_per_delivery"] = writes_per_delivery(port) if tieout else 0
        return result
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            print(f"{peer}: did not end in time", file=sys.stderr)
            server.kill()
            server.wait()
        shutil.rmtree(directory, ignore_errors=True)


def main():
    name = sys.argv[1] if len(sys.argv) > 1 else "fan1k-paced"
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    peers = sys.argv[3].split(",") if len(sys.argv) > 3 else SCENARIOS[name].get("peers", PEERS)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, 65536), limit))
    results = {peer: [] for peer in peers}
    for _ in range(repeats):
        for peer in peers:
            result = run(peer, SCENARIOS[name])
            results[peer].append(result)
            print(f"{name} {peer}: {json.dumps(result)}", file=sys.stderr, flush=True)
    columns = ["cpu_per_million", "actor_us_per_publish", "reads_per_delivery", "writes_per_delivery", "p50_us", "p99_us",
               "handshake_us", "idle_bytes", "resident_kb"]
    faults = ["failed", "closed", "missing", "lost", "repeated", "foreign"]
    print(f"\n{name}, medians of {repeats}")
    print(f"{'peer':16} {'ratio':>6} " + " ".join(f"{column:>20}" for column in columns) + "  faults")
    unit = SCENARIOS[name].get("ratio", "cpu_per_million")
    floor = statistics.median(result[unit] for result in results[peers[0]])
    for peer in peers:
        middle = {c: statistics.median(result[c] for result in results[peer]) for c in columns}
        wrong = sum(result[fault] for result in results[peer] for fault in faults)
        ratio = middle[unit] / floor if floor else 0
        print(f"{peer:16} {ratio:6.2f} " + " ".join(f"{middle[c]:20.3f}" for c in columns) + f"  {wrong}")


if __name__ == "__main__":
    main()
