"""A small key management service: wraps with AES-256-GCM under a key in a file.

    python kms_program.py KEY_FILE wrap|unwrap

Counts its calls in ``KEY_FILE.calls`` and keeps what it saw of its arguments and environment in
``KEY_FILE.seen``, for tests.
"""

import base64
import os
import sys
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

key_file, verb = Path(sys.argv[1]), sys.argv[2]
box = AESGCM(bytes.fromhex(key_file.read_text()))
given = base64.b64decode(sys.stdin.readline())
with Path(f"{key_file}.calls").open("a") as calls:
    calls.write(f"{verb}\n")
with Path(f"{key_file}.seen").open("a") as seen:
    seen.write(f"{sys.argv} {dict(os.environ)}\n")
if verb == "wrap":
    nonce = os.urandom(12)
    answer = nonce + box.encrypt(nonce, given, b"annotator")
else:
    answer = box.decrypt(given[:12], given[12:], b"annotator")
sys.stdout.write(base64.b64encode(answer).decode() + "\n")
