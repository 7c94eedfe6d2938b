"""Elementary functions on vectors of float32, as LLVM instructions.

Each is a polynomial or a rational function after a reduction of its argument; errors are a few units in the last
place, as those of XLA's own on a CPU. What is not here is not compiled: see `FUNCTIONS` in `_emit`.
"""

import math
from collections.abc import Sequence

from llvmlite import ir

F32, I32 = ir.FloatType(), ir.IntType(32)
Value = ir.Value


def splat(value: float, like: ir.Type) -> ir.Constant:
    """Returns a vector of one number."""
    return ir.Constant(like, [value] * like.count)


def call(builder: ir.IRBuilder, name: str, *arguments: Value) -> Value:
    """Calls an intrinsic of LLVM that works entry by entry on vectors of one type."""
    kind = arguments[0].type
    suffix = f"v{kind.count}{'f32' if kind.element == F32 else 'i32'}"
    function = ir.FunctionType(kind, [kind] * len(arguments))
    return builder.call(_declared(builder, function, f"llvm.{name}.{suffix}"), arguments)


def _declared(builder: ir.IRBuilder, kind: ir.FunctionType, name: str) -> ir.Function:
    found = builder.module.globals.get(name)
    return ir.Function(builder.module, kind, name) if found is None else found


def fma(builder: ir.IRBuilder, a: Value, b: Value, c: Value) -> Value:
    """Returns ``a b + c``, rounded once."""
    return call(builder, "fma", a, b, c)


def polynomial(builder: ir.IRBuilder, x: Value, coefficients: Sequence[float]) -> Value:
    """Returns the polynomial in x, coefficients from the highest power down."""
    result = splat(coefficients[0], x.type)
    for coefficient in coefficients[1:]:
        result = fma(builder, result, x, splat(coefficient, x.type))
    return result


def clamp(builder: ir.IRBuilder, x: Value, low: float, high: float) -> Value:
    """Returns x between two bounds; NaN stays."""
    above = builder.select(builder.fcmp_ordered("<", x, splat(low, x.type)), splat(low, x.type), x)
    return builder.select(builder.fcmp_ordered(">", above, splat(high, x.type)), splat(high, x.type), above)


def exp(builder: ir.IRBuilder, x: Value) -> Value:
    """Returns ``2^n e^r`` with ``x = n ln 2 + r``, ``|r| <= ln 2 / 2``.

    Coefficients: Cephes, `expf` (Moshier 1992, https://www.netlib.org/cephes/).
    """
    # Scaled in two halves, so that results from zero to infinity come out, subnormal ones as well.
    x = clamp(builder, x, -105.0, 89.0)
    n = call(builder, "rint", builder.fmul(x, splat(1 / math.log(2), x.type)))
    r = fma(builder, n, splat(-0.693359375, x.type), x)
    r = fma(builder, n, splat(2.12194440e-4, x.type), r)
    terms = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
    tail = fma(builder, polynomial(builder, r, terms), builder.fmul(r, r), r)
    value = builder.fadd(tail, splat(1.0, x.type))
    whole = builder.fptosi(n, ir.VectorType(I32, x.type.count))
    half = builder.ashr(whole, ir.Constant(whole.type, [1] * x.type.count))
    for power in (half, builder.sub(whole, half)):
        value = builder.fmul(value, _power_of_two(builder, power, x.type))
    return value


def _power_of_two(builder: ir.IRBuilder, n: Value, kind: ir.Type) -> Value:
    biased = builder.add(n, ir.Constant(n.type, [127] * kind.count))
    return builder.bitcast(builder.shl(biased, ir.Constant(n.type, [23] * kind.count)), kind)


def logistic(builder: ir.IRBuilder, x: Value) -> Value:
    """Returns ``1 / (1 + e^-x)``."""
    one = splat(1.0, x.type)
    return builder.fdiv(one, builder.fadd(one, exp(builder, builder.fneg(x))))


