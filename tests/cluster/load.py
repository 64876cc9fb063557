#!/usr/bin/env python3
"""load.py HOST:PORT SECONDS PATH…: asks for the paths in turn, 80 times a second, and fails if any answer is lost.

Two clients make a new connection for each request, two keep theirs. A kept connection may be closed by the server between two requests: a client
that reuses connections repeats such a request on a new one, which is no loss. Everything else than 200 is.
"""
import http.client
import sys
import threading
import time
from collections import Counter

ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*"
CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class Client(threading.Thread):
    def __init__(self, server, end, paths, keeps):
        super().__init__()
        self.server, self.end, self.paths, self.keeps = server, end, paths, keeps
        self.connection, self.counts, self.lost = None, Counter(), []

    def run(self):
        number = 0
        while time.time() < self.end:
            began = time.time()
            self.ask(self.paths[number % len(self.paths)])
            number += 1
            time.sleep(max(0, began + 0.05 - time.time()))

    def ask(self, path):
        reused = self.connection is not None
        try:
            self.connection = self.connection or http.client.HTTPConnection(self.server, timeout=15)
            self.connection.request("GET", path, headers={"Accept": ACCEPT})
            answer = self.connection.getresponse()
            body = answer.read()
            self.counts[answer.status] += 1
            if answer.status != 200:
                self.lost.append(f"{path}: {answer.status} {body[:200]!r}")
            if not self.keeps or answer.will_close:
                self.close()
        except Exception as error:
            self.close()
            if reused and isinstance(error, CLOSED):
                self.counts["closed between requests"] += 1
                self.ask(path)
            else:
                self.lost.append(f"{path}: {error!r} on a {'kept' if reused else 'new'} connection")

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


def main(server, seconds, paths):
    clients = [Client(server, time.time() + float(seconds), paths, keeps) for keeps in (False, False, True, True)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    lost = [line for client in clients for line in client.lost]
    answers = sum((client.counts for client in clients), Counter())
    print(f"answers: {dict(answers)}, lost: {len(lost)}")
    print("\n".join(lost[:20]))
    return 1 if lost or not answers[200] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
