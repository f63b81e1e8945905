"""The drill's own hints, four a kind: question, rule, place, change.

The hints for mistakes that the checker names are in the checker's table of rules. ``{place}``
becomes the line of the finding, or the name of the function that it must be in.
"""

from __future__ import annotations

from aevb.checker.rules import ERROR, KL, LOSS, SAMPLED, SAMPLER, Hint

HINTS: dict[str, Hint] = {
    "unfinished-encode": Hint(
        "What does equation 9 want to know of each x?",
        "The body turns x into features, and each of two heads turns the features into one vector.",
        "{place}: self.enc, self.fc_mu and self.fc_logvar are waiting in __init__.",
        "h = self.enc(x), then: return self.fc_mu(h), self.fc_logvar(h)",
    ),
    "unfinished-reparameterize": Hint(
        "Where must the randomness be, so that z can be differentiated with respect to mu and"
        " logvar?",
        "z = mu + sigma * eps, with eps ~ N(0, I) of the same shape, and sigma from logvar = log"
        " sigma^2.",
        "{place}: three lines: sigma, eps, z.",
        SAMPLER,
    ),
    "unfinished-decode": Hint(
        "What does the decoder say of p(x|z) when x is real-valued?",
        "Its output is the mean of a Gaussian: any real number, so nothing comes after the last"
        " layer.",
        "{place}: self.dec is all there is to it.",
        "return self.dec(z)",
    ),
    "unfinished-forward": Hint(
        "Which three steps lead from x to its reconstruction, and what will the loss want to see"
        " besides?",
        "Encode, draw z, decode; return the reconstruction, mu and logvar, in this order.",
        "{place}: it only calls your other three methods.",
        "mu, logvar = self.encode(x), then: return self.decode(self.reparameterize(mu, logvar)),"
        " mu, logvar",
    ),
    "unfinished-kl_divergence": Hint(
        "Which three things does appendix B add up for each latent dimension?",
        "KL = -1/2 sum_j (1 + logvar_j - mu_j^2 - exp(logvar_j)), one number for each row.",
        "{place}: one line; the sum runs over dim=1.",
        KL,
    ),
    "unfinished-vae_loss": Hint(
        "Which two terms has the bound, and over what is each summed or averaged?",
        "Squared error summed over the data's dimensions, plus the KL; then, and only then, a mean"
        " over rows.",
        "{place}: three numbers are returned: loss, reconstruction, kl.",
        f"{ERROR}; kl = kl_divergence(mu, logvar); {LOSS}",
    ),
    "syntax-error": Hint(
        "Does every bracket that was opened also close?",
        "Python names the first line that it cannot make sense of; the cause is there, or just"
        " above.",
        "{place}, or the line before it.",
        "Count brackets, look for a missing colon or comma, and for mixed indentation.",
    ),
    "check-1": Hint(
        "What does reparameterize do with mu and logvar that autograd cannot follow, or that it"
        " does not need them for?",
        "The check gives mu = 0 and logvar = 0, (4, 2), sums z and goes backward: dz/dmu = 1 and"
        " dz/dlogvar = eps / 2.",
        "{place}: in this order: detach, .data, no_grad or .item(); torch.normal or .sample(); a"
        " draw without eps, in one mode (self.training) or in both; an error.",
        SAMPLER,
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
        f"In the order of the causes: return self.dec(z); {ERROR}; {KL}; {LOSS}; {SAMPLED}",
    ),
    "check-5": Hint(
        "From which number does the loss start, and which of its two terms keeps it from falling?",
        "The mean loss of the last of 800 epochs is to be less than half of the first. A right"
        " solution goes from 4.190 to 1.577: squared error 0.36 and KL 1.24 nats.",
        "By its numbers: {place}",
        f"In the order of the causes: return self.dec(z); {ERROR}; {KL}; {LOSS}; {SAMPLED}",
    ),
    "check-6": Hint(
        "How large is sigma when logvar is -30, and how large is yours?",
        "exp(-15) = 3e-7: the noise vanishes and z is mu, within 1e-4.",
        "{place}: in this order: a clamp of logvar, or something added to std (an epsilon);"
        " exp(logvar) or another function in the place of exp(0.5 * logvar); something added"
        " to mu.",
        SAMPLER,
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
        f"In reparameterize: {SAMPLER}; in forward: mu, logvar = self.encode(x), then: "
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
        SAMPLER,
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
    "": Hint(
        "Which number does the finding give, and which one did you expect?",
        "z = mu + exp(0.5 * logvar) * eps; loss = squared error, summed, + KL; sums over"
        " dimensions, a mean over rows.",
        "{place}: compare it with the formula, symbol by symbol.",
        "aevb drill solution shows all six functions; it is noted in the report.",
    ),
}
"""By what is not written yet, by the check that failed or could not be run, by the drill's own
findings; the empty name stands for the rest."""
