"""The codes of ids in a history: apart, so that a worker of a cluster needs nothing else to compute them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from configs.history import code

__all__ = ["code_table"]


def code_table(ids: Any) -> pa.Table:
    """``id`` and its ``code``: a hash that no engine computes, so it travels as a table to join with.

    >>> code_table(pa.array(["85123A"])).to_pylist()
    [{'id': '85123A', 'code': 3324485808245865.0}]
    """
    values = [float(code(text)) for text in ids.to_pylist()]
    return pa.table({"id": ids.cast(pa.string()), "code": pa.array(values, pa.float64())})
