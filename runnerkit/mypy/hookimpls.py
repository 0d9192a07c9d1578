"""Every plain `@hookimpl` is checked against the specification of its hook.

RunnerKit's own are, always; and those of any pluggy project whose specifications are configured. mypy shows a plugin
the application of a decorator that is an object, such as `@hookimpl`, as a call of its method `__call__`. What
`@hookimpl(tryfirst=True)` returns is a plain callable, whose application no plugin sees, unless it has a name: so it
gets one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from mypy.nodes import (
    ARG_POS,
    CallExpr,
    Import,
    ImportAll,
    ImportFrom,
    MypyFile,
)
from mypy.plugin import (
    CheckerPluginInterface,
    FunctionContext,
    MethodContext,
    MethodSigContext,
    Plugin,
)
from mypy.types import AnyType, CallableType, FunctionLike, Instance, Type, TypeOfAny, get_proper_type
from typing_extensions import override

from runnerkit import _sentences as sentences
from runnerkit.mypy.config import Config
from runnerkit.mypy.hookcheck import Fault, HookCheck
from runnerkit.mypy.markers import Marked, marked, marked_by_attribute
from runnerkit.mypy.part import HOOKIMPL, Part
from runnerkit.mypy.specs import Place, root

OUR_MARKER: Final = "runnerkit.hooks.HookimplMarker.__call__"
OUR_TYPED_HOOK: Final = "runnerkit.hooks.Hook.__call__"
OUR_SPECS: Final = Place("runnerkit.hooks")

WITH_OPTIONS: Final = "hookimpl(...)"
"""The name of what a marker returns when it is called with options: no name that a program can have."""


class Hookimpls(Part):
    """Checks hook implementations."""

    def __init__(self, plugin: Plugin, config: Config) -> None:
        super().__init__(plugin)
        self._config: Config = config
        self._places: tuple[Place, ...] = tuple(map(Place, config.specs))
        self._roots: frozenset[str] = frozenset({"pluggy", *map(root, (*config.specs, *config.markers))})

    @override
    def modules_for(self, file: MypyFile) -> Collection[str]:
        if _is_only_used(file):
            return ()
        imported = set(_imported_roots(file))
        modules: set[str] = set()
        if imported & self._roots:
            modules.update(place.module for place in self._places)
        if "runnerkit" in imported:
            modules.add(OUR_SPECS.module)
        return modules

    # ---- what mypy asks

    @override
    def method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        if fullname == OUR_TYPED_HOOK:
            return self._typed_hook_applied
        return self._marker_applied if _is_marker(fullname) else None

    @override
    def method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        if fullname == OUR_TYPED_HOOK:
            return _typed_hook_returns
        return _marker_returns if _is_marker(fullname) else None

    @override
    def function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        return self._late_marker_applied if fullname == WITH_OPTIONS else None

    def _marker_applied(self, ctx: MethodSigContext) -> FunctionLike:
        """See `@hookimpl`. mypy asks for each overload: the one for functions needs a first argument."""
        if ctx.args and ctx.args[0] and ctx.default_signature.arg_kinds[0] == ARG_POS:
            ours = isinstance(ctx.type, Instance) and ctx.type.type.fullname == OUR_MARKER.removesuffix(".__call__")
            self._report(ctx.api, self._faults(ctx.api, marked(ctx.context, ctx.args[0][0]), ours))
        return ctx.default_signature

    def _late_marker_applied(self, ctx: FunctionContext) -> Type:
        """See the second call of `@hookimpl(tryfirst=True)`."""
        if ctx.args and ctx.args[0]:
            impl = marked(ctx.context, ctx.args[0][0])
            ours = impl is not None and impl.marker == "runnerkit.hooks.hookimpl"
            self._report(ctx.api, self._faults(ctx.api, impl, ours))
        return ctx.default_return_type

    def _typed_hook_applied(self, ctx: MethodSigContext) -> FunctionLike:
        """See `@hookimpl.executors`: mypy checks it by itself, but what it says is long."""
        signature = ctx.default_signature
        if not (ctx.args and ctx.args[0] and signature.arg_kinds[0] == ARG_POS):
            return signature
        impl = marked_by_attribute(ctx.context, ctx.args[0][0])
        faults = self._faults(ctx.api, impl, ours=True)
        if not impl or not faults:
            return signature
        self._report(ctx.api, faults)
        return signature.copy_modified(arg_types=[AnyType(TypeOfAny.special_form)], ret_type=impl.typ, variables=())

    # ---- what is wrong

    def _report(self, api: CheckerPluginInterface, faults: Iterable[Fault]) -> None:
        for sentence, context in faults:
            api.fail(sentence, context, code=HOOKIMPL)

    def _faults(self, api: CheckerPluginInterface, impl: Marked | None, ours: bool) -> list[Fault]:
        tree = _tree(api)
        if impl is None or tree is None or tree.is_stub:
            return []
        places = (OUR_SPECS,) if ours else self._places_of(impl.marker)
        wanted = self.modules_for(tree)
        if not places or not (ours or all(place.module in wanted for place in places)):
            return []  # whether mypy has read a module for another reason must make no difference
        _depend(tree, places, impl.hook)
        lacking = {place.written: clause for place in places if (clause := place.lacks(self.modules))}
        if lacking:
            return [] if ours else list(self._misconfigured(api, impl, lacking))
        spec = next(filter(None, (place.find(impl.hook, self.modules) for place in places)), None)
        if spec:
            return list(HookCheck(api.options, api.named_generic_type, ours).faults(impl, spec))
        if impl.optional:
            return []
        known = sorted({name for place in places for name in place.names(self.modules)})
        hint = "" if ours else f"If it is specified elsewhere, add that module to specs in {self._config.file}."
        return [(sentences.unknown("hook", impl.hook, known, hint, brief=not ours), impl.function)]

    def _misconfigured(self, api: CheckerPluginInterface, impl: Marked, lacking: Mapping[str, str]) -> Iterator[Fault]:
        """Return what is wrong with the configuration; a module that mypy was told not to read is not."""
        if api.options.follow_imports in ("normal", "silent"):
            for written, clause in lacking.items():
                yield f"specs in {self._config.file} has {written!r}, but {clause}", impl.function

    def _places_of(self, marker: str) -> Sequence[Place]:
        """Return where the hooks of a marker are looked up: first in its own package, then in the rest.

        Other packages add hooks to a project, as xdist does to pytest. A marker whose package has no specifications is
        that of a project which nobody has configured, unless it is listed.
        """
        own = [place for place in self._places if root(place.written) == root(marker)]
        if own or any(marker in (name, self._definition(name)) for name in self._config.markers):
            return [*own, *(place for place in self._places if place not in own)]
        return ()

    def _definition(self, name: str) -> str:
        """Return the full name under which something is defined that has this one, too."""
        symbol = self.lookup(name)
        return symbol.node.fullname if symbol and symbol.node else name


def _depend(tree: MypyFile, places: Iterable[Place], hook: str) -> None:
    """Tell mypy's daemon to look at a file again when the specification changes, or appears."""
    for place in places:
        for trigger in (f"<{place.fullname}.{hook}>", f"<{place.fullname}[wildcard]>"):
            tree.plugin_deps.setdefault(trigger, set()).add(tree.fullname)


