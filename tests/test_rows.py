"""Rows of histories: slices, rollouts in a row, first rows of episodes, records as arrays, what replay buffers take."""

from __future__ import annotations

import copy
import itertools
from typing import Any, cast

import gymnasium
import numpy as np
import pytest
from envs import exact, summary
from gymnasium import spaces
from typing_extensions import override

import runnerkit
from runnerkit import EndReason, concatenate, discounted_returns, gae, stack, transitions
from runnerkit.errors import ArgumentError
from runnerkit.history.rows import totals


class Counter(gymnasium.Env[Any, Any]):
    """Episodes of 3 to 6 steps, terminated and truncated in turn. Observations say: which episode, which step."""

    observation_space: spaces.Space[Any] = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space: spaces.Space[Any] = spaces.Discrete(2)
    episodes = 0

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episodes, self.steps = self.episodes + 1, 0
        self.most = int(self.np_random.integers(3, 7))
        return self._seen(), {"reset": self.episodes}

    def _seen(self) -> Any:
        return np.array([self.episodes, self.steps], np.float64)

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        ends, odd = self.steps == self.most, self.episodes % 2 == 1
        return self._seen(), float(self.steps), ends and odd, ends and not odd, {"steps": self.steps}


class Adds:
    def bind(self, space: Any, /) -> Any:
        return space

    def __call__(self, observations: Any, /) -> Any:
        return observations + 0.5


def act(observations: Any) -> Any:
    return np.zeros(len(observations), np.int64), {"step": observations[:, 1]}


def rollouts(*steps: int, **options: Any) -> list[list[Any]]:
    options = {"n_envs": 2, "executor": "serial", "keep_infos": True, **options}
    with runnerkit.make(lambda seed: Counter(), seed=0, **options) as runner:
        return [list(runner.rollout(act, steps=count)) for count in steps]


def whole(history: Any) -> Any:
    """Return all that a history has, in a form that can be compared."""
    parts = [
        (part.record, part.observations, part.raw_observations, part.rewards, part.extras, part.infos, part.reset_info)
        for part in history.split()
    ]
    columns = (history.next_observations, history.bootstrap, history.last_observations, history.starts, history.done)
    return exact((summary(history), parts, columns))


PROCESSED: dict[str, Any] = {"preprocessors": [Adds()], "keep_raw": True}


@pytest.mark.parametrize("options", [{}, PROCESSED], ids=["plain", "processed"])
def test_a_long_rollout_is_short_ones_in_a_row(options: Any) -> None:
    (long,) = rollouts(40, **options)
    short = rollouts(7, 1, 20, 3, 9, **options)
    for i, history in enumerate(long):
        assert whole(concatenate([histories[i] for histories in short])) == whole(history)
    assert whole(concatenate(map(stack, short))._of(1)) == whole(long[1])


@pytest.mark.parametrize("options", [{}, PROCESSED], ids=["plain", "processed"])
def test_slices_of_a_history_are_short_rollouts(options: Any) -> None:
    (long,) = rollouts(40, **options)
    bounds = [0, 7, 8, 28, 31, 40]
    for k, histories in enumerate(rollouts(*np.diff(bounds).tolist(), **options)):
        for i, history in enumerate(histories):
            assert whole(long[i][bounds[k] : bounds[k + 1]]) == whole(history)
        batch = stack(long)[bounds[k] : bounds[k + 1]]
        assert batch.rewards.shape == (len(histories[0]), 2)
        assert whole(batch._of(1)) == whole(histories[1])
    assert len(long[0][5:5]) == len(long[0][9:3]) == 0
    assert whole(long[0][:]) == whole(long[0])
    assert whole(concatenate([long[0][:15], long[0][15:15], long[0][15:]])) == whole(long[0])


def test_slices_and_chains_of_tensors_are_tensors() -> None:
    torch = pytest.importorskip("torch")
    (first,), (second,) = rollouts(5, 6, n_envs=1, history="torch")
    both = concatenate([first, second])
    assert torch.equal(both[3:8].rewards, torch.cat([first.rewards, second.rewards])[3:8])
    assert both.starts.dtype is torch.bool


