"""What is wrong with a plugin, an agent, a processor or a name, in words.

The run time and the mypy plugin find the same faults by different means and say them in the same sentences, which
are here. This module imports nothing of RunnerKit, so that `runnerkit.mypy` can use it.

Types come in as text: `NDArray[float32]`, `list[str]`, `Iterable[Contribution[Executor]]`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_MOST_NAMES = 10
_NEAREST = 4
_NEARLY = 0.88  # begin_epsiode; a letter more would make `rendered` a misspelt `render`


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question after the closest of the known names, or nothing where none is close."""
    names = list(known)
    close = [other for other in names if other.endswith(f"/{name}")]  # Pong-v5 without its namespace
    close += [other for other in names if name.endswith(f"_{other}")]  # num_episodes
    close += difflib.get_close_matches(name, names, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def unknown(kind: str, name: str, known: Sequence[str], hint: str = "", *, brief: bool = False) -> str:
    """Say that nothing of a kind is called so; `known` is sorted, and left out with `brief` if one of it is close."""
    guess = did_you_mean(name, known)
    there = f" Known: {_listed(kind, name, known)}." if known else f" No {kind} is known."
    return f"No {kind} is called {name!r}.{guess}{' ' + hint if hint else ''}{'' if brief and guess else there}"


def _listed(kind: str, name: str, known: Sequence[str]) -> str:
    """Return the known names: all if there are few, else those nearest to a name, and how many more there are."""
    if len(known) <= _MOST_NAMES:
        return ", ".join(known)
    nearest = difflib.get_close_matches(name, known, n=_NEAREST, cutoff=0.0)
    where = " (gymnasium.pprint_registry() lists all)" if kind == "env" else ""
    return f"{', '.join(nearest)} and {len(known) - len(nearest)} more{where}"


def nearly(name: str, meant: str) -> bool:
    """Whether a name is so close to another that it was surely meant to be it: `begin_episode`, `beginEpisodes`.

    The first letter must be the same: `get_active_envs` is not `set_active_envs`, nor `deallocate` `allocate`.
    """
    first, second = (text.replace("_", "").lower() for text in (name, meant))
    if name == meant or first[:1] != second[:1]:
        return False
    return sorted(first) == sorted(second) or difflib.SequenceMatcher(None, first, second).ratio() >= _NEARLY


def unknown_option(name: str, known: Sequence[str]) -> str:
    """Say that a runner has no such option; what is for the env goes another way."""
    way_out = did_you_mean(name, known) or f" What is for the env itself goes into env_options={{{name!r}: ...}}."
    return f"A runner has no option {name!r}.{way_out}"


def class_for_env(name: str) -> str:
    """Say that a class of envs is given instead of a function that makes one."""
    return (
        f"The env must be an env id or a function (seed) -> env; {name} is a class, which would take the seed as its "
        f"first argument. Pass lambda seed: {name}()."
    )


def env_itself(given: str, made: str) -> str:
    """Say that an env is given instead of a function that makes one; `made` is how this one was made."""
    return (
        f"The env must be an env id or a function (seed) -> env, not the env {given} itself: a runner makes its envs. "
        f"Pass lambda seed: {made}."
    )


def not_an_env(given: str) -> str:
    """Say that something is no env id and makes no envs."""
    return (
        "The env must be an env id, an EnvKey, a function (seed) -> env or a list of such functions, one per env, not "
        f"{given}."
    )


def wrong_option(name: str, wanted: str, given: str) -> str:
    """Say that an option of a runner has a value of another type; types are as they are written."""
    return f"Option {name!r} of a runner must be {wanted}, not {given}."


_OF_RUNNERS = frozenset(
    (
        *("auto_reset", "env_options", "isolate", "keep_infos", "keep_raw", "lock", "log_level", "make_timeout"),
        *("max_restarts", "min_batch", "n_envs", "on_env_error", "render_mode", "repeatable", "reset_timeout"),
        *("schedule", "seed", "spare_envs", "step_timeout", "strict_spaces", "thread_safe", "timings", "workers"),
        "wrappers",
    )
)
"""The options of a runner that are none of its parts; a test compares them with `runnerkit.typing.RunnerOptions`."""


def unknown_part_option(what: str, name: str, known: Sequence[str]) -> str:
    """Say that a part has no such option; `what` is "history format 'parquet'"."""
    there = f" Its options: {', '.join(known)}." if known else " It has no options."
    if name in _OF_RUNNERS:
        there = f" It is an option of the runner itself: make(..., {name}=...)."
    return f"{_capital(what)} has no option {name!r}.{did_you_mean(name, known)}{there}"


def missing_part_option(what: str, name: str, type_: str) -> str:
    """Say that a part cannot be made without an option."""
    of_type = f" ({type_})" if type_ else ""
    return f"{_capital(what)} needs the option {name!r}{of_type}. Pass it, as use(NAME, {name}=...) does."


def wrong_part_option(what: str, name: str, type_: str, given: str) -> str:
    """Say that the value of an option is of another type; types are as they are written, "int | None"."""
    return f"{_capital(what)}: option {name!r} expects {type_}, not {given}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def unknown_keyword(function: str, name: str, known: Sequence[str]) -> str:
    """Say that a function takes no argument of that name."""
    way_out = did_you_mean(name, known) or f" It takes {', '.join(known)}."
    return f"{function} has no argument {name!r}.{way_out}"


def missing_argument(function: str, name: str, such: str) -> str:
    """Say that the argument that is always needed is missing; `such` is "an agent"."""
    return f"{function} needs the argument {name!r}: {such}."


def too_many_arguments(function: str, by_position: Sequence[str], given: int) -> str:
    """Say that more arguments were given by position than may be."""
    count = f"{given} arguments without a name, but takes only {', '.join(by_position)} so"
    return f"{function} got {count}. Pass the others by name."


def not_a_history(given: str) -> str:
    """Say that what is given as `history` is none."""
    return f"history must be a name, a HistoryKey or a HistoryFormat object, not {given}."


def not_an_executor(given: str) -> str:
    """Say that what is given as `executor` is none."""
    return (
        "executor must be a name such as 'auto', 'serial' or 'threads', an executor, or a function "
        f"(n_envs, workers) that makes one, not {given}."
    )


def not_a_processor(given: str) -> str:
    """Say that what is given as a processor is none."""
    return f"A processor must be a name or an object with bind and __call__, not {given}."


def not_a_reward_processor(given: str) -> str:
    """Say that what is given as a reward processor is none."""
    return f"A reward processor must be a name, or a function (rewards) -> rewards, not {given}."


def not_a_name_with_options(given: str) -> str:
    """Say that a tuple is no pair of a name and its options."""
    return f"A name with options is a pair such as ('frame-stack', {{'k': 4}}), not {given}."


def no_name_for_use(given: str) -> str:
    """Say that `use` was given the part itself."""
    return (
        "use() expects the name of a part, as in use('frame-stack', k=4), not the part itself. Instead of use(), make "
        f"the part with its options: {given}(...)."
    )


def names_unchecked(kind: str, name: str, package: str, group: str) -> str:
    """Say which package keeps a name from being checked, and how that is mended."""
    return (
        f"The {kind} {name!r} is not checked, since {package} may offer it by a hook. "
        f'It can declare its names under [project.entry-points."runnerkit.{group}"].'
    )


def rivals(kind: str, name: str, offers: Sequence[tuple[str, str]]) -> str:
    """Say that several distributions offer a name; an offer is its source, `another 0.1`, and its full name."""
    sources = " and ".join(source for source, _ in offers)
    choices = " or ".join(repr(full_name) for _, full_name in offers)
    return f"{sources} offer the {kind} {name!r}. Ask for {choices}."


def lost_name(kind: str, name: str, source: str, owner: str, full_name: str) -> str:
    """Say that a name means what another one offers; `full_name` is what to ask for instead, if there is anything."""
    way_out = f" Ask for {full_name!r} to get that of {source}." if full_name else " Give it another name."
    return f"{source} offers the {kind} {name!r}, but that name means the one of {owner}.{way_out}"


def declared_and_offered(kind: str, name: str, value: str, hook: str) -> str:
    """Say that the metadata of a distribution and one of its hooks give a name two meanings."""
    return (
        f"its metadata declare the {kind} {name!r} as {value!r}, but its hook {hook} offers something else under that "
        "name. What the metadata declare is used: remove the name from the hook."
    )


def not_allowed(distributions: Sequence[str]) -> str:
    """Say which distributions were not asked."""
    return f"Not asked, as they are not allowed or are disabled: {', '.join(distributions)}."


def name_of_plugin(name: str) -> str:
    """Say that a name was given where a plugin is wanted."""
    return (
        f"A plugin is a module or an object, not the name {name!r}. Import it first: "
        f"import {name}; registry.register({name}). In a terminal, -p {name} does so."
    )


def comes_with(name: str, package: str) -> str:
    """Say which package to install for a name."""
    return f"{name!r} comes with another package: pip install {package}."


# ---- hook implementations


def unknown_argument(hook: str, argument: str, known: Sequence[str]) -> str:
    """Say that the hook passes no such argument; `known` are those that it passes."""
    way_out = f" Known: {', '.join(known)}." if known else " It has none: remove it."
    return f"Hook {hook!r} has no argument {argument!r}.{did_you_mean(argument, known)}{way_out}"


def wrong_argument(hook: str, argument: str, given: str, passed: str) -> str:
    """Say that the annotation of an argument does not take what the hook passes."""
    return f"Argument {argument!r} of hook {hook!r} is {passed}, which {given} does not take. Annotate it as {passed}."


def default_argument(hook: str, argument: str) -> str:
    """Say that an argument of the hook has a default in the implementation."""
    return f"Argument {argument!r} of hook {hook!r} has a default, so that pluggy never passes it. Remove the default."


def keyword_only_argument(hook: str, argument: str) -> str:
    """Say that an argument is keyword-only in the implementation."""
    return f"Argument {argument!r} of hook {hook!r} is keyword-only, but pluggy passes by position. Remove the '*'."


def wrong_result(hook: str, given: str, wanted: str) -> str:
    """Say that an implementation returns what the hook does not take."""
    return f"Hook {hook!r} must return {wanted}, not {given}."


def async_hook(hook: str) -> str:
    """Say that an implementation is a coroutine function, or an async generator."""
    return f"Hook {hook!r} is async, but nothing awaits it. Make it a plain function."


def wrapper_without_yield(hook: str) -> str:
    """Say that a wrapper is no generator function."""
    return f"A wrapper of hook {hook!r} must be a generator function. Yield once, where the hook itself is to run."


def returned_none(hook: str) -> str:
    """Say that an implementation returned None, as one does that forgets to yield."""
    return f"Hook {hook!r} returned None. Yield its contributions, or return () if there is nothing to offer."


def no_wrapper(hook: str) -> str:
    """Say that RunnerKit's own hooks have no wrappers."""
    return f"Hook {hook!r} cannot be wrapped, as each plugin is asked by itself. Yield contributions of your own."


def no_function(given: str) -> str:
    """Say that what is marked as an implementation is an object that can be called."""
    article = "an" if given[0].lower() in "aeiou" else "a"
    return (
        f"hookimpl marks functions, not {article} {given}, which pluggy would not see. Mark a function that calls it."
    )


# ---- agents, processors, formats: `what` is "Agent", "Preprocessor", ..., `who` the name of the class

# How their methods are called.
ACT = "act(observations)"
CHOOSE = "__call__(observations)"
BEGIN_EPISODES = "begin_episodes(env_indices)"
SET_ACTIVE_ENVS = "set_active_envs(env_indices)"
SET_ROWS = "set_rows(rows)"
BIND = "bind(space)"
PROCESS_OBSERVATIONS = "__call__(observations)"
PROCESS_ACTIONS = "__call__(actions)"
PROCESS_REWARDS = "__call__(rewards)"
FINAL_OBSERVATIONS = "final_observations(observations)"
NOTE_ACTIONS = "note_actions(actions)"
SET_CONTEXT = "set_context(context)"
STATE_DICT = "state_dict()"
LOAD_STATE_DICT = "load_state_dict(state)"
EPISODE_STATE = "episode_state()"
LOAD_EPISODE_STATE = "load_episode_state(state)"
# What they need not have.
_OF_ROWS = (BEGIN_EPISODES, SET_ACTIVE_ENVS)
OF_AGENTS = (*_OF_ROWS, SET_ROWS)
OF_POSTPROCESSORS = (*_OF_ROWS, SET_CONTEXT, STATE_DICT, LOAD_STATE_DICT, EPISODE_STATE, LOAD_EPISODE_STATE)
OF_REWARD_PROCESSORS = OF_POSTPROCESSORS
OF_PREPROCESSORS = (*OF_POSTPROCESSORS, FINAL_OBSERVATIONS, NOTE_ACTIONS)
OPEN = "open(spec)"
FINISH = "finish(block)"
APPEND = "append(history, transition)"
BATCH = "batch(block)"
CLOSE = "close()"
EXECUTOR = (
    "open(make_env, options)",
    "attach(block)",
    "reset(row, starts)",
    "step(at, row, actions, active, restart)",
    "drain()",
    "close()",
)
RENDER = "render(env_indices)"
ALLOCATE = "allocate(layout, steps, most, window)"
REPORT = "report(name)"
REMAKE = "remake(env_indices)"
DOING = "doing()"
CALL_ENVS = "call_envs(call, env_indices)"
RECALL = "recall(i, known)"
PACES = "paces()"
OF_EXECUTORS = (RENDER, ALLOCATE, REPORT, REMAKE, DOING, CALL_ENVS, RECALL, PACES)
# A function is called by its own name: make_lake(env_id, *, seed, **options).
MAKE_ENV = "__call__(env_id, *, seed, **options)"
MAKE_EXECUTOR = "__call__(n_envs, workers)"
WORKERS_TO_TRY = "workers_to_try(n_envs)"
SHARES_TO_TRY = "shares_to_try(n_envs, workers)"
# What `runnerkit tune` asks what makes executors.
OF_EXECUTOR_MAKERS = (WORKERS_TO_TRY, SHARES_TO_TRY)


def is_a_class(what: str, who: str) -> str:
    """Say that a class was given where an object of it is wanted."""
    return f"{what} {who} is a class. Make one: {who}()."


def lacks_method(what: str, who: str, call: str, there: Iterable[str] = ()) -> str:
    """Say that a method is missing; `call` is how it is called, `act(observations)`, `there` the names it has."""
    name = call.partition("(")[0]
    others = [other for other in there if other != name]  # what is called so may be no method
    return f"{what} {who} has no method {call}.{did_you_mean(name, others) or ' Give it one.'}"


def predicts(who: str) -> str:
    """Say how to make an agent of a model with a method `predict`, as those of Stable-Baselines3."""
    return (
        f"Agent {who} has no method {ACT}, but predict. Pass a function that returns its actions "
        "(for Stable-Baselines3 also: runnerkit-sb3's SB3Agent):\n"
        "    def act(observations):\n"
        "        actions, _ = model.predict(observations)\n"
        "        return actions"
    )


def forwards(who: str, discrete: bool) -> str:
    """Say how to make an agent of a torch module; what it returns are logits where actions are discrete."""
    chosen = "model(torch.from_numpy(observations))"
    return (
        f"Agent {who} is a torch module, and RunnerKit cannot know how its outputs become actions. "
        "Pass runnerkit.agents.from_module(model, runner.action_space), or a function that says so, for example:\n"
        "    @torch.no_grad()\n"
        "    def act(observations):\n"
        f"        return {f'{chosen}.argmax(dim=1)' if discrete else chosen}"
    )


def has_forward(who: str) -> str:
    """Say how to make an agent of what has a method `forward`, but is no torch module."""
    return (
        f"Agent {who} has no method {ACT}, but forward. Pass runnerkit.agents.from_module(model.forward, "
        "runner.action_space) if that takes and returns tensors, or a function of observations that returns actions."
    )


def near_miss(what: str, who: str, method: str, meant: str) -> str:
    """Say that a method is named almost as one that it need not have; `meant` is how that one is called."""
    return (
        f"{what} {who}: {method} is never called. Did you mean {meant}? "
        "Rename it. If it is your own, start its name with an underscore."
    )


def lacks_attribute(what: str, who: str, name: str, meaning: str) -> str:
    """Say that an attribute is missing, and what it says."""
    return f"{what} {who} has no attribute {name!r}, which says {meaning}. Give it one."


def not_callable_so(what: str, who: str, call: str, given: str) -> str:
    """Say that a method takes other arguments than it gets; both are written as calls, `act(observations, state)`."""
    return f"{what} {who}: it is called as {call}, not {given}. Change its parameters."


_TOLD_AT_ONCE = ("begin_episodes", "set_active_envs")


def async_method(what: str, who: str, method: str) -> str:
    """Say that a method is a coroutine function."""
    elsewhere = ", or use executor='asyncio'" if what == "Agent" and method not in _TOLD_AT_ONCE else ""
    return f"{what} {who}: {method} is async, but nothing awaits it. Make it a plain method{elsewhere}."


def wrong_method_result(what: str, who: str, method: str, given: str, wanted: str) -> str:
    """Say that a method returns what nobody can use."""
    return f"{what} {who}: {method} must return {wanted}, not {given}."


def takes_otherwise(what: str, who: str, takes: str, source: str, gives: str) -> str:
    """Say that an agent or processor does not take what it gets; `source` is "the env" or "Preprocessor Scale"."""
    fault = f"{what} {who} expects {takes}, but {source} provides {gives}."
    return f"{fault} Change the annotation, or insert a preprocessor."


def gives_otherwise(what: str, who: str, gives: str, sink: str, takes: str) -> str:
    """Say that what comes after an agent or postprocessor does not take what it returns."""
    fault = f"{what} {who} provides {gives}, but {sink} expects {takes}."
    return f"{fault} Change the annotation, or insert a postprocessor."


def declared_otherwise(who: str, what: str, declared: str, source: str, given: str) -> str:
    """Say that a derived runner gets other types than its base class is declared with; `what` is "observations"."""
    fault = f"Runner {who} declares {what} of type {declared}, but {source} provides {given}."
    return f"{fault} Change the types in the brackets of its base class, or what it is built of."


def sends_otherwise(who: str, declared: str, sink: str, wanted: str) -> str:
    """Say the same of actions, which go to `sink`."""
    fault = f"Runner {who} declares actions of type {declared}, but {sink} expects {wanted}."
    return f"{fault} Change the types in the brackets of its base class, or what it is built of."


def key_otherwise(name: str, declared: str, made: str) -> str:
    """Say that a HistoryKey is declared with another type than the format's histories have."""
    return f"History format {name!r} provides {made}, not {declared}. Write HistoryKey[{made}]({name!r})."


def string_for_list(option: str, text: str) -> str:
    """Say that a string was given where a list of names is wanted."""
    return f"{option}={text!r} is a string, not a list. Write {option}=[{text!r}]."


def part_for_list(option: str, given: str) -> str:
    """Say that one name with options was given where a list is wanted."""
    return f"{option}={given} is one part, not a list. Write {option}=[{given}]."


def wrong_order(option: str, earlier: str, later: str, order: Sequence[str]) -> str:
    """Say that two processors are the wrong way round, and which order would do."""
    return f"{option}: {earlier} must come before {later}. Write them in the order {', '.join(order)}."


def no_order(option: str, circle: Sequence[str]) -> str:
    """Say that processors are to come before each other in a circle, whose first is its last, too."""
    return f"{option}: no order is possible, as {' must come before '.join(circle)}. Leave one of them out."


def no_names(title: str, attribute: str, given: str) -> str:
    """Say that a processor's `before` or `after` has no names."""
    return f"Processor {title}: {attribute} must be a tuple of names, such as ('normalize',), not {given}."


def rows_otherwise(runner: str, what: str, rows: str, batches: str) -> str:
    """Say that a runner's process_transition takes other rows than its batches have; `what` is "observations"."""
    return (
        f"Runner {runner} is declared with {what} of {batches}, but its process_transition expects {rows} for one row "
        "of them. Change the types of its Transition."
    )


def no_empty_history(runner: str, episodes: int = 0, n_envs: int = 0) -> str:
    """Say that a runner that makes its own histories does not say what that of an env without a step is."""
    which = f"episodes={episodes} leaves {n_envs - episodes} of {n_envs} envs without a step" if n_envs else ""
    start = f"{which}, and {runner}" if which else runner
    more = f" Override it beside process_transition, or ask for at least episodes={n_envs}." if n_envs else ""
    return f"{start} does not say what the history of such an env is: it has no empty_history().{more}"
