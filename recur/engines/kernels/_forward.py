"""The kernel forwards: states after every step, and what is kept of the gates."""

from llvmlite import ir

from recur.engines.kernels._code import I64, PTR, Row, const
from recur.engines.kernels._emit import emit
from recur.engines.kernels._evaluate import entries_of
from recur.engines.kernels._product import Shape, define_packing
from recur.engines.kernels._time import WORKER, Kernel, Plan


def define_forward(module: ir.Module, plan: Plan) -> tuple[ir.Function | None, ir.Function]:
    """Defines ``pack(matrix, packed)``, None without a product, and the worker over time.

    Buffers: weights, bias, projected, start, states (the result), packed; kept (a result), mask, reset and restart
    where there are such.
    """
    return _Forward(module, plan, "forward").define()


class _Forward(Kernel):
    def define(self) -> tuple[ir.Function | None, ir.Function]:
        plan, pack, blocks = self.plan, None, ()
        self.update = self._define_update()
        if plan.depth:
            shape = Shape(plan.depth, plan.gates, plan.units, plan.lanes)
            pack = define_packing(self.module, "pack", shape, transposed=False)
            blocks = [self._define_block(shape, rows, vectors) for rows, vectors in plan.blocks]
        code = self.code("worker", WORKER)
        table, length, batch, low, high = code.arguments
        with code.loop(const(0), length) as step:
            common = [table, length, batch, step]
            if plan.depth:
                self.in_blocks(code, low, high, blocks, *common)
            else:
                nothing = ir.Constant(PTR, None)
                rows = code.builder.sub(high, low)
                chunks = const(-(-plan.units // plan.lanes))
                code.builder.call(self.update, [*common, low, rows, const(0), chunks, nothing])
        code.builder.ret_void()
        return pack, code.function

    def _define_block(self, shape: Shape, rows: int, vectors: int) -> ir.Function:
        """Defines a step of a few rows: the product, then the update, for one group of chunks after the other."""
        code = self.code(f"step_{rows}", [PTR, I64, I64, I64, I64])
        b, (table, length, batch, step, row) = code.builder, code.arguments
        groups = shape.groups(vectors)
        scratch = code.room(code.vector, rows * shape.gates * max(chunks for _, chunks in groups))
        pointers = code.room(PTR, rows)
        for offset in range(rows):
            seen, _ = self.before(code, table, 0, step, batch, b.add(row, const(offset)))
            b.store(seen, b.gep(pointers, [const(offset)], source_etype=PTR))
        packed = self.buffers(code, table, "packed")[0]
        stride = shape.depth * shape.gates * shape.lanes

        def group(first: ir.Value, chunks: int) -> None:
            product = self.product(shape, rows, chunks, vectors)
            b.call(product, [pointers, code.at(packed, b.mul(first, const(stride))), scratch])
            b.call(self.update, [table, length, batch, step, row, const(rows), first, const(chunks), scratch])

        self.over_groups(code, groups, group)
        b.ret_void()
        return code.function

    def _define_update(self) -> ir.Function:
        """Defines the update of some rows and chunks, from their product ``[rows, chunks, gates, lanes]``."""
        plan = self.plan
        code = self.code("update", [PTR, I64, I64, I64, I64, I64, I64, I64, PTR])
        b, (table, _, batch, step, low, rows, first_chunk, chunks, scratch) = code.builder, code.arguments
        gates = plan.gates
        with code.loop(const(0), rows) as index, code.loop(const(0), chunks) as chunk:
            row = b.add(low, index)
            at = b.add(b.mul(step, batch), row)
            first = b.mul(b.add(first_chunk, chunk), const(plan.lanes))
            vectors = Row(code, plan.units, first)
            weights = self.entries(code, vectors, table, "weights", None, first)
            projected = self.projected(code, vectors, table, at, first)
            before, held = [], []
            for field in range(len(plan.sizes["states"])):
                seen, kept_on = self.before(code, table, field, step, batch, row)
                before.append(entries_of([vectors.load(code.at(seen, first))]))
                held.append((kept_on, before[-1]) if kept_on is not seen else (None, before[-1]))
            share = []
            if plan.depth:
                place = b.mul(b.add(b.mul(index, chunks), chunk), const(gates * plan.lanes))
                found = [code.load(code.at(scratch, place, gate * plan.lanes), aligned=True) for gate in range(gates)]
                share = [entries_of(found)]
            results = emit(b, code.lanes, plan.program, [*weights, *before, *projected, *share])
            after, kept = results[: len(before)], results[len(before) :]
            if plan.has("mask"):
                counts = code.flag(self.buffers(code, table, "mask")[0], at)
                for field, (pointer, seen) in enumerate(held):
                    old = seen.item() if pointer is None else vectors.load(code.at(pointer, first))
                    after[field] = entries_of([b.select(counts, after[field].item(), old)])
            self.put(code, vectors, table, "states", at, first, after)
            if plan.has("kept"):
                self.put(code, vectors, table, "kept", at, first, kept)
        b.ret_void()
        return code.function
