"""What a list of 1,200,000 networks costs: start, memory, and how long an open session waits while the list is read anew.

Usage: cargo build --release && python3 benches/reload.py target/release/doorward
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

CONFIG = """
[address]
allow = ["127.0.0.1"]
files = ["big.list"]
[handshake]
certificate = "certs/server/localhost/chain.pem"
key = "certs/server/localhost/key.pem"
clients = "certs/trust.pem"
crl = "certs/ca/crl.pem"
[server]
watch = false
[[service]]
name = "echo"
listen = "127.0.0.1:0"
kind = "echo"
[[service.identity]]
permit = ["dns:alice.client.internal"]
[service.frame]
rate = "100000/s"
burst = 100000
"""


def networks():
    dice, found = random.Random(1), set()
    while len(found) < 1_000_000:
        found.add(str(IPv4Network((dice.getrandbits(32), dice.choice((24, 28, 30, 32, 32, 32))), strict=False)))
    while len(found) < 1_200_000:
        address = (1 << 125) | dice.getrandbits(125)
        found.add(str(IPv6Network((address, dice.choice((32, 48, 56, 64))), strict=False)))
    # Doorward wants each network once, as itself.
    return sorted(found)


def resident(process):
    text = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS")) / 1024


def start(doorward, here):
    began = time.perf_counter()
    server = subprocess.Popen([doorward, "serve", "--config", "doorward.toml"], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    at = None
    for line in server.stdout:
        if line.strip().startswith("bind "):
            at = line.split()[1]
        if line == "ready\n":
            return server, at, time.perf_counter() - began
    sys.exit(server.stderr.read())


def main():
    doorward = str(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as here:
        here = Path(here)
        subprocess.run([doorward, "certs", "init", "--dir", here / "certs"], check=True, stdout=subprocess.DEVNULL)
        (here / "doorward.toml").write_text(CONFIG)
        (here / "big.list").write_text("")
        empty, _, without = start(doorward, here)
        small = resident(empty)
        empty.terminate()
        empty.wait()
        listed = networks()
        (here / "big.list").write_text("\n".join(listed) + "\n")
        server, at, took = start(doorward, here)
        print(f"start with {len(listed)} networks: {took:.2f} s, without: {without:.2f} s")
        print(f"memory: {resident(server):.0f} MiB, without: {small:.0f} MiB")
        client = subprocess.Popen([doorward, "connect", "--to", at], cwd=here, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        reloaded = threading.Event()

        def listen():
            for line in server.stderr:
                if "reloaded" in line or "kept" in line:
                    print(line.strip()[:160])
                    reloaded.set()

        threading.Thread(target=listen, daemon=True).start()

        def echoes(until):
            worst, count = 0.0, 0
            while not until():
                began = time.perf_counter()
                client.stdin.write(b"hello\n")
                client.stdin.flush()
                client.stdout.readline()
                worst, count = max(worst, time.perf_counter() - began), count + 1
            return worst, count

        end = time.perf_counter() + 2
        quiet, count = echoes(lambda: time.perf_counter() > end)
        print(f"longest echo while nothing happens: {quiet * 1000:.1f} ms of {count}")
        began = time.perf_counter()
        os.kill(server.pid, signal.SIGHUP)
        worst, count = echoes(reloaded.is_set)
        print(f"longest echo while the list is read anew ({time.perf_counter() - began:.2f} s): {worst * 1000:.1f} ms of {count}")
        print(f"memory afterwards: {resident(server):.0f} MiB")
        client.stdin.close()
        client.wait()
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
