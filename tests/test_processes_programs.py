"""The process executor as all kinds of programs use it: scripts, modules, workers of others, odd launchers."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest
from programs import program, run

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_yield"), reason="needs a POSIX system")


def script(folder: Path, text: str, name: str = "train.py") -> Path:
    """Write a script."""
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


# ---- where the code comes from


def test_a_module_that_rolls_out_as_it_is_imported_is_refused_by_the_first_helper(tmp_path: Path) -> None:
    script(
        tmp_path,
        """
        import gymnasium, runnerkit
        print("imported")
        class Env(gymnasium.Wrapper): ...
        def make(seed): return Env(gymnasium.make("CartPole-v1"))
        with runnerkit.make(make, n_envs=2, seed=0, executor="processes", workers=2) as r:
            r.rollout(runnerkit.RandomAgent(r.action_space, seed=0), steps=10)
        """,
    )
    done = run(["-c", "import train"], cwd=tmp_path)
    assert done.stdout.split() == ["imported"] * 2  # by the caller and by one helper, which starts no other
    assert "A helper process imports module 'train'" in done.stderr
    assert 'if __name__ == "__main__":' in done.stderr.splitlines()[-1]


def test_a_module_may_roll_out_serially_as_it_is_imported(tmp_path: Path) -> None:
    script(
        tmp_path,
        """
        import gymnasium, runnerkit
        class Env(gymnasium.Wrapper): ...
        def make(seed): return Env(gymnasium.make("CartPole-v1"))
        def total(**options):
            with runnerkit.make(make, n_envs=2, seed=0, **options) as r:
                return [len(h) for h in r.rollout(runnerkit.RandomAgent(r.action_space, seed=0), steps=10)]
        total(executor="serial")
        """,
    )
    done = run(["-c", "import train; print(train.total(executor='processes', workers=2))"], cwd=tmp_path)
    assert done.stdout == "[10, 10]\n", done.stderr


MAKES_OWN = """
    import multiprocessing as mp, sys
    import gymnasium, runnerkit
    class Env(gymnasium.Wrapper): ...
    def make(seed): return Env(gymnasium.make("CartPole-v1"))
    def work(*ignored):
        with runnerkit.make(make, n_envs=2, seed=0, executor="processes", workers=2) as r:
            print(*[len(h) for h in r.rollout(runnerkit.RandomAgent(r.action_space, seed=0), steps=10)], flush=True)
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_a_worker_of_multiprocessing_may_roll_out_with_an_env_of_the_script(tmp_path: Path, method: str) -> None:
    path = script(
        tmp_path,
        MAKES_OWN
        + f"""
    if __name__ == "__main__":
        work()
        p = mp.get_context({method!r}).Process(target=work)
        p.start()
        p.join()
        print(p.exitcode)
        """,
    )
    done = run([str(path)])
    assert done.stdout.split() == ["10", "10", "10", "10", "0"], done.stderr