@pytest.mark.parametrize(
    ("choose", "said"),
    [
        (lambda first, second: concatenate([]), "needs at least one"),
        (lambda first, second: concatenate([second[0], first[0]]), "in their order, without a gap"),
        (lambda first, second: concatenate([first[0][:2], first[0][3:]]), "begins with step 3 of episode 0 of env 0"),
        (lambda first, second: concatenate([first[0], second[1]]), r"same envs, not of \[0\] and \[1\]"),
        (lambda first, second: first[0][3], "selects rows that follow each other, which 3 does not"),
        (lambda first, second: first[0][::2], "which slice"),
        (lambda first, second: transitions(cast(Any, 3)), "transitions needs a history"),
        (lambda first, second: transitions([]), "transitions needs at least one history"),
        (lambda first, second: transitions([first[0], second[0][:5]]), r"of equal length, .*: history\[:5\]\.$"),
        (lambda first, second: gae(cast(Any, None), value=np.sum), "gae needs a history with columns, or a list of"),
        (lambda first, second: gae(cast(Any, [first]), value=np.sum), "gae needs histories with columns, .* not list"),
        (lambda first, second: discounted_returns(cast(Any, "runs")), "discounted_returns needs histories .* not str"),
    ],
)
def test_what_is_no_row_of_rows_is_refused(choose: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        choose(*rollouts(9, 9))


def test_batches_of_a_stream_can_be_kept_and_chained() -> None:
    (long,) = rollouts(20, keep_infos=False)
    with runnerkit.make(lambda seed: Counter(), n_envs=2, seed=0, executor="serial") as runner:
        stream = runner.stream(act, steps=4)
        kept = [copy.copy(next(stream)) for _ in range(5)]
        assert [batch[1:3].rewards.shape for batch in kept] == [(2, 2)] * 5
    chain = concatenate(kept)
    for i, history in enumerate(long):
        assert whole(chain._of(i)) == whole(history)


@pytest.mark.parametrize("env", ["CartPole-v1", "vector:CartPole-v1"])
def test_starts_and_records_tell_where_episodes_begin(env: str) -> None:
    with runnerkit.make(env, n_envs=3, seed=0) as runner:
        for _ in range(3):
            for history in runner.rollout(lambda observations: np.zeros(len(observations), np.int64), steps=40):
                records = history.episodes
                wanted = [record.start for record in records if not record.continued]
                assert np.flatnonzero(history.starts).tolist() == wanted
                table = history.episodes_array
                assert table["return_"].tolist() == [record.return_ for record in records]
                assert table["end_reason"].tolist() == [record.end_reason for record in records]
                assert table["total_length"].sum() == sum(record.total_length for record in records)
                np.testing.assert_array_equal(history.done, history.terminated | history.truncated)


class Fails(Counter):
    """Fails in the seventh step of its life."""

    made = 0

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.made += 1
        if self.made == 7:
            raise RuntimeError("broken")
        return super().step(action)


def test_transitions_lead_to_final_observations() -> None:
    ((first, second),) = rollouts(30)
    batch = transitions([first, second])
    assert len(batch) == 60
    for i, history in enumerate((first, second)):
        mine = batch.env_indices == i
        np.testing.assert_array_equal(batch.observations[mine], history.observations)
        np.testing.assert_array_equal(batch.next_observations[mine], history.next_observations)
        np.testing.assert_array_equal(batch.done[mine], history.done)
        # one step further in the same episode, also at its end
        np.testing.assert_array_equal(batch.next_observations[mine][:, 1], history.observations[:, 1] + 1)
    assert [len(step) for step in batch] == [2] * 30
    assert [step.env_indices.tolist() for step in batch] == [[0, 1]] * 30
    assert batch.truncated[-2:].tolist() == [first.truncated[-1], second.truncated[-1]]
    assert len(transitions(first)) == 30


def test_transitions_after_which_an_env_was_made_anew_are_truncated() -> None:
    with runnerkit.make(
        lambda seed: Fails(), n_envs=1, seed=0, executor="serial", on_env_error="restart", auto_reset=True
    ) as runner:
        (history,) = runner.rollout(act, steps=20)
    broken = [r for r in history.episodes if r.end_reason is EndReason.CRASHED]
    batch = transitions(history)
    for record in broken:
        assert batch.truncated[record.start + record.length - 1]
    assert broken
    assert batch.done.sum() == len(history.episodes) - (history.episodes[-1].end_reason is EndReason.CUT)


def test_transitions_without_final_observations_are_refused() -> None:
    class Forgets(gymnasium.vector.SyncVectorEnv):
        @override
        def step(self, actions: Any) -> Any:
            *result, infos = super().step(actions)
            return *result, {k: v for k, v in infos.items() if "final" not in k}

    def make(seed: int | None) -> Any:
        mode = gymnasium.vector.AutoresetMode.SAME_STEP
        return Forgets([lambda: gymnasium.make("CartPole-v1")] * 2, autoreset_mode=mode)

    with runnerkit.make(make, n_envs=2, seed=0) as runner:
        histories = runner.rollout(lambda observations: np.zeros(len(observations), np.int64), steps=30)
    with pytest.raises(ArgumentError, match="does not provide final observations"):
        transitions(histories)


def test_sb3_takes_transitions() -> None:
    buffers = pytest.importorskip("stable_baselines3.common.buffers")
    ((first, second),) = rollouts(30)
    buffer = buffers.ReplayBuffer(
        64, Counter.observation_space, Counter.action_space, n_envs=2, handle_timeout_termination=True
    )
    for step in transitions([first, second]):
        buffer.add(*step.sb3())
    assert buffer.size() == 30
    both = stack([first, second])
    np.testing.assert_array_equal(buffer.observations[:30], both.observations)
    np.testing.assert_array_equal(buffer.next_observations[:30], both.next_observations)
    np.testing.assert_array_equal(buffer.rewards[:30], both.rewards.astype(np.float32))
    np.testing.assert_array_equal(buffer.dones[:30], both.done)
    np.testing.assert_array_equal(buffer.timeouts[:30], both.truncated)


def test_tianshou_takes_transitions() -> None:
    data = pytest.importorskip("tianshou.data")
    ((first, second),) = rollouts(30)
    batch = transitions([first, second])
    buffer = data.VectorReplayBuffer(64, 2)
    for step in batch:
        buffer.add(data.Batch(step.tianshou()), buffer_ids=step.env_indices)
    assert len(buffer) == 60
    np.testing.assert_array_equal(buffer.obs_next[:30], first.next_observations)
    np.testing.assert_array_equal(buffer.obs_next[32:62], second.next_observations)
    np.testing.assert_array_equal(buffer.terminated[:30], first.terminated)
    at_once = data.ReplayBuffer.from_data(**transitions(first).tianshou())
    np.testing.assert_array_equal(at_once.rew, first.rewards)


def test_torchrl_takes_transitions() -> None:
    torchrl = pytest.importorskip("torchrl.data")
    tensordict = pytest.importorskip("tensordict")
    ((first, second),) = rollouts(30)
    batch = transitions([first, second])
    buffer = torchrl.TensorDictReplayBuffer(storage=torchrl.LazyTensorStorage(64), batch_size=8)
    buffer.extend(tensordict.TensorDict(batch.torchrl(), len(batch)))
    assert len(buffer) == 60
    np.testing.assert_array_equal(buffer[:]["next", "observation"], batch.next_observations)
    np.testing.assert_array_equal(buffer[:]["next", "done"][:, 0], batch.done)


def test_totals_are_to_the_last_bit_those_of_each_column_alone() -> None:
    random = np.random.default_rng(0)
    for steps, n_envs in itertools.product((1, 2, 7, 8, 9, 127, 300), (1, 2, 8, 9)):
        rewards = random.normal(size=(steps + 1, n_envs)) * 10.0 ** random.integers(-8, 8, (steps + 1, n_envs))
        alone = [float(rewards[:steps, i].sum()) for i in range(n_envs)]
        assert totals(rewards[:steps]) == alone
