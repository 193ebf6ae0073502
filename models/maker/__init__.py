"""What the model makers share: a graph builder, a double-precision reference, the writing of model folders; and the
makers themselves, a file per kind of network."""

from . import norm, quant, sequence, structure, vision
from .case import CASES
