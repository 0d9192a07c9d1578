"""From the name of an env, or a factory, to a function that makes it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias, cast

import gymnasium
from gymnasium.envs.registration import EnvSpec, get_env_id, load_env_creator, parse_env_id, registry
from typing_extensions import override

from runnerkit import _sentences as sentences
from runnerkit._core.faults import describe
from runnerkit._core.origins import distribution_of, module_of, own_name, qualified_name
from runnerkit._core.types import AnyEnv, AnyMakeEnv, AnyVectorEnv, MakeEnv
from runnerkit._plugins.manager import Plugins, comes_with
from runnerkit._plugins.offers import KINDS, options_of_called
from runnerkit._plugins.options import Options, Typed, options_of
from runnerkit.errors import ArgumentError, EnvError, RunnerKitError, UnknownNameError
from runnerkit.hooks import EnvFactory
from runnerkit.keys import EnvKey
from runnerkit.records import PartRecord

__all__ = ["EnvMaker", "ResolvedEnv", "require_known", "resolve_env", "seed_spaces", "seed_vector_spaces", "wanted"]

# Namespaces whose envs Gymnasium knows only after an import that users forget: (module, distribution).
_NAMESPACES: Final[Mapping[str, tuple[str, str]]] = {"ALE": ("ale_py", "ale-py")}
_ATARI_ID: Final = re.compile(r"([A-Za-z0-9]+?)(?:-ram)?(?:NoFrameskip|Deterministic)?(?:-v\d+)?")

EnvMaker: TypeAlias = "Callable[[int | None, int], AnyEnv | AnyVectorEnv]"
"""Makes env i: (seed, i) -> env."""


class ResolvedEnv(NamedTuple):
    """The name of an env, what makes it, and where that comes from.

    Attributes:
        env_id: the name of the env, or of the function that makes it.
        make: makes env i.
        options: its options, as they are passed on.
        record: the env factory, if a plugin offers it.
        function: the user's own function that makes it.

    """

    env_id: str
    make: EnvMaker
    options: Mapping[str, Any]
    record: PartRecord | None = None
    function: object = None

    def parts(self, spec: EnvSpec | None) -> list[PartRecord]:
        """Return the records of the env, whose spec is known now, and of the plugin's factory if there is one."""
        name = self.env_id if self.function is None else qualified_name(self.function)
        module = "" if self.function is None else module_of(self.function)
        if spec is not None:
            creator = spec.entry_point
            module = creator.partition(":")[0] if isinstance(creator, str) else module_of(creator)
            name = spec.id
        given = self.options if self.record is None else {}  # else they are those of the factory
        return [PartRecord("env", name, *distribution_of(module), given), *filter(None, [self.record])]


def resolve_env(
    env: str | EnvKey[Any, Any] | AnyMakeEnv | Sequence[AnyMakeEnv],
    plugins: Plugins,
    options: Mapping[str, Any],
    n_envs: int = 1,
    *,
    lazily: bool = False,
) -> ResolvedEnv:
    """Return the name of an env, a function (seed, env index) -> env, and where it comes from.

    Raises UnknownNameError before anything is made; with `lazily`, only when an env is made.
    """
    if isinstance(env, EnvKey):
        env = env.name
    if isinstance(env, str):
        if lazily:
            return ResolvedEnv(env, _LateEnv(env, plugins, options, n_envs), options)
        make = _by_name(env, plugins, options, n_envs)
        return ResolvedEnv(env, make, make.options, make.record if isinstance(make, _FactoryEnv) else None)
    if isinstance(env, Sequence) and not isinstance(env, str):
        makers = tuple(_by_function(make_env, options, n_envs) for make_env in env)
        return ResolvedEnv(own_name(env[0]), _OneEach(makers), makers[0].options, function=env[0])
    made = _by_function(cast(MakeEnv, env), options, n_envs)
    return ResolvedEnv(own_name(env), made, made.options, function=env)


