"""How a user lies in a Redis hash, by Feast's format; and the scripts that write it: Redis runs one at a time."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import mmh3

from features import vectors
from features.online.contract import PROJECT, Assorted, Cell

__all__ = ["assorted_of", "field_of", "fields", "record_of", "seconds_of", "stamp_of"]

SUFFIX = PROJECT.encode()
BEFORE = vectors.entity_keys([""])[0][:-4]  # of every key; then come the length of the id, the id and the project
EVERYBODY = BEFORE + b"*" + SUFFIX  # a pattern; no byte of it means anything else
LOCK, VIEWS, ASSORTMENT = "userops:lock", "userops:views", "userops:assortment"
OWNER = "installation"  # beside the views
LOCK_SECONDS = 30  # from one write of its holder to the next; who outlives it writes on unless another one began

LOST = "LOST the lock"

# All scripts: KEYS[1] the lock, ARGV[1] its token, ARGV[2] LOCK_SECONDS. The lock names its last holder for ever: who
# outlived it learns that another one began, also when that one has ended; and a Redis that came back empty holds none.
_HOLD = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return redis.error_reply('LOST the lock') end
redis.call('HSET', KEYS[1], 'until', redis.call('TIME')[1] + ARGV[2])
local read = {}
local function seconds(stamp)  -- of a protobuf Timestamp: field 1, a varint; absent is 0
  if not stamp then return -1 end
  if read[stamp] then return read[stamp] end
  local total, scale = 0, 1
  if string.byte(stamp, 1) == 8 then
    for place = 2, #stamp do
      local byte = string.byte(stamp, place)
      total = total + (byte % 128) * scale
      scale = scale * 128
      if byte < 128 then break end
    end
  end
  read[stamp] = total
  return total
end
"""

# ARGV[3] the number of cells, then of each: field, _ts field, _made field, prefix of those that count ('': all).
# Then of each user (KEYS[2..]) and cell: value ('': none), _ts, _made. Returns how many were written, by cell.
WRITE = (
    _HOLD
    + """
local cells, written = tonumber(ARGV[3]), {}
for cell = 1, cells do written[cell] = 0 end
local place = 3 + 4 * cells
for user = 2, #KEYS do
  local change = {}
  for cell = 1, cells do
    local value = ARGV[place + 1]
    if value ~= '' then
      local at = 3 + 4 * (cell - 1)
      local stamp, made, prefix = ARGV[place + 2], tonumber(ARGV[place + 3]), ARGV[at + 4]
      local old = redis.call('HMGET', KEYS[user], ARGV[at + 2], ARGV[at + 3])
      local old_at, new_at = seconds(old[1]), seconds(stamp)
      local wins = new_at > old_at or (new_at == old_at and made >= (tonumber(old[2] or '0') or 0))
      if not wins and prefix ~= '' then
        local other = redis.call('HGET', KEYS[user], ARGV[at + 1])
        wins = not other or string.sub(other, 1, #prefix) ~= prefix
      end
      if wins then
        written[cell] = written[cell] + 1
        local n = #change
        change[n + 1], change[n + 2] = ARGV[at + 1], value
        change[n + 3], change[n + 4] = ARGV[at + 2], stamp
        change[n + 5], change[n + 6] = ARGV[at + 3], ARGV[place + 3]
      end
    end
    place = place + 3
  end
  if #change > 0 then redis.call('HSET', KEYS[user], unpack(change)) end
end
return written
"""
)

# ARGV[3] the number of cells, then of each: field, _ts field, _made field, prefix, oldest second that stays ('': none).
SWEEP = (
    _HOLD
    + """
for user = 2, #KEYS do
  for cell = 0, tonumber(ARGV[3]) - 1 do
    local at = 3 + 5 * cell
    local stamp = redis.call('HGET', KEYS[user], ARGV[at + 2])
    local gone = stamp and (ARGV[at + 5] == '' or seconds(stamp) < tonumber(ARGV[at + 5]))
    if stamp and not gone and ARGV[at + 4] ~= '' then
      local value = redis.call('HGET', KEYS[user], ARGV[at + 1])
      gone = not value or string.sub(value, 1, #ARGV[at + 4]) ~= ARGV[at + 4]
    end
    if gone then redis.call('HDEL', KEYS[user], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]) end
  end
end
return 0
"""
)

