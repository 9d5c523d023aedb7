"""The inner loop of exact TreeSHAP (see `treeshap`), in LLVM's assembly, compiled for this processor in some 30 ms.

numba can compile the same loop from Python; measured here, it was half as fast and cost each worker 60 MB and 1.4 s of
start-up, or a cache of pickles. llvmlite, on which numba stands, costs a worker 5 MB. Products are not fused with sums
and sums keep their order, so that the same numbers come out on every processor.

Three abbreviations stand for LLVM's own lines: ``load a[i]``, ``store a[i] value`` and ``spread value`` (one number
in all lanes); ``a`` is one of the arrays below, ``a[i].field`` a part of its record.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

__all__ = ["LANES", "NODE", "STEP", "TREE", "compiled"]

LANES = 8  # quadrature points worked on at once: one register of AVX-512, two of AVX2, four of SSE or NEON

NODE = np.dtype(
    [
        ("threshold", "f8"),
        ("left_share", "f8"),  # of the training rows that reach the node, how many go left: in (0, 1)
        ("feature", "i4"),
        ("left", "i4"),  # slots of a tree with m inner nodes: these 0..m-1, parents first, leaves m..2m
        ("right", "i4"),
        ("edge", "i4"),  # the slot below the last split by this feature above, or 2m + 1: there is none
        ("row", "i4"),  # of the table, as long as x has followed every split by this feature
        ("word", "i4"),  # of a categorical split: its first word among the bits, and how many they are
        ("words", "i4"),
        ("kind", "i4"),  # 1: NaN goes left; 2: zero goes left; 4: categorical
    ],
    align=True,
)
TREE = np.dtype([("node", "i4"), ("nodes", "i4"), ("leaf", "i4"), ("rule", "i4")], align=True)
STEP = np.dtype([("share", "f8"), ("hot", "i4"), ("cold", "i4"), ("row", "i4"), ("feature", "i4")], align=True)

_ELEMENT = {  # arrays that the loop reads, those it works in, and its answer, in the order of its arguments
    "x": "double",
    "tree": TREE,
    "node": NODE,
    "leaf": "double",
    "rule": "%lanes",
    "part": "%lanes",
    "slope": "%lanes",
    "bits": "i32",
    "reach": "%lanes",
    "value": "%lanes",
    "open": "i8",
    "step": STEP,
    "sum": "%lanes",
    "phi": "double",
}

_LOOP = """
each_row:
  %i = phi i64 [ 0, %entry ], [ %i.next, %row_done ]
  %offset = mul i64 %i, %width
  %x.0 = getelementptr double, ptr %x, i64 %offset
  %phi.0 = getelementptr double, ptr %phi, i64 %offset
  br label %clear

clear:
  %c = phi i64 [ 0, %each_row ], [ %c.next, %clear ]
  store sum[i64 %c] zeroinitializer
  %c.next = add i64 %c, 1
  %cleared = icmp eq i64 %c.next, %width
  br i1 %cleared, label %each_tree, label %clear

each_tree:
  %t = phi i64 [ 0, %clear ], [ %t.next, %tree_done ]
  %first_node = load tree[i64 %t].node
  %m32 = load tree[i64 %t].nodes
  %first_leaf = load tree[i64 %t].leaf
  %rule.t = load tree[i64 %t].rule
  %m = zext i32 %m32 to i64
  %node.0 = getelementptr %node, ptr %node, i32 %first_node
  %leaf.0 = getelementptr double, ptr %leaf, i32 %first_leaf
  %weights = load rule[i32 %rule.t]
  store reach[i64 0] %weights
  %leaves.end = shl i64 %m, 1
  %no_edge = add i64 %leaves.end, 1
  store open[i64 %no_edge] 1
  br label %each_leaf

each_leaf:
  %k = phi i64 [ 0, %each_tree ], [ %k.next, %each_leaf ]
  %leaf_value = load leaf[i64 %k]
  %leaf_lanes = spread %leaf_value
  %leaf_slot = add i64 %m, %k
  store value[i64 %leaf_slot] %leaf_lanes
  %k.next = add i64 %k, 1
  %leaves_done = icmp ugt i64 %k.next, %m
  br i1 %leaves_done, label %down, label %each_leaf