def _by_function(env: AnyMakeEnv, options: Mapping[str, Any], n_envs: int) -> _Told:
    given: object = env
    if isinstance(given, type) and issubclass(given, gymnasium.Env):
        raise ArgumentError(sentences.class_for_env(given.__name__))
    if isinstance(given, gymnasium.Env):
        way = f"gymnasium.make({given.spec.id!r})" if given.spec else f"{type(given).__name__}(...)"
        raise ArgumentError(sentences.env_itself(str(given), way))
    if not callable(env):
        raise ArgumentError(sentences.not_an_env(repr(env)))
    first = next(iter(_parameters(env)), "seed")
    if first in ("env_index", "n_envs"):
        raise ArgumentError(
            f"The first argument of an env factory is the seed, but {own_name(env)} calls it {first}. "
            f"Write it as {own_name(env)}(seed, {first})."
        )
    chosen = options_of_called("env_factories", env).checked(f"env factory {own_name(env)!r}", options, complete=False)
    made = told(env, chosen, n_envs)
    _require_call(env, {**made.facts, **dict.fromkeys(["env_index"] if made.wants_index else [], 0), **chosen})
    return made


def _require_call(make_env: AnyMakeEnv, given: Mapping[str, object]) -> None:
    """Raise ArgumentError for a function that cannot be called with the seed, and with what it is given by name."""
    try:
        signature = inspect.signature(make_env)
    except (TypeError, ValueError):  # not known of all that are written in C
        return
    try:
        signature.bind(0, **given)
    except TypeError as error:
        raise ArgumentError(
            f"An env factory is called with the seed, as in {own_name(make_env)}(seed), but this one has the "
            f"parameters {signature}: {error}. Write it as `lambda seed: ...`, and pass the values of others with "
            "env_options={...}."
        ) from None


def told(make_env: Callable[..., AnyEnv | AnyVectorEnv], options: Mapping[str, Any], n_envs: int) -> _Told:
    """Return a function (seed, env index) -> env that passes `make_env` whatever its signature asks for."""
    return _Told(make_env, dict(options), wanted(make_env, {"n_envs": n_envs}), "env_index" in _named(make_env))


@dataclass(frozen=True, slots=True)
class _Told:
    """Calls a function with the seed, options, and whatever its signature asks for of what a runner knows."""

    make_env: Callable[..., AnyEnv | AnyVectorEnv]
    options: dict[str, Any]
    facts: dict[str, object]
    wants_index: bool

    def __call__(self, seed: int | None, env_index: int) -> AnyEnv | AnyVectorEnv:
        facts = {**self.facts, "env_index": env_index} if self.wants_index else self.facts
        try:
            return self.make_env(seed, **{**facts, **self.options})
        except RunnerKitError:
            raise
        except Exception as error:
            if "n_envs" not in self.facts:
                raise  # and the executor says which env it was
            raise EnvError(f"could not be made: {describe(error)}") from error


@dataclass(frozen=True, slots=True)
class _OneEach:
    """Makes each env by a function of its own."""

    makers: Sequence[EnvMaker]

    def __call__(self, seed: int | None, env_index: int) -> AnyEnv | AnyVectorEnv:
        return self.makers[env_index](seed, env_index)


class _LateEnv:
    """An env id that is looked up when the env is made, or before it is sent to another process."""

    def __init__(self, env_id: str, plugins: Plugins, options: Mapping[str, Any], n_envs: int) -> None:
        self._arguments = env_id, plugins, options, n_envs

    def __call__(self, seed: int | None, env_index: int) -> AnyEnv | AnyVectorEnv:
        return _by_name(*self._arguments)(seed, env_index)

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        try:
            return _itself, (_by_name(*self._arguments),)
        except UnknownNameError as error:
            return _UnknownEnv, (error,)


def _itself(make_env: EnvMaker) -> EnvMaker:
    return make_env


class _UnknownEnv:
    """An unknown env. Its error is raised only if somebody makes it."""

    def __init__(self, error: UnknownNameError) -> None:
        self._error = error

    def __call__(self, seed: int | None, env_index: int) -> AnyEnv:
        raise self._error


