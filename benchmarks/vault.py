"""What the vault costs beside bare AES-256-GCM and beside a plain file, and how fast keys rotate.

    python benchmarks/vault.py [--rounds N] [--keys N]

Prints one JSON object a line. Times are the fastest of the rounds, in microseconds of CPU (user and
system) unless they say ``wall``; all of one line come from the same run, taken in turn.

* ``blob``: ``open`` reads the sealed file from the page cache, checks and decrypts it into one
  ``bytes``; ``open_ratio`` is bare AES-256-GCM's time for the same bytes in memory over it, so 1
  would be free of cost. ``chunks`` is bare AES-256-GCM on 16 KiB at a time and ``read`` the reading
  of the file alone: what no implementation of the format can avoid. ``seal`` includes the durable
  store; ``plain`` writes the same bytes to a file, ``synced`` does so as durably as we do.
* ``fsync``: how much of the wall time of a seal passes in fsync.
* ``memory``: how much a process grows while it seals and streams one blob of a size.
* ``rotate``: subjects' keys wrapped anew under a new epoch.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from annotator.vault import Vault, WrappedKey, create_vault, open_vault
from annotator.vault.cipher import CHUNK, read_pieces
from annotator.vault.files import Disk, OpenFile, write_durably

SIZES = {"2 kB": 2_000, "20 kB": 20_000, "1 MB": 1_000_000, "50 MB": 50_000_000}
MEMORY_SIZES = (1_000_000, 50_000_000, 200_000_000)
NAME = {"subject": "anna", "kind": "crop"}
Calls = Mapping[str, Callable[[], object]]


def fastest(calls: Calls, rounds: int) -> dict[str, tuple[float, float]]:
    """CPU and wall time of each call's fastest round, in microseconds; the calls take turns."""
    best = dict.fromkeys(calls, (float("inf"), float("inf")))
    for _ in range(rounds):
        for name, call in calls.items():
            cpu_start, wall_start = time.process_time_ns(), time.perf_counter_ns()
            call()
            cpu = (time.process_time_ns() - cpu_start) / 1000
            wall = (time.perf_counter_ns() - wall_start) / 1000
            best[name] = (min(best[name][0], cpu), min(best[name][1], wall))
    return best