def _tree(api: CheckerPluginInterface) -> MypyFile | None:
    """Return the file that is checked: the checker has it, though what plugins are promised does not."""
    tree = getattr(api, "tree", None)
    return tree if isinstance(tree, MypyFile) else None


def _is_only_used(file: MypyFile) -> bool:
    """Tell whether a file is of an installed package, which is not checked, or of RunnerKit, which knows its hooks."""
    return "site-packages" in file.path or "dist-packages" in file.path or root(file.fullname) == "runnerkit"


def _is_marker(fullname: str) -> bool:
    """Tell whether this is the call of RunnerKit's marker, or of pluggy's, whose module differs between releases."""
    return fullname == OUR_MARKER or (fullname.startswith("pluggy.") and fullname.endswith(".HookimplMarker.__call__"))


def _marker_returns(ctx: MethodContext) -> Type:
    """Name what `hookimpl(tryfirst=True)` returns, so that its application is seen."""
    returned = get_proper_type(ctx.default_return_type)
    if isinstance(ctx.context, CallExpr) and isinstance(returned, CallableType) and not (ctx.args and ctx.args[0]):
        return returned.copy_modified(name=WITH_OPTIONS)
    return ctx.default_return_type


def _typed_hook_returns(ctx: MethodContext) -> Type:
    """Give a function back as it is, where the types of Python can only say what such functions have in common."""
    if isinstance(get_proper_type(ctx.default_return_type), CallableType) and ctx.arg_types and ctx.arg_types[0]:
        return ctx.arg_types[0][0]
    return ctx.default_return_type


def _imported_roots(file: MypyFile) -> Iterator[str]:
    for node in file.imports:
        if isinstance(node, Import):
            yield from (root(name) for name, _ in node.ids)
        elif isinstance(node, (ImportFrom, ImportAll)):
            yield root(file.fullname if node.relative else node.id)
