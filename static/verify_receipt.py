"""Checks a receipt of Annotator with Python alone: nothing to install, nothing is sent anywhere.

    python3 verify_receipt.py RECEIPT.json KEY

KEY is the public key of the installation's log, from somebody whom you believe. Exit code 0: all
fits; 1: something does not, and the last line says what; 2: wrong usage.
"""

import base64
import hashlib
import hmac
import json
import sys

# Ed25519, RFC 8032, section 5.1: only checking, so nothing here is secret.
P, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D, ROOT = -121665 * pow(121666, P - 2, P) % P, pow(2, (P - 1) // 4, P)


def add(a, b):
    e, f = (a[1] - a[0]) * (b[1] - b[0]), (a[1] + a[0]) * (b[1] + b[0])
    g, h = 2 * a[3] * b[3] * D, 2 * a[2] * b[2]
    e, f, g, h = (f - e) % P, (h - g) % P, (h + g) % P, (f + e) % P
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        result = add(result, point) if scalar & 1 else result
        point, scalar = add(point, point), scalar >> 1
    return result


def decode_point(data):
    number = int.from_bytes(data, "little")
    y, odd = number & (1 << 255) - 1, number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if (x * x - square) % P == 0 else x * ROOT % P
    if y >= P or (x * x - square) % P or (x == 0 and odd):
        return None
    x = x if x & 1 == odd else P - x
    return x, y, 1, x * y % P


def is_signed(key, message, signature):
    a, r = decode_point(key), decode_point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if len(key) != 32 or len(signature) != 64 or a is None or r is None or s >= ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    base = decode_point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
    one, two = multiply(s, base), add(r, multiply(k, a))
    return all((one[i] * two[2] - two[i] * one[2]) % P == 0 for i in (0, 1))


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def find_root(leaf, index, size, proof):  # RFC 9162, section 2.1.3.2
    here, last, found = index, size - 1, leaf
    for item in proof:
        left = here & 1 or here == last
        found = hashlib.sha256(b"\1" + (item + found if left else found + item)).digest()
        while left and not here & 1 and here:
            here, last = here >> 1, last >> 1
        here, last = here >> 1, last >> 1
    return found if 0 <= index < size and last == 0 else None


def decode(text):
    data = base64.b64decode(text, validate=True)
    demand(base64.b64encode(data).decode() == text, "its base64 is damaged.")
    return data


def demand(fits, sentence):
    if not fits:
        raise ValueError(sentence)


def check_checkpoint(receipt, key):
    """The size and the root of the log, as the key signed them."""
    text, _, lines = receipt["checkpoint"].partition("\n\n")
    origin, size, root = text.split("\n")
    named = hashlib.sha256(origin.encode() + b"\n\1" + key).digest()[:4]
    start = f"\u2014 {origin} "
    lines = [line[len(start) :] for line in lines.split("\n") if line.startswith(start)]
    signed = [line[4:] for line in map(decode, lines) if line[:4] == named]
    fits = any(is_signed(key, f"{text}\n".encode(), item) for item in signed)
    demand(fits and origin == receipt["log"]["origin"], "the key did not sign its checkpoint.")
    print(f"The log {origin} had {size} entries when its checkpoint was signed:")
    return int(size), decode(root)


def check_entry(item, size, root, salt):
    """That an entry is in the log and, with a salt, that it is about whoever has the salt."""
    entry = item["entry"]
    leaf = hashlib.sha256(b"\0" + canonical(entry)).digest()
    found = find_root(leaf, entry["index"], size, map(decode, item["proof"]))
    demand(found == root, f"entry {entry['index']} is not in the log.")
    if salt:
        text = b"annotator/audit/subject/1\n%d" % item["number"]
        yours = hmac.new(bytes.fromhex(salt), text, "sha256").hexdigest()
        demand(entry["subject"] == yours, f"entry {entry['index']} is about somebody else.")
    print(f"  {entry['index']:>8}  {entry['at'][:19]}  {entry['action']}", entry["details"] or "")
    return entry["action"]


def check(receipt, key):
    """Raises ValueError, with a sentence, for the first claim of a receipt that is wrong."""
    demand(receipt["format"] == 1, "this program does not know its format.")
    demand(decode(receipt["log"]["public_key"]) == key, "it is of a log with another key.")
    size, root = check_checkpoint(receipt, key)
    body = {name: value for name, value in receipt.items() if name != "signature"}
    message = b"annotator-receipt/1\n" + canonical(body)
    fits = is_signed(key, message, decode(receipt["signature"]))
    demand(fits, "it was changed after it was signed.")
    actions = [check_entry(item, size, root, receipt["salt"]) for item in receipt["entries"]]
    demand(actions, "it tells of nothing.")
    if receipt["kind"] == "erasure":
        demand("subject.erased" in actions, "it does not tell of an erasure.")
        renewal = receipt["renewal"]
        fits = not renewal or check_entry(renewal, size, root, "") == "keys.renewed"
        demand(fits, "what it calls the renewal of the keys is none.")
        print("Your key was destroyed" + ("." if renewal else "; a renewal is not proven yet."))


def main(arguments):
    if len(arguments) != 2:
        print(__doc__)
        return 2
    try:
        text = arguments[1].strip()  # base64 of 32 bytes, or name+id+base64 as the app shows it
        key = decode(text) if len(text) == 44 else decode(text.split("+", 2)[2])[1:]
        with open(arguments[0], encoding="utf-8") as file:
            check(json.load(file), key)
    except (ArithmeticError, LookupError, TypeError, AttributeError, ValueError, OSError) as error:
        print(f"WRONG: {error}")
        return 1
    print("Everything fits: these entries are in the log, and are about this receipt's holder.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
