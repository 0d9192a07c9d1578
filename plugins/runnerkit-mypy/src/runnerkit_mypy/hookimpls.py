"""Every plain `@hookimpl` is checked against the specification of its hook.

Those of RunnerKit and of well-known projects are, always; and those of any pluggy project whose specifications are
configured. mypy shows a plugin the application of a decorator that is an object, such as `@hookimpl`, as a call of its
method `__call__`. What `@hookimpl(tryfirst=True)` returns is a plain callable, whose application no plugin sees, unless
it has a name: so it gets one. Functions that are hooks by their names have a module of their own, `unmarked`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

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
from mypy.typeops import function_type
from mypy.types import AnyType, CallableType, FunctionLike, Instance, Type, TypeOfAny, get_proper_type
from typing_extensions import override

from runnerkit_mypy import sentences
from runnerkit_mypy.config import Config
from runnerkit_mypy.finding import Finder
from runnerkit_mypy.hookcheck import Fault, HookCheck
from runnerkit_mypy.hosts import HOSTS, Host, host_of, used_by
from runnerkit_mypy.markers import Marked, marked, marked_by_attribute
from runnerkit_mypy.part import HOOKIMPL, Part
from runnerkit_mypy.projects import project_of, projects_of
from runnerkit_mypy.specs import Place, root
from runnerkit_mypy.unmarked import CALLED, announce, is_announced, is_announcement, is_only_used, unmarked

OUR_MARKER: Final = "runnerkit.hooks.HookimplMarker.__call__"
OUR_TYPED_HOOK: Final = "runnerkit.hooks.Hook.__call__"
OUR_SPECS: Final = Place("runnerkit.hooks")

WITH_OPTIONS: Final = "hookimpl(...)"
"""The name of what a marker returns when it is called with options: no name that a program can have."""


class _Scope(NamedTuple):
    """Where hooks are looked up; `lenient` if there may be others, so that only what looks misspelt is reported."""

    places: Sequence[Place]
    lenient: bool = False


class Hookimpls(Part):
    """Checks hook implementations."""

    def __init__(self, plugin: Plugin, config: Config, finder: Finder) -> None:
        super().__init__(plugin)
        self._config: Config = config
        self._finder = finder
        self._prefixes: tuple[str, ...] = config.all_prefixes
        self._places: tuple[Place, ...] = tuple(map(Place, config.specs))
        self._roots: frozenset[str] = frozenset({"pluggy", *map(root, (*config.specs, *config.markers))})
        self._callables: frozenset[str] = frozenset({*config.markers, *(m for h in HOSTS.values() for m in h.markers)})

    @override
    def prepare(self, file: MypyFile) -> None:
        if not self._is_left_alone(file):
            announce(file, self._prefixes)

    @override
    def modules_for(self, file: MypyFile) -> Collection[str]:
        if self._is_left_alone(file):
            return ()
        imported = set(_imported(file))
        roots = {root(name) for name in imported}
        modules: set[str] = set()
        by_name = is_announced(file)
        projects = projects_of(file, self._finder)
        if by_name or projects or roots & self._roots:
            modules.update(place.module for place in self._places)
        if "runnerkit" in roots:
            modules.add(OUR_SPECS.module)
        hosts = {*used_by(imported, projects), *(self._hosts_by_name() if by_name else ())}
        of_hosts = {Place(spec).module for host in hosts for spec in host.specs} - modules
        return modules | {module for module in of_hosts if self._finder.is_module(module, file)}

    # ---- what mypy asks

    @override
    def method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        if fullname == OUR_TYPED_HOOK:
            return self._typed_hook_applied
        if fullname == CALLED:
            return self._functions_by_name
        return self._marker_applied if _is_marker(fullname) else None

    @override
    def method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        if fullname == OUR_TYPED_HOOK:
            return _typed_hook_returns
        return _marker_returns if _is_marker(fullname) else None

    @override
    def function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        return self._late_marker_applied if fullname == WITH_OPTIONS or fullname in self._callables else None

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

    def _functions_by_name(self, ctx: MethodSigContext) -> FunctionLike:
        """See the functions of a file that are hooks by their names, as mypy comes to the statement about them."""
        tree = _tree(ctx.api)
        if tree is None or not is_announcement(ctx.context):
            return ctx.default_signature
        places = self._readable(self._hosts_by_name(), tree)
        places = [place for place in (*self._places, *places) if not place.lacks(self.modules)]
        for function in unmarked(tree, self._prefixes) if tree.fullname not in {p.module for p in places} else ():
            typ = function_type(function, ctx.api.named_generic_type("builtins.function", []))
            impl = Marked(function, typ, marker="")
            tree.plugin_deps.setdefault(f"<{function.fullname}>", set()).add(tree.fullname)
            self._report(ctx.api, self._compared(ctx.api, impl, _Scope(places, lenient=True)))
        return ctx.default_signature

    # ---- what is wrong

    def _report(self, api: CheckerPluginInterface, faults: Iterable[Fault]) -> None:
        for sentence, context in faults:
            api.fail(sentence, context, code=HOOKIMPL)

    def _faults(self, api: CheckerPluginInterface, impl: Marked | None, ours: bool) -> list[Fault]:
        tree = _tree(api)
        if impl is None or tree is None or tree.is_stub:
            return []
        scope = _Scope([OUR_SPECS]) if ours else self._scope_of(impl.marker, tree)
        wanted = self.modules_for(tree)
        if not scope.places or not (ours or all(place.module in wanted for place in scope.places)):
            return []  # whether mypy has read a module for another reason must make no difference
        lacking = {place.written: clause for place in scope.places if (clause := place.lacks(self.modules))}
        if lacking:
            _depend(tree, scope.places, impl.hook)
            return [] if ours or scope.lenient else list(self._misconfigured(api, impl, lacking))
        return self._compared(api, impl, scope, ours)

    def _compared(self, api: CheckerPluginInterface, impl: Marked, scope: _Scope, ours: bool = False) -> list[Fault]:
        """Return what is wrong with an implementation of a hook that is specified in readable places, if anywhere."""
        tree = _tree(api)
        if tree is not None:
            _depend(tree, scope.places, impl.hook)
        spec = next(filter(None, (place.find(impl.hook, self.modules) for place in scope.places)), None)
        if spec:
            return list(HookCheck(api.options, api.named_generic_type, ours).faults(impl, spec))
        known = sorted({name for place in scope.places for name in place.names(self.modules)})
        if impl.optional or (scope.lenient and not self._is_misspelt(impl.hook, known)):
            return []
        file = self._config.file or "pyproject.toml"
        hint = "" if ours else f"If it is specified elsewhere, add that module to specs in {file}."
        return [(sentences.unknown("hook", impl.hook, known, hint, brief=not ours), impl.function)]

    def _is_misspelt(self, name: str, known: Iterable[str]) -> bool:
        """Whether a hook is one of the known but for a letter or two: what all have in common does not count."""
        prefix = next(filter(name.startswith, self._prefixes), "")
        mine = [other.removeprefix(prefix) for other in known if other.startswith(prefix)]
        return any(sentences.nearly(name.removeprefix(prefix), other) for other in mine)

    def _misconfigured(self, api: CheckerPluginInterface, impl: Marked, lacking: Mapping[str, str]) -> Iterator[Fault]:
        """Return what is wrong with the configuration; a module that mypy was told not to read is not."""
        if api.options.follow_imports in ("normal", "silent"):
            for written, clause in lacking.items():
                yield f"specs in {self._config.file} has {written!r}, but {clause}", impl.function

    def _scope_of(self, marker: str, tree: MypyFile) -> _Scope:
        """Return where the hooks of a marker are looked up: first in its own project, then in the rest.

        Other packages add hooks to a project, as xdist does to pytest. A marker whose project has no specifications
        is that of a project which nobody has configured, unless it is listed.
        """
        project = project_of(marker, self.modules)
        host = host_of(project, marker)
        of_host = self._readable([host] if host else [], tree)
        own = [place for place in self._places if self._is_own(place, marker, project)]
        if own or any(marker in (name, self._definition(name)) for name in self._config.markers):
            return _Scope(list(dict.fromkeys([*own, *of_host, *self._places])))
        return _Scope(of_host, lenient=True)

    def _is_own(self, place: Place, marker: str, project: str) -> bool:
        """Whether a marker is for the hooks of a place: by the project that both name, or else by their package."""
        other = next(filter(None, (project_of(name, self.modules) for name in place.markers(self.modules))), "")
        return project == other if project and other else root(place.written) == root(marker)

    def _hosts_by_name(self) -> list[Host]:
        return [host for host in HOSTS.values() if host.prefix]

    def _readable(self, hosts: Iterable[Host], tree: MypyFile) -> list[Place]:
        """Return the places of hosts that mypy reads for a file's sake."""
        wanted = self.modules_for(tree)
        return [place for host in hosts for place in map(Place, host.specs) if place.module in wanted]

    def _is_left_alone(self, file: MypyFile) -> bool:
        return file.is_stub or is_only_used(file.path, file.fullname)

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


def _imported(file: MypyFile) -> Iterator[str]:
    """Yield the full names of what a file imports: modules, and what may be one in a package."""
    for node in file.imports:
        if isinstance(node, Import):
            yield from (name for name, _ in node.ids)
        elif isinstance(node, (ImportFrom, ImportAll)):
            module = file.fullname if node.relative else node.id
            yield module
            yield from (f"{module}.{name}" for name, _ in node.names) if isinstance(node, ImportFrom) else ()
