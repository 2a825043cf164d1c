"""LLVM's vectors, as wide as the machine's, for kernels whose loops would be vectorised at half of that width.

A kernel is an ``intrinsic``: a Python function that writes LLVM's instructions with a `Builder`.
"""

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.registry import cpu_target
from numba.extending import intrinsic


def width(triple, cpu, features):
    """Bytes of a vector of that target, from the code that LLVM writes for it: a name alone says no features.

    triple, cpu, features : str, as LLVM has them; without features the target has those of its name
    """
    machine = llvmlite.binding.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
    sixteen = "<16 x i32>"
    code = f"define {sixteen} @sum({sixteen} %a, {sixteen} %b) {{ %c = add {sixteen} %a, %b\n ret {sixteen} %c }}"
    assembly = machine.emit_assembly(llvmlite.binding.parse_assembly(code))
    return 64 if "zmm" in assembly else 32 if "ymm" in assembly else 16


def _host():
    features = llvmlite.binding.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx2") else 16


_triple, _cpu, _features = cpu_target.target_context.codegen().magic_tuple()
# Bytes of a vector of the processor that Numba compiles for, which is this one where nobody named another (the
# host's features are known without writing code), and registers for them.
BYTES = _host() if config.CPU_NAME is None and config.CPU_FEATURES is None else width(_triple, _cpu, _features)
REGISTERS = 32 if BYTES == 64 or _triple.startswith(("aarch64", "arm64")) else 16
index, _number, _bit = ir.IntType(64), ir.IntType(32), ir.IntType(1)


class Builder:
    """What tiles are made of: vectors of one dtype, loaded from arrays and stored to them."""

    def __init__(self, context, builder, dtype, least=1):
        """least : fewest lanes; where the machine's vectors have fewer, LLVM takes several for one."""
        self.context, self.builder = context, builder
        self.size, self.lanes = dtype.bitwidth // 8, max(least, BYTES * 8 // dtype.bitwidth)
        self.scalar = context.get_value_type(dtype)
        self.vector, self.mask = ir.VectorType(self.scalar, self.lanes), ir.VectorType(_bit, self.lanes)
        self.zero, self.suffix = ir.Constant(self.vector, None), f"v{self.lanes}f{dtype.bitwidth}"

    def call(self, name, result, *arguments):
        """An intrinsic function of LLVM."""
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), arguments)

    def lane_mask(self, count):
        """Lanes below ``count``."""
        lanes = ir.Constant(ir.VectorType(index, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", lanes, self.spread(count, ir.VectorType(index, self.lanes)))

    def lane_masks(self, count, vectors):
        """The same for vectors side by side."""
        return [self.lane_mask(self.builder.sub(count, index(v * self.lanes))) for v in range(vectors)]

    def spread(self, value, vector):
        """A vector of one value."""
        one = self.builder.insert_element(ir.Constant(vector, ir.Undefined), value, _number(0))
        first = ir.Constant(ir.VectorType(_number, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), first)

    def at(self, array, row, column):
        """Address of an entry."""
        rows, columns = cgutils.unpack_tuple(self.builder, array.strides)
        offset = self.builder.add(self.builder.mul(row, rows), self.builder.mul(column, columns))
        return cgutils.pointer_add(self.builder, array.data, offset, self.vector.as_pointer())

    def vectors_at(self, array, row, column, count):
        """Addresses of vectors side by side in a row that is contiguous."""
        first = self.at(array, row, column)
        return [self.builder.gep(first, [index(v)], source_etype=self.vector) for v in range(count)]

    def load(self, address, mask):
        """A vector; lanes that the mask leaves out are 0 and not read."""
        if mask is None:
            return self.builder.load(address, align=self.size)
        return self.call(
            f"llvm.masked.load.{self.suffix}.p0", self.vector, address, _number(self.size), mask, self.zero
        )

    def store(self, value, address, mask):
        """Lanes that the mask leaves out are not written."""
        if mask is None:
            self.builder.store(value, address, align=self.size)
        else:
            self.call(f"llvm.masked.store.{self.suffix}.p0", ir.VoidType(), value, address, _number(self.size), mask)

    def expect(self, address, written=True):
        """Fetch what will be written to, or what will be read, into the second-level cache, ahead of time."""
        byte = self.builder.bitcast(address, ir.IntType(8).as_pointer())
        how = (1, 3) if written else (0, 2)
        self.call("llvm.prefetch.p0", ir.VoidType(), byte, *map(_number, how), _number(1))

    def one(self, address):
        """A scalar."""
        pointer = self.builder.bitcast(address, self.scalar.as_pointer())
        return self.builder.load(pointer, align=self.size)

    def byte(self, array, row, column):
        """An entry of an array of bytes."""
        place = self.builder.bitcast(self.at(array, row, column), ir.IntType(8).as_pointer())
        return self.builder.load(place, align=1)

    def add_product(self, total, a, b):
        """total ← total + a b, in place."""
        self.builder.store(self.call(f"llvm.fmuladd.{self.suffix}", self.vector, a, b, self.builder.load(total)), total)

    def totals(self, count):
        """Places for sums, which the compiler turns into registers."""
        places = [cgutils.alloca_once(self.builder, self.vector) for _ in range(count)]
        for place in places:
            self.builder.store(self.zero, place)
        return places

    def clamped(self, first, count, end):
        """first … first + count − 1, those beyond the last below ``end`` being that one."""
        last = self.builder.sub(end, index(1))
        numbers = [self.builder.add(first, index(r)) for r in range(count)]
        return [self.builder.select(self.builder.icmp_signed("<", r, last), r, last) for r in numbers]

    def sum(self, vector):
        """Of all lanes, the halves added to each other."""
        lanes = self.lanes
        while lanes > 1:
            lanes //= 2
            half = ir.Constant(ir.VectorType(_number, self.lanes), [i % lanes + lanes for i in range(self.lanes)])
            other = self.builder.shuffle_vector(vector, ir.Constant(self.vector, ir.Undefined), half)
            vector = self.builder.fadd(vector, other)
        return self.builder.extract_element(vector, _number(0))


@intrinsic
def wide_vectors(typing_context):
    """Let the compiler use vectors of 512 bits in the calling function where the processor has them.

    It takes 256 by default, for the clock's sake; these loops were measured 1.1 times as fast for it.
    """

    def mark(context, builder, signature, arguments):
        attributes = builder.function.attributes
        if isinstance(attributes, set):
            set.add(attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), mark
