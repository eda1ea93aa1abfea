"""Password hashes, as the web makes and checks them."""

import unicodedata

from argon2 import PasswordHasher


def hash_password(password: str) -> str:
    """An Argon2id hash; characters that can be typed in two ways are brought to one form."""
    return PasswordHasher().hash(unicodedata.normalize("NFKD", password))
