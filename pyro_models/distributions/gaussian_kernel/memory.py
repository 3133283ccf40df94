"""Between the tensors of the caller and the SIMD lanes of the work array: vector code that transposes on the way."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from pyro_models.distributions.gaussian_kernel.vectors import INTEGER, LANES, VECTOR, Slots

_UNROLLED = 32  # entries above which a matrix is moved by a loop over chunks instead of straight-line code
_CHUNK = 8


def _mover(move: Callable[..., None], meaning: str, move_shared: Callable[..., None] | None = None) -> Any:
    """Make `move(mover, first, width)`, which moves `width` entries from `first` on, callable in numba code.

    f(w, slot, size, kind, address, table, entry, time, step): `size` entries between slots and an array (row, time,
    size) of the type of `kind` at `address`; the row of lane l is table[entry + l]. With `move_shared`, one more
    argument states that all lanes use one row, which that function handles.
    """

    def describe(w: Any, size: Any, kind: Any, table: Any) -> Any:
        whole, entries = types.int64, size.literal_value
        last = () if move_shared is None else (types.boolean,)
        signature = types.void(w, whole, size, kind, whole, table, whole, whole, whole, *last)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            number = context.get_value_type(kind)
            rows = context.make_array(table)(context, builder, args[5]).data
            mover = _Mover(Slots(context, builder, w, args[0]), args[1], number, args[4], rows, args[6], entries)
            mover.point(args[7], args[8])
            if move_shared is None:
                mover.move_all(move)
            else:
                with builder.if_else(args[9]) as (one, several):
                    with one:
                        mover.move_all(move_shared)
                    with several:
                        mover.move_all(move)
            return context.get_dummy_value()

        return signature, generate

    # numba binds arguments by name and does not accept a star
    def plain(
        typingctx: Any,
        w: Any,
        slot: Any,
        size: Any,
        kind: Any,
        address: Any,
        table: Any,
        entry: Any,
        time: Any,
        step: Any,
    ) -> Any:
        return describe(w, size, kind, table)

    def sharing(
        typingctx: Any,
        w: Any,
        slot: Any,
        size: Any,
        kind: Any,
        address: Any,
        table: Any,
        entry: Any,
        time: Any,
        step: Any,
        shared: Any,
    ) -> Any:
        return describe(w, size, kind, table)

    function = plain if move_shared is None else sharing
    function.__name__, function.__doc__ = move.__name__, meaning
    return intrinsic(prefer_literal=True)(function)


class _Mover:
    """One transfer: the addresses of the lanes' rows, and single chunks of them."""

    def __init__(self, slots: Slots, slot: Any, number: Any, address: Any, rows: Any, entry: Any, size: int) -> None:
        self.slots, self.builder, self.slot, self.number, self.size = slots, slots.builder, slot, number, size
        self.address, self.rows, self.entry = address, rows, entry
        self.starts: list[Any] = []

    def point(self, time: Any, step: Any) -> None:
        """Find the first entry of each lane's row at this step (at step 0 if the array has one step only)."""
        builder, constant = self.builder, lambda x: ir.Constant(INTEGER, x)
        varies = builder.icmp_signed(">", time, constant(1))
        step = builder.select(varies, step, constant(0))
        width = 4 if isinstance(self.number, ir.FloatType) else 8
        for lane in range(LANES):
            row = builder.load(builder.gep(self.rows, [builder.add(self.entry, constant(lane))]))
            index = builder.mul(builder.add(builder.mul(row, time), step), constant(self.size * width))
            self.starts.append(builder.add(self.address, index))
        self.width = width

    def move_all(self, move: Callable[..., None]) -> None:
        """Move every entry, chunk by chunk."""
        chunks = self.size // _CHUNK
        if self.size > _UNROLLED:
            with cgutils.for_range(self.builder, ir.Constant(INTEGER, chunks)) as loop:
                move(self, self.builder.mul(loop.index, ir.Constant(INTEGER, _CHUNK)), _CHUNK)
        else:
            for chunk in range(chunks):
                move(self, ir.Constant(INTEGER, chunk * _CHUNK), _CHUNK)
        done = chunks * _CHUNK
        for width in (4, 2, 1):
            if (self.size - done) & width:
                move(self, ir.Constant(INTEGER, done), width)
                done += width

    def pointer(self, lane: int, first: Any, width: int) -> Any:
        """Where `width` entries of a lane lie."""
        offset = self.builder.mul(first, ir.Constant(INTEGER, self.width))
        kind = ir.VectorType(self.number, width).as_pointer()
        return self.builder.inttoptr(self.builder.add(self.starts[lane], offset), kind)

    def slot_vector(self, first: Any, k: int) -> Any:
        """Slot `first` + k as numbers of the caller's type."""
        value = self.slots.load(self.slot, self.builder.add(first, ir.Constant(INTEGER, k)), 1, 0)
        kind = ir.VectorType(self.number, LANES)
        return value if kind == VECTOR else self.builder.fptrunc(value, kind)

    def lane_vectors(self, first: Any, width: int) -> list[Any]:
        """The `width` entries from `first` on, of each lane."""
        merged = self.interleaved([self.slot_vector(first, k) for k in range(width)], LANES)
        return [self.part(merged, lane * width, width) for lane in range(LANES)]

    def interleaved(self, vectors: list[Any], runs: int) -> Any:
        """One vector in which run k of every vector (each has `runs` equal runs) stand side by side."""
        while len(vectors) > 1:
            length, merged = vectors[0].type.count // runs, []
            for left, right in zip(vectors[::2], vectors[1::2], strict=True):
                mask = [
                    side * runs * length + run * length + i
                    for run in range(runs)
                    for side in range(2)
                    for i in range(length)
                ]
                merged.append(self.builder.shuffle_vector(left, right, _mask(mask)))
            vectors = merged
        return vectors[0]

    def part(self, vector: Any, start: int, width: int) -> Any:
        """A contiguous part of a vector."""
        undefined = ir.Constant(vector.type, ir.Undefined)
        return self.builder.shuffle_vector(vector, undefined, _mask(list(range(start, start + width))))