# KEYS[2] a user.
FORGET = _HOLD + "return redis.call('DEL', KEYS[2])"

# KEYS[2] a hash, ARGV[3..] its new fields: all of it, in the place of the old one.
REPLACE = (
    _HOLD
    + """
redis.call('DEL', KEYS[2])
for place = 3, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[place], ARGV[place + 1]) end
return 1
"""
)

# KEYS[2] a hash, ARGV[3] a field, ARGV[4] its value, ARGV[5] '1': only where there is none.
NOTE = _HOLD + "return redis.call(ARGV[5] == '1' and 'HSETNX' or 'HSET', KEYS[2], ARGV[3], ARGV[4])"

# Returns 1 when the lock is ours now, also where the answer to the first try was lost on the way.
TAKE = """
local now, held = tonumber(redis.call('TIME')[1]), redis.call('HMGET', KEYS[1], 'token', 'until')
if held[1] ~= ARGV[1] and tonumber(held[2] or '0') > now then return 0 end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'until', now + ARGV[2])
return 1
"""
FREE = "if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then redis.call('HSET', KEYS[1], 'until', 0) end return 0"


@lru_cache(maxsize=64)
def field_of(cell: Cell) -> tuple[bytes, bytes, bytes]:
    """The fields of a user's hash that hold a cell: value, ``_ts`` and ``_made``.

    Examples
    --------
    >>> field_of(Cell("user_vector", "vector"))[1:]
    (b'_ts:user_vector', b'_made:user_vector')
    """
    name = mmh3.hash(f"{cell.view}:{cell.feature}", signed=False).to_bytes(4, "little")
    return name, f"_ts:{cell.view}".encode(), f"_made:{cell.view}".encode()


@lru_cache(maxsize=64)
def fields(cells: tuple[Cell, ...]) -> tuple[bytes, ...]:
    """Value and ``_ts`` field of each cell."""
    return tuple(name for cell in cells for name in field_of(cell)[:2])


@lru_cache(maxsize=1024)
def stamp_of(seconds: int) -> bytes:
    """A serialised ``google.protobuf.Timestamp`` at a whole second.

    Examples
    --------
    >>> stamp_of(300).hex(), seconds_of(stamp_of(300)), seconds_of(stamp_of(0))
    ('08ac02', 300, 0)
    """
    return b"\x08" + vectors.varint(seconds) if seconds else b""


@lru_cache(maxsize=1024)
def seconds_of(stamp: bytes | None) -> int:
    """The whole seconds of a serialised Timestamp; ValueError where it is none."""
    if stamp is None:
        raise ValueError("no Timestamp")
    if not stamp or stamp[0] == 0x10:  # only a fraction of second 0
        return 0
    total = 0
    for place, byte in enumerate(stamp[1:]):
        total |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            if stamp[0] == 0x08 and total < 2**53:
                return total
            break
    raise ValueError("no Timestamp")


def record_of(text: bytes | None) -> dict[str, Any] | None:
    """What was noted of a publication."""
    found: dict[str, Any] | None = json.loads(text) if text else None
    return found


def packed(assorted: Assorted) -> dict[str, str]:
    """An assortment as the fields of a hash."""
    stamp, as_of, items, stores = assorted
    coded = [[name, _text(places), None if stock is None else _text(stock)] for name, places, stock in stores]
    return {"stamp": stamp, "as_of": str(as_of), "items": json.dumps(items), "stores": json.dumps(coded)}


def assorted_of(found: Mapping[bytes, bytes]) -> Assorted:
    """The assortment of a hash's fields."""
    items = [tuple(one) for one in json.loads(found[b"items"])]
    stores = [
        (name, base64.b64decode(places), None if stock is None else base64.b64decode(stock))
        for name, places, stock in json.loads(found[b"stores"])
    ]
    return found[b"stamp"].decode(), int(found[b"as_of"]), items, stores


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
