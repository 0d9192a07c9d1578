"""Names in calls that build runners: `history="arrow"`, `"atari:Pong"`, and whether anything is called so."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from enum import Enum

from mypy.nodes import CallExpr, MemberExpr, MypyFile
from mypy.plugin import CheckerPluginInterface

from runnerkit import _sentences as sentences
from runnerkit.mypy.asked import parts_asked_for
from runnerkit.mypy.calls import Call, Fault, Value
from runnerkit.mypy.codes import NAME
from runnerkit.mypy.env_ids import EnvIds
from runnerkit.mypy.names import KINDS, NamesPart
from runnerkit.mypy.registries import Registries, is_default


class _Reports(Enum):
    """When a name that is not known is an error."""

    ALWAYS = "nobody can have registered it unseen"
    IF_CLOSE = "it may be registered elsewhere, unless it looks like a misspelt one"
    NEVER = "there are names that mypy cannot know"


class Lookups:
    """Checks the names in calls that build runners."""

    def __init__(self, names: NamesPart) -> None:
        self._part = names
        self._names = names.names
        self._registries = Registries()
        self._env_ids = EnvIds(names.finder)
        self._told: set[str] = set()

    def faults(
        self, node: CallExpr, call: Call, env: Value | None, file: MypyFile | None, api: CheckerPluginInterface
    ) -> Iterator[Fault]:
        """Yield each name of a call that nothing has. `file` is where the call is; without it, nothing is said."""
        reports = self._reports(node, call, file)
        if reports is _Reports.NEVER or file is None:
            return
        for kind, found in parts_asked_for(call, api):
            if found.by_key:  # whoever made the key knows what it is for
                continue
            value, name, known = found.value, found.name, self._names.known(kind)
            if kind in self._names.incomplete:
                self._say_why_not(kind, name, value, api)
                continue
            misspelt = _looks_misspelt(name, known)
            if not self._names.is_known(kind, name) and (misspelt or reports is _Reports.ALWAYS):
                yield self._unknown(kind, value, name, "" if misspelt else _declare(kind, name))
        factory, colon, _ = (env.literal or "").partition(":") if env else ("", "", "")
        if env and colon and "env_factories" not in self._names.incomplete and self._is_misspelt_factory(factory, file):
            yield self._unknown("env_factories", env, factory, "")
        if env and env.literal and (said := self._env_ids.fault(env.literal, file)):
            yield Fault(env.where, said, NAME)

    def are_seen(self, node: CallExpr, call: Call, file: MypyFile | None) -> bool:
        """Whether no name of a call can have a meaning that mypy does not see."""
        return self._reports(node, call, file) is not _Reports.NEVER

    def _say_why_not(self, kind: str, name: str, value: Value, api: CheckerPluginInterface) -> None:
        """Say, once, that a name is not checked since an installed package declares none."""
        distribution = self._names.incomplete[kind]
        if not distribution or kind in self._told or self._names.is_known(kind, name):
            return
        self._told.add(kind)
        api.msg.note(sentences.names_unchecked(KINDS[kind], name, distribution, kind), value.where, code=NAME)

    def _unknown(self, kind: str, value: Value, name: str, note: str) -> Fault:
        return Fault(value.where, sentences.unknown(KINDS[kind], name, self._names.known(kind)), NAME, note)

    def _is_misspelt_factory(self, name: str, file: MypyFile) -> bool:
        """Whether it looks like a factory; before a colon, Gymnasium takes a module, too."""
        known = self._names.known("env_factories")
        return name not in known and _looks_misspelt(name, known) and not self._part.finder.is_there(name, file)

    def _reports(self, node: CallExpr, call: Call, file: MypyFile | None) -> _Reports:
        plugins = call.value("plugins")
        if file is None or (plugins is not None and not plugins.is_none):
            return _Reports.NEVER
        callee = node.callee
        if not isinstance(callee, MemberExpr) or callee.name != "build":
            if not call.is_whole:  # plugins= may be given unseen
                return _Reports.NEVER
            return self._reports_of_default(file)
        if is_default(callee.expr):
            return self._reports_of_default(file)
        if self._registries.registers(file):
            return _Reports.NEVER
        return _Reports.ALWAYS if self._registries.has_only_installed(callee.expr, file) else _Reports.IF_CLOSE

    def _reports_of_default(self, file: MypyFile) -> _Reports:
        return _Reports.NEVER if self._registries.fills_default(file) else _Reports.ALWAYS


def _looks_misspelt(name: str, known: list[str]) -> bool:
    """Whether a name is one of the known but for a letter or two; `flatten-dict` is no misspelt `flatten`."""
    return any(abs(len(name) - len(other)) <= 2 for other in difflib.get_close_matches(name, known, n=3, cutoff=0.75))


def _declare(kind: str, name: str) -> str:
    return f'If it is registered by hand, declare it: [tool.runnerkit.mypy.names.{kind}] {name} = "module:object".'
