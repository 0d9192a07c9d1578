"""A runner and its rollouts: assembly, the loop, where envs stand, rendering."""
