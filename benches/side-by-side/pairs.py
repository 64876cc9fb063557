"""refshim and the others by turns: CPU time per request of each, and the ratio in every round, which other work on the machine moves
less than the times themselves."""
import os
import re
import statistics
import subprocess
import sys

SECONDS = float(os.environ.get("SECONDS_EACH", "2"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
CONNECTIONS = 32


def wrk(port, path, headers=(), seconds=SECONDS, connections=CONNECTIONS):
    """The number of requests."""
    head = [part for header in headers for part in ("-H", header)]
    out = run("wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}", *head, f"http://127.0.0.1:{port}{path}")
    if "Non-2xx" in out or "Socket errors" in out:
        sys.exit(f"{path}: {out}")
    return int(re.search(r"(\d+) requests in", out)[1])


def h2load(port, path, headers=(), seconds=SECONDS):
    """The same over HTTP/2: eight connections of four streams each."""
    head = [part for header in headers for part in ("-H", header)]
    out = run("h2load", "-t1", "-c8", "-m4", "-D", max(1, round(seconds)), *head, f"http://127.0.0.1:{port}{path}")
    done = int(re.search(r"(\d+) 2xx", out)[1])
    if not re.search(r" 0 3xx, 0 4xx, 0 5xx", out) or done == 0:
        sys.exit(f"{path}: {out}")
    return done


def download(port, path, times=2):
    """The number of bytes, in GiB."""
    size = 0
    for _ in range(times):
        size += int(run("curl", "-sf", "-o", "/dev/null", "-w", "%{size_download}", f"http://127.0.0.1:{port}{path}"))
    return size / (1 << 30)


def run(*argv):
    done = subprocess.run([str(part) for part in argv], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{argv}: {done.stdout}{done.stderr}")
    return done.stdout


def compare(bench, what, programs, ask, unit=("µs", 1e6)):
    """A row for each other program: median CPU time for what `ask` counts, and the smallest, median and largest ratio of the rounds.
    `programs` has refshim first; each is a name, the program, and what `ask` takes."""
    for _, _, arguments in programs:
        ask(*arguments)
    costs = {name: [] for name, _, _ in programs}
    for _ in range(ROUNDS):
        for name, program, arguments in programs:
            before = program.cpu()
            count = ask(*arguments)
            costs[name].append((program.cpu() - before) / count * unit[1])
    (own, _, _), *others = programs
    show = lambda name: f"{statistics.median(costs[name]):.4g} {unit[0]}"
    for name, _, _ in others:
        ratios = sorted(ours / theirs for ours, theirs in zip(costs[own], costs[name]))
        spread = " / ".join(f"{ratio:.2f}" for ratio in (ratios[0], statistics.median(ratios), ratios[-1]))
        bench.row(what, show(own), f"{name}: {show(name)}", spread)
