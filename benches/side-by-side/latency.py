"""How long requests take, of which h2load writes each one down."""
import resource
import statistics
import subprocess
import sys

from pairs import ROUNDS, SECONDS, wrk

PERCENTILES = (50, 99, 99.9)


def times(bench, port, paths, headers=(), connections=1, requests=None, rate=None):
    """Microseconds until the end of each answer, sorted. Each connection asks for the paths one after the other: `requests` in all, or for
    as long as a measurement takes, `rate` a second where that is given."""
    log, uris = bench.dir / "h2load.log", bench.dir / "uris"
    log.unlink(missing_ok=True)
    uris.write_text("".join(f"http://127.0.0.1:{port}{path}\n" for path in paths))
    extent = ["-n", requests] if requests else ["-D", max(1, round(SECONDS))]
    pace = ["--rps", f"{rate / connections:.2f}"] if rate else []
    head = [part for header in headers for part in ("-H", header)]
    argv = ["h2load", "--h1", "-t1", "-c", connections, "-m1", *extent, *pace, *head, "-i", uris, f"--log-file={log}"]
    done = subprocess.run([str(part) for part in argv], capture_output=True, text=True)
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    if done.returncode or not lines or any(status != "200" for _, status, _ in lines):
        sys.exit(f"{argv}: {done.stdout}{done.stderr}")
    return sorted(int(took) for _, _, took in lines)


def percentiles(sorted_times):
    return [sorted_times[min(len(sorted_times) - 1, int(len(sorted_times) * percent / 100))] for percent in PERCENTILES]


def show(values):
    return " / ".join(f"{value:.0f}" for value in values)


def added(bench, what, straight, programs, ask):
    """A row for each program: what it adds to the percentiles of `straight`, each the median of the rounds. `ask` takes a port."""
    rounds = {name: [] for name in ("straight", *(name for name, _ in programs))}
    for _ in range(ROUNDS):
        for name, port in [("straight", straight), *programs]:
            rounds[name].append(percentiles(ask(port)))
    middle = {name: [statistics.median(values) for values in zip(*rows)] for name, rows in rounds.items()}
    for name, _ in programs:
        more = [ours - theirs for ours, theirs in zip(middle[name], middle["straight"])]
        bench.row(f"{what}: µs that {name} adds, p50 / p99 / p99.9", show(more), f"straight: {show(middle['straight'])}", "")


def most(port, path, headers):
    """Requests a second that 32 connections get."""
    return wrk(port, path, headers) / max(1, round(SECONDS))


def sockets_needed(count):
    """Raises what this process and those that it starts may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        if hard != resource.RLIM_INFINITY and hard < count:
            sys.exit(f"{count} open files are needed, {hard} allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
