"""What a process tree uses, read from /proc: run time to the nanosecond, and memory.

Run time comes from `/proc/PID/task/TID/schedstat` (its first field, exact, but for one living thread), summed over the
tree. A thread that ended takes its number along, so for its process the clock ticks of `/proc/PID/stat` (10 ms, but
they outlive the thread) are used instead. A process that ended cannot be weighed at all, and says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class ProcessGone(Exception):
    """A process of the tree ended between two readings, and its run time with it."""


@dataclass(frozen=True)
class TreeTime:
    """One reading: nanoseconds by (process, thread), and ticks by process."""

    threads: dict[tuple[int, int], int]
    ticks: dict[int, int]


@dataclass(frozen=True)
class TreeMemory:
    """Bytes over a process tree. PSS shares common pages out; RSS counts them once for every process."""

    pss: int
    rss: int
    processes: int


@dataclass(frozen=True)
class MachineTime:
    """Seconds over all cores since boot: at work for anybody, and stolen by the host."""

    busy: float
    steal: float


def tree(root: int) -> list[int]:
    """`root` and all its living descendants; empty if it is gone."""
    children: dict[int, list[int]] = {}
    for pid in _numbers(PROC):
        if fields := _stat(pid):
            children.setdefault(int(fields[1]), []).append(pid)
    found = [root] if _stat(root) else []
    for pid in found:  # grows while it is walked
        found.extend(children.get(pid, ()))
    return found


def name(pid: int) -> str:
    """What `ps` shows for a process; empty if it is gone."""
    return _text(PROC / str(pid) / "comm").rstrip("\n")


def running(pid: int) -> bool:
    """Whether a thread of a process runs, or would if there were a core for it."""
    tasks = PROC / str(pid) / "task"
    return any(_text(tasks / str(tid) / "stat").rpartition(") ")[2].startswith("R") for tid in _numbers(tasks))


def tree_time(root: int) -> TreeTime:
    """Reads the run time of `root` and its descendants."""
    threads: dict[tuple[int, int], int] = {}
    ticks: dict[int, int] = {}
    for pid in tree(root):
        if not (fields := _stat(pid)):
            continue
        ticks[pid] = int(fields[11]) + int(fields[12])
        for tid in _numbers(PROC / str(pid) / "task"):
            if text := _text(PROC / str(pid) / "task" / str(tid) / "schedstat"):
                threads[pid, tid] = int(text.split()[0])
    return TreeTime(threads, ticks)


def spent(before: TreeTime, after: TreeTime) -> int:
    """Nanoseconds that the tree ran between two readings; what started in between counts whole.

    Raises:
        ProcessGone: a process of the first reading is missing in the second.
    """
    if gone := before.ticks.keys() - after.ticks.keys():
        raise ProcessGone(f"process {min(gone)} ended inside the window")
    ended = {pid for pid, tid in before.threads.keys() - after.threads.keys()}
    exact = sum(ns - before.threads.get(thread, 0) for thread, ns in after.threads.items() if thread[0] not in ended)
    return exact + sum((after.ticks[pid] - before.ticks[pid]) * TICK_NS for pid in ended)


def tree_memory(root: int) -> TreeMemory:
    """Reads the memory of `root` and its descendants from `smaps_rollup`."""
    pss = rss = processes = 0
    for pid in tree(root):
        sizes = dict(_sizes(_text(PROC / str(pid) / "smaps_rollup")))
        pss += sizes.get("Pss", 0)
        rss += sizes.get("Rss", 0)
        processes += bool(sizes)
    return TreeMemory(pss, rss, processes)


def machine_time() -> MachineTime:
    """Reads the first line of /proc/stat."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, _text(PROC / "stat").split()[1:9])
    return MachineTime(busy=(user + nice + system + irq + softirq) * TICK_NS / 1e9, steal=steal * TICK_NS / 1e9)


def listener_of(port: int) -> int | None:
    """The process that listens on a local TCP port; of several that share it, their common parent."""
    inodes = {
        fields[9]
        for name in ("tcp", "tcp6")
        for line in _text(PROC / "net" / name).splitlines()[1:]
        if (fields := line.split())[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port
    }
    holders = {pid for pid in _numbers(PROC) if inodes & set(_socket_inodes(pid))}
    for pid in sorted(holders):
        parent = _stat(pid)[1:2]
        if parent and int(parent[0]) not in holders:
            return pid
    return None


def _socket_inodes(pid: int) -> Iterator[str]:
    try:
        with os.scandir(PROC / str(pid) / "fd") as entries:
            for entry in entries:
                target = os.readlink(entry.path)
                if target.startswith("socket:["):
                    yield target[8:-1]
    except OSError:  # not ours to look into, or gone
        return


def _sizes(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines():
        if line.endswith(" kB"):
            name, size = line[:-3].split(":")
            yield name, int(size) * 1024


def _numbers(folder: Path) -> list[int]:
    try:
        return [int(name) for name in os.listdir(folder) if name.isdigit()]
    except FileNotFoundError:
        return []


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name: state, parent, ...; none if it is gone or a zombie."""
    fields = _text(PROC / str(pid) / "stat").rpartition(")")[2].split()
    return fields if fields[:1] != ["Z"] else []


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""
