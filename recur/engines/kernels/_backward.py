"""The kernel backwards: from cotangents of all states to those of the gates' sums and of the state before."""

from llvmlite import ir

from recur.engines.kernels import _math
from recur.engines.kernels._code import I64, PTR, Code, Row, const
from recur.engines.kernels._emit import emit
from recur.engines.kernels._evaluate import Entries, entries_of
from recur.engines.kernels._product import Shape, define_packing
from recur.engines.kernels._time import WORKER, Kernel, Plan


def define_backward(module: ir.Module, plan: Plan) -> tuple[ir.Function | None, ir.Function]:
    """Defines ``pack(matrix, packed)``, None without a product, and the worker over time.

    Buffers: weights, states, start, kept, cotangent (of the fields that `given` names, in order); results d_sums,
    d_start, d_weights (for every row), carry (memory for the worker), packed; bias and projected, d_split, mask, reset,
    restart and the result d_restart where there are such.
    """
    return _Backward(module, plan, "backward").define()


class _Backward(Kernel):
    @property
    def fields(self) -> int:
        return len(self.plan.sizes["states"])

    @property
    def padded(self) -> int:
        """Entries of a row of the carry, for one field."""
        return -(-self.plan.units // self.plan.lanes) * self.plan.lanes

    def carry(self, code: Code, table: ir.Value, row: ir.Value, field: int, first: ir.Value) -> ir.Value:
        """Returns the address of the cotangent of a row's field, which goes from step to step."""
        start = code.builder.mul(row, const(self.fields * self.padded))
        return code.at(self.buffers(code, table, "carry")[0], start, first, field * self.padded)

    def define(self) -> tuple[ir.Function | None, ir.Function]:
        plan, pack, blocks = self.plan, None, ()
        update = self._define_update()
        if plan.depth:
            shape = Shape(plan.depth, 1, plan.units, plan.lanes)
            pack = define_packing(self.module, "pack", shape, transposed=True)
            blocks = [self._define_block(shape, rows, vectors) for rows, vectors in plan.blocks]
        code = self.code("worker", WORKER)
        table, length, batch, low, high = code.arguments
        self._over_rows(code, table, low, high, self._clear)
        with code.loop(const(0), length) as back:
            b = code.builder
            step = b.sub(b.sub(length, const(1)), back)
            common = [table, length, batch, step]
            b.call(update, [*common, low, high])
            if plan.depth:
                self.in_blocks(code, low, high, blocks, *common)
            if plan.has("reset"):
                self._reset(code, table, step, batch, low, high)
        self._over_rows(code, table, low, high, self._finish)
        code.builder.ret_void()
        return pack, code.function

    def _over_rows(self, code: Code, table: ir.Value, low: ir.Value, high: ir.Value, body) -> None:
        with code.loop(low, high) as row, code.loop(const(0), const(self.plan.units), self.plan.lanes) as first:
            body(code, table, row, first, Row(code, self.plan.units, first))

    def _clear(self, code: Code, table: ir.Value, row: ir.Value, first: ir.Value, vectors: Row) -> None:
        zero = _math.splat(0.0, code.vector)
        for field in range(self.fields):
            code.store(zero, self.carry(code, table, row, field, first), aligned=True)
        for name in ("d_weights", "d_restart"):
            if self.plan.has(name):
                zeros = [entries_of([zero] * size) for size in self.plan.sizes[name]]
                self.put(code, vectors, table, name, row, first, zeros)

    def _finish(self, code: Code, table: ir.Value, row: ir.Value, first: ir.Value, vectors: Row) -> None:
        carried = [self._carried(code, table, row, field, first) for field in range(self.fields)]
        self.put(code, vectors, table, "d_start", row, first, carried)

    def _carried(self, code: Code, table: ir.Value, row: ir.Value, field: int, first: ir.Value) -> Entries:
        return entries_of([code.load(self.carry(code, table, row, field, first), aligned=True)])

    def _define_update(self) -> ir.Function:
        """Defines a step backwards of some rows, but for what comes through the product."""
        plan = self.plan
        code = self.code("update", [PTR, I64, I64, I64, I64, I64])
        table, length, batch, step, low, high = code.arguments
        b = code.builder

        def update(code: Code, table: ir.Value, row: ir.Value, first: ir.Value, vectors: Row) -> None:
            at = b.add(b.mul(step, batch), row)
            weights = self.entries(code, vectors, table, "weights", None, first)
            before = []
            for field in range(self.fields):
                seen, _ = self.before(code, table, field, step, batch, row)
                before.append(entries_of([vectors.load(code.at(seen, first))]))
            nothing = entries_of([_math.splat(0.0, code.vector)] * plan.gates)
            projected = self.projected(code, vectors, table, at, first) or [nothing]
            kept = self.entries(code, vectors, table, "kept", at, first)
            cotangent = [self._carried(code, table, row, field, first) for field in range(self.fields)]
            given = self.entries(code, vectors, table, "cotangent", at, first)
            for field, entries in zip(plan.given, given, strict=True):
                cotangent[field] = entries_of([b.fadd(cotangent[field].item(), entries.item())])
            results = emit(b, code.lanes, plan.program, [*weights, *before, *projected, *kept, *cotangent])
            d_weights, results = results[: len(weights)], results[len(weights) :]
            d_state, d_gates = results[: self.fields], results[self.fields :]
            if plan.has("mask"):
                counts = code.flag(self.buffers(code, table, "mask")[0], at)
                zero = _math.splat(0.0, code.vector)

                def only(leaves: list[Entries], others: list[Entries] | None = None) -> list[Entries]:
                    chosen = []
                    for index, leaf in enumerate(leaves):
                        other = [zero] * leaf.size if others is None else others[index].ravel()
                        pairs = zip(leaf.ravel(), other, strict=True)
                        chosen.append(entries_of([b.select(counts, value, old) for value, old in pairs]))
                    return chosen

                d_weights, d_gates, d_state = only(d_weights), only(d_gates), only(d_state, cotangent)
            if d_weights:
                sums = self.entries(code, vectors, table, "d_weights", row, first)
                pairs = zip(sums, d_weights, strict=True)
                added = [entries_of([b.fadd(x, y) for x, y in zip(*pair, strict=True)]) for pair in pairs]
                self.put(code, vectors, table, "d_weights", row, first, added)
            self.put(code, vectors, table, "d_sums", at, first, d_gates[:1])
            if plan.has("d_split"):
                self.put(code, vectors, table, "d_split", at, first, d_gates[1:])
            for field, entries in enumerate(d_state):
                code.store(entries.item(), self.carry(code, table, row, field, first), aligned=True)

        self._over_rows(code, table, low, high, update)
        b.ret_void()
        return code.function

    def _define_block(self, shape: Shape, rows: int, vectors: int) -> ir.Function:
        """Defines what a few rows get through the product: ``d_sums U^T``, added to what is carried of h."""
        code = self.code(f"step_{rows}", [PTR, I64, I64, I64, I64])
        b, (table, _, batch, step, row) = code.builder, code.arguments
        groups = shape.groups(vectors)
        most = max(chunks for _, chunks in groups)
        scratch, pointers = code.room(code.vector, rows * most), code.room(PTR, rows)
        at = b.add(b.mul(step, batch), row)
        d_sums = self.buffers(code, table, "d_sums")[0]
        for offset in range(rows):
            own = b.mul(b.add(at, const(offset)), const(shape.depth))
            b.store(code.at(d_sums, own), b.gep(pointers, [const(offset)], source_etype=PTR))
        packed = self.buffers(code, table, "packed")[0]

        def group(first: ir.Value, chunks: int) -> None:
            product = self.product(shape, rows, chunks, vectors)
            b.call(product, [pointers, code.at(packed, b.mul(first, const(shape.depth * shape.lanes))), scratch])
            begin = b.mul(first, const(shape.lanes))
            for offset in range(rows):
                for chunk in range(chunks):
                    own = self.carry(
                        code, table, b.add(row, const(offset)), 0, b.add(begin, const(chunk * shape.lanes))
                    )
                    share = code.load(code.at(scratch, (offset * chunks + chunk) * shape.lanes), aligned=True)
                    code.store(b.fadd(code.load(own, aligned=True), share), own, aligned=True)

        self.over_groups(code, groups, group)
        b.ret_void()
        return code.function

    def _reset(
        self, code: Code, table: ir.Value, step: ir.Value, batch: ir.Value, low: ir.Value, high: ir.Value
    ) -> None:
        """Gives what is carried to the state that a reset returned to, and begins anew."""
        b = code.builder

        def move(code: Code, table: ir.Value, row: ir.Value, first: ir.Value, vectors: Row) -> None:
            at = b.add(b.mul(step, batch), row)
            goes = code.flag(self.buffers(code, table, "reset")[0], at)
            if self.plan.has("mask"):
                goes = b.and_(goes, code.flag(self.buffers(code, table, "mask")[0], at))
            zero = _math.splat(0.0, code.vector)
            carried = [self._carried(code, table, row, field, first).item() for field in range(self.fields)]
            sums = self.entries(code, vectors, table, "d_restart", row, first)
            pairs = zip(sums, carried, strict=True)
            added = [entries_of([b.fadd(old.item(), b.select(goes, new, zero))]) for old, new in pairs]
            self.put(code, vectors, table, "d_restart", row, first, added)
            for field, value in enumerate(carried):
                code.store(b.select(goes, zero, value), self.carry(code, table, row, field, first), aligned=True)

        self._over_rows(code, table, low, high, move)