down:
  %j = phi i64 [ 0, %each_leaf ], [ %j.next, %decided ]
  %threshold = load node[i64 %j].threshold
  %left_share = load node[i64 %j].left_share
  %feature = load node[i64 %j].feature
  %left = load node[i64 %j].left
  %right = load node[i64 %j].right
  %edge = load node[i64 %j].edge
  %open_row = load node[i64 %j].row
  %kind = load node[i64 %j].kind
  %v = load x[i32 %feature]
  %category_bit = and i32 %kind, 4
  %numerical = icmp eq i32 %category_bit, 0
  br i1 %numerical, label %compare, label %category

compare:
  %nan_bit = and i32 %kind, 1
  %zero_bit = and i32 %kind, 2
  %nan_left = icmp ne i32 %nan_bit, 0
  %zero_left = icmp ne i32 %zero_bit, 0
  %is_nan = fcmp uno double %v, 0.0
  %is_zero = fcmp oeq double %v, 0.0
  %below = fcmp ole double %v, %threshold
  %known = select i1 %is_zero, i1 %zero_left, i1 %below
  %compared = select i1 %is_nan, i1 %nan_left, i1 %known
  br label %decided

category:
  %word = load node[i64 %j].word
  %words = load node[i64 %j].words
  %bit_count = shl i32 %words, 5
  %end_code = uitofp i32 %bit_count to double
  %above = fcmp ogt double %v, -1.0
  %before = fcmp olt double %v, %end_code
  %listed = and i1 %above, %before
  br i1 %listed, label %look, label %decided

look:
  %code = fptosi double %v to i32
  %code_word = lshr i32 %code, 5
  %code_bit = and i32 %code, 31
  %at = add i32 %word, %code_word
  %pattern = load bits[i32 %at]
  %shifted = lshr i32 %pattern, %code_bit
  %among = trunc i32 %shifted to i1
  br label %decided

decided:
  %go_left = phi i1 [ %compared, %compare ], [ false, %category ], [ %among, %look ]
  %right_share = fsub double 1.0, %left_share
  %hot = select i1 %go_left, i32 %left, i32 %right
  %cold = select i1 %go_left, i32 %right, i32 %left
  %share = select i1 %go_left, double %right_share, double %left_share
  %followed = load open[i32 %edge]
  store open[i32 %hot] %followed
  store open[i32 %cold] 0
  %is_open = icmp ne i8 %followed, 0
  %row = select i1 %is_open, i32 %open_row, i32 0
  store step[i64 %j].share %share
  store step[i64 %j].hot %hot
  store step[i64 %j].cold %cold
  store step[i64 %j].row %row
  store step[i64 %j].feature %feature
  %part.j = load part[i32 %row]
  %shares = spread %share
  %leaves = fmul %lanes %part.j, %shares
  %reach.j = load reach[i64 %j]
  %reach.cold = fmul %lanes %reach.j, %leaves
  %reach.hot = fsub %lanes %reach.j, %reach.cold
  store reach[i32 %cold] %reach.cold
  store reach[i32 %hot] %reach.hot
  %j.next = add i64 %j, 1
  %all_down = icmp eq i64 %j.next, %m
  br i1 %all_down, label %up, label %down

up:
  %u.after = phi i64 [ %m, %decided ], [ %u, %up ]
  %u = sub i64 %u.after, 1
  %share.u = load step[i64 %u].share
  %hot.u = load step[i64 %u].hot
  %cold.u = load step[i64 %u].cold
  %row.u = load step[i64 %u].row
  %feature.u = load step[i64 %u].feature
  %part.u = load part[i32 %row.u]
  %slope.u = load slope[i32 %row.u]
  %reach.u = load reach[i32 %cold.u]
  %value.hot = load value[i32 %hot.u]
  %value.cold = load value[i32 %cold.u]
  %shares.u = spread %share.u
  %leaves.u = fmul %lanes %part.u, %shares.u
  %gap = fsub %lanes %value.hot, %value.cold
  %lost = fmul %lanes %leaves.u, %gap
  %value.u = fsub %lanes %value.hot, %lost
  store value[i64 %u] %value.u
  %weight = fmul %lanes %reach.u, %slope.u
  %gain = fmul %lanes %weight, %gap
  %sum.u = load sum[i32 %feature.u]
  %sum.next = fadd %lanes %sum.u, %gain
  store sum[i32 %feature.u] %sum.next
  %all_up = icmp eq i64 %u, 0
  br i1 %all_up, label %tree_done, label %up

