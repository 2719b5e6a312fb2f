"""Vector instructions that a loop would not surely become: one call looks at 64 bytes or 64 minima.

A plain loop over permutations was vectorised or not by the run-time alias checks of the compiler, 8 times
slower where not; so the vectors are spelled out (LLVM vector types, which become SSE2, AVX2, AVX-512 or NEON).
All reads of 64 bytes are unaligned and may reach beyond a text: callers see to 64 readable bytes behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

BYTES = 64  # that one call looks at
LANES = 32  # minima that one call brings up to date

_I1, _I8, _I32, _I64, _I128 = (ir.IntType(bits) for bits in (1, 8, 32, 64, 128))
_V8 = ir.VectorType(_I8, BYTES)
_PART = 8  # minima per vector: with 32 lanes, all fit the 16 registers of AVX2
_V32 = ir.VectorType(_I32, _PART)


def _splat(value: int) -> ir.Constant:
    return ir.Constant(_V8, [value] * BYTES)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, to: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), to.as_pointer())


def _load(context: Any, builder: Any, array_type: Any, array: Any, index: Any, to: Any) -> Any:
    loaded = builder.load(_pointer(context, builder, array_type, array, index, to))
    loaded.align = 1
    return loaded


def _store(context: Any, builder: Any, array_type: Any, array: Any, index: Any, value: Any) -> None:
    stored = builder.store(value, _pointer(context, builder, array_type, array, index, value.type))
    stored.align = 1


def _within(builder: Any, vector: Any, least: int, most: int) -> Any:
    """Return which bytes lie in least..most: one subtraction and one unsigned comparison."""
    moved = builder.sub(vector, _splat(least))
    return builder.icmp_unsigned("<=", moved, _splat(most - least))


def _is_space(builder: Any, vector: Any) -> Any:
    """Return which bytes are ASCII white space as ``str.isspace`` has it: 9 to 13, 28 to 32."""
    return builder.or_(_within(builder, vector, 9, 13), _within(builder, vector, 28, 32))


def _mask(name: str, which: Callable[[Any, Any], Any], doc: str) -> Any:
    """Make an intrinsic (bytes, index) → 64 bits, bit k telling of bytes[index + k]."""

    def make(typing_context: Any, data: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            vector = _load(context, builder, signature.args[0], arguments[0], arguments[1], _V8)
            return builder.bitcast(which(builder, vector), _I64)

        return types.uint64(data, types.int64), generate

    make.__name__ = name
    make.__doc__ = doc
    return intrinsic(make)


def _is_word(builder: Any, vector: Any) -> Any:
    letter = _within(builder, builder.or_(vector, _splat(0x20)), ord("a"), ord("z"))
    digit = _within(builder, vector, ord("0"), ord("9"))
    line = builder.icmp_unsigned("==", vector, _splat(ord("_")))
    high = builder.icmp_signed("<", vector, _splat(0))
    return builder.or_(builder.or_(letter, digit), builder.or_(line, high))


def _is_high(builder: Any, vector: Any) -> Any:
    return builder.icmp_signed("<", vector, _splat(0))


word_mask = _mask("word_mask", _is_word, "ASCII letters, digits, underscores, and all bytes from 0x80.")
high_mask = _mask("high_mask", _is_high, "Bytes from 0x80.")
space_mask = _mask("space_mask", _is_space, "ASCII white space.")


@intrinsic  # type: ignore[untyped-decorator]
def copy_lower(typing_context: Any, data: Any, index: Any, out: Any, place: Any) -> Any:
    """Copy 64 bytes with A to Z made a to z; return which of them are from 0x80."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = _load(context, builder, signature.args[0], arguments[0], arguments[1], _V8)
        upper = _within(builder, vector, ord("A"), ord("Z"))
        lowered = builder.select(upper, builder.or_(vector, _splat(0x20)), vector)
        _store(context, builder, signature.args[2], arguments[2], arguments[3], lowered)
        return builder.bitcast(_is_high(builder, vector), _I64)

    return types.uint64(data, types.int64, out, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def copy_plain(typing_context: Any, data: Any, index: Any, out: Any, place: Any) -> Any:
    """Copy 64 bytes with A to Z made a to z and every ASCII white space made a space."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = _load(context, builder, signature.args[0], arguments[0], arguments[1], _V8)
        upper = _within(builder, vector, ord("A"), ord("Z"))
        lowered = builder.select(upper, builder.or_(vector, _splat(0x20)), vector)
        plain = builder.select(_is_space(builder, vector), _splat(0x20), lowered)
        _store(context, builder, signature.args[2], arguments[2], arguments[3], plain)
        return context.get_dummy_value()

    return types.void(data, types.int64, out, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def load64(typing_context: Any, data: Any, index: Any) -> Any:
    """Return 8 bytes as a number, little-endian."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _load(context, builder, signature.args[0], arguments[0], arguments[1], _I64)

    return types.uint64(data, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def store64(typing_context: Any, data: Any, index: Any, value: Any) -> Any:
    """Write a number as 8 bytes, little-endian."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _store(context, builder, signature.args[0], arguments[0], arguments[1], arguments[2])
        return context.get_dummy_value()

    return types.void(data, types.int64, types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def trailing_zeros(typing_context: Any, value: Any) -> Any:
    """Return how many zero bits lie below the lowest one (64 for none)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(_I1, 0))

    return types.int64(types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def ones(typing_context: Any, value: Any) -> Any:
    """Return how many bits are set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def mum(typing_context: Any, one: Any, other: Any) -> Any:
    """Return the high half of the 128-bit product, xor its low half."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        product = builder.mul(*(builder.zext(factor, _I128) for factor in arguments))
        high = builder.trunc(builder.lshr(product, ir.Constant(_I128, 64)), _I64)
        return builder.xor(builder.trunc(product, _I64), high)

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def bit_plane(typing_context: Any, row: Any, first: Any, bit: Any) -> Any:
    """Return bit ``bit`` of the 32 numbers from row[first] on, as 32 bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector_type = ir.VectorType(_I32, 32)
        numbers = _load(context, builder, signature.args[0], arguments[0], arguments[1], vector_type)
        place = builder.trunc(builder.shl(ir.Constant(_I64, 1), arguments[2]), _I32)
        lane = builder.insert_element(ir.Constant(vector_type, ir.Undefined), place, ir.Constant(_I32, 0))
        spread = builder.shuffle_vector(
            lane, ir.Constant(vector_type, ir.Undefined), ir.Constant(vector_type, [0] * 32)
        )
        found = builder.icmp_unsigned("!=", builder.and_(numbers, spread), ir.Constant(vector_type, [0] * 32))
        return builder.zext(builder.bitcast(found, _I32), _I64)

    return types.uint64(row, types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def lower_minima(typing_context: Any, x: Any, n: Any, a: Any, b: Any, out: Any, first: Any) -> Any:
    """Set out[k] = min(out[k], a[k] * x[i] + b[k] mod 2^32 over i < n) for LANES k from ``first`` on.

    The minima stay in registers over the whole loop.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        xs, count, _, _, _, start = arguments
        at = [builder.add(start, ir.Constant(_I64, k)) for k in range(0, LANES, _PART)]

        def vectors(argument: int) -> list[Any]:
            array, kind = arguments[argument], signature.args[argument]
            return [_load(context, builder, kind, array, index, _V32) for index in at]

        factors, terms, initial = vectors(2), vectors(3), vectors(4)
        before = builder.block
        loop, body, done = (builder.append_basic_block(f"minima.{part}") for part in ("loop", "body", "done"))
        builder.branch(loop)
        builder.position_at_end(loop)
        index = builder.phi(_I64)
        minima = [builder.phi(_V32) for _ in at]
        index.add_incoming(ir.Constant(_I64, 0), before)
        for phi, value in zip(minima, initial, strict=True):
            phi.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<", index, count), body, done)

        builder.position_at_end(body)
        x = _load(context, builder, signature.args[0], xs, index, _I32)
        lane = builder.insert_element(ir.Constant(_V32, ir.Undefined), x, ir.Constant(_I32, 0))
        zeros = ir.Constant(ir.VectorType(_I32, _PART), [0] * _PART)
        spread = builder.shuffle_vector(lane, ir.Constant(_V32, ir.Undefined), zeros)
        for phi, factor, term in zip(minima, factors, terms, strict=True):
            value = builder.add(builder.mul(factor, spread), term)
            phi.add_incoming(builder.select(builder.icmp_unsigned("<", value, phi), value, phi), body)
        index.add_incoming(builder.add(index, ir.Constant(_I64, 1)), body)
        builder.branch(loop)

        builder.position_at_end(done)
        for place, value in zip(at, minima, strict=True):
            _store(context, builder, signature.args[4], arguments[4], place, value)
        return context.get_dummy_value()

    return types.void(x, types.int64, a, b, out, types.int64), generate
