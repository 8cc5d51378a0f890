"""What systemd makes of a service unit's properties: namespaces, mounts, limits, capabilities, filters of system calls.

Every property of [Service] is applied, is the manager's, or stands in `OUT_OF_REACH` with the reason why this test cannot try it. A
property that is none of these is an error: nothing of a unit passes untried and unseen. The filters follow seccomp-util.c of
systemd 252; the groups of system calls come from `systemd-analyze` itself.
"""

import ctypes
import errno
import functools
import os
import pwd
import re
import resource
import shlex
import signal
import socket
import struct
import subprocess

libc = ctypes.CDLL(None, use_errno=True)
seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
seccomp.seccomp_init.restype = ctypes.c_void_p
fcntl_ioctl = libc.ioctl

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 1 << 19
CLONE_NEWNS, CLONE_NEWUTS = 0x20000, 0x4000000
SYS_PIVOT_ROOT, SYS_KEYCTL, SYS_MOUNT_SETATTR = 155, 250, 442
PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_SET_MDWE = 23, 24, 38, 47, 65
ALLOW, KILL = 0x7FFF0000, 0x80000000

#: What belongs to the manager, or to the install step, and not to the process.
MANAGERS = {"ExecStart", "ExecReload", "Restart", "RestartSec", "RestartPreventExitStatus", "TimeoutStopSec", "RemoveIPC", "SystemCallErrorNumber", "StateDirectoryMode"}
#: What cannot be tried here, and why.
OUT_OF_REACH = {"MemorySwapMax": "needs a control group with swap of its own"}
#: Switches, each with what it does when it is on.
SWITCHES = {}


def check(done, what):
    if done != 0:
        code = ctypes.get_errno() if done == -1 else -done
        raise OSError(code, f"{what}: {os.strerror(code)}")


def mount(source, target, kind, flags, data=None):
    text = [None if part is None else part.encode() for part in (source, target, kind, data)]
    check(libc.mount(text[0], text[1], text[2], ctypes.c_ulong(flags), text[3]), f"mount {target}")


def pivot(root, old):
    os.chdir(root)
    check(libc.syscall(SYS_PIVOT_ROOT, root.encode(), old.encode()), "pivot_root")
    os.chdir("/")


def detach(path):
    check(libc.umount2(path.encode(), 2), f"umount {path}")
    os.rmdir(path)


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        interface = struct.pack("16sh14x", b"lo", 0x1 | 0x40)
        check(libc.ioctl(one.fileno(), 0x8914, interface), "lo")


def mount_attributes(path, set_attributes, clear_attributes, recursive):
    attributes = struct.pack("QQQQ", set_attributes, clear_attributes, 0, 0)
    flags = 0x8000 if recursive else 0
    check(libc.syscall(SYS_MOUNT_SETATTR, -100, path.encode(), flags, attributes, len(attributes)), f"mount_setattr {path}")


def read_only(path, recursive=True):
    mount_attributes(path, MS_RDONLY, 0, recursive)


