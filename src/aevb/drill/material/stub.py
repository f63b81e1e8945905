# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A variational autoencoder, from paper to code
#
# Paper: Kingma & Welling, *Auto-Encoding Variational Bayes*, 2013,
# [arXiv:1312.6114](https://arxiv.org/abs/1312.6114).
# Read for 12 minutes, explain for 5, implement for 16, and check for 5 to 7.
#
# This notebook needs torch and matplotlib, and nothing else. In Colab: File, Upload notebook.
# Write the six functions of section 2. Then run all cells from top to bottom.
# Below each cell, one sentence says what is missing or wrong.

# %% tags=["vae"]
import torch
import torch.nn.functional as F
from torch import nn

# %%
EPOCHS = 800  # about 15 seconds on a CPU; the numbers in section 3 are for 800 epochs
DEBUG = False  # set it to True to see the traceback of an error in your code

# %% [markdown]
# ## 1. The data: three clusters in the plane
#
# This part is given. The points come from three Gaussians with standard deviation 0.15.
# A model that has learnt them generates points near the three centres.

# %% tags=["vae"]
CENTERS = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]])


def make_gmm(n, noise=0.15, seed=0):
    """Draw n points, (n, 2), from three equally likely Gaussians around CENTERS. Given."""
    g = torch.Generator().manual_seed(seed)
    index = torch.randint(0, len(CENTERS), (n,), generator=g)
    return CENTERS[index] + noise * torch.randn(n, 2, generator=g)


# %% [markdown]
# ## 2. The model: yours to write
#
# The layers are given, since they are not part of the method.
# Replace the `raise` of each of the six functions by your own lines.


