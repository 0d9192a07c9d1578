"""Of which types batches are: those of an env, and what a history of tensors makes of them."""

from __future__ import annotations

from typing import Final

from mypy.maptype import map_instance_to_supertype
from mypy.nodes import TypeAlias, TypeInfo
from mypy.types import CallableType, Instance, ProperType, TupleType, Type, UnionType, get_proper_type
from runnerkit_mypy.part import Part

from runnerkit import _sentences as sentences
from runnerkit.mypy.fits import fits
from runnerkit.mypy.shapes import ANY, Thing

_ENV_KEY: Final = "runnerkit.keys.EnvKey"
_ENV: Final = "gymnasium.core.Env"
_MAY_BE_ENVS: Final = ("builtins.str", "builtins.list", "builtins.tuple")
_ARRAY: Final = "numpy.ndarray"
_NDARRAY: Final = "numpy._typing._array_like.NDArray"
_DTYPE: Final = "numpy.dtype"
_SCALAR: Final = "numpy.generic"
TORCH_HISTORY: Final = "runnerkit.history.torch.TorchHistory"


def batches_of(part: Part, env: Type) -> tuple[Type, Type]:
    """Return the types of observations and actions of an env: of its key, or of the function that makes it."""
    proper = get_proper_type(env)
    if isinstance(proper, Instance) and proper.type.fullname == _ENV_KEY:
        return proper.args[0], proper.args[1]
    made = get_proper_type(proper.ret_type) if isinstance(proper, CallableType) else None
    symbol = part.lookup(_ENV)
    if not isinstance(made, Instance) or symbol is None or not isinstance(symbol.node, TypeInfo):
        return ANY, ANY
    if not made.type.has_base(_ENV):
        return ANY, ANY
    obs, act = map_instance_to_supertype(made, symbol.node).args
    return batch_of(part, obs), batch_of(part, act)


def fault_of_env(env: Type, given: str) -> str:
    """Say that it is a class of envs, or a number, or None: what is surely no env; `given` is how it is written."""
    proper = get_proper_type(env)
    if isinstance(proper, CallableType) and proper.is_type_obj() and proper.type_object().has_base(_ENV):
        return sentences.class_for_env(proper.type_object().name)
    may_be = isinstance(proper, Instance) and any(map(proper.type.has_base, _MAY_BE_ENVS))
    return sentences.not_an_env(given) if Thing("", proper).is_plain and not may_be else ""


def batch_of(part: Part, sample: Type) -> Type:
    """Return the type of a batch of samples; Any unless it is surely one array.

    An int may come from a Discrete space or from one of the user's own, a dict from Dict or from the user's own.
    """
    proper = get_proper_type(sample)
    if not isinstance(proper, Instance):
        return ANY
    if proper.type.fullname == _ARRAY and len(proper.args) == 2:
        return proper.copy_modified(args=[_any_shape(part), proper.args[1]])
    if proper.type.has_base(_SCALAR) and proper.type.fullname != _SCALAR:
        dtype = part.instance(_DTYPE, proper.copy_modified(last_known_value=None))
        return ANY if dtype is None else part.instance(_ARRAY, _any_shape(part), dtype) or ANY
    return ANY


def tensors_of(part: Part, batch: Type) -> Type:
    """Return what the torch format makes of a batch: a tensor, or dicts and tuples of tensors; Any if not known."""
    proper: ProperType = get_proper_type(batch)
    if isinstance(proper, TupleType):
        return proper.copy_modified(items=[tensors_of(part, item) for item in proper.items])
    if isinstance(proper, UnionType) or not isinstance(proper, Instance):
        return ANY
    if proper.type.fullname == _ARRAY:
        return _tensor(part)
    if proper.type.fullname == "builtins.dict":
        return proper.copy_modified(args=[proper.args[0], tensors_of(part, proper.args[1])])
    return ANY


def row_of(batch: Type) -> Type:
    """Return the type of one row of a batch; Any where it is not known, as a row of an array may be a scalar."""
    proper = get_proper_type(batch)
    if isinstance(proper, TupleType):
        return proper.copy_modified(items=[row_of(item) for item in proper.items])
    if isinstance(proper, Instance) and proper.type.fullname == "builtins.list":
        return proper.args[0]
    if isinstance(proper, Instance) and proper.type.fullname == "builtins.dict":
        return proper.copy_modified(args=[proper.args[0], row_of(proper.args[1])])
    return ANY


def is_row_of(batch: Type, row: Type) -> bool:
    """Whether a row of a batch may be of a type: that of an array is an array, or one of its scalars."""
    proper = get_proper_type(batch)
    if isinstance(proper, Instance) and proper.type.fullname == _ARRAY and len(proper.args) == 2:
        dtype = get_proper_type(proper.args[1])
        scalar = dtype.args[0] if isinstance(dtype, Instance) and dtype.args else ANY
        return fits(proper, row) or fits(scalar, row)
    return fits(row_of(proper), row)


def torch_history(part: Part, obs: Type, act: Type) -> Type | None:
    """Return the type of the torch format's histories, or None if mypy has not read its module."""
    return part.instance(TORCH_HISTORY, tensors_of(part, obs), tensors_of(part, act))


def _tensor(part: Part) -> Type:
    """Return the type of a tensor as TorchHistory knows it: Any if torch is not installed."""
    symbol = part.lookup(TORCH_HISTORY)
    variables = symbol.node.defn.type_vars if symbol and isinstance(symbol.node, TypeInfo) else []
    return variables[0].default if variables else ANY


def _any_shape(part: Part) -> Type:
    """Return the shape that NDArray has: Any before NumPy 2, a tuple since."""
    symbol = part.lookup(_NDARRAY)
    target = get_proper_type(symbol.node.target) if symbol and isinstance(symbol.node, TypeAlias) else None
    if isinstance(target, Instance) and target.args:
        return target.args[0]
    return part.instance("builtins.tuple", ANY) or ANY
