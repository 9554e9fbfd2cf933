"""Train an agent, evaluate it, act with it and look at its learning curve: about a minute on Pendulum-v1."""

import gymnasium

import lsp

run = lsp.train("sac_lsp", env="Pendulum-v1", steps=5_000, learning_starts=1_000, **{"evaluation.every": 1_000})
print(run.evaluate(episodes=20, protocol="mode"))

env = gymnasium.make("Pendulum-v1")
observation, _ = env.reset(seed=0)
print("first action:", run.policy.act(observation), "or sampled:", run.policy.act(observation, key=0))

curve = run.evaluations("mode")
for step, score in zip(curve["step"], curve["return"], strict=True):
    print(f"step {step:>6,}: return {score:>8.1f}")