def test_a_worker_of_torch_may_roll_out_with_an_env_of_the_script(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    more = """
    if __name__ == "__main__":
        import torch.multiprocessing
        torch.multiprocessing.spawn(work, nprocs=2)
        """
    done = run([str(script(tmp_path, MAKES_OWN + more))])
    assert done.stdout.split() == ["10"] * 4, done.stderr


@pytest.mark.parametrize(
    "how",
    [
        "import runpy; runpy.run_path('train.py', {}, 'job')",
        "import runpy; runpy.run_path('train.py')",
        "import runpy; runpy.run_path('train.py', run_name='__main__')",
        "import runpy; runpy.run_module('train', run_name='__main__')",
        "exec(open('train.py').read())",
        "import importlib.util as u, sys; s = u.spec_from_file_location('job', 'train.py');"
        "sys.path.remove(''); m = sys.modules['job'] = u.module_from_spec(s); s.loader.exec_module(m)",
    ],
    ids=["run_path with a name", "run_path", "run_path as main", "run_module", "exec", "loaded from a file"],
)
def test_a_script_may_be_run_by_another_program(tmp_path: Path, how: str) -> None:
    script(tmp_path, MAKES_OWN + "\n    work()\n")
    done = run(["-c", how], cwd=tmp_path)
    assert done.stdout.split() == ["10", "10"], done.stderr


def test_what_an_env_looks_up_in_the_script_by_name_is_found(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        """
        import dataclasses, inspect, multiprocessing as mp, pickle, sys
        import gymnasium, numpy as np, runnerkit

        @dataclasses.dataclass
        class State: x: float

        SCALE = 3
        def double(x): return SCALE * x

        class Saves(gymnasium.Wrapper):
            def reset(self, **options):
                with mp.get_context("fork").Pool(1) as pool:
                    assert pool.map(double, [2]) == [6]
                return super().reset(**options)

            def step(self, action):
                assert pickle.loads(pickle.dumps(State(1.0))) == State(1.0)
                assert pickle.loads(b"c__main__\\nState\\n.") is State
                assert "x: float" in inspect.getsource(State)
                assert "SCALE * x" in inspect.getsource(double)
                assert sys.modules["__main__"].SCALE == 3
                return super().step(action)

        class Zero:
            def act(self, o): return np.zeros(len(o), np.int64)

        for executor in ("serial", "processes"):
            with runnerkit.make(
                lambda s: Saves(gymnasium.make("CartPole-v1")), n_envs=2, seed=0, executor=executor
            ) as runner:
                print(*[len(history) for history in runner.rollout(Zero(), steps=2)])
        """,
    )
    done = run([str(path)])
    assert done.stdout.split() == ["2"] * 4, done.stderr


def test_what_the_script_did_not_send_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        """
        import pickle
        import gymnasium, runnerkit

        class Hidden: ...
        class Looks(gymnasium.Wrapper):
            def __init__(self, env):
                super().__init__(env)
                self.found = pickle.loads(b"c__main__\\nHidden\\n.")

        runnerkit.make(lambda s: Looks(gymnasium.make("CartPole-v1")), n_envs=2, seed=0, executor="processes")
        """,
    )
    done = run([str(path)])
    last = done.stderr.splitlines()[-1]
    assert "'Hidden'" in last
    assert "'__main__' in a helper process: it has only what the env factory uses" in last
    assert "Define the rest in a module that can be imported" in last


def test_ids_that_the_script_registered_are_known_to_factories_in_helpers(tmp_path: Path) -> None:
    script(tmp_path, "print('offered was imported')", "offered.py")
    path = script(
        tmp_path,
        """
        import threading
        import gymnasium, runnerkit
        class Own(gymnasium.Wrapper):
            metadata = {"render_modes": ["rgb_array"]}
            def __init__(self, k=1, **options):
                super().__init__(gymnasium.make("CartPole-v1", **options))
                self.k = k

        lock = threading.Lock()
        gymnasium.register("Own-v0", Own, max_episode_steps=3)
        gymnasium.register("Other-v0", "__main__:Own", kwargs={"k": 2}, max_episode_steps=3)
        gymnasium.register("Kind-v0", Own, kwargs={"k": Own}, max_episode_steps=3)
        gymnasium.register("CartPole-v1", "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=7)
        gymnasium.register("Offered-v0", "offered:Env")
        gymnasium.register("Locked-v0", lambda: (lock, None))
        for name in ("Own-v0", "Kind-v0", "CartPole-v1", "Locked-v0"):
            try:
                with runnerkit.make(
                    lambda s: gymnasium.make(name, render_mode="rgb_array"), n_envs=2, executor="processes", workers=2
                ) as r:
                    histories = r.rollout(runnerkit.RandomAgent(r.action_space, seed=0), steps=7)
                    print(*{len(h.episodes) for h in histories})
            except runnerkit.errors.RunnerKitError as error:
                print(error)
        """.replace('"__main__:Own"', '"train:Own"'),
    )
    done = run(["-W", "ignore", str(path)])
    *rollouts, locked = done.stdout.splitlines()
    assert rollouts == ["3", "3", "1"], (done.stdout, done.stderr)  # and nothing was imported for the others
    assert "Locked-v0 is registered in the calling process, but its spec cannot be pickled" in locked


