"""JAX, written for speed: many steps in one compiled call by ``lax.scan``.

Adam is optax's, and the data are on the device. XLA chooses threads and vector width. The batches
come from permutations that the host draws for each burst.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import numpy as np
import optax
from jax import lax
from jax import numpy as jnp

from peers.protocol import Turns
from peers.workloads import Workload, inputs_for

ADAM = optax.adam(1e-3)
ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}
Layer = tuple[jax.Array, jax.Array]


def layers(w: Workload) -> dict[str, list[tuple[tuple[int, ...], int]]]:
    """Return the shape of each layer's weights, and how many inputs each output has."""
    if w.network == "mlp":
        widths = [w.data_dim, *w.hidden]
        shapes = {"encoder": [*zip(widths, w.hidden, strict=False)]}
        widths = [w.latent_dim, *w.hidden[::-1], w.data_dim]
        shapes["decoder"] = [*pairwise(widths)]
        features = w.hidden[-1]
    else:
        channels, features = [w.planes[0], *w.hidden], w.hidden[-1] * math.prod(w.sizes[-1])
        shapes = {"encoder": [(3, 3, a, b) for a, b in pairwise(channels)]}
        up = [(3, 3, a, b) for a, b in pairwise(channels[::-1])]
        shapes["decoder"] = [(w.latent_dim, features), *up]
    shapes["heads"] = [(features, w.latent_dim)] * 2
    return {
        part: [(shape, math.prod(shape[:-1])) for shape in group] for part, group in shapes.items()
    }


def initial(w: Workload) -> dict[str, list[Layer]]:
    """Draw the initial parameters uniformly in +-1/sqrt(inputs), like torch's layers."""
    g = np.random.default_rng(0)

    def draw(shape: tuple[int, ...], inputs: int) -> jax.Array:
        return jnp.asarray(g.uniform(-1, 1, shape) / math.sqrt(inputs), jnp.float32)

    return {
        part: [(draw(s, n), draw(s[-1:], n)) for s, n in group] for part, group in layers(w).items()
    }


def linear(layer: Layer, h: jax.Array) -> jax.Array:
    return h @ layer[0] + layer[1]