def _by_name(env_id: str, plugins: Plugins, options: Mapping[str, Any], n_envs: int) -> _GymnasiumEnv | _FactoryEnv:
    family, colon, rest = env_id.partition(":")
    offer = plugins.find("env_factories", family) if colon else None
    if offer is None:
        spec = require_known(env_id, plugins)
        return _GymnasiumEnv(spec, _read(spec, options))
    factory: EnvFactory = offer.make()
    chosen = options_of_called("env_factories", factory).checked(offer.what, options)
    record = PartRecord(KINDS["env_factories"], offer.contribution.name, offer.distribution, offer.version, chosen)
    facts = wanted(factory, {"n_envs": n_envs, "plugins": plugins})
    return _FactoryEnv(factory, rest, chosen, facts, "env_index" in _named(factory), offer.title, record)


@dataclass(frozen=True, slots=True)
class _FactoryEnv:
    """Calls an env factory; an error names the factory's plugin."""

    factory: EnvFactory
    env_id: str
    options: dict[str, Any]
    facts: dict[str, object]
    wants_index: bool
    title: str
    record: PartRecord

    def __call__(self, seed: int | None, env_index: int) -> AnyEnv | AnyVectorEnv:
        facts = {**self.facts, "env_index": env_index} if self.wants_index else self.facts
        try:
            return self.factory(self.env_id, seed=seed, **{**facts, **self.options})
        except RunnerKitError:
            raise
        except Exception as error:
            what = f"could not be made by env factory {self.title}: {describe(error)}"
            makes_all = "n_envs" in self.facts  # told, for a vector env
            raise EnvError(what, env_index=-1 if makes_all else env_index) from error


def _read(spec: EnvSpec, options: Mapping[str, Any]) -> dict[str, object]:
    """Return the options of a Gymnasium env; typed ones are read. Gymnasium checks all options itself."""
    given: dict[str, object] = dict(options)
    if any(isinstance(value, Typed) for value in given.values()):
        creator = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
        known = (*options_of(gymnasium.make).known, *options_of(creator).known)
        given = Options(known, takes_others=True).checked(f"env {spec.id!r}", given, complete=False)
    return given


def wanted(function: Callable[..., object], known: Mapping[str, object]) -> dict[str, object]:
    """Return what a function gets besides the seed: what its signature asks for."""
    named = _named(function)
    return {name: value for name, value in known.items() if name in named}


def _named(function: Callable[..., object]) -> Sequence[str]:
    """Return the names of a function's parameters but the first, which is the seed or the env id."""
    return _parameters(function)[1:]


