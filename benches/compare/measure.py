"""What processes take of this machine, by the operating system's count, and what machine it is."""

import os
import pathlib
import platform
import time

TICK = os.sysconf("SC_CLK_TCK")


def children(root):
    """Process ids of `root` and everything below it."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents.setdefault(int(stat(entry.name)[1]), []).append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                pass
    found, waiting = [], [root]
    while waiting:
        process = waiting.pop()
        found.append(process)
        waiting += parents.get(process, [])
    return found


def stat(process):
    """The fields of /proc/PID/stat from the state on (the name before it may hold anything)."""
    return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def cpu(root):
    """Seconds of CPU, user and system, of a process, its children, and its children that have ended."""
    total = 0.0
    for process in children(root):
        try:
            # The process's own clock: the same sum as in /proc/PID/stat, in nanoseconds instead of hundredths.
            total += time.clock_gettime((~process << 3) | 2)
        except OSError:
            pass
    fields = stat(root)
    return total + (int(fields[13]) + int(fields[14])) / TICK


def cpu_when_idle(root, patience=300):
    """The same once nothing is left to do: compaction, vacuum, garbage."""
    deadline, before, quiet = time.monotonic() + patience, cpu(root), 0
    while quiet < 4:
        time.sleep(0.1)
        now = cpu(root)
        quiet = quiet + 1 if now - before < 0.002 else 0
        before = now
        if time.monotonic() > deadline:
            raise SystemExit(f"process {root} is still at work after {patience} seconds")
    return before


def resident_mib(root):
    total = 0
    for process in children(root):
        try:
            # Shared pages are counted once: `Pss` would need more rights than `RSS minus shared` does.
            pages = pathlib.Path(f"/proc/{process}/statm").read_text().split()
            total += (int(pages[1]) - (int(pages[2]) if process != root else 0)) * os.sysconf("SC_PAGE_SIZE")
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total / 2**20


def machine(folder):
    """What one has to know to compare figures."""
    model = [line.partition(":")[2].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]
    memory = next(line for line in pathlib.Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {
        "cpu": model[0] if model else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory.split()[1]) / 2**20, 1),
        "kernel": platform.release(),
        "system": system(),
        "file_system": file_system(folder),
        "fsync_ms": round(fsync_ms(folder), 3),
        "date": time.strftime("%Y-%m-%d"),
        "load_average_at_the_start": os.getloadavg(),
    }


def system():
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def file_system(folder):
    best = ("", "?")
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        _, point, kind = line.split()[:3]
        if str(folder).startswith(point) and len(point) > len(best[0]):
            best = (point, kind)
    return best[1]


def fsync_ms(folder):
    """Median of fifty appends of 4 KiB with fdatasync."""
    path, times = folder / "fsync", []
    with open(path, "wb", buffering=0) as file:
        for _ in range(50):
            begun = time.perf_counter()
            file.write(b"\1" * 4096)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    path.unlink()
    return sorted(times)[25] * 1e3
