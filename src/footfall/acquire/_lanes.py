"""Sixteen numbers at once inside compiled kernels: what rows of some twenty edges need and numba's loops do not give.

Plain LLVM vectors, so that every processor has them, in as many instructions as it takes. Float arrays are float32.
What is read and written in sixteens must have room for them, whatever stands beyond the numbers that matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call,import-untyped"

WIDTH = 16
_LEAST = -3e38  # below any number of single precision that counts

_FLOAT, _INT, _LONG = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_FLOATS, _INTS, _LONGS = (ir.VectorType(kind, WIDTH) for kind in (_FLOAT, _INT, _LONG))


def _data(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [at])


def _loaded(builder: Any, pointer: Any, kind: Any, size: int) -> Any:
    loaded = builder.load(builder.bitcast(pointer, kind.as_pointer()))
    loaded.align = size
    return loaded


def _stored(builder: Any, vector: Any, pointer: Any, size: int) -> None:
    builder.store(vector, builder.bitcast(pointer, vector.type.as_pointer())).align = size


def _same(kind: Any, number: float) -> Any:
    return ir.Constant(kind, [number] * WIDTH)


def _everywhere(builder: Any, number: Any, kind: Any) -> Any:
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(_INT, 0))
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), _same(_INTS, 0))


def _before(builder: Any, count: Any) -> Any:
    """Which lanes come before ``count``."""
    few = _everywhere(builder, builder.trunc(count, _INT), _INTS)
    return builder.icmp_signed("<", ir.Constant(_INTS, list(range(WIDTH))), few)


def _larger(builder: Any, one: Any, other: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", one, other), one, other)


def _called(builder: Any, name: str, answer: Any, arguments: Sequence[Any], fast: Sequence[str] = ()) -> Any:
    kind = ir.FunctionType(answer, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments, fastmath=fast)


def _largest(builder: Any, vector: Any) -> Any:
    return _called(builder, f"llvm.vector.reduce.fmax.v{WIDTH}f32", _FLOAT, [vector], ("nnan", "nsz"))


@intrinsic
def gains(typing_context, value, index, price, at, gain, to):
    """``gain[to + k] = value[at + k] - price[index[at + k]]`` for k below WIDTH."""

    def code(context, builder, signature, arguments):
        values, indices, prices, at, gain, to = arguments
        kinds, paid = signature.args, ir.Constant(_FLOATS, ir.Undefined)
        first = _data(context, builder, kinds[1], indices, at)
        table = _data(context, builder, kinds[2], prices, ir.Constant(_LONG, 0))
        for k in range(WIDTH):  # quicker than taking the indices out of a vector
            which = builder.zext(builder.load(builder.gep(first, [ir.Constant(_LONG, k)])), _LONG)
            paid = builder.insert_element(paid, builder.load(builder.gep(table, [which])), ir.Constant(_INT, k))
        worth = _loaded(builder, _data(context, builder, kinds[0], values, at), _FLOATS, 4)
        _stored(builder, builder.fsub(worth, paid), _data(context, builder, kinds[4], gain, to), 4)
        return context.get_dummy_value()

    return types.none(value, index, price, types.int64, gain, types.int64), code


@intrinsic
def top(typing_context, array, at, count):
    """The largest of 0 and ``array[at : at + min(count, 2 WIDTH)]``."""

    def code(context, builder, signature, arguments):
        array, at, count = arguments
        most, zeros, shift = _same(_FLOATS, 0.0), _same(_FLOATS, 0.0), ir.Constant(_LONG, WIDTH)
        for _ in range(2):
            here = _loaded(builder, _data(context, builder, signature.args[0], array, at), _FLOATS, 4)
            most = _larger(builder, builder.select(_before(builder, count), here, zeros), most)
            at, count = builder.add(at, shift), builder.sub(count, shift)
        return _largest(builder, most)

    return types.float32(array, types.int64, types.int64), code


@intrinsic
def keep(typing_context, array, at, count, least, best, near, which, to):
    """Numbers from ``least`` on among ``array[at : at + min(count, WIDTH)]``, less ``best``, to ``near[to:]``, and
    where they stand to ``which[to:]``, int32; returns how many. Writes WIDTH entries.
    """

    def code(context, builder, signature, arguments):
        array, at, count, least, best, near, which, to = arguments
        kinds = signature.args
        here = _loaded(builder, _data(context, builder, kinds[0], array, at), _FLOATS, 4)
        kept = builder.fcmp_ordered(">=", here, _everywhere(builder, least, _FLOATS))
        kept = builder.and_(kept, _before(builder, count))
        here = builder.fsub(here, _everywhere(builder, best, _FLOATS))
        place = _everywhere(builder, builder.trunc(at, _INT), _INTS)
        place = builder.add(place, ir.Constant(_INTS, list(range(WIDTH))))
        for vector, kind, array, name in ((here, kinds[5], near, "f32"), (place, kinds[6], which, "i32")):
            packed = [vector, kept, ir.Constant(vector.type, ir.Undefined)]
            packed = _called(builder, f"llvm.experimental.vector.compress.v{WIDTH}{name}", vector.type, packed)
            _stored(builder, packed, _data(context, builder, kind, array, to), 4)
        bits = builder.bitcast(kept, ir.IntType(WIDTH))
        return builder.zext(_called(builder, f"llvm.ctpop.i{WIDTH}", bits.type, [bits]), _LONG)

    f, i = types.float32, types.int64
    return i(array, i, i, f, f, near, which, i), code


@intrinsic
def fill(typing_context, array, at, number):
    """``array[at : at + WIDTH] = number``, int32."""

    def code(context, builder, signature, arguments):
        array, at, number = arguments
        number = _everywhere(builder, builder.trunc(number, _INT), _INTS)
        _stored(builder, number, _data(context, builder, signature.args[0], array, at), 4)
        return context.get_dummy_value()

    return types.none(array, types.int64, types.int64), code


@intrinsic
def widest(typing_context, start, at):
    """The largest ``start[at + k + 1] - start[at + k]`` for k below WIDTH; start: int64."""

    def code(context, builder, signature, arguments):
        start, at = arguments
        one = ir.Constant(_LONG, 1)
        ends = [_data(context, builder, signature.args[0], start, a) for a in (at, builder.add(at, one))]
        first, last = (_loaded(builder, end, _LONGS, 8) for end in ends)
        widths = builder.trunc(builder.sub(last, first), _INTS)
        most = _called(builder, f"llvm.vector.reduce.smax.v{WIDTH}i32", _INT, [widths])
        return builder.zext(most, _LONG)

    return types.int64(start, types.int64), code


@intrinsic
def line_up(typing_context, array, start, at, most, table):
    """Sixteen rows side by side: ``table[WIDTH q + k]`` is entry q < most of row ``array[start[at + k] :]``, or the
    least number where the row has ended.
    """

    def code(context, builder, signature, arguments):
        array, start, at, most, table = arguments
        kinds = signature.args
        one = ir.Constant(_LONG, 1)
        ends = [_data(context, builder, kinds[1], start, a) for a in (at, builder.add(at, one))]
        first, last = (_loaded(builder, end, _LONGS, 8) for end in ends)
        width = builder.trunc(builder.sub(last, first), _INTS)
        rows = [builder.extract_element(first, ir.Constant(_INT, k)) for k in range(WIDTH)]
        rows = [_data(context, builder, kinds[0], array, row) for row in rows]
        with cgutils.for_range(builder, most) as loop:
            here = ir.Constant(_FLOATS, ir.Undefined)
            for k, row in enumerate(rows):
                one = builder.load(builder.gep(row, [loop.index]))
                here = builder.insert_element(here, one, ir.Constant(_INT, k))
            now = _everywhere(builder, builder.trunc(loop.index, _INT), _INTS)
            here = builder.select(builder.icmp_signed(">", width, now), here, _same(_FLOATS, _LEAST))
            to = builder.mul(loop.index, ir.Constant(_LONG, WIDTH))
            _stored(builder, here, _data(context, builder, kinds[4], table, to), 4)
        return context.get_dummy_value()

    return types.none(array, start, types.int64, types.int64, table), code


@intrinsic
def raise_levels(typing_context, table, most, level, at, mass):
    """One step of Michelot's (1986) on sixteen rows of a table (see ``line_up``): each level t of ``level[at:]``
    becomes (sum of a > t, less mass) / |{a > t}| where that is more; whether one rose.
    """

    def code(context, builder, signature, arguments):
        table, most, level, at, mass = arguments
        zeros, ones = _same(_FLOATS, 0.0), _same(_FLOATS, 1.0)
        levels = _data(context, builder, signature.args[2], level, at)
        now = _loaded(builder, levels, _FLOATS, 4)
        total, above = (cgutils.alloca_once_value(builder, zeros) for _ in range(2))
        with cgutils.for_range(builder, most) as loop:
            row = builder.mul(loop.index, ir.Constant(_LONG, WIDTH))
            here = _loaded(builder, _data(context, builder, signature.args[0], table, row), _FLOATS, 4)
            counts = builder.fcmp_ordered(">", here, now)
            builder.store(builder.fadd(builder.load(total), builder.select(counts, here, zeros)), total)
            builder.store(builder.fadd(builder.load(above), builder.select(counts, ones, zeros)), above)
        none = builder.fcmp_ordered("==", builder.load(above), zeros)
        following = builder.fsub(builder.load(total), _everywhere(builder, mass, _FLOATS))
        following = builder.fdiv(following, _larger(builder, builder.load(above), ones))
        following = builder.select(none, now, following)
        rose = builder.fcmp_ordered(">", following, now)
        _stored(builder, builder.select(rose, following, now), levels, 4)
        rose = builder.bitcast(rose, ir.IntType(WIDTH))
        return builder.icmp_unsigned("!=", rose, ir.Constant(rose.type, 0))

    return types.boolean(table, types.int64, level, types.int64, types.float32), code