def _parameters(function: Callable[..., object]) -> Sequence[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (ValueError, TypeError):  # written in C
        return ()


@dataclass(frozen=True, slots=True)
class _GymnasiumEnv:
    spec: EnvSpec
    """The spec behind the id, as Gymnasium may not know the id in another process."""
    options: dict[str, Any]

    def __call__(self, seed: int | None, env_index: int) -> AnyEnv:
        env: AnyEnv = gymnasium.make(self.spec, **self.options)
        return env


def seed_spaces(env: AnyEnv, seed: int) -> None:
    """Seed the spaces of an env and of all envs inside it, as `reset` does not, and envs may sample them."""
    layer = env
    while True:
        for space in (getattr(layer, "action_space", None), getattr(layer, "observation_space", None)):
            if isinstance(space, gymnasium.Space):  # what else it may be is refused with all spaces
                space.seed(seed)
        if not isinstance(layer, gymnasium.Wrapper):
            return
        layer = layer.env


def seed_vector_spaces(env: AnyVectorEnv, seed_of: Callable[[int], int]) -> None:
    """Seed the spaces of a vector env, and those of its envs if they live in this process."""
    for name in ("single_action_space", "single_observation_space", "action_space", "observation_space"):
        space = getattr(env, name, None)  # those of batches are nothing that a runner needs
        if space is not None:
            space.seed(seed_of(0))
    envs: object = getattr(env.unwrapped, "envs", ())
    if isinstance(envs, list | tuple):
        for i, part in enumerate(cast("Sequence[object]", envs)):
            if isinstance(part, gymnasium.Env):
                seed_spaces(part, seed_of(i))


def require_known(env_id: str, plugins: Plugins) -> EnvSpec:
    """Look in Gymnasium's registry; if the id is missing, import packages that may add it, and look again.

    Raises UnknownNameError.
    """
    module, _, name = env_id.rpartition(":")  # Gymnasium's own "module:Env-v0" imports the module first
    try:
        if module:
            importlib.import_module(module)
    except Exception as error:  # whatever a module may raise as it is imported
        why = f"Importing {module} failed: {type(error).__name__}: {error}. {_hint(name, plugins)}"
        package = comes_with("env_factories", module)
        hint = f"{package} {plugins.left_out('env_factories', module)}".rstrip() if package else why
        families = get_close_matches(module, plugins.offers("env_factories"), n=1)
        known = [*registry.keys(), *(f"{family}:{name}" for family in families)]
        raise UnknownNameError("env", env_id, known, hint) from error
    if spec := _spec(name):
        return spec
    _register_namespaces(["ALE" if _is_atari(name) else name.partition("/")[0]])
    plugins.register_envs(name.partition("/")[0] if "/" in name else "")
    if spec := _spec(name):
        return spec
    plugins.discover()
    if spec := _spec(name):
        return spec
    if "/" not in name:
        _register_namespaces(_NAMESPACES)  # it may be one of theirs, and is then the name that was meant
    imports = "" if module else f"If it comes with a package, 'MODULE:{name}' imports its module first. "
    raise UnknownNameError("env", env_id, registry.keys(), imports + _hint(name, plugins))


def _register_namespaces(namespaces: Iterable[str]) -> None:
    """Import the packages that register the envs of a namespace, if they are installed."""
    for namespace in namespaces:
        if namespace in _NAMESPACES and importlib.util.find_spec(_NAMESPACES[namespace][0]):
            gymnasium.register_envs(importlib.import_module(_NAMESPACES[namespace][0]))


def _spec(env_id: str) -> EnvSpec | None:
    """Look an env up; without a version, the newest.

    `gymnasium.make` could do so itself, but it fails if another thread registers envs meanwhile.
    """
    try:
        namespace, name, version = parse_env_id(env_id)
    except gymnasium.error.Error:  # not even the form of an id
        return None
    of_that_name = [spec for spec in list(registry.values()) if (spec.namespace, spec.name) == (namespace, name)]
    newest = max((spec.version for spec in of_that_name if spec.version is not None), default=None)
    spec = registry.get(env_id)
    if newest is not None and version is None:
        spec = registry.get(get_env_id(namespace, name, newest))
        gymnasium.logger.warn(f"{env_id} has no version: it stands for the newest one, v{newest}.")
    elif newest is not None and version is not None and newest > version and spec is not None:
        gymnasium.logger.warn(f"{env_id} is out of date: its newest version is v{newest}.")
    return spec


def _is_atari(env_id: str) -> bool:
    """Whether an id without a namespace is one of an Atari game, such as PongNoFrameskip-v4, if ale-py is installed."""
    package = importlib.util.find_spec(_NAMESPACES["ALE"][0])
    name = _ATARI_ID.fullmatch(env_id)
    if package is None or name is None:
        return False
    games = (path for place in package.submodule_search_locations or () for path in Path(place).glob("roms/*.bin"))
    return name[1].lower() in {game.stem.replace("_", "") for game in games}


def _hint(env_id: str, plugins: Plugins) -> str:
    namespace = env_id.partition("/")[0]
    if namespace in _NAMESPACES and not importlib.util.find_spec(_NAMESPACES[namespace][0]):
        return f"Envs of {namespace} come with another package: pip install {_NAMESPACES[namespace][1]}."
    factories = ", ".join(f"{name}:" for name in plugins.offers("env_factories"))
    offered = f" Factories of plugins: {factories}." if factories else ""
    own = "An env of your own is passed as a function (seed) -> env, or registered with gymnasium.register."
    family = namespace if "/" in env_id else ""
    return f"{own}{offered} {plugins.left_out('env_factories', family)}".rstrip()
