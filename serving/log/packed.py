"""The long parts of a decision as one run of bytes: a third of their size on disk and on the wire.

``inputs`` and ``response`` are JSON that says many things twice, in each other and in itself; the numbers of the
candidates hardly shrink.
"""

from __future__ import annotations

import zlib
from struct import Struct

from configs.errors import LogError

__all__ = ["pack", "unpack"]

LEVEL = 1  # higher ones save a few per cent more and cost several times the processor time
_LENGTHS = Struct("<II")


def pack(inputs: bytes, response: bytes, candidates: bytes) -> bytes:
    """All three, compressed."""
    return zlib.compress(_LENGTHS.pack(len(inputs), len(response)) + inputs + response + candidates, LEVEL)


def unpack(packed: bytes) -> tuple[bytes, bytes, bytes]:
    """What `pack` was given, byte for byte.

    Raises
    ------
    LogError
        When `pack` did not make it.

    Examples
    --------
    >>> unpack(pack(b'{"a": 1}', b"{}", b""))
    (b'{"a": 1}', b'{}', b'')
    """
    try:
        whole = zlib.decompress(packed)
        inputs, response = (_LENGTHS.size + end for end in _ends(whole))
    except (zlib.error, ValueError) as error:
        raise LogError("the decision log holds a decision that nobody wrote", got=str(error)) from None
    return whole[_LENGTHS.size : inputs], whole[inputs:response], whole[response:]


def _ends(whole: bytes) -> tuple[int, int]:
    if len(whole) < _LENGTHS.size:
        raise ValueError("too short")
    inputs, response = _LENGTHS.unpack_from(whole)
    if _LENGTHS.size + inputs + response > len(whole):
        raise ValueError("cut off")
    return inputs, inputs + response