# ---- odd launchers


@pytest.mark.parametrize("closed", [[0], [0, 1], [0, 1, 2]])
def test_standard_streams_may_be_closed(tmp_path: Path, closed: list[int]) -> None:
    path = script(
        tmp_path,
        f"""
        import os
        for fd in {closed}:
            os.close(fd)
        import runnerkit
        with runnerkit.make("CartPole-v1", n_envs=2, seed=0, executor="processes", workers=2) as runner:
            lengths = [len(h) for h in runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), steps=10)]
            open_files = [fd for fd in (0, 1, 2) if os.path.exists(f"/proc/self/fd/{{fd}}")]
        with open("said", "w") as file:
            print(*lengths, *open_files, file=file)
        """,
    )
    done = run([str(path)], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "said").read_text().split() == ["10", "10", *[str(fd) for fd in (0, 1, 2) if fd not in closed]]


def test_a_limit_of_file_sizes_is_kept_and_told() -> None:
    done = program(
        """
        import resource, runnerkit
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**22, 2**22))
        with runnerkit.make("CartPole-v1", n_envs=64, seed=0, executor="processes", workers=2) as runner:
            agent = runnerkit.RandomAgent(runner.action_space, seed=0)
            for asked in ({"steps": 100}, {"episodes": 10}, {"steps": 100_000}):
                try:
                    print(len(runner.rollout(agent, **asked)))
                except MemoryError as error:
                    print(type(error).__name__, error)
        """
    )
    first, second, third = done.stdout.splitlines()
    assert (first, second) == ("64", "64"), done.stderr
    assert third.startswith("MemoryBudgetError")
    assert "ulimit -f" in third


def test_a_program_that_ignores_ctrl_c_rolls_out_and_ends() -> None:
    done = program(
        """
        import os, signal
        import runnerkit
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a job in the background of a shell has it
        class Pressing:
            def act(self, observations):
                os.killpg(0, signal.SIGINT)
                return agent.act(observations)
        with runnerkit.make("CartPole-v1", n_envs=2, seed=0, executor="processes", workers=2) as runner:
            agent = runnerkit.RandomAgent(runner.action_space, seed=0)
            print(*[len(history) for history in runner.rollout(Pressing(), steps=10)])
        """
    )
    assert done.stdout.split() == ["10", "10"], done.stderr


def test_a_program_ends_though_an_env_hangs_in_a_helper() -> None:
    done = program(
        """
        import os, tempfile, threading, time
        import gymnasium, runnerkit
        home, folder = os.getpid(), tempfile.mkdtemp()
        class Hanging(gymnasium.Wrapper):
            def step(self, action):
                if os.getpid() == home:
                    return super().step(action)
                os.rmdir(folder)
                time.sleep(1e6)
        runner = runnerkit.make(
            lambda s: Hanging(gymnasium.make("CartPole-v1")), n_envs=2, seed=0, executor="processes", workers=2
        )
        agent = runnerkit.RandomAgent(runner.action_space, seed=0)
        threading.Thread(target=lambda: runner.rollout(agent, steps=10), daemon=True).start()
        while os.path.exists(folder):
            time.sleep(0.01)
        print("end", flush=True)
        """
    )
    assert (done.stdout, done.returncode) == ("end\n", 0)
    assert "Env 1 did not answer in time as the runner closed" in done.stderr


# ---- daemons that an env starts


