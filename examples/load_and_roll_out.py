"""Load a trained policy and drive an environment with it.

Usage: python examples/load_and_roll_out.py [RUN], where RUN is the folder of a run, by default that of a published ant.
"""

import sys
from pathlib import Path

import gymnasium
import numpy as np

import lsp

PUBLISHED = Path(__file__).parents[1] / "runs" / "published" / "headline_s1"

policy = lsp.load(sys.argv[1] if len(sys.argv) > 1 else PUBLISHED).policy
print(policy)

lsp.envs  # noqa: B018  # importing it registers the ids that begin with lsp/
env = gymnasium.make(policy.env)
observation, _ = env.reset(seed=0)
rng, total, steps, ended = np.random.default_rng(0), 0.0, 0, False
while not ended:
    observation, reward, terminated, truncated, _ = env.step(policy.act(observation, key=rng))
    total, steps, ended = total + reward, steps + 1, terminated or truncated
print(f"return {total:.1f} after {steps} steps")
