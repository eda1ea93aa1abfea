"""What the vault costs beside bare AES-256-GCM, and how fast subjects' keys are wrapped anew.

    python benchmarks/vault.py [--rounds N] [--keys N]

Prints one JSON object a line. Times are the fastest of the rounds, in microseconds. ``open`` reads
the sealed file from the page cache, checks and decrypts it; ``ratio`` is bare AES-256-GCM's time
for the same bytes in memory over ours, so 1 would be free of cost. ``seal`` includes the durable
store; its CPU and its wall time are told apart, since the latter is the disk's fsync.
"""

import argparse
import json
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from annotator.vault import Vault, WrappedKey, create_vault

SIZES = {"2 kB": 2_000, "20 kB": 20_000, "1 MB": 1_000_000, "50 MB": 50_000_000}
NAME = {"subject": "anna", "kind": "crop"}


def fastest(call: Callable[[], object], rounds: int) -> tuple[float, float]:
    """CPU and wall time of the fastest round, in microseconds."""
    cpu, wall = [], []
    for _ in range(rounds):
        cpu_start, wall_start = time.process_time_ns(), time.perf_counter_ns()
        call()
        cpu.append(time.process_time_ns() - cpu_start)
        wall.append(time.perf_counter_ns() - wall_start)
    return min(cpu) / 1000, min(wall) / 1000


def measure_size(vault: Vault, key: WrappedKey, name: str, rounds: int) -> dict[str, object]:
    """Opens, streams and stores a blob of one size beside bare AES-256-GCM."""
    data, nonce = os.urandom(SIZES[name]), os.urandom(12)
    rounds = max(3, min(rounds, 200_000_000 // len(data)))
    bare = AESGCM(AESGCM.generate_key(256))
    sealed = bare.encrypt(nonce, data, None)
    blob = vault.seal_blob(**NAME, key=key, data=data)
    made: list[str] = []
    gcm_open, _ = fastest(lambda: bare.decrypt(nonce, sealed, None), rounds)
    gcm_seal, _ = fastest(lambda: bare.encrypt(nonce, data, None), rounds)
    opened, _ = fastest(lambda: vault.open_blob(**NAME, key=key, blob=blob), rounds)
    streamed, _ = fastest(lambda: drain(vault, key, blob), rounds)
    stored, waited = fastest(
        lambda: made.append(vault.seal_blob(**NAME, key=key, data=data)), max(3, rounds // 10)
    )
    for each in (*made, blob):
        vault.delete_blob(each)
    return {
        "what": "blob",
        "size": name,
        "gcm_open_us": round(gcm_open, 1),
        "open_us": round(opened, 1),
        "open_ratio": round(gcm_open / opened, 3),
        "stream_us": round(streamed, 1),
        "stream_ratio": round(gcm_open / streamed, 3),
        "gcm_seal_us": round(gcm_seal, 1),
        "seal_cpu_us": round(stored, 1),
        "seal_wall_us": round(waited, 1),
        "seal_ratio": round(gcm_seal / stored, 3),
    }


def drain(vault: Vault, key: WrappedKey, blob: str) -> int:
    """Opens a blob piece by piece; answers its size."""
    return sum(map(len, vault.stream_blob(**NAME, key=key, blob=blob)))


def measure_memory(vault: Vault, key: WrappedKey, size: int) -> dict[str, object]:
    """Peak of Python's memory while a blob of this size is stored from a file and streamed."""
    with tempfile.TemporaryFile() as source:
        source.truncate(size)
        tracemalloc.start()
        blob = vault.seal_blob(**NAME, key=key, data=source)
        drain(vault, key, blob)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    vault.delete_blob(blob)
    return {"what": "memory", "bytes": size, "peak_bytes": peak}


def measure_rotation(vault: Vault, count: int) -> dict[str, object]:
    """Wraps many subjects' keys under a new epoch."""
    keys = [(f"{i:032x}", vault.create_key(f"{i:032x}")) for i in range(count)]
    start = time.perf_counter()
    moved = sum(1 for _ in vault.rotate(keys))
    seconds = time.perf_counter() - start
    return {
        "what": "rotate",
        "keys": moved,
        "seconds": round(seconds, 3),
        "per_second": round(moved / seconds),
    }


def main() -> None:
    """Prints every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--keys", type=int, default=100_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        vault, _ = create_vault(Path(folder), key_file=Path(folder) / "key-file")
        key = vault.create_key("anna")
        for name in SIZES:
            print(json.dumps(measure_size(vault, key, name, asked.rounds)), flush=True)
        for size in (1_000_000, 50_000_000):
            print(json.dumps(measure_memory(vault, key, size)), flush=True)
        print(json.dumps(measure_rotation(vault, asked.keys)), flush=True)


if __name__ == "__main__":
    main()