def convolve(layer: Layer, h: jax.Array, stride: int) -> jax.Array:
    out = lax.conv_general_dilated(
        h, layer[0], (stride, stride), [(1, 1), (1, 1)], dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return out + layer[1]


def encode(
    w: Workload, params: dict[str, list[Layer]], x: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return mu and logvar of q(z|x), (B, L) each."""
    act, h = ACTIVATIONS[w.activation], x
    for layer in params["encoder"]:
        h = act(linear(layer, h) if w.network == "mlp" else convolve(layer, h, 2))
    h = h.reshape(len(x), -1)
    mu, logvar = (linear(head, h) for head in params["heads"])
    return mu, logvar


def decode(w: Workload, params: dict[str, list[Layer]], z: jax.Array) -> jax.Array:
    """Return the logits or means of p(x|z), in the shape of x."""
    act, (first, *rest) = ACTIVATIONS[w.activation], params["decoder"]
    h = linear(first, z)
    if w.network == "mlp":
        for layer in rest:
            h = linear(layer, act(h))
        return h
    h = h.reshape(len(z), *w.sizes[-1], w.hidden[-1])
    for layer, (height, width) in zip(rest, w.sizes[-2::-1], strict=True):
        h = act(h).repeat(2, axis=1)[:, :height].repeat(2, axis=2)[:, :, :width]
        h = convolve(layer, h, 1)
    return h


def loss(params: dict[str, list[Layer]], w: Workload, x: jax.Array, key: jax.Array) -> jax.Array:
    """Return the negative bound per row, without the constant of the Gaussian."""
    noise, bits = jax.random.split(key)
    if w.dynamic:
        x = (jax.random.uniform(bits, x.shape) < x).astype(x.dtype)
    mu, logvar = encode(w, params, x)
    h = decode(w, params, mu + jnp.exp(0.5 * logvar) * jax.random.normal(noise, mu.shape))
    error = jnp.square(h - x) if w.likelihood == "gaussian" else jax.nn.softplus(h) - x * h
    return (error.sum() - 0.5 * (1 + logvar - mu**2 - jnp.exp(logvar)).sum()) / len(x)


def update(w: Workload, state: Any, x: jax.Array, index: jax.Array) -> tuple[Any, jax.Array]:
    """Take one step of Adam on the rows of index: (B,)."""
    params, moments, key = state
    key, now = jax.random.split(key)
    value, gradient = jax.value_and_grad(loss)(params, w, x[index], now)
    updates, moments = ADAM.update(gradient, moments)
    return (optax.apply_updates(params, updates), moments, key), value


one_step = partial(jax.jit, static_argnums=0, donate_argnums=1)(update)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def train(
    w: Workload, state: Any, x: jax.Array, full: jax.Array, last: jax.Array
) -> tuple[Any, jax.Array]:
    """Train for whole epochs in one compiled call.

    Args:
        w: The workload.
        state: Parameters, moments and key.
        x: All rows.
        full: Indices of the full batches, (epochs, steps, B).
        last: Indices of the smaller last batch of each epoch, (epochs, R). R may be 0.

    Returns:
        The new state, and the mean loss of the last epoch.
    """

    def epoch(state: Any, index: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        state, values = lax.scan(lambda state, rows: update(w, state, x, rows), state, index[0])
        total = values.sum() * index[0].shape[1]
        if index[1].size:
            state, value = update(w, state, x, index[1])
            total += value * index[1].size
        return state, total / (index[0].size + index[1].size)

    state, means = lax.scan(epoch, state, (full, last))
    return state, means[-1]


def train_by_calls(
    w: Workload, state: Any, x: jax.Array, full: np.ndarray, last: np.ndarray
) -> tuple[Any, jax.Array]:
    """Do the same as ``train`` with one compiled call for each step.

    On a CPU, XLA's convolutions are many times slower inside a scan.
    """
    value = jnp.zeros(())
    for batches, rest in zip(full, last, strict=True):
        for rows in [*batches, *([rest] if len(rest) else [])]:
            state, value = one_step(w, state, x, rows)
    return state, value


class Orders:
    """The order of the rows.

    ``take`` returns the rows of the next steps: whole epochs with their smaller last batches, or
    else only full batches.
    """

    def __init__(self, w: Workload) -> None:
        self.w, self.g, self.rest = w, np.random.default_rng(0), np.empty(0, np.int32)

    def take(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        w = self.w
        epochs, left_over = divmod(steps, w.steps_per_epoch)
        if epochs and not left_over:
            order = np.stack([self.g.permutation(w.rows) for _ in range(epochs)]).astype(np.int32)
            cut = w.rows // w.batch * w.batch
            return order[:, :cut].reshape(epochs, -1, w.batch), order[:, cut:]
        while len(self.rest) < steps * w.batch:
            self.rest = np.concatenate([self.rest, self.g.permutation(w.rows).astype(np.int32)])
        now, self.rest = np.split(self.rest, [steps * w.batch])
        return now.reshape(1, steps, w.batch), np.empty((1, 0), np.int32)


def main() -> None:
    turns = Turns()
    w = turns.workload
    x = inputs_for(w)
    x = jnp.asarray(x if w.network == "mlp" else x.transpose(0, 2, 3, 1))
    params, orders = initial(w), Orders(w)
    parameters = sum(array.size for array in jax.tree.leaves(params))
    state = (params, ADAM.init(params), jax.random.key(0))

    forward = train if w.network == "mlp" else train_by_calls

    def run() -> float:
        nonlocal state
        if turns.whole:
            state, value = forward(w, state, x, *orders.take(w.epochs * w.steps_per_epoch))
            return float(value)
        steps = 1
        while True:
            state, value = forward(w, state, x, *orders.take(steps))
            turns.answer(value.block_until_ready())
            steps = turns.order()

    versions = {"jax": jax.__version__, "optax": optax.__version__}
    turns.train(run, lambda: {"parameters": parameters, "versions": versions})


if __name__ == "__main__":
    main()