# %% tags=["vae"]
class VAE(nn.Module):
    """Encoder q(z|x), a Gaussian for each x, and decoder p(x|z).

    The layers are given. The four methods below them are yours to write.
    In the shapes, B is the batch size, D the data's dimensions, and L the latent dimensions.
    """

    def __init__(self, data_dim=2, hidden=64, latent_dim=2):
        super().__init__()
        self.latent_dim = latent_dim
        self.enc = nn.Sequential(
            nn.Linear(data_dim, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
        )
        self.fc_mu = nn.Linear(hidden, latent_dim)
        self.fc_logvar = nn.Linear(hidden, latent_dim)
        self.dec = nn.Sequential(
            nn.Linear(latent_dim, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, data_dim),
        )

    def encode(self, x):
        """Return mu and logvar of q(z|x). x: (B, D); mu, logvar: (B, L)."""
        raise NotImplementedError("encode is not written yet: it turns x into mu and logvar.")

    def reparameterize(self, mu, logvar):
        """Draw one z from q(z|x) for each row. mu, logvar, z: (B, L)."""
        raise NotImplementedError(
            "reparameterize is not written yet: gradients must pass through z."
        )

    def decode(self, z):
        """Return the reconstruction. z: (B, L); reconstruction: (B, D)."""
        raise NotImplementedError("decode is not written yet: it turns z into a data point.")

    def forward(self, x):
        """Return reconstruction (B, D), mu (B, L) and logvar (B, L). x: (B, D)."""
        raise NotImplementedError("forward is not written yet: it encodes, draws z and decodes.")


def kl_divergence(mu, logvar):
    """Return KL(q(z|x) || N(0, I)) of each row, (B,), in nats. mu, logvar: (B, L)."""
    raise NotImplementedError("kl_divergence is not written yet: it is a formula in mu and logvar.")


def vae_loss(recon, x, mu, logvar):
    """Return the loss, which is minus the ELBO up to a constant, and its two parts.

    recon, x: (B, D); mu, logvar: (B, L).
    Returns loss, reconstruction error and KL. Each is one number, (): a mean over the batch.
    """
    raise NotImplementedError("vae_loss is not written yet: it adds reconstruction error and KL.")


# %% [markdown]
# ## 3. Train, then generate from the prior
#
# This part is given, with the tutorial's loop, seeds and order of random draws.
# A right model ends near `loss 4.190 -> 1.577`.
# Of its generated points, 0.887 lie within 1.0 of a centre.


# %%
def three(values, function, names):
    """Return the values of a function, if there are three of them."""
    count = len(values) if isinstance(values, (tuple, list)) else 1
    assert count == 3, f"{function} does not return three values, {names}, but {count}"
    return values


def train(data, epochs):
    """Train a VAE with 256 rows in each step. Return it, and the mean loss of each epoch."""
    model = VAE(data_dim=2, hidden=64, latent_dim=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for epoch in range(epochs):
        order, total = torch.randperm(len(data)), 0.0
        for start in range(0, len(data), 256):
            batch = data[order[start : start + 256]]
            recon, mu, logvar = three(model(batch), "forward", "reconstruction, mu, logvar")
            terms = vae_loss(recon, batch, mu, logvar)
            loss, _, _ = three(terms, "vae_loss", "loss, reconstruction, kl")
            shape = tuple(loss.shape)
            assert shape == (), (
                f"the loss has the shape {shape}; it is one number, a mean over rows"
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        losses.append(total / len(data))
        if (epoch + 1) % 200 == 0:
            print(f"epoch {epoch + 1:4d}: loss {losses[-1]:.3f}")
    return model, losses


def distance_to_nearest_center(points):
    """Return the distance of each point to its nearest centre, (N,). points: (N, 2)."""
    return torch.cdist(points, CENTERS).min(dim=1).values


def attempt(label, action):
    """Run an action, and print in one sentence how it went."""
    try:
        print(f"{label}: OK: {action()}")
    except (NotImplementedError, AssertionError) as error:
        print(f"{label}: NOT YET: {error}")
    except Exception as error:
        if DEBUG:
            raise
        print(f"{label}: NOT YET: {type(error).__name__}: {error}")


# %%
torch.set_num_threads(1)  # matrices this small are faster on one thread
torch.manual_seed(0)
data = make_gmm(2000)
losses, generated = [], None


def train_and_generate():
    """Train, then draw z from the prior N(0, I) and decode it. No plain autoencoder can do that."""
    global losses, generated
    model, losses = train(data, EPOCHS)
    z = torch.randn(2000, model.latent_dim, generator=torch.Generator().manual_seed(123))
    with torch.no_grad():
        generated = model.decode(z)
    distance = distance_to_nearest_center(generated)
    return (
        f"loss {losses[0]:.3f} -> {losses[-1]:.3f}; "
        f"generated mean distance to the nearest centre {distance.mean():.3f}, "
        f"fraction within 1.0 of one {(distance < 1.0).float().mean():.3f}"
    )


attempt("Training", train_and_generate)

# %% [markdown]
# ## 4. The six sanity checks
#
# Before you run a check, say aloud what it shows.
#
# **Check 1.** A gradient flows through the sampled z to mu and to logvar.


# %%
def check_1():
    """The gradient of the sum of z reaches mu and logvar."""
    mu = torch.zeros(4, 2, requires_grad=True)
    logvar = torch.zeros(4, 2, requires_grad=True)
    VAE().reparameterize(mu, logvar).sum().backward()
    for name, leaf in [("mu", mu), ("logvar", logvar)]:
        assert leaf.grad is not None, f"no gradient reaches {name}"
        assert leaf.grad.abs().sum() > 0, f"the gradient that reaches {name} is zero"
    by_mu, by_logvar = mu.grad.abs().sum(), logvar.grad.abs().sum()
    return f"sum of |dz/dmu| is {by_mu:.2f}, of |dz/dlogvar| {by_logvar:.2f}"


attempt("Check 1", check_1)

# %% [markdown]
# **Check 2.** The KL is 0 if q is the prior, and it is never negative.


# %%
def check_2():
    """The KL is 0 at mu = 0, logvar = 0, and not below 0 at 100 other points."""
    zeros = torch.zeros(5, 3)
    kl = kl_divergence(zeros, zeros)
    right = torch.allclose(kl, torch.zeros(5))
    assert right, f"the KL of the prior from itself is {kl.tolist()}, not five zeros"
    least = kl_divergence(torch.randn(100, 3), torch.randn(100, 3)).min().item()
    assert least >= -1e-6, f"the least of 100 KLs is {least:.3f}, below 0"
    return f"0 at the prior, at least {least:.3f} nats at 100 other points"


attempt("Check 2", check_2)

# %% [markdown]
# **Check 3.** The shapes are right: z has `latent_dim` columns, and the reconstruction has the
# shape of x.


# %%
def check_3():
    """A model with 2 latent dimensions takes an x of shape (8, 2)."""
    model, x = VAE(data_dim=2, latent_dim=2), torch.randn(8, 2)
    recon, mu, logvar = model(x)
    z = model.reparameterize(mu, logvar)
    tensors = {"z": z, "the reconstruction": recon, "mu": mu, "logvar": logvar}
    for name, tensor in tensors.items():
        assert tensor.shape == (8, 2), f"{name} has the shape {tuple(tensor.shape)}, not (8, 2)"
    return f"x {tuple(x.shape)}, z {tuple(z.shape)}, reconstruction {tuple(recon.shape)}"


attempt("Check 3", check_3)

# %% [markdown]
# **Check 4.** Points decoded from the prior look like the data. They lie near the clusters, not
# somewhere between them.


# %%
def check_4():
    """The mean distance to the nearest centre is below 0.6, and over 85 % are within 1.0 of one."""
    assert generated is not None, "there is no trained model yet"
    distance = distance_to_nearest_center(generated)
    mean, near = distance.mean().item(), (distance < 1.0).float().mean().item()
    assert mean < 0.6, f"the mean distance to the nearest centre is {mean:.3f}, not below 0.6"
    assert near > 0.85, (
        f"the fraction of points within 1.0 of a centre is {near:.3f}, not over 0.85"
    )
    return f"mean distance {mean:.3f} < 0.6, fraction within 1.0 of a centre {near:.3f} > 0.85"


attempt("Check 4", check_4)

# %% [markdown]
# **Check 5.** Training lowers the loss to less than half.


# %%
def check_5():
    """The loss of the last epoch is less than half of the first one's."""
    assert losses, "there is no trained model yet"
    first, last = losses[0], losses[-1]
    assert last < 0.5 * first, (
        f"the loss went from {first:.3f} to {last:.3f}, not to less than half"
    )
    return f"loss {first:.3f} -> {last:.3f}"


attempt("Check 5", check_5)

# %% [markdown]
# **Check 6.** As logvar falls, the noise vanishes and z becomes mu.


# %%
def check_6():
    """At logvar = -30, sigma is 3e-7, so z equals mu."""
    mu, logvar = torch.randn(50, 2), torch.full((50, 2), -30.0)
    away = (VAE().reparameterize(mu, logvar) - mu).abs().max().item()
    assert away < 1e-4, f"z lies up to {away:.3g} from mu at logvar = -30, not below 1e-4"
    return f"largest |z - mu| at logvar = -30 is {away:.1e}"


attempt("Check 6", check_6)

# %% [markdown]
# ## 5. Optional: look
#
# An interviewer remembers this picture. Where are there generated points, but no data? Why?

# %%
if generated is None:
    print("Picture: NOT YET: there is no trained model yet.")
else:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4), sharex=True, sharey=True)
    for axes, points, title in [(left, data, "data"), (right, generated, "generated")]:
        axes.scatter(points[:, 0], points[:, 1], s=5, alpha=0.5)
        axes.set_title(title)
    plt.show()