def test_nothing_of_ours_is_inherited_by_what_an_env_starts() -> None:
    done = program(
        """
        import os, subprocess, sys
        import gymnasium, runnerkit
        home = os.getpid()
        def make(seed):
            if os.getpid() != home:
                code = "import os; print(sorted(os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')"
                code += " if int(n) > 2 and os.path.exists(f'/proc/self/fd/{n}')))"
                subprocess.run([sys.executable, "-c", code], close_fds=False)
            return gymnasium.make("CartPole-v1")
        with runnerkit.make(make, n_envs=2, seed=0, executor="processes", workers=2) as runner:
            runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), steps=2)
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[]"]


@pytest.mark.parametrize(
    "daemon",
    [
        "os.system('sleep 60 >/dev/null 2>&1 &')",
        "os.fork() or os.close(1) or os.close(2) or time.sleep(60) or os._exit(0)",
    ],
)
def test_a_helper_that_dies_as_it_answers_is_noticed_though_a_daemon_has_its_socket(daemon: str) -> None:
    done = program(
        f"""
        import os, time
        import gymnasium, numpy as np, runnerkit
        from runnerkit.executors.processes.handover import Mail
        home = os.getpid()
        class Env(gymnasium.Wrapper):
            def step(self, action):
                if os.getpid() != home and not hasattr(self, "daemon"):
                    self.daemon = {daemon}
                return *super().step(action)[:4], {{"frame": np.zeros(50_000_000, np.uint8)}}
        receive = Mail._receive
        def killing(self, nbytes):
            if os.getpid() == home and nbytes > 10**7:  # the header of a large message has come
                (helper,) = [handle._process for handle in runner._parts.executor._helpers]
                helper.kill()
                global killed
                killed = time.monotonic()
            return receive(self, nbytes)
        Mail._receive = killing
        with runnerkit.make(
            lambda seed: Env(gymnasium.make("CartPole-v1")), n_envs=2, seed=0, executor="processes", workers=2,
            keep_infos=True,
        ) as runner:
            try:
                runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), steps=2)
            except runnerkit.errors.EnvError as error:
                print(time.monotonic() - killed, error)
        """
    )
    assert "SIGKILL" in done.stdout, done.stderr
    assert float(done.stdout.split()[0]) < 20


# ---- the same in each helper, and in each run


def test_helpers_of_a_run_hash_alike_and_global_generators_are_seeded() -> None:
    text = """
        import os, random, sys
        import gymnasium, numpy as np, runnerkit
        home = os.getpid()
        def make(seed):
            if os.getpid() != home:
                torch = sys.modules.get("torch")
                numbers = [random.random(), float(np.random.random()), float(torch.rand(1)) if torch else 0.0]
                os.write(1, f"{os.getppid() == home} {hash('env')} {numbers}\\n".encode())
            return gymnasium.make("CartPole-v1")
        for seed in (0, 0, 1):
            runnerkit.make(make, n_envs=3, seed=seed, executor="processes", workers=3).close()
            print(flush=True)
    """
    first, again, other = (set(part.split("\n")) - {""} for part in program(text).stdout.split("\n\n")[:3])
    assert first == again
    assert len(first) == 2  # each has numbers of its own
    assert len({line.split()[1] for line in first}) == 1
    assert first != other


def test_the_global_generators_of_the_caller_are_left_alone() -> None:
    import random

    import numpy as np

    import runnerkit

    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)
    with runnerkit.make("CartPole-v1", n_envs=2, seed=0, executor="processes", workers=2) as runner:
        runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), steps=5)
    assert (random.random(), np.random.random()) == expected


@pytest.mark.parametrize(("set_by_user", "there"), [(None, "1"), ("3", "3")])
def test_thread_counts_that_the_caller_has_set_hold_in_helpers(set_by_user: str | None, there: str) -> None:
    done = program(
        f"""
        import os
        os.environ.pop("OMP_NUM_THREADS", None)
        if {set_by_user!r}:
            os.environ["OMP_NUM_THREADS"] = {set_by_user!r}
        import gymnasium, runnerkit
        home = os.getpid()
        def make(seed):
            if os.getpid() != home:
                print(os.environ["OMP_NUM_THREADS"], flush=True)
            return gymnasium.make("CartPole-v1")
        runnerkit.make(make, n_envs=2, seed=0, executor="processes", workers=2).close()
        """
    )
    assert done.stdout.split() == [there], done.stderr