tree_done:
  %t.next = add i64 %t, 1
  %trees_done = icmp eq i64 %t.next, %trees
  br i1 %trees_done, label %add_up, label %each_tree

add_up:
  %f = phi i64 [ 0, %tree_done ], [ %f.next, %add_up ]
  %sum.f = load sum[i64 %f]
  %total = call double @REDUCE(double 0.0, %lanes %sum.f)
  store phi[i64 %f] %total
  %f.next = add i64 %f, 1
  %features_done = icmp eq i64 %f.next, %width
  br i1 %features_done, label %row_done, label %add_up

row_done:
  %i.next = add i64 %i, 1
  %rows_done = icmp eq i64 %i.next, %rows
  br i1 %rows_done, label %end, label %each_row
"""

_REDUCE = f"llvm.vector.reduce.fadd.v{LANES}f64"
_ITEM = r"(\w+)\[(i\d+ [%.\w]+)\](?:\.(\w+))?"
_ABBREVIATIONS = (
    (re.compile(rf"  (%[.\w]+) = load {_ITEM}"), "load"),
    (re.compile(rf"  store {_ITEM} ([%.\w]+)"), "store"),
    (re.compile(r"  (%[.\w]+) = spread (%[.\w]+)"), "spread"),
)
_engines: list[Any] = []  # machine code lives as long as its engine


@cache
def compiled() -> Callable[..., None]:
    """The loop as machine code: ``(rows, width, trees, *addresses)``, of arrays in the order of ``_ELEMENT``.

    ImportError without llvmlite; RuntimeError when LLVM cannot compile for this processor.
    """
    import llvmlite.binding as llvm  # type: ignore[import-untyped]

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(llvm.get_host_cpu_name(), features, opt=3)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_assembly()), machine)
    engine.finalize_object()
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3, *[ctypes.c_void_p] * len(_ELEMENT))
    _engines.append(engine)
    return prototype(engine.get_function_address("explain"))


def _assembly() -> str:
    records = {name: kind for name, kind in _ELEMENT.items() if isinstance(kind, np.dtype)}
    types = [f"%{name} = type {{ {', '.join(_fields(kind).values())} }}" for name, kind in records.items()]
    arguments = ", ".join(["i64 %rows", "i64 %width", "i64 %trees", *(f"ptr noalias %{name}" for name in _ELEMENT)])
    lines = [_expanded(line, number) for number, line in enumerate(_LOOP.replace("REDUCE", _REDUCE).splitlines())]
    return "\n".join(
        [
            f"%lanes = type <{LANES} x double>",
            *types,
            f"declare double @{_REDUCE}(double, %lanes)",
            f"define void @explain({arguments}) {{\nentry:\n  br label %each_row",
            *lines,
            "end:\n  ret void\n}",
        ]
    )


def _fields(record: np.dtype[Any]) -> dict[str, str]:
    return {name: "double" if record[name] == np.float64 else "i32" for name in record.names or ()}


def _expanded(line: str, number: int) -> str:
    found = ((match, what) for pattern, what in _ABBREVIATIONS if (match := pattern.fullmatch(line)))
    match, what = next(found, (None, ""))
    if match is None:
        return line
    if what == "spread":
        into, value = match.groups()
        one = f"{into}.one = insertelement %lanes poison, double {value}, i32 0"
        return f"  {one}\n  {into} = shufflevector %lanes {into}.one, %lanes poison, <{LANES} x i32> zeroinitializer"
    into, array, index, field, value = (*match.groups(), "") if what == "load" else ("", *match.groups())
    element = _ELEMENT[array]
    place, kind = f"ptr %{array}{'.0' if array in _MOVED else ''}, {index}", str(element)
    if isinstance(element, np.dtype):
        fields = _fields(element)
        kind, place = fields[field], f"{place}, i32 {list(fields).index(field)}"
    address = f"  %at.{number} = getelementptr {f'%{array}' if field else kind}, {place}"
    if what == "load":
        return f"{address}\n  {into} = load {kind}, ptr %at.{number}, align {_ALIGN[kind]}"
    return f"{address}\n  store {kind} {value}, ptr %at.{number}, align {_ALIGN[kind]}"


_MOVED = ("x", "phi", "node", "leaf")  # begin where this row's or this tree's part begins
_ALIGN = {"double": 8, "i32": 4, "i8": 1, "%lanes": 8}  # as numpy allocates
