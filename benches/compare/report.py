"""Medians, spread, and the table."""

import statistics

WORKLOADS = {
    "new": ("A", "cloison", "new persons: derived, sealed, stored, logged (fsync)"),
    "known": ("B", "cloison", "known persons: derived, looked up, logged (fsync)"),
    "irreversible": ("C", "cloison", "sector without mappings: derived, logged (fsync)"),
    "openbao": ("", "OpenBao transit HMAC", "no audit; stores nothing"),
    "openbao-audit": ("", "OpenBao transit HMAC", "file audit (not fsynced); stores nothing"),
    "postgresql": ("", "PostgreSQL + pgcrypto", "new persons: derived, encrypted, stored (fsync); no log"),
}
FIGURES = ["cpu_us_per_item", "items_per_second", "p50_ms", "p99_ms", "rss_mib", "seconds", "items", "audit_bytes_per_item"]


def summary(machine, settings, versions, results):
    workloads = {}
    for name, rounds in results.items():
        figures = {}
        for figure in FIGURES:
            values = [entry[figure] for entry in rounds if figure in entry]
            if values:
                figures[figure] = {"median": statistics.median(values), "least": min(values), "most": max(values)}
        workloads[name] = {"figures": figures, "rounds": rounds}
    return {"machine": machine, "settings": settings, "versions": versions, "workloads": workloads,
            "ratios": ratios(workloads)}


def ratios(workloads):
    """How many times the CPU, or the throughput, of medians."""
    median = lambda name, figure: workloads[name]["figures"][figure]["median"]
    found = {}
    for own in ("new", "known", "irreversible"):
        for other in ("openbao", "openbao-audit", "postgresql"):
            if own not in workloads or other not in workloads or (other == "postgresql" and own != "new"):
                continue
            found[f"{own} and {other}"] = {
                "times_less_cpu": median(other, "cpu_us_per_item") / median(own, "cpu_us_per_item"),
                "times_the_throughput": median(own, "items_per_second") / median(other, "items_per_second"),
            }
    return found


def markdown(all_of_it):
    machine, settings = all_of_it["machine"], all_of_it["settings"]
    lines = ["| | contender | what it does | CPU, µs an identifier | identifiers a second | p50 / p99, ms a batch | memory, MiB |",
             "|---|---|---|---:|---:|---:|---:|"]
    for name, result in all_of_it["workloads"].items():
        figures = result["figures"]
        letter, contender, what = WORKLOADS[name]

        def cell(figure, places):
            value = figures[figure]
            number = lambda x: f"{x:,.{places}f}".replace(",", "\u202f")
            return f"**{number(value['median'])}** ({number(value['least'])}–{number(value['most'])})"
        latency = "–"
        if "p50_ms" in figures:
            latency = f"{figures['p50_ms']['median']:.0f} / {figures['p99_ms']['median']:.0f}"
        lines.append(f"| {letter} | {contender} | {what} | {cell('cpu_us_per_item', 2)} | {cell('items_per_second', 0)} "
                     f"| {latency} | {figures['rss_mib']['median']:.0f} |")
    if all_of_it["ratios"]:
        lines += ["", "| | times less CPU | times the throughput |", "|---|---:|---:|"]
        for name, ratio in all_of_it["ratios"].items():
            lines.append(f"| {name} | {ratio['times_less_cpu']:.1f} | {ratio['times_the_throughput']:.1f} |")
    load = machine["load_average_at_the_start"][0]
    lines += [
        "",
        f"Medians of {settings['rounds']} interleaved rounds (least–most). {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}, Linux {machine['kernel']}, {machine['file_system']}, "
        f"{machine['fsync_ms']} ms an fsync, load average {load:.1f} when it began, {machine['date']}. "
        f"{', '.join(all_of_it['versions'].values())}.",
        "",
        f"{settings['persons']:,} mappings stored before; {settings['items']:,} identifiers of 11 characters a round "
        f"(the others: {settings['other_items']:,}), in batches of {settings['batch']:,} over {settings['connections']} "
        "connections on loopback. CPU is user + system of all processes of the server until it is idle again, by the operating "
        "system's count. The load runs on the same cores. cloison and OpenBao: JSON over TLS 1.3 with client certificates, one "
        "load generator; PostgreSQL: psql over a Unix socket, no TLS.",
        "",
        "In OpenBao's favour: it stores nothing, keeps its configuration in memory, and its audit file is not fsynced, while "
        "cloison's log is fsynced before each answer. Its limit on items was raised (`max_request_json_strings = -1`, "
        "`max_request_json_memory = -1`; by default it refuses more than 499), and `unsafe_allow_api_audit_creation = true` "
        "allows the audit file. In PostgreSQL's: no log, no outer envelope, no TLS; "
        "`fsync = on`, `synchronous_commit = on`, `shared_buffers = 1GB`, `max_wal_size = 8GB`.",
    ]
    return "\n".join(lines)
