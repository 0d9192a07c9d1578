"""Histories: what a rollout returns per env, and the block of arrays they are made from."""
