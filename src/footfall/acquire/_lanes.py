"""Sixteen numbers at once inside compiled kernels: what a row of some twenty edges needs and numba's loops do not give.

Plain LLVM vectors, so that every processor has them, in as many instructions as it takes. Arrays must be float32 and
readable for sixteen entries from ``at`` on; entries from ``count`` on do not matter.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call,import-untyped"

WIDTH = 16

_FLOAT, _INT = ir.FloatType(), ir.IntType(32)
_FLOATS, _INTS = ir.VectorType(_FLOAT, WIDTH), ir.VectorType(_INT, WIDTH)


def _loaded(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    loaded = builder.load(builder.bitcast(builder.gep(data, [at]), _FLOATS.as_pointer()))
    loaded.align = 4
    return loaded


def _everywhere(builder: Any, number: Any, kind: Any) -> Any:
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(_INT, 0))
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), ir.Constant(_INTS, [0] * WIDTH))


def _counted(builder: Any, count: Any) -> Any:
    """Which lanes come before ``count``."""
    few = _everywhere(builder, builder.trunc(count, _INT), _INTS)
    return builder.icmp_signed("<", ir.Constant(_INTS, list(range(WIDTH))), few)


@intrinsic
def top(typing_context, array, at, count):
    """The largest of 0 and ``array[at : at + min(count, WIDTH)]``."""

    def code(context, builder, signature, arguments):
        loaded = _loaded(context, builder, signature.args[0], *arguments[:2])
        zeros = ir.Constant(_FLOATS, [0.0] * WIDTH)
        loaded = builder.select(_counted(builder, arguments[2]), loaded, zeros)
        kind = ir.FunctionType(_FLOAT, [_FLOATS])
        largest = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fmax.v{WIDTH}f32")
        found = builder.call(largest, [loaded], fastmath=("nnan", "nsz"))
        nothing = ir.Constant(_FLOAT, 0.0)
        return builder.select(builder.fcmp_ordered(">", found, nothing), found, nothing)

    return types.float32(array, types.int64, types.int64), code


@intrinsic
def from_on(typing_context, array, at, count, least):
    """Bit k is set where ``array[at + k] >= least``, for k below ``count`` and WIDTH; uint64."""

    def code(context, builder, signature, arguments):
        loaded = _loaded(context, builder, signature.args[0], *arguments[:2])
        enough = builder.fcmp_ordered(">=", loaded, _everywhere(builder, arguments[3], _FLOATS))
        enough = builder.and_(enough, _counted(builder, arguments[2]))
        return builder.zext(builder.bitcast(enough, ir.IntType(WIDTH)), ir.IntType(64))

    return types.uint64(array, types.int64, types.int64, types.float32), code


@intrinsic
def lowest_bit(typing_context, bits):
    """The number of the lowest bit set of a uint64 that is not 0."""

    def code(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), code
