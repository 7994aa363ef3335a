#!/usr/bin/env python3
"""What a job costs the server, and how soon it stops.

    python3 benches/server/job.py [PAYMENTS]                       one job: CPU, wall time, memory, database
    python3 benches/server/job.py [PAYMENTS] --stop cancel|pause N stops N jobs at random times; the worst latency by phase

Files are made by `tieout generate`; the server is a fresh one over SQLite, or over TIEOUT_DATABASE_URL. Server CPU is the figure
to compare on a shared machine. A latency is from the request to the state `cancelled` or `paused` as GET shows it.
TIEOUT_BIN names another binary than target/release/tieout; SERVER_ARGS are further arguments of it.
"""
import collections
import json
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TIEOUT = os.environ.get("TIEOUT_BIN", os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release", "tieout"))
ENDED = ("completed", "failed", "cancelled", "paused")


class Server:
    def __init__(self, directory):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.directory = directory
        words = [TIEOUT, "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", directory, "--log", "error"]
        self.process = subprocess.Popen(words + shlex.split(os.environ.get("SERVER_ARGS", "")), stdout=subprocess.DEVNULL)
        for _ in range(400):
            try:
                if self.call("GET", "/api/ready"):
                    return
            except OSError:
                if self.process.poll() is not None:
                    break
            time.sleep(0.05)
        raise SystemExit("the server does not get ready")

    def call(self, method, path, body=None, kind="application/json"):
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data, {"content-type": kind}, method=method)
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.loads(answer.read() or b"null")

    def cpu(self):
        """Seconds of CPU of all its threads so far."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mb(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))

    def database_mb(self):
        files = (os.path.join(self.directory, name) for name in os.listdir(self.directory) if ".db" in name or "sqlite" in name)
        return sum(os.path.getsize(file) for file in files) / 1e6

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def made(server, files):
    project = server.call("POST", "/api/v1/projects", {"name": "bench"})["id"]
    ids = []
    for name in ("left", "right"):
        with open(files[name], "rb") as file:
            path = f"/api/v1/projects/{project}/sources?filename={name}.csv"
            ids.append(server.call("POST", path, file.read(), "text/csv")["id"])
    return project, ids


def start(server, project, ids):
    wanted = {"left": ids[0], "right": ids[1], "start": True}
    return server.call("POST", f"/api/v1/projects/{project}/jobs", wanted)["id"]


def wait(server, job, pause=0.02):
    while True:
        seen = server.call("GET", f"/api/v1/jobs/{job}")
        if seen["state"] in ENDED:
            return seen
        time.sleep(pause)


def cost(server, files):
    began, cpu = time.monotonic(), server.cpu()
    project, ids = made(server, files)
    print(f"upload: {server.cpu() - cpu:.2f} CPU s, {time.monotonic() - began:.2f} s")
    for what in ("first job, which stores the records", "second job of the same files"):
        began, cpu = time.monotonic(), server.cpu()
        ended = wait(server, start(server, project, ids), 0.1)
        took, spent = time.monotonic() - began, server.cpu() - cpu
        print(f"{what}: {ended['state']}, {spent:.2f} CPU s, {took:.2f} s, peak {server.peak_mb():.0f} MB, "
              f"database {server.database_mb():.1f} MB", flush=True)
    print(json.dumps(ended["counts"]))


def stops(server, files, how, times):
    project, ids = made(server, files)
    began = time.monotonic()
    wait(server, start(server, project, ids))
    whole = time.monotonic() - began
    seen = collections.defaultdict(list)
    for _ in range(times):
        # Half of the jobs store their records first: others find them there.
        if random.random() < 0.5:
            project, ids = made(server, files)
        job = start(server, project, ids)
        time.sleep(random.uniform(0, whole))
        before = server.call("GET", f"/api/v1/jobs/{job}")
        if before["state"] in ENDED:
            continue
        asked = time.monotonic()
        try:
            server.call("POST", f"/api/v1/jobs/{job}/{how}", {})
        except urllib.error.HTTPError as error:
            if error.code == 409:
                continue
            raise
        ended = wait(server, job, 0.005)
        seen[before["phase"]].append((time.monotonic() - asked) * 1e3)
        if ended["state"] == "paused":
            server.call("POST", f"/api/v1/jobs/{job}/cancel", {})
    for phase, all_ms in sorted(seen.items()):
        print(f"{how} in {phase}: {len(all_ms)} times, median {sorted(all_ms)[len(all_ms) // 2]:.0f} ms, worst {max(all_ms):.0f} ms")


def main():
    words = sys.argv[1:]
    payments = words.pop(0) if words and words[0].isdigit() else "100000"
    with tempfile.TemporaryDirectory(prefix="tieout-bench-") as directory:
        folder = os.path.join(directory, "files")
        subprocess.run([TIEOUT, "generate", payments, folder, "--seed", "5"], check=True, stdout=subprocess.DEVNULL)
        files = {"left": os.path.join(folder, "ledger.csv"), "right": os.path.join(folder, "bank.csv")}
        data = os.path.join(directory, "data")
        os.mkdir(data)
        server = Server(data)
        try:
            if words and words[0] == "--stop":
                stops(server, files, words[1], int(words[2]))
            else:
                cost(server, files)
        finally:
            server.stop()
            shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    main()
