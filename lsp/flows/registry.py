"""Flows by name: `--flow.kind`. A kind is one file of this package and one line in `lsp.config.registries`."""

import importlib
from typing import Any, Protocol, cast

from lsp.config import FlowConfig
from lsp.config.registries import FLOWS as FLOWS
from lsp.types import EnvSpec, Flow


class FlowKind(Protocol):
    """What the module of a kind must have."""

    def make(self, config: FlowConfig, observation_dim: int, action_dim: int) -> Flow:
        """The flow that a configuration asks for, between latents and actions [..., A], given observations [..., S]."""

    def describe(self, config: FlowConfig) -> dict[str, Any]:
        """The options that the NumPy twin in `lsp.numpy_policy` needs to evaluate a flow, as JSON values."""


def find(kind: str) -> FlowKind:
    """The module of a kind. Raises KeyError of an unknown name, which `lsp.config.validate` refuses before."""
    return cast(FlowKind, importlib.import_module(FLOWS[kind]))


def make_flow(config: FlowConfig, spec: EnvSpec) -> Flow:
    """The flow that a configuration asks for, of its kind."""
    return find(config.kind).make(config, spec.observation_dim, spec.action_dim)


def describe(config: FlowConfig) -> dict[str, Any]:
    """What `lsp.numpy_policy` must know of a flow beside its weights, as JSON values."""
    return {"kind": config.kind, **find(config.kind).describe(config)}
