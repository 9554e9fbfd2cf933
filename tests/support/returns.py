"""The categorical backup as a matrix."""

import jax
import jax.numpy as jnp
import numpy as np

from lsp import categorical

project = jax.jit(categorical.project)
backup_atoms = jax.jit(categorical.soft_target_atoms)


def transfer(support: jax.Array, reward: float, discount: float, cost: float) -> np.ndarray:
    """`backup` as a matrix in float64, column j where atom j goes; columns sum to 1."""
    n = support.size
    atoms = np.asarray(backup_atoms(support, jnp.float32(reward), jnp.float32(discount), jnp.float32(cost)))
    matrix = np.asarray(project(atoms[:, None], np.ones((n, 1), np.float32), support), np.float64).T
    return matrix / matrix.sum(axis=0)
