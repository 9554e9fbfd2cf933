"""Registries of exchangeable parts: the name of a kind, as a flag spells it, and the module behind it.

They live beside the configuration, which is at the bottom, so that a flag's choices, its help and its error messages
come from the same line as the implementation, without JAX. What a module must have is said where it is looked up.
"""

CRITICS: dict[str, str] = {  # `lsp.agents.critics.registry`
    "scalar": "lsp.agents.critics.scalar",
    "categorical": "lsp.agents.critics.categorical",
}
FLOWS: dict[str, str] = {  # `lsp.flows.registry`
    "real_nvp": "lsp.flows.real_nvp",
    "spline": "lsp.flows.spline",
}

REPLAYS: dict[str, str] = {  # `lsp.replay.registry`
    "uniform": "lsp.replay.uniform",
    "prioritized": "lsp.replay.prioritized",
}
