"""EnvPool's envs for RunnerKit, all of a runner's envs in one vector env::

    runner = runnerkit.make("envpool:CartPole-v1", n_envs=64, seed=0, env_options={"num_threads": 2})

EnvPool is imported when the first env is asked for, not before.
"""
