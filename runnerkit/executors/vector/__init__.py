"""The executor of envs that step all at once: native vector envs."""
