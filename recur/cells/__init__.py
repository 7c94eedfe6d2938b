"""What a recurrent network computes in one step. `CELLS` is the table of cells that all suites multiply."""

from recur.cells._antisymmetric import antisymmetric
from recur.cells._base import Affine
from recur.cells._base import Cell
from recur.cells._base import output_size
from recur.cells._base import parameter_shapes
from recur.cells._base import state_type
from recur.cells._elman import elman
from recur.cells._find import find_factory
from recur.cells._gru import gru
from recur.cells._ind_rnn import ind_rnn
from recur.cells._init import INITIALIZERS
from recur.cells._init import Chrono
from recur.cells._init import Constant
from recur.cells._init import Gaussian
from recur.cells._init import GlorotUniform
from recur.cells._init import Identity
from recur.cells._init import LecunNormal
from recur.cells._init import Orthogonal
from recur.cells._init import Uniform
from recur.cells._lru import lru
from recur.cells._lstm import lstm
from recur.cells._min_gru import min_gru
from recur.cells._orthogonal import orthogonal
from recur.cells._pointwise import pointwise
from recur.cells._pointwise_cell import FactoredCell
from recur.cells._pointwise_cell import PointwiseCell
from recur.cells._stacked import stacked
from recur.cells._table import CELLS

__all__ = [
    "CELLS",
    "INITIALIZERS",
    "Affine",
    "Cell",
    "Chrono",
    "Constant",
    "FactoredCell",
    "Gaussian",
    "GlorotUniform",
    "Identity",
    "LecunNormal",
    "Orthogonal",
    "PointwiseCell",
    "Uniform",
    "antisymmetric",
    "elman",
    "find_factory",
    "gru",
    "ind_rnn",
    "lru",
    "lstm",
    "min_gru",
    "orthogonal",
    "output_size",
    "parameter_shapes",
    "pointwise",
    "stacked",
    "state_type",
]
