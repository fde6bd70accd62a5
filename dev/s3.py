#!/usr/bin/env python3
"""Runs a command beside an S3 store of its own: s3.py <moto_server> <command> [argument...]

The command finds the store's URL in DEPESCHE_S3; there is an empty bucket named depesche. The exit code is the
command's.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.request

START_LIMIT_S = 60


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def make_bucket(url):
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(url + "/depesche", method="PUT")).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def main():
    server, *command = sys.argv[1:]
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    store = subprocess.Popen(
        [server, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        make_bucket(url)
        return subprocess.run(command, env={**os.environ, "DEPESCHE_S3": url}).returncode
    finally:
        store.kill()
        store.wait()


sys.exit(main())