def _mask(indices: list[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(indices)), indices)


def _load(mover: _Mover, first: Any, width: int) -> None:
    builder = mover.builder
    lanes = [builder.load(mover.pointer(lane, first, width), align=mover.width) for lane in range(LANES)]
    merged = mover.interleaved(lanes, width)
    for k in range(width):
        value = mover.part(merged, k * LANES, LANES)
        value = value if value.type == VECTOR else builder.fpext(value, VECTOR)
        mover.slots.store(value, mover.slot, builder.add(first, ir.Constant(INTEGER, k)), 1, 0)


def _accumulate(mover: _Mover, first: Any, width: int) -> None:
    builder = mover.builder
    for lane, value in enumerate(mover.lane_vectors(first, width)):
        place = mover.pointer(lane, first, width)
        builder.store(builder.fadd(builder.load(place, align=mover.width), value), place, align=mover.width)


def _accumulate_sum(mover: _Mover, first: Any, width: int) -> None:
    builder = mover.builder
    place = mover.pointer(0, first, width)
    lanes = mover.lane_vectors(first, width)
    while len(lanes) > 1:
        lanes = [builder.fadd(x, y) for x, y in zip(lanes[::2], lanes[1::2], strict=True)]
    builder.store(builder.fadd(builder.load(place, align=mover.width), lanes[0]), place, align=mover.width)


def _store(mover: _Mover, first: Any, width: int) -> None:
    for lane, value in enumerate(mover.lane_vectors(first, width)):
        mover.builder.store(value, mover.pointer(lane, first, width), align=mover.width)


load = _mover(_load, "Slots <- the lanes' rows of an array.")
store = _mover(_store, "The lanes' rows of an array <- slots.")
accumulate = _mover(_accumulate, "The lanes' rows of an array += slots.", _accumulate_sum)