def tanh(builder: ir.IRBuilder, x: Value) -> Value:
    """Returns the hyperbolic tangent, by the odd rational function that Eigen and XLA have.

    Coefficients: Eigen, `generic_fast_tanh_float`, https://eigen.tuxfamily.org.
    """
    y = clamp(builder, x, -7.99881172180175781, 7.99881172180175781)
    square = builder.fmul(y, y)
    above = (
        -2.76076847742355e-16,
        2.00018790482477e-13,
        -8.60467152213735e-11,
        5.12229709037114e-08,
        1.48572235717979e-05,
        6.37261928875436e-04,
        4.89352455891786e-03,
    )
    below = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
    upper = builder.fmul(y, polynomial(builder, square, above))
    value = builder.fdiv(upper, polynomial(builder, square, below))
    tiny = builder.fcmp_ordered("<", call(builder, "fabs", x), splat(4e-4, x.type))
    return builder.select(tiny, x, value)


def log(builder: ir.IRBuilder, x: Value) -> Value:
    """Returns the natural logarithm: -inf of zero, NaN of what is negative.

    Coefficients: Cephes, `logf` (Moshier 1992, https://www.netlib.org/cephes/).
    """
    kind, ints = x.type, ir.VectorType(I32, x.type.count)

    def integers(value: int) -> ir.Constant:
        return ir.Constant(ints, [value] * kind.count)

    # Subnormal numbers are scaled into the normal range.
    small = builder.fcmp_ordered("<", x, splat(2.0**-126, kind))
    bits = builder.bitcast(builder.select(small, builder.fmul(x, splat(2.0**23, kind)), x), ints)
    exponent = builder.sub(builder.lshr(bits, integers(23)), integers(126))
    exponent = builder.select(small, builder.sub(exponent, integers(23)), exponent)
    mantissa = builder.or_(builder.and_(bits, integers(0x007FFFFF)), integers(0x3F000000))
    m, n = builder.bitcast(mantissa, kind), builder.sitofp(exponent, kind)
    low = builder.fcmp_ordered("<", m, splat(math.sqrt(0.5), kind))
    n = builder.select(low, builder.fsub(n, splat(1.0, kind)), n)
    r = builder.fsub(builder.select(low, builder.fadd(m, m), m), splat(1.0, kind))
    terms = (
        7.0376836292e-2,
        -1.1514610310e-1,
        1.1676998740e-1,
        -1.2420140846e-1,
        1.4249322787e-1,
        -1.6668057665e-1,
        2.0000714765e-1,
        -2.4999993993e-1,
        3.3333331174e-1,
    )
    square = builder.fmul(r, r)
    tail = builder.fmul(builder.fmul(polynomial(builder, r, terms), r), square)
    tail = fma(builder, n, splat(-2.12194440e-4, kind), tail)
    tail = fma(builder, square, splat(-0.5, kind), tail)
    value = fma(builder, n, splat(0.693359375, kind), builder.fadd(r, tail))
    infinite = builder.fcmp_ordered("==", x, splat(math.inf, kind))
    value = builder.select(infinite, x, value)
    value = builder.select(builder.fcmp_unordered("<", x, splat(0.0, kind)), splat(math.nan, kind), value)
    return builder.select(builder.fcmp_ordered("==", x, splat(0.0, kind)), splat(-math.inf, kind), value)


def log1p(builder: ir.IRBuilder, x: Value) -> Value:
    """Returns ``ln(1 + x)``, exact for small x too: ``ln(u) x / (u - 1)`` with ``u = 1 + x``.

    Reference: Goldberg (1991), https://doi.org/10.1145/103162.103163, theorem 4.
    """
    one = splat(1.0, x.type)
    u = builder.fadd(one, x)
    rounded = builder.fsub(u, one)
    value = builder.fmul(log(builder, u), builder.fdiv(x, rounded))
    exact = builder.fcmp_ordered("==", u, one)
    value = builder.select(exact, x, value)
    return builder.select(builder.fcmp_ordered("==", x, splat(math.inf, x.type)), x, value)


def expm1(builder: ir.IRBuilder, x: Value) -> Value:
    """Returns ``e^x - 1``, exact for small x too: ``tanh(x / 2) (e^x + 1)`` there."""
    value = exp(builder, x)
    one = splat(1.0, x.type)
    near = builder.fmul(tanh(builder, builder.fmul(x, splat(0.5, x.type))), builder.fadd(value, one))
    size = call(builder, "fabs", x)
    value = builder.select(builder.fcmp_ordered("<", size, one), near, builder.fsub(value, one))
    # Half of the smallest normal number is none.
    return builder.select(builder.fcmp_ordered("<", size, splat(2.0**-25, x.type)), x, value)