def hide(path):
    """An empty folder in its place, that nobody may enter or fill."""
    if os.path.isdir(path):
        mount("hidden", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0000,size=0")


def limit(name, value):
    """A limit, or as much of it as this machine can give; what it cannot is said in the service's log."""
    which = getattr(resource, "RLIMIT_" + name.removeprefix("Limit"))
    wanted = resource.RLIM_INFINITY if value == "infinity" else int(value)
    try:
        resource.setrlimit(which, (wanted, wanted))
    except ValueError:
        most = resource.getrlimit(which)[1]
        resource.setrlimit(which, (most, most))
        os.write(2, f"the sandbox: {name}={value} is more than the {most} that this machine gives\n".encode())


# --- filters of system calls


@functools.cache
def groups():
    """The groups of system calls, as systemd has them."""
    said = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    found, group = {}, None
    for line in said.splitlines():
        name = line.split("#")[0].strip()
        if line.startswith("@"):
            group = found.setdefault(name, [])
        elif name and group is not None:
            group.append(name)
    return found


def members(name):
    if not name.startswith("@"):
        return {name}
    return set().union(*(members(one) for one in groups()[name]))


def number(name):
    return seccomp.seccomp_syscall_resolve_name(name.encode())


class Compare(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("operator", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


NE, LT, LE, EQ, GE, GT, MASKED_EQ = range(1, 8)


class Filter:
    """One filter. As in systemd, each property has its own, and all of them have to agree."""

    def __init__(self, default):
        self.context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(default)))
        # Setting no_new_privs is the unit's to say.
        check(seccomp.seccomp_attr_set(self.context, 3, 0), "seccomp_attr_set")

    def rule(self, action, name, *compares):
        call = number(name)
        if call == -1:
            return
        done = seccomp.seccomp_rule_add_array(
            self.context, ctypes.c_uint32(action), call, len(compares), (Compare * len(compares))(*compares)
        )
        # Calls that another architecture has, and this one has not.
        if done not in (0, -errno.EDOM, -errno.EINVAL, -errno.EFAULT):
            check(done, name)

    def load(self):
        check(seccomp.seccomp_load(self.context), "seccomp_load")


def deny(names, code=errno.EPERM):
    one = Filter(ALLOW)
    for name in sorted(names):
        one.rule(refused(code), name)
    return one


def refused(code):
    return 0x00050000 | code


def address_families(words):
    one = Filter(ALLOW)
    known = sorted(int(getattr(socket, word)) for word in words)
    wrong = refused(errno.EAFNOSUPPORT)
    one.rule(wrong, "socket", Compare(0, LT, known[0]))
    one.rule(wrong, "socket", Compare(0, GT, known[-1]))
    for family in range(known[0] + 1, known[-1]):
        if family not in known:
            one.rule(wrong, "socket", Compare(0, EQ, family))
    return one


def namespaces():
    one = Filter(ALLOW)
    # It has its flags in memory, so it is refused whole; libraries fall back to clone.
    one.rule(refused(errno.ENOSYS), "clone3")
    one.rule(refused(errno.EPERM), "setns", Compare(1, EQ, 0))
    for flag in [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]:
        one.rule(refused(errno.EPERM), "unshare", Compare(0, MASKED_EQ, flag, flag))
        one.rule(refused(errno.EPERM), "clone", Compare(0, MASKED_EQ, flag, flag))
        one.rule(refused(errno.EPERM), "setns", Compare(1, MASKED_EQ, flag, flag))
    return one


def realtime():
    one = Filter(ALLOW)
    # SCHED_FIFO, SCHED_RR, and all above SCHED_IDLE.
    for policy in [1, 2, 4]:
        one.rule(refused(errno.EPERM), "sched_setscheduler", Compare(1, EQ, policy))
    one.rule(refused(errno.EPERM), "sched_setscheduler", Compare(1, GT, 5))
    return one


def suid_sgid():
    one = Filter(ALLOW)
    create = os.O_CREAT
    for bit in [0o4000, 0o2000]:
        for name, place in [("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mkdir", 1), ("mkdirat", 2), ("mknod", 1), ("mknodat", 2), ("creat", 1)]:
            one.rule(refused(errno.EPERM), name, Compare(place, MASKED_EQ, bit, bit))
        one.rule(refused(errno.EPERM), "open", Compare(1, MASKED_EQ, create, create), Compare(2, MASKED_EQ, bit, bit))
        one.rule(refused(errno.EPERM), "openat", Compare(2, MASKED_EQ, create, create), Compare(3, MASKED_EQ, bit, bit))
    one.rule(refused(errno.EPERM), "openat2")
    return one


def write_execute():
    one = Filter(ALLOW)
    write_and_execute, execute = 2 | 4, 4
    one.rule(refused(errno.EPERM), "mmap", Compare(2, MASKED_EQ, write_and_execute, write_and_execute))
    one.rule(refused(errno.EPERM), "mprotect", Compare(2, MASKED_EQ, execute, execute))
    one.rule(refused(errno.EPERM), "pkey_mprotect", Compare(2, MASKED_EQ, execute, execute))
    one.rule(refused(errno.EPERM), "shmat", Compare(2, MASKED_EQ, 0o100000, 0o100000))
    return one


def personality():
    one = Filter(ALLOW)
    one.rule(refused(errno.EPERM), "personality", Compare(0, NE, 0))
    return one


def native():
    # A filter of libseccomp refuses every architecture that it does not name.
    return Filter(ALLOW)


def system_calls(lines, code):
    """`SystemCallFilter=`: the first line decides whether it lists what is allowed; later ones add and take away."""
    if lines[0].startswith("~"):
        raise ValueError("SystemCallFilter= begins with ~: this test knows lists of what is allowed")
    allowed = members("@default")
    for line in lines:
        names = set().union(*(members(name) for name in line.lstrip("~").split()))
        allowed = allowed - names if line.startswith("~") else allowed | names
    one = Filter(refused(code))
    for name in sorted(allowed):
        one.rule(ALLOW, name)
    return one


# --- units


class Unit:
    """The properties of [Service], in their order; a property that is given again adds to the former."""

    def __init__(self, text):
        self.properties, section = {}, None
        for line in text.splitlines():
            line = line.strip()
            if not line or line[0] in "#;":
                continue
            if line.startswith("["):
                section = line
            elif section == "[Service]":
                name, value = line.split("=", 1)
                self.properties.setdefault(name, []).append(value)
        unknown = [name for name in self.properties if not self.applies(name)]
        if unknown:
            raise ValueError(f"this test does not apply {', '.join(sorted(unknown))}: teach tests/units/sandbox.py")

    def applies(self, name):
        return name in MANAGERS | set(OUT_OF_REACH) | set(SWITCHES) or hasattr(self, "apply_" + name)

    def one(self, name, default=None):
        values = self.properties.get(name, [default])
        return values[-1]

    def seconds(self, name):
        return float(self.one(name, "0"))

    def on(self, name):
        return self.one(name, "no") in ("true", "yes", "on", "1")

    def restarts(self, code):
        """`Restart=on-failure`, but for the exit codes that are no use to try again."""
        if self.one("Restart") != "on-failure":
            raise ValueError("this test knows Restart=on-failure")
        clean = code == 0 or -code in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
        return not clean and str(code) not in self.one("RestartPreventExitStatus", "").split()

    def execute(self, argv=None):
        """Becomes the service's process, or another program in its place."""
        argv = argv or shlex.split(self.one("ExecStart"))
        # Read before there is nothing to read it with.
        groups()
        user = pwd.getpwnam(self.one("User"))
        self.environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "USER": user.pw_name, "HOME": user.pw_dir}
        self.writable, self.filters = [], []
        check(libc.unshare(CLONE_NEWNS), "unshare")
        mount(None, "/", None, MS_REC | MS_SLAVE)
        os.setsid()
        for name, values in self.properties.items():
            if name in SWITCHES and self.on(name):
                SWITCHES[name](self)
            elif hasattr(self, "apply_" + name):
                getattr(self, "apply_" + name)(values)
        self.see_files()
        self.become(user)
        os.chdir("/")
        os.execvpe(argv[0], argv, self.environment)

    def see_files(self):
        """Mounts, from the outer to the inner: what is writable is set aside before the rest is shut."""
        for path in self.writable:
            mount(path, path, None, MS_BIND | MS_REC)
        if self.one("ProtectSystem") != "strict":
            raise ValueError("this test knows ProtectSystem=strict")
        read_only("/")
        for path in self.writable:
            mount_attributes(path, 0, MS_RDONLY, True)
        if self.on("PrivateTmp"):
            for path in ["/tmp", "/var/tmp"]:
                mount("tmp", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
        if self.on("ProtectHome"):
            for path in ["/home", "/root", "/run/user"]:
                hide(path)
        if self.on("PrivateDevices"):
            self.few_devices()
        options = f"hidepid={self.one('ProtectProc', 'default')},subset={self.one('ProcSubset', 'all')}"
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
        if self.on("ProtectKernelTunables"):
            read_only("/sys")
        if self.on("ProtectKernelModules"):
            hide("/usr/lib/modules")

    def few_devices(self):
        kept = {name: os.stat(f"/dev/{name}").st_rdev for name in ["null", "zero", "full", "random", "urandom", "tty"]}
        handles = {name: os.open(f"/dev/{name}", os.O_PATH) for name in kept}
        mount("devices", "/dev", "tmpfs", MS_NOSUID, "mode=0755")
        os.mkdir("/dev/shm", 0o1777)
        mount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
        for name, handle in handles.items():
            open(f"/dev/{name}", "w").close()
            mount(f"/proc/self/fd/{handle}", f"/dev/{name}", None, MS_BIND)
            os.close(handle)
        mount_attributes("/dev", MS_RDONLY, 0, False)

    def become(self, user):
        """The user, without a capability, and the filters last: what sets them up may then be forbidden."""
        for name in ["LimitCORE", "LimitMEMLOCK", "LimitNOFILE"]:
            if name in self.properties:
                limit(name, self.one(name))
        if self.one("CapabilityBoundingSet") != "":
            raise ValueError("this test knows an empty CapabilityBoundingSet=")
        capability = 0
        while libc.prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0:
            check(libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "PR_CAPBSET_DROP")
            capability += 1
        check(libc.prctl(PR_CAP_AMBIENT, 4, 0, 0, 0), "PR_CAP_AMBIENT")
        os.setgroups([])
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
        check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
        if self.on("MemoryDenyWriteExecute"):
            # Later systemds take this, where the kernel has it (6.3), in place of the filter.
            libc.prctl(PR_SET_MDWE, 1, 0, 0, 0)
        # SystemCallFilter= is the last one: it forbids to load others.
        for make in sorted(self.filters, key=lambda make: make == self.call_filter):
            make().load()

    def call_filter(self):
        code = getattr(errno, self.one("SystemCallErrorNumber", "EPERM"))
        return system_calls(self.properties["SystemCallFilter"], code)

    def apply_User(self, _):
        pass  # `become`

    def apply_UMask(self, values):
        os.umask(int(values[-1], 8))

    def apply_StateDirectory(self, values):
        user = pwd.getpwnam(self.one("User"))
        path = f"/var/lib/{values[-1]}"
        os.makedirs(path, exist_ok=True)
        os.chown(path, user.pw_uid, user.pw_gid)
        os.chmod(path, int(self.one("StateDirectoryMode", "0755"), 8))
        self.environment["STATE_DIRECTORY"] = path
        self.writable.append(path)

    def apply_ReadWritePaths(self, values):
        for path in shlex.split(" ".join(values)):
            if os.path.exists(path.lstrip("-")):
                self.writable.append(path.lstrip("-"))
            elif not path.startswith("-"):
                raise FileNotFoundError(path)

    def apply_ProtectSystem(self, _):
        pass  # `see_files`

    apply_ProtectProc = apply_ProcSubset = apply_ProtectSystem

    def apply_CapabilityBoundingSet(self, _):
        pass  # `become`

    apply_LimitCORE = apply_LimitMEMLOCK = apply_LimitNOFILE = apply_CapabilityBoundingSet

    def apply_AmbientCapabilities(self, values):
        if values != [""]:
            raise ValueError("this test knows an empty AmbientCapabilities=")

    def apply_KeyringMode(self, values):
        if values[-1] != "private":
            raise ValueError("this test knows KeyringMode=private")
        if libc.syscall(SYS_KEYCTL, 1, None) < 0 and ctypes.get_errno() != errno.ENOSYS:
            check(-1, "keyctl")

    def apply_RestrictAddressFamilies(self, values):
        self.filters.append(lambda: address_families(" ".join(values).split()))

    def apply_SystemCallArchitectures(self, values):
        if values != ["native"]:
            raise ValueError("this test knows SystemCallArchitectures=native")
        self.filters.append(native)

    def apply_SystemCallFilter(self, _):
        self.filters.append(self.call_filter)


def filtered(make):
    return lambda unit: unit.filters.append(make)


def own_hostname(unit):
    check(libc.unshare(CLONE_NEWUTS), "unshare")
    unit.filters.append(lambda: deny({"sethostname", "setdomainname"}))


def shut_groups(_):
    if os.path.isdir("/sys/fs/cgroup"):
        read_only("/sys/fs/cgroup")


SWITCHES.update({
    "NoNewPrivileges": lambda unit: None,  # `become`
    "ProtectHome": lambda unit: None,  # `see_files`
    "PrivateTmp": lambda unit: None,  # `see_files`
    "PrivateDevices": filtered(lambda: deny(members("@raw-io"))),  # and `few_devices`
    "ProtectClock": filtered(lambda: deny(members("@clock"))),
    "ProtectControlGroups": shut_groups,
    "ProtectHostname": own_hostname,
    "ProtectKernelLogs": filtered(lambda: deny({"syslog"})),
    "ProtectKernelModules": filtered(lambda: deny(members("@module"))),  # and `see_files`
    "ProtectKernelTunables": filtered(lambda: deny({"_sysctl"})),  # and `see_files`
    "RestrictNamespaces": filtered(namespaces),
    "RestrictRealtime": filtered(realtime),
    "RestrictSUIDSGID": filtered(suid_sgid),
    "LockPersonality": filtered(personality),
    "MemoryDenyWriteExecute": filtered(write_execute),
})
