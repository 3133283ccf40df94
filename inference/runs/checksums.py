"""Checksums of what a run has learned: a single flipped bit is found before anything is read from a file.

A checkpoint has a file `SHA256SUMS` in the format of `sha256sum`, which also checks it (`sha256sum -c SHA256SUMS`). A
single file of weights, which is replaced atomically, has its checksum inside: that of its bytes with 64 zeros in place
of the checksum.
"""

from collections.abc import Mapping
from hashlib import sha256

SUMS = "SHA256SUMS"
UNSEALED = "0" * 64


def checksums(contents: Mapping[str, bytes]) -> bytes:
    """The contents of `SHA256SUMS` for files, by name."""
    return "".join(f"{sha256(content).hexdigest()}  {name}\n" for name, content in contents.items()).encode()


def first_mismatch(recorded: bytes, contents: Mapping[str, bytes]) -> str | None:
    """The first file that is not what was recorded, which may be the record itself; None if all are.

    Args:
        recorded: contents of `SHA256SUMS`.
        contents: contents of the other files, by name.
    """
    expected = checksums(contents)
    if recorded == expected:
        return None
    lines = recorded.splitlines()
    wrong = [name for name, line in zip(contents, expected.splitlines(), strict=True) if line not in lines]
    return wrong[0] if wrong else SUMS


def seal(content: bytes) -> bytes:
    """Put a file's checksum in the place of the first 64 zeros in it."""
    return content.replace(UNSEALED.encode(), sha256(content).hexdigest().encode(), 1)


def is_sealed_by(content: bytes, checksum: str) -> bool:
    """Whether a file is as it was when it was sealed with this checksum."""
    return sha256(content.replace(checksum.encode(), UNSEALED.encode(), 1)).hexdigest() == checksum
