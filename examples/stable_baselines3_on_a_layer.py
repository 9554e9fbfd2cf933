"""Train a layer here, freeze it, and let Stable-Baselines3 learn on top of it: its actions are the layer's latents.

Usage: python examples/stable_baselines3_on_a_layer.py; the library comes with `python -m pip install -e '.[examples]'`.
"""

import sys

import lsp

try:
    from stable_baselines3 import SAC
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor
except ImportError:
    sys.exit("stable_baselines3_on_a_layer.py needs Stable-Baselines3: python -m pip install stable-baselines3")

ENV = "Pendulum-v1"

run = lsp.train("sac_lsp", env=ENV, steps=3_000, learning_starts=500, **{"evaluation.every": 1_000})
print("the layer alone:", run.evaluate(episodes=10))

env = Monitor(lsp.envs.make_latent_env(run.folder, ENV))  # any environment of the same sizes, such as another task
model = SAC("MlpPolicy", env, learning_starts=200, seed=0)
mean, std = evaluate_policy(model, env, n_eval_episodes=10)
print(f"with an untrained policy of Stable-Baselines3 on top: {mean:.0f} ± {std:.0f}")
model.learn(500)
mean, std = evaluate_policy(model, env, n_eval_episodes=10)
print(f"after 500 steps: {mean:.0f} ± {std:.0f}")
