"""wrk against a gateway: POSTs of small events, for BENCH_SECONDS (10)."""

import os
import re
import subprocess

from program import ROOT

SECONDS = int(os.environ.get("BENCH_SECONDS", 10))
POST = os.path.join(ROOT, "tests/bench/post.lua")


def wrk(port, connections, batch=0):
    """With a batch of so many events a request, or one (0) that is no batch. Requests a second,
    latencies of 50 % and 99 %, requests refused, and wrk's socket errors."""
    url = f"http://127.0.0.1:{port}/api/v1/events"
    command = ["wrk", "-t", str(min(2, connections)), "-c", str(connections), "-d", f"{SECONDS}s"]
    command += ["--latency", "-s", POST, url]
    environment = {**os.environ, "BENCH_BATCH": str(batch)}
    text = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment
    ).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
    latency = {p: re.search(rf"^\s+{p}%\s+(\S+)", text, re.M).group(1) for p in (50, 99)}
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: (.*)", text)
    return rate, latency, int(refused.group(1)) if refused else 0, errors and errors.group(1)