def measure_size(vault: Vault, key: WrappedKey, folder: Path, name: str, rounds: int) -> None:
    """Opens, streams and stores a blob of one size, beside bare ciphers and plain files."""
    data, nonce = os.urandom(SIZES[name]), os.urandom(12)
    bare = AESGCM(AESGCM.generate_key(256))
    sealed = bare.encrypt(nonce, data, None)
    chunks = [bare.encrypt(nonce, data[i : i + CHUNK], None) for i in range(0, len(data), CHUNK)]
    blob = vault.seal_blob(**NAME, key=key, data=data)
    path = folder / "blobs" / blob[:2] / blob[2] / blob
    opened = fastest(
        {
            "gcm_open": lambda: bare.decrypt(nonce, sealed, None),
            "chunks": lambda: [bare.decrypt(nonce, chunk, None) for chunk in chunks],
            "read": lambda: drain_file(path),
            "open": lambda: vault.open_blob(**NAME, key=key, blob=blob),
            "stream": lambda: drain(vault, key, blob),
        },
        max(5, min(rounds, 200_000_000 // len(data))),
    )
    made: list[str] = []
    written = fastest(
        {
            "gcm_seal": lambda: bare.encrypt(nonce, data, None),
            "seal": lambda: made.append(vault.seal_blob(**NAME, key=key, data=data)),
            "plain": lambda: (folder / "plain").write_bytes(data),
            "synced": lambda: write_durably(Disk(), folder / "synced", [data]),
        },
        max(5, min(rounds // 5, 20_000_000 // len(data))),
    )
    for each in (*made, blob):
        vault.delete_blob(each)
    tell(
        {
            "what": "blob",
            "size": name,
            **{f"{name}_us": round(cpu, 1) for name, (cpu, _) in (opened | written).items()},
            **{f"{name}_wall_us": round(written[name][1], 1) for name in ("seal", "synced")},
            "open_ratio": round(opened["gcm_open"][0] / opened["open"][0], 3),
            "stream_ratio": round(opened["gcm_open"][0] / opened["stream"][0], 3),
            "seal_ratio": round(written["gcm_seal"][0] / written["seal"][0], 3),
            "seal_over_synced_wall": round(written["seal"][1] / written["synced"][1], 3),
        }
    )


def drain(vault: Vault, key: WrappedKey, blob: str) -> int:
    """Opens a blob piece by piece; answers its size."""
    return sum(map(len, vault.stream_blob(**NAME, key=key, blob=blob)))


def drain_file(path: Path) -> int:
    """Reads a sealed file as the vault does; answers its size."""
    with OpenFile(Disk(), path) as source:
        return sum(map(len, read_pieces(source)))


class TimedDisk(Disk):
    """Adds up the wall time of every fsync."""

    seconds = 0.0

    def fsync(self, descriptor: int) -> None:
        """Timed."""
        self._time(super().fsync, descriptor)

    def fsync_folder(self, path: Path) -> None:
        """Timed."""
        self._time(super().fsync_folder, path)

    def _time(self, call: Callable[[Any], None], target: object) -> None:
        start = time.perf_counter()
        call(target)
        self.seconds += time.perf_counter() - start


def measure_fsync(folder: Path, name: str, rounds: int) -> None:
    """How much of sealing and storing is waiting for the disk."""
    disk = TimedDisk()
    vault = open_vault(folder, key_file=folder / "key-file", disk=disk)
    key, data = vault.create_key("anna"), os.urandom(SIZES[name])
    disk.seconds, start = 0.0, time.perf_counter()
    made = [vault.seal_blob(**NAME, key=key, data=data) for _ in range(rounds)]
    whole, waited = time.perf_counter() - start, disk.seconds
    for each in made:
        vault.delete_blob(each)
    tell({"what": "fsync", "size": name, "share_of_seal_wall": round(waited / whole, 3)})


def measure_memory(folder: Path, size: int) -> None:
    """What Python counts, and what is resident, in this process, which should be a fresh one."""
    vault = open_vault(folder, key_file=folder / "key-file")
    key = vault.create_key("anna")
    with tempfile.TemporaryFile() as source:
        source.truncate(size)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        blob = vault.seal_blob(**NAME, key=key, data=source)
        drain(vault, key, blob)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        vault.delete_blob(blob)
        source.seek(0)
        tracemalloc.start()
        blob = vault.seal_blob(**NAME, key=key, data=source)
        drain(vault, key, blob)
        peak = tracemalloc.get_traced_memory()[1]
    vault.delete_blob(blob)
    grown = (after - before) * 1024
    tell({"what": "memory", "bytes": size, "resident_growth": grown, "python_peak": peak})


def measure_rotation(vault: Vault, count: int) -> None:
    """Wraps many subjects' keys under a new epoch."""
    keys = [(f"{i:032x}", vault.create_key(f"{i:032x}")) for i in range(count)]
    start = time.perf_counter()
    moved = sum(1 for _ in vault.rotate(keys))
    seconds = time.perf_counter() - start
    rate = round(moved / seconds)
    tell({"what": "rotate", "keys": moved, "seconds": round(seconds, 3), "per_second": rate})


def tell(figures: Mapping[str, object]) -> None:
    """One line."""
    print(json.dumps(figures), flush=True)


def main() -> None:
    """Prints every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.memory:
        measure_memory(asked.folder, asked.memory)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vault, _ = create_vault(folder, key_file=folder / "key-file")
        key = vault.create_key("anna")
        for size in SIZES:
            measure_size(vault, key, folder, size, asked.rounds)
        for size, count in SIZES.items():
            measure_fsync(folder, size, min(50, max(5, 50_000_000 // count)))
        for count in MEMORY_SIZES:
            command = [sys.executable, __file__, "--folder", folder, "--memory", str(count)]
            subprocess.run(command, check=True)
        measure_rotation(vault, asked.keys)


if __name__ == "__main__":
    main()
