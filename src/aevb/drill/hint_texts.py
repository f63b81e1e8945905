"""The drill's hints, four for each class: question, rule, place, change.

``{place}`` becomes the line of the finding, or the name of the function with the mistake.
"""

from __future__ import annotations

from aevb.checker.rules import Hint

STD, SAMPLED = "std = torch.exp(0.5 * logvar)", "return mu + std * torch.randn_like(std)"
SAMPLER = f"{STD}, then: {SAMPLED}"
HEADS = "return self.fc_mu(h), self.fc_logvar(h)"
KL = "return -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(dim=1)"
ERROR = 'error = F.mse_loss(recon, x, reduction="none").sum(dim=1)'
LOSS = "return (error + kl).mean(), error.mean(), kl.mean()"

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
    "std-exp-logvar": Hint(
        "What is exp(logvar): sigma, or its square?",
        "logvar = log sigma^2, so sigma = exp(logvar / 2).",
        "{place}: where std is made from logvar.",
        STD,
    ),
    "std-half-exp-logvar": Hint(
        "Does the half belong inside the exponential, or in front of it?",
        "sqrt(exp(a)) = exp(a / 2), and that is not exp(a) / 2.",
        "{place}: where std is made from logvar.",
        STD,
    ),
    "std-raw-head": Hint(
        "Can the number that you multiply the noise by be negative?",
        "The head gives log sigma^2; only its exponential, of the half of it, is a standard"
        " deviation.",
        "{place}: logvar is used as if it were std.",
        STD,
    ),
    "sigma-raw-linear": Hint(
        "What keeps a linear layer's output positive?",
        "Nothing does. Let the layer give logvar, and take sigma = exp(0.5 * logvar).",
        "{place}: sigma comes straight from a linear layer, and its logarithm becomes NaN.",
        STD,
    ),
    "softplus-confusion": Hint(
        "Do the sampler and the KL agree on what the second head means?",
        "One head has one meaning: if it is logvar, sigma is exp(0.5 * logvar) and nothing else.",
        "{place}: softplus makes a sigma of what the KL takes for logvar.",
        STD,
    ),
    "sampler-kl-mismatch": Hint(
        "If the sampler's sigma is right, what is logvar in the KL?",
        "The sigma that z is drawn with and the sigma in the KL are the same number.",
        "{place}: reparameterize and kl_divergence read the second head differently.",
        f"In reparameterize: {STD}; in kl_divergence: {KL}",
    ),
    "noise-missing": Hint(
        "If you encode the same x twice, does z differ?",
        "q(z|x) is a distribution: z = mu alone is a plain autoencoder.",
        "{place}: eps does not reach z.",
        SAMPLER,
    ),
    "noise-eval-only": Hint(
        "In which mode, train or eval, is noise needed for the bound?",
        "Noise is needed when training; dropping it in eval is a choice, having it only there is"
        " not.",
        "{place}: the test of self.training is the wrong way round.",
        f"Remove the test, or turn it round: {SAMPLED}",
    ),
    "noise-uniform": Hint(
        "From which distribution is eps drawn: may it be negative?",
        "eps ~ N(0, I). torch.rand is uniform on [0, 1): its mean is 1/2 and its standard deviation"
        " 0.29.",
        "{place}: rand where randn is meant.",
        "eps = torch.randn_like(std)",
    ),
    "noise-scaled": Hint(
        "Which variance does eps have?",
        "eps ~ N(0, I): variance 1. The scale of z is sigma alone.",
        "{place}: a factor on the noise, or on std.",
        SAMPLER,
    ),
    "noise-repeated": Hint(
        "Does a second call with the same mu and logvar give another z?",
        "Noise is drawn anew at each call, from a generator that nobody sets back.",
        "{place}: manual_seed, or noise that was drawn once and kept.",
        "eps = torch.randn_like(std)",
    ),
    "noise-shared-batch": Hint(
        "How many numbers are drawn for a batch of B rows?",
        "Each row has noise of its own: eps has the shape of mu, (B, L).",
        "{place}: one vector is drawn and shared by all rows.",
        "eps = torch.randn_like(std)",
    ),
    "noise-shared-dims": Hint(
        "How many numbers are drawn for one row of L latent dimensions?",
        "Each dimension has noise of its own, or the covariance is not diagonal: eps has the shape"
        " of mu.",
        "{place}: one number is drawn for a row and shared by its dimensions.",
        "eps = torch.randn_like(std)",
    ),
    "gradient-cut-": Hint(
        "Can you follow the path from z back to mu and to logvar, operation by operation?",
        "z = mu + sigma * eps, all of it differentiable: dz/dmu = 1 and dz/dlogvar = (z - mu) / 2.",
        "{place}: look for detach, .data, no_grad, torch.normal(mu, std) or .sample(); each of them"
        " cuts the path.",
        SAMPLER,
    ),
    "logvar-in-place": Hint(
        "Is logvar the same tensor after the draw as before?",
        "What the KL still needs must not be changed: operations whose name ends in _ write into"
        " their input.",
        "{place}: mul_, exp_ or += on logvar.",
        STD,
    ),
    "heads-shared": Hint(
        "Can the mean of a row change while its log-variance stays?",
        "mu and logvar are two functions of the row: each has weights of its own, in two layers or"
        " in one layer that is split.",
        "{place}: one layer is called for both.",
        HEADS,
    ),
    "head-activation": Hint(
        "Which values can mu, or logvar, not take?",
        "Both heads give any real number: they are linear, with no activation, dropout or"
        " normalisation behind.",
        "{place}: something is applied to a head.",
        HEADS,
    ),
    "kl-sign": Hint(
        "Can a KL be negative?",
        "KL >= 0: minus a half, or plus a half with all signs inside turned.",
        "{place}: the factor in front of the sum, or a sign inside it.",
        KL,
    ),
    "kl-doubled": Hint(
        "What is the factor in front of the sum in appendix B?",
        "It is 1/2: at mu = 2, logvar = 0 the KL is 2 nats.",
        "{place}: the 0.5 is missing, or something is counted twice.",
        KL,
    ),
    "kl-halved": Hint(
        "How often is a half taken?",
        "Once: at mu = 2, logvar = 0 the KL is 2 nats.",
        "{place}: another half, or a mean where a sum is meant.",
        KL,
    ),
    "kl-missing-": Hint(
        "The KL at mu = 0, logvar = 0 is 0, and grows in every direction: which of yours does it"
        " not grow in?",
        "Four parts for each dimension: 1, logvar, mu^2, exp(logvar), with the signs +, +, -, - and"
        " -1/2 in front.",
        "{place}: one of the four is missing, or lacks its half.",
        KL,
    ),
    "kl-mean-over-latents": Hint(
        "Does your KL of one row grow with the number of latent dimensions?",
        "The KL of independent dimensions is a sum: a mean makes it L times too small.",
        "{place}: mean(dim=1) where sum(dim=1) is meant.",
        KL,
    ),
    "kl-mean-over-all": Hint(
        "Over which axes do you average, and over which do you sum?",
        "Sum over latent dimensions, mean over rows. A mean over both makes the KL L times too"
        " small.",
        "{place}: a mean without dim.",
        f"{KL}, and in vae_loss the mean over rows",
    ),
    "kl-sum-over-batch": Hint(
        "If the batch is twice as large, should the weight of the KL change?",
        "Each row's reconstruction stands beside its own KL; the mean over rows is taken of both.",
        "{place}: the KL is summed over rows too, so its weight is the size of the batch.",
        f"{KL}, and in vae_loss: {LOSS}",
    ),
    "kl-mean-over-batch": Hint(
        "If the batch is twice as large, do both terms grow alike?",
        "Reduce both alike: a sum over dimensions for each row, then one mean over rows of the two"
        " together.",
        "{place}: the KL is averaged over rows while the error is summed over them.",
        f"{ERROR}; {LOSS}",
    ),
    "draws-summed": Hint(
        "With twice as many draws of z, should the reconstruction error double?",
        "The mean over draws of z estimates an expectation; so the weight of the KL does not depend"
        " on their number.",
        "{place}: the errors of all draws are added up beside one KL.",
        "the sum over draws, divided by their number",
    ),
    "kl-absent": Hint(
        "What is left of a VAE if its loss is the reconstruction alone?",
        "loss = reconstruction + KL: without the KL nothing holds the codes near the prior.",
        "{place}: the KL is computed, or not, but does not reach the loss.",
        LOSS,
    ),
    "kl-subtracted": Hint(
        "You minimise the loss: should a larger KL raise it or lower it?",
        "ELBO = reconstruction - KL is maximised; minus the ELBO = error + KL is minimised.",
        "{place}: a minus where the two are put together.",
        LOSS,
    ),
    "kl-detached": Hint(
        "Does the optimiser feel the KL, or is it only printed?",
        "The KL must be part of the graph: a number without a gradient changes the loss and trains"
        " nothing.",
        "{place}: detach, .item(), float() or no_grad on the KL.",
        LOSS,
    ),
    "kl-log-sigma-reading": Hint(
        "Is the second head log sigma or log sigma^2 in your KL?",
        "With logvar = log sigma^2 the terms are logvar and exp(logvar); 2 * logvar and exp(2 *"
        " logvar) belong to log sigma.",
        "{place}: factors of 2 in the KL.",
        KL,
    ),
    "kl-swapped": Hint(
        "Which of the two arguments is squared, and which is exponentiated?",
        "mu^2 and exp(logvar), and the order of arguments is (mu, logvar) everywhere.",
        "{place}: mu and logvar have changed places, in the formula or in a call.",
        KL,
    ),
    "kl-reversed": Hint(
        "KL of which distribution from which?",
        "KL(q || p): the expectation is under q. The other order has exp(-logvar) in it.",
        "{place}: the KL of the prior from q.",
        KL,
    ),
    "kl-wrong": Hint(
        "Put in mu = 0, logvar = 0 and mu = 2, logvar = 0: do you get 0 and 2 nats?",
        "KL = -1/2 sum_j (1 + logvar_j - mu_j^2 - exp(logvar_j)).",
        "{place}: compare signs, factors and the four parts.",
        KL,
    ),
    "bce-": Hint(
        "For which values is binary cross-entropy a log-likelihood?",
        "For targets in [0, 1]: it is that of a Bernoulli. Real-valued data take the squared error,"
        " that of a Gaussian.",
        "{place}: a binary cross-entropy meets data from -2.5 to 2.5.",
        ERROR,
    ),
    "prior-uniform": Hint(
        "Towards which distribution does the KL pull the codes?",
        "p(z) = N(0, I): new points come from normal z, not from uniform ones.",
        "{place}: rand where new z are drawn.",
        "z = torch.randn(n, model.latent_dim)",
    ),
    "sigmoid-": Hint(
        "Which values can your decoder's output take, and which do the data take?",
        "The data here are real numbers from -2.5 to 2.5: the decoder ends in a linear layer, and"
        " the error is squared.",
        "{place}: a sigmoid, or a cross-entropy, has no place here.",
        f"return self.dec(z), and in vae_loss: {ERROR}",
    ),
    "reconstruction-mean": Hint(
        "How is the error reduced over the dimensions of x, and how is the KL over those of z?",
        "log p(x|z) is a sum over dimensions. A mean makes it D times smaller, so the KL weighs D"
        " times more.",
        "{place}: the squared error is averaged over dimensions.",
        ERROR,
    ),
    "reduction-ignored": Hint(
        "What does the loss object really return: a sum, or a mean?",
        'Only reduction="none", "sum" or "mean" is listened to; other names are ignored, and the'
        " answer is a mean.",
        "{place}: size_average or reduce.",
        ERROR,
    ),
    "noise-of-the-sample": Hint(
        "Which mean and which deviation has eps before it is multiplied by sigma?",
        "eps ~ N(0, I) knows nothing of mu and sigma: z = mu + sigma * eps brings them in, once"
        " each.",
        "{place}: eps is drawn around mu with the deviation sigma, and both come in again.",
        SAMPLER,
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
"""By the class of a finding, by what is not written yet, by the check that failed or could not be
run. A name that ends in a dash stands for all that begin with it, the empty one for the rest."""
