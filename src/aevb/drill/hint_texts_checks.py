"""Four hints for each of the six checks, given where one fails and the checker has found nothing;
and what ``hint_texts`` has no room for."""

from __future__ import annotations

from aevb.drill.hint_texts import ERROR, KL, LOSS, SAMPLE, STD, Hint

CHECK_HINTS: dict[str, Hint] = {
    "noise-of-the-sample": Hint(
        "Which mean and which deviation has eps before it is multiplied by sigma?",
        "eps ~ N(0, I) knows nothing of mu and sigma: z = mu + sigma * eps brings them in, once"
        " each.",
        "{place}: eps is drawn around mu with the deviation sigma, and both come in again.",
        f"{STD}, then: {SAMPLE}",
    ),
    "check-1": Hint(
        "What does reparameterize do with mu and logvar that autograd cannot follow, or that it"
        " does not need them for?",
        "The check gives mu = 0 and logvar = 0, (4, 2), sums z and goes backward: dz/dmu = 1 and"
        " dz/dlogvar = eps / 2.",
        "{place}: in this order: detach, .data, no_grad or .item(); torch.normal or .sample(); a"
        " draw without eps, in one mode (self.training) or in both; an error.",
        f"{STD}, then: {SAMPLE}",
    ),
    "check-2": Hint(
        "What is the KL of N(0, I) from itself, for each of five rows, and can any KL be below 0?",
        "The check gives mu = 0, logvar = 0, (5, 3), and expects five zeros; at 100 other points at"
        " least -1e-6.",
        "{place}: in this order: something added or a floor (clamp, free bits, an epsilon); a sign;"
        " the 1 left out; an error.",
        KL,
    ),
    "check-3": Hint(
        "With x of shape (8, 2), which shape has each of z, reconstruction, mu and logvar, and in"
        " which order do they come?",
        "forward returns reconstruction, mu, logvar, in this order; all are (8, 2) here, one row"
        " for one row of x.",
        "{place}: in this order: another order or number of values returned; a squeeze, view or"
        " sum; a layer called on what has another width; one z for the whole batch.",
        "mu, logvar = self.encode(x), then: return self.decode(self.reparameterize(mu, logvar)),"
        " mu, logvar",
    ),
    "check-4": Hint(
        "Which z does the decoder meet in training, and which when new points are made? Which"
        " points can it give at all?",
        "2000 draws of z ~ N(0, I) are decoded: the mean distance to the nearest centre is to be"
        " below 0.6, and more than 0.85 of the points within 1.0 of one. A right solution has 0.33"
        " and 0.887.",
        "By its numbers: {place}",
        f"In the order of the causes: return self.dec(z); {ERROR}; {KL}; {LOSS}; {SAMPLE}",
    ),
    "check-5": Hint(
        "From which number does the loss start, and which of its two terms keeps it from falling?",
        "The mean loss of the last of 800 epochs is to be less than half of the first. A right"
        " solution goes from 4.190 to 1.577: squared error 0.36 and KL 1.24 nats.",
        "By its numbers: {place}",
        f"In the order of the causes: return self.dec(z); {ERROR}; {KL}; {LOSS}; {SAMPLE}",
    ),
    "check-6": Hint(
        "How large is sigma when logvar is -30, and how large is yours?",
        "exp(-15) = 3e-7: the noise vanishes and z is mu, within 1e-4.",
        "{place}: in this order: a clamp of logvar, or something added to std (an epsilon);"
        " exp(logvar) or another function in the place of exp(0.5 * logvar); something added"
        " to mu.",
        f"{STD}, then: {SAMPLE}",
    ),
    "training-stopped": Hint(
        "What does Python say of the first training step, and in which of your functions?",
        "A step calls model(batch), batch (256, 2), for reconstruction, mu, logvar; then"
        " vae_loss(recon, batch, mu, logvar) for loss, reconstruction, kl; then backward on the"
        " loss, which is one number.",
        "{place}: in this order: the number and order of values returned; a loss of one number for"
        " each row; a shape; detach.",
        f"In vae_loss: {ERROR}; kl = kl_divergence(mu, logvar); {LOSS}",
    ),
    "six-error": Hint(
        "What happens when Python reads your file from top to bottom?",
        "The six checks run the file and take VAE, kl_divergence and vae_loss from it: nothing else"
        " belongs to its top level.",
        "{place}: what stands outside of functions: loops, calls, input, imports that are not"
        " installed.",
        'Put such lines under: if __name__ == "__main__":',
    ),
    "parts": Hint(
        "Does z reach the decoder on its way from mu and logvar, and do the same mu and logvar"
        " reach the KL?",
        "encode gives mu and logvar, reparameterize makes z of them, decode turns z into the"
        " reconstruction, and forward returns the mu and logvar that z was drawn with.",
        "{place}: in this order: a decode that does not use z; another mu or logvar returned than"
        " sampled; a sample in one mode alone; an error of Python, told above.",
        f"In reparameterize: {STD}, then: {SAMPLE}; in forward: mu, logvar = self.encode(x), then: "
        "return self.decode(self.reparameterize(mu, logvar)), mu, logvar",
    ),
    "loss": Hint(
        "How many numbers is your loss for a batch of 256 rows?",
        "One can go backward from one number alone: the loss is a mean over rows, after both terms"
        " were added.",
        "{place}: the three values that it returns, and their shapes.",
        f"{ERROR}; kl = kl_divergence(mu, logvar); {LOSS}",
    ),
    "kl": Hint(
        "Which four parts has the KL, and which shape has the result for mu of shape (B, L)?",
        "KL = -1/2 sum_j (1 + logvar_j - mu_j^2 - exp(logvar_j)): (B,), and nothing else that"
        " depends on mu or logvar.",
        "{place}: in this order: a part of another form; shapes (B,) and (B, D) added up; a term"
        " too many in vae_loss.",
        f"{KL}, and in vae_loss: {LOSS}",
    ),
    "sampler": Hint(
        "Is z a straight line in eps, for given mu and logvar?",
        "z = mu + sigma * eps and nothing else: no activation, no clamp, no product with mu.",
        "{place}: what is done to z, or to eps, besides.",
        f"{STD}, then: {SAMPLE}",
    ),
    "kl-weight": Hint(
        "Which weight has the KL in the bound?",
        "ELBO = reconstruction - KL, both at weight 1: another weight is a beta-VAE, and no longer"
        " the bound.",
        "{place}: a factor on the KL, or on the error.",
        LOSS,
    ),
    "output-range": Hint(
        "Which values can your decoder's output take, and which do the data take?",
        "The data here are real numbers from -2.5 to 2.5, so the decoder ends in a linear layer.",
        "{place}: an activation, or what else limits the output, after the last layer.",
        "return self.dec(z), with self.dec ending in nn.Linear(hidden, data_dim)",
    ),
}
"""By the name of the check, or of what kept it from being run; and for the drill's own finding of a
decoder's range."""
