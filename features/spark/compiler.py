# ruff: noqa: N802
"""What ibis leaves out of Spark's SQL, or says there with another meaning than DuckDB's: the expressions stay the same.

Each method, named as ibis calls it, is one builtin under Spark's name, or with DuckDB's meaning of null, of rounding,
of JSON.
"""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar

import ibis.expr.operations as ops
import sqlglot as sg
import sqlglot.expressions as sge
from ibis.backends.sql.compilers.pyspark import PySparkCompiler

__all__ = ["Compiler"]

#: DuckDB's names of builtins, and Spark's.
_BUILTINS = {"epoch_us": "unix_micros"}
#: Parts of a time as strftime and as Java writes them.
_TIME = {"Y": "yyyy", "m": "MM", "d": "dd", "H": "HH", "M": "mm", "S": "ss", "f": "SSSSSS"}


class Compiler(PySparkCompiler):  # type: ignore[misc]
    """The compiler of ibis for Spark, with DuckDB's meaning."""

    __slots__ = ()

    # Those of ibis are inherited; named again, they would replace the methods below.
    SIMPLE_OPS: ClassVar[dict[Any, str]] = {}

    def __sql_name__(self, op: Any) -> Any:
        """The name of a builtin of ours."""
        name = super().__sql_name__(op)
        return _BUILTINS.get(name, name)

    def visit_NonNullLiteral(self, op: ops.Literal, *, value: Any, dtype: Any) -> Any:
        """A double: Spark reads 0.5 as a decimal."""
        if dtype.is_floating() and math.isfinite(value):
            return self.cast(sge.convert(value), dtype)
        return super().visit_NonNullLiteral(op, value=value, dtype=dtype)

    def visit_BitOr(self, op: ops.BitOr, *, arg: Any, where: Any) -> Any:
        """``bit_or``, which ibis does not know here."""
        return self.agg.bit_or(arg, where=where)

    def visit_CountStar(self, op: ops.CountStar, *, arg: Any, where: Any) -> Any:
        """0 where the condition is null in every row; ibis sums the condition and gives null."""
        return self.f.count_if(where) if where is not None else super().visit_CountStar(op, arg=arg, where=where)

    def visit_Cast(self, op: ops.Cast, *, arg: Any, to: Any) -> Any:
        """To JSON with the fields that are null, as DuckDB writes it."""
        if to.is_json() and not op.arg.dtype.is_string():
            options = self.f.anon.map(sge.convert("ignoreNullFields"), sge.convert("false"))
            return self.f.anon.to_json(arg, options)
        return super().visit_Cast(op, arg=arg, to=to)

    def visit_UnwrapJSONFloat64(self, op: ops.UnwrapJSONFloat64, *, arg: Any) -> Any:
        """A number of a JSON object, null for text that looks like one: by the engine, where ibis calls Python."""
        item = op.arg
        if not (isinstance(item, ops.JSONGetItem) and isinstance(item.index, ops.Literal) and item.dtype.is_json()):
            return super().visit_UnwrapJSONFloat64(op, arg=arg)
        name = str(item.index.value)
        text = arg.this  # of get_json_object(text, path)
        schema = sge.convert(f"`{name}` DOUBLE")
        options = self.f.anon.map(sge.convert("allowNonNumericNumbers"), sge.convert("false"))
        parsed = self.f.anon.from_json(text, schema, options)
        return sge.Dot(this=parsed, expression=sg.to_identifier(name, quoted=True))

    def visit_Round(self, op: ops.Round, *, arg: Any, digits: Any) -> Any:
        """Of the product with 10^digits, as DuckDB rounds; Spark rounds the decimal that a double prints as."""
        if not isinstance(op.digits, ops.Literal) or op.digits.value == 0 or not op.arg.dtype.is_floating():
            return super().visit_Round(op, arg=arg, digits=digits)
        power = self.cast(sge.convert(10.0**op.digits.value), op.arg.dtype)
        return self.f.anon.round(sge.paren(arg) * power, 0) / power

    def visit_ArrayCollect(
        self,
        op: ops.ArrayCollect,
        *,
        arg: Any,
        where: Any,
        order_by: Any,
        include_null: bool,
        distinct: bool,
    ) -> Any:
        """Structs are never null, so that Spark drops none; an order is that of an array, sorted afterwards."""
        if not op.arg.dtype.is_struct():
            return super().visit_ArrayCollect(
                op, arg=arg, where=where, order_by=order_by, include_null=include_null, distinct=distinct
            )
        if not order_by:
            return super().visit_ArrayCollect(
                op, arg=arg, where=where, order_by=(), include_null=False, distinct=distinct
            )
        assert not any(key.descending for key in op.order_by), "an array is sorted upwards"
        keys = [sge.PropertyEQ(this=sg.to_identifier(f"k{i}"), expression=key.this) for i, key in enumerate(order_by)]
        pair = sge.Struct(expressions=[*keys, sge.PropertyEQ(this=sg.to_identifier("item"), expression=arg)])
        one = sg.to_identifier("one")
        body = sge.Lambda(this=sge.Dot(this=one, expression=sg.to_identifier("item")), expressions=[one])
        return self.f.transform(self.f.anon.array_sort(self.agg.array_agg(pair, where=where)), body)

    def visit_ArraySlice(self, op: ops.ArraySlice, *, arg: Any, start: Any, stop: Any) -> Any:
        """The last n items without a condition: Spark then computes the array once, not six times."""
        if stop is not None or not isinstance(op.start, ops.Literal) or op.start.value >= 0:
            return super().visit_ArraySlice(op, arg=arg, start=start, stop=stop)
        last = sge.convert(-op.start.value)
        first = self.f.greatest(self.f.anon.size(arg) - last, 0) + 1
        return self.f.anon.slice(arg, first, last)

    def visit_Strftime(self, op: ops.Strftime, *, arg: Any, format_str: Any) -> Any:
        """Java's pattern, with everything that is no part of a time between quotes."""
        if not isinstance(op.format_str, ops.Literal):
            return super().visit_Strftime(op, arg=arg, format_str=format_str)
        parts = re.split(r"(%.)", op.format_str.value)
        pattern = "".join(_TIME[part[1]] if part.startswith("%") else f"'{part}'" for part in parts if part)
        return self.f.anon.date_format(arg, sge.convert(pattern))
