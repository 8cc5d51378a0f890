"""A machine that a service unit is installed on and started by, as systemd would: for `tests/commands/units.rs`.

Run as `unshare --mount --pid --fork --net --uts --ipc python3 machine.py CLONE BINARY`, as root. It is process 1 of a small system
of its own: the host's /usr, a copy of its /etc, an empty /var, a network of loopback alone; the repository lies in
/srv/cloison. Requests come as JSON, a line each, on standard input; answers go out in the same way.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import sandbox
from sandbox import libc, mount

MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 1 << 18
CLONE, BINARY = sys.argv[1:3]


def build():
    """The file systems of the machine, and a turn of the root to them."""
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    root = "/mnt" if not os.listdir("/mnt") else "/media"
    mount("machine", root, "tmpfs", 0, "mode=0755")
    for name in ["dev", "etc", "home/somebody", "proc", "root", "run/user", "srv", "sys", "tmp", "usr", "var/lib", "var/tmp"]:
        os.makedirs(f"{root}/{name}")
    for name in ["tmp", "var/tmp"]:
        os.chmod(f"{root}/{name}", 0o1777)
    for name in ["usr", "dev", "sys"]:
        mount(f"/{name}", f"{root}/{name}", None, MS_BIND | MS_REC)
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"]:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
        elif os.path.isdir(f"/{name}"):
            os.makedirs(f"{root}/{name}")
            mount(f"/{name}", f"{root}/{name}", None, MS_BIND | MS_REC)
    shutil.copytree("/etc", f"{root}/etc", symlinks=True, dirs_exist_ok=True)
    mount("local", f"{root}/usr/local/bin", "tmpfs", 0, "mode=0755")
    os.makedirs(f"{root}/etc/systemd/system", exist_ok=True)
    with open(f"{root}/home/somebody/letter", "w") as letter:
        letter.write("private\n")
    here = f"{root}/srv/cloison"
    os.makedirs(f"{here}/target/release")
    shutil.copytree(f"{CLONE}/ops", f"{here}/ops")
    shutil.copy(BINARY, f"{here}/target/release/cloison")
    mount("proc", f"{root}/proc", "proc", 0)
    os.makedirs(f"{root}/old")
    sandbox.pivot(root, f"{root}/old")
    sandbox.detach("/old")
    sandbox.loopback_up()
    os.environ.clear()
    os.environ.update({"PATH": "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin", "HOME": "/root", "LANG": "C.UTF-8"})


class Service:
    """A unit that was started, and what became of it."""

    def __init__(self, name, text=None):
        self.name = name
        if text is None:
            with open(f"/etc/systemd/system/{name}.service") as file:
                text = file.read()
        self.unit = sandbox.Unit(text)
        self.log, self.starts, self.pid, self.code = f"/var/log/{name}", 0, None, None
        os.makedirs("/var/log", exist_ok=True)
        open(self.log, "a").close()
        self.start()

    def start(self, argv=None):
        self.starts += 1
        self.pid = os.fork()
        if self.pid == 0:
            try:
                output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
                for to in [1, 2]:
                    os.dup2(output, to)
                os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
                self.unit.execute(argv)
            except BaseException as error:  # Nothing of this process may go on as the machine.
                os.write(2, f"the sandbox: {error!r}\n".encode())
            os._exit(250)

    def look(self):
        """Waits for nothing; starts anew what the unit wants to have started."""
        if self.pid is None:
            return
        done, status = os.waitpid(self.pid, os.WNOHANG)
        if done:
            self.pid, self.code = None, os.waitstatus_to_exitcode(status)
            if self.unit.restarts(self.code):
                time.sleep(self.unit.seconds("RestartSec"))
                self.start()

    def stop(self):
        if self.pid is None:
            return self.code
        os.kill(self.pid, signal.SIGTERM)
        end = time.monotonic() + self.unit.seconds("TimeoutStopSec")
        while time.monotonic() < end:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.pid, self.code = None, os.waitstatus_to_exitcode(status)
                return self.code
            time.sleep(0.02)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise RuntimeError(f"{self.name} did not stop in time")


services = {}


def state(name):
    service = services[name]
    service.look()
    with open(service.log) as log:
        said = log.read()
    return {"running": service.pid is not None, "pid": service.pid, "code": service.code, "starts": service.starts, "log": said}


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return {"status": answer.status, "body": answer.read().decode()}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": error.read().decode()}
    except OSError as error:
        return {"status": 0, "body": str(error)}


def run(argv, text):
    done = subprocess.run(argv, input=text, capture_output=True, text=True, cwd="/srv/cloison")
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


def within(name, argv):
    """Runs a program in the sandbox of a unit, in place of what the unit starts."""
    with open(f"/etc/systemd/system/{name}.service") as file:
        unit = sandbox.Unit(file.read())
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            for to in [1, 2]:
                os.dup2(writer, to)
            unit.execute(argv)
        except BaseException as error:
            os.write(2, f"the sandbox: {error!r}\n".encode())
        os._exit(250)
    os.close(writer)
    with os.fdopen(reader) as output:
        said = output.read()
    return {"code": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "out": said}


def start(name, text=None):
    if name in services:
        services[name].stop()
    services[name] = Service(name, text)
    return {}


def stop(name):
    return {"code": services[name].stop()}


ANSWERS = {"start": start, "stop": stop, "state": state, "get": get, "run": run, "within": within}


def main():
    out = os.fdopen(os.dup(1), "w")
    build()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = ANSWERS[request.pop("do")](**request)
        except Exception as error:
            answer = {"failed": repr(error)}
        print(json.dumps(answer), file=out, flush=True)
    for service in services.values():
        service.stop()


main()
