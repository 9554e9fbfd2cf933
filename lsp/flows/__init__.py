"""Flows: bijections between latents and actions, conditioned on the observation, and their densities."""

from lsp.flows.densities import approximate_tanh_log_det as approximate_tanh_log_det
from lsp.flows.densities import normal_log_prob as normal_log_prob
from lsp.flows.densities import sample_and_log_prob as sample_and_log_prob
from lsp.flows.densities import tanh_log_det as tanh_log_det
from lsp.flows.real_nvp import make_real_nvp as make_real_nvp
from lsp.flows.registry import FLOWS as FLOWS
