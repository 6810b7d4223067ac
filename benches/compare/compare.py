"""Measures Doorward and its peers in turn, and prints ratios: see run.sh."""

import argparse
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROXY_CORE, CLIENT_CORE = "0", "1"
ALLOWED, REFUSED = "127.0.0.1", "127.0.0.2"


def free_port():
    with socket.socket() as one:
        one.bind((ALLOWED, 0))
        return one.getsockname()[1]


class Contender:
    """A proxy in front of the backend: how it is configured and started."""

    frame, plain, offers_hybrid, filters = "raw", False, False, False

    def __init__(self, name, here, doorward):
        self.name, self.here, self.doorward = name, here / name.replace(" ", "-"), doorward
        self.certs = here / "certs"
        self.here.mkdir()
        self.port, self.backend = free_port(), free_port()
        self.process = None

    def files(self):
        certs = self.certs
        return {
            "chain": certs / "server/localhost/chain.pem",
            "key": certs / "server/localhost/key.pem",
            "trust": certs / "trust.pem",
            "crl": certs / "ca/crl.pem",
            "port": self.port,
            "backend": self.backend,
            "here": self.here,
        }

    def write(self, name, text):
        path = self.here / name
        path.write_text(text.format(**self.files()))
        return str(path)

    def start(self):
        """Starts it on its core, and gives back how long it took until somebody was let in, in milliseconds."""
        command = ["taskset", "-c", PROXY_CORE, *self.command()]
        log = open(self.here / "log", "wb")
        began = time.perf_counter()
        self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.here)
        while True:
            try:
                socket.create_connection((ALLOWED, self.port)).close()
                return (time.perf_counter() - began) * 1000
            except ConnectionRefusedError:
                if self.process.poll() is not None or time.perf_counter() - began > 20:
                    sys.exit(f"{self.name} did not start: {(self.here / 'log').read_text()}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def load(self, only, seconds, *more):
        """What `doorward bench` measures of it."""
        command = ["taskset", "-c", CLIENT_CORE, self.doorward, "bench", "--json", "--seconds", str(seconds)]
        command += ["--to", f"localhost:{self.port}".replace("localhost", ALLOWED), "--pid", str(self.process.pid)]
        command += ["--frame", self.frame, "--backend", f"{ALLOWED}:{self.backend}"]
        for part in only:
            command += ["--only", part]
        if self.plain:
            command += ["--plain"]
        else:
            own = self.certs / "client/alice"
            command += ["--trust", self.certs / "trust.pem", "--certificate", own / "chain.pem", "--key", own / "key.pem"]
        ended = subprocess.run([*map(str, command), *more], capture_output=True, text=True)
        if ended.returncode:
            sys.exit(f"{self.name}: {ended.stderr}")
        return json.loads(ended.stdout)["measures"]


class Doorward(Contender):
    offers_hybrid, filters = True, True
    kernel, kind, rest = "off", "raw", ""

    def command(self):
        text = (
            '[address]\nallow = ["127.0.0.1"]\nkernel = "' + self.kernel + '"\n'
            '[handshake]\ncertificate = "{chain}"\nkey = "{key}"\nclients = "{trust}"\ncrl = "{crl}"\n'
            "[accept]\nstrangers = 4096\nper_source = 4096\nmembers = 8000\n"
            '[[service]]\nname = "bench"\nlisten = "127.0.0.1:{port}"\nkind = "forward"\nto = "127.0.0.1:{backend}"\n'
            '[[service.identity]]\npermit = ["dns:alice.client.internal"]\n'
            '[service.frame]\nkind = "' + self.kind + '"\n' + self.rest
        )
        return [self.doorward, "serve", "--config", self.write("doorward.toml", text)]


class DoorwardFiltered(Doorward):
    kernel = "all"


class DoorwardFrames(Doorward):
    kind, frame = "length-prefixed", "length-prefixed"
    rest = 'answers = "checked"\nrate = "1000000/s"\nburst = 1000000\n'


class Haproxy(Contender):
    # What a refused connection costs it swung by a factor of fifty between rounds: that is no measure.
    tuning = ""
    tls = "ssl crt {here}/both.pem ca-file {trust} verify required crl-file {crl} no-tls-tickets ssl-min-ver TLSv1.3"

    def command(self):
        files = self.files()
        (self.here / "both.pem").write_bytes(files["chain"].read_bytes() + files["key"].read_bytes())
        text = (
            "global\n nbthread 1\n maxconn 9000\n tune.ssl.cachesize 0\n" + self.tuning +
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
            "frontend f\n bind 127.0.0.1:{port} " + self.tls + "\n maxconn 8500\n"
            " tcp-request connection reject if !{{ src 127.0.0.1 }}\n default_backend b\n"
            "backend b\n server s 127.0.0.1:{backend}\n"
        )
        return ["haproxy", "-db", "-f", self.write("haproxy.cfg", text)]


class HaproxyTuned(Haproxy):
    tuning = " tune.bufsize 131072\n"


class HaproxyPlain(Haproxy):
    plain, tls = True, ""


class Nginx(Contender):
    filters = True
    tuning = ""

    def command(self):
        text = (
            "daemon off;\nmaster_process off;\nworker_processes 1;\npid {here}/pid;\nerror_log stderr error;\n"
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nworker_rlimit_nofile 20000;\n"
            "events {{ worker_connections 18000; }}\n"
            "stream {{ server {{ listen 127.0.0.1:{port} ssl; allow 127.0.0.1; deny all; proxy_pass 127.0.0.1:{backend};\n"
            "ssl_certificate {chain}; ssl_certificate_key {key}; ssl_client_certificate {trust}; ssl_verify_client on;\n"
            "ssl_crl {crl}; ssl_protocols TLSv1.3; ssl_session_cache off; ssl_session_tickets off;\n" + self.tuning + "}} }}\n"
        )
        return ["nginx", "-p", str(self.here), "-c", self.write("nginx.conf", text)]


class NginxTuned(Nginx):
    tuning = "proxy_buffer_size 128k;\n"


class Stunnel(Contender):
    def command(self):
        text = (
            "foreground = yes\npid =\ndebug = 3\nsyslog = no\n[bench]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{backend}\n"
            "cert = {chain}\nkey = {key}\nCAfile = {trust}\nCRLfile = {crl}\nverifyChain = yes\nrequireCert = yes\n"
            "sslVersionMin = TLSv1.3\nsessionCacheSize = 1\n"
        )
        return ["stunnel", self.write("stunnel.conf", text)]


class Ghostunnel(Contender):
    def command(self):
        files = self.files()
        return [
            "ghostunnel", "server", "--listen", f"127.0.0.1:{self.port}", "--target", f"127.0.0.1:{self.backend}",
            "--cert", str(files["chain"]), "--key", str(files["key"]), "--cacert", str(files["trust"]),
            "--allow-dns", "alice.client.internal",
        ]


ALL = {
    "doorward": (Doorward, None),
    "doorward filtered": (DoorwardFiltered, None),
    "doorward frames": (DoorwardFrames, None),
    "haproxy": (Haproxy, "haproxy"),
    "haproxy 128 KiB": (HaproxyTuned, "haproxy"),
    "nginx": (Nginx, "nginx"),
    "nginx 128 KiB": (NginxTuned, "nginx"),
    "stunnel": (Stunnel, "stunnel"),
    "ghostunnel": (Ghostunnel, "ghostunnel"),
    "plain relay": (HaproxyPlain, "haproxy"),
}


def per(measure, count):
    return measure["server_cpu_microseconds"] / count if count else None


def take(one, arguments):
    """One round of one contender: a number for each line."""
    lines = {"start to first accept, ms": one.start()}
    seconds = arguments.seconds
    if one.name == "doorward filtered":
        parts = []
    elif one.name in ("doorward frames", "haproxy 128 KiB", "nginx 128 KiB"):
        parts = ["bulk"]
    else:
        parts = ["idle", "handshakes", "echo", "bulk"]
    # Memory first, while nothing has been used before.
    for part in parts:
        group = ["--group", "x25519"] if part == "handshakes" and not one.plain else []
        keep(lines, one.load([part], seconds, "--idle", str(arguments.idle), *group), "")
    if parts and one.offers_hybrid and one.name == "doorward":
        keep(lines, one.load(["handshakes"], seconds, "--group", "hybrid"), ", hybrid group")
    if one.filters and not one.plain and "128" not in one.name and one.name != "doorward frames":
        [flood] = one.load(["flood"], seconds, "--flood-from", REFUSED)
        lines["CPU a refused connection, µs"] = per(flood, flood["done"] + flood["unanswered"])
    one.stop()
    return lines


def keep(lines, measures, mark):
    for measure in measures:
        what, many = measure["what"], measure["connections"]
        if measure["failed"]:
            print(f"  {what} at {many}: {measure['failed']} failed, {measure['first_failure']}", file=sys.stderr)
        at = f" at {many}{mark}"
        if measure["bytes_each"] is not None:
            lines["memory an idle connection, kB"] = measure["bytes_each"] / 1000
        elif what in ("handshake and echo", "connection and echo"):
            lines[f"connections a second{at}"] = measure["per_second"]
            lines[f"CPU a connection, µs{at}"] = per(measure, measure["done"])
        elif what.startswith("bulk"):
            rate, spent = measure["bytes_per_second"], measure["server_cpu_microseconds"] / measure["milliseconds"] / 1000
            lines[f"{what}, MB/s{at}"] = rate / 1e6
            # What one core carries, also where the client could not ask for more.
            lines[f"{what}, MB a CPU second{at}"] = rate / 1e6 / spent
        elif what.startswith("echo"):
            times = measure["microseconds"]
            lines[f"echo p50, µs{at}"], lines[f"echo p99, µs{at}"] = times["p50"], times["p99"]
            lines[f"echoes a second{at}"] = measure["per_second"]
            lines[f"CPU an echo, µs{at}"] = per(measure, measure["done"])


def table(rounds, names):
    """Medians, with the spread, and ratios to Doorward: above 1 where Doorward is ahead."""
    order = []
    for name in names:
        for one in rounds[name]:
            order += [line for line in one if line not in order]
    rows = [["line", *names], ["---"] * (len(names) + 1)]
    for line in order:
        cells = [line]
        own = middle(rounds["doorward"], line) if "doorward" in rounds else None
        for name in names:
            value = middle(rounds[name], line)
            if value is None:
                cells.append("")
                continue
            values = [one[line] for one in rounds[name] if one.get(line) is not None]
            spread = (max(values) - min(values)) / 2 / value * 100 if value else 0
            text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
            less_is_better = any(word in line for word in ("µs", "ms", "kB"))
            if own and name != "doorward" and value:
                ratio = value / own if less_is_better else own / value
                text += f" (×{ratio:.2f})"
            cells.append(f"{text} ±{spread:.0f} %")
        rows.append(cells)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def middle(rounds, line):
    values = [one[line] for one in rounds if one.get(line) is not None]
    return statistics.median(values) if values else None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("doorward")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--idle", type=int, default=2000)
    parser.add_argument("--only", default="")
    parser.add_argument("--markdown")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    doorward = str(Path(arguments.doorward).resolve())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if (os.cpu_count() or 1) < 2:
        sys.exit("a core for the proxy and one for the client are needed")
    with tempfile.TemporaryDirectory() as here:
        here = Path(here)
        # A service may run as another user than this one.
        here.chmod(0o755)
        subprocess.run([doorward, "certs", "init", "--dir", here / "certs"], check=True, stdout=subprocess.DEVNULL)
        wanted = arguments.only.split(",") if arguments.only else list(ALL)
        names = [name for name in wanted if ALL[name][1] is None or shutil.which(ALL[name][1])]
        contenders = [ALL[name][0](name, here, doorward) for name in names]
        rounds = {name: [] for name in names}
        for number in range(arguments.rounds):
            for one in contenders:
                print(f"round {number + 1} of {arguments.rounds}: {one.name}", file=sys.stderr)
                try:
                    rounds[one.name].append(take(one, arguments))
                finally:
                    if one.process.poll() is None:
                        one.stop()
        text = table(rounds, names)
        print(text)
        if arguments.markdown:
            Path(arguments.markdown).write_text(text + "\n")
        if arguments.json:
            Path(arguments.json).write_text(json.dumps(rounds, indent=1) + "\n")


if __name__ == "__main__":
    main()
