"""The interview: questions, model answers, and the points by which learners mark themselves.

The first four are the core; the others follow up. Pure data: another question is another entry.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """A question. key: its name in the state. points: what a good answer contains, each short."""

    key: str
    text: str
    answer: str
    points: tuple[str, ...]


CORE = (
    Question(
        "autoencoder",
        "What does a VAE give you that a plain autoencoder does not?",
        "New data. An autoencoder only promises that codes of training points decode well; between"
        " and around them nothing is asked of the decoder, so a random code usually decodes to"
        " rubbish. A VAE encodes each x as a distribution N(mu, sigma^2) and charges for its"
        " distance from N(0, I). Together the codes then fill the prior, the decoder has seen all"
        " of it, and z ~ N(0, I) decodes to something like the data. It is trained by plain"
        " backpropagation on one bound.",
        (
            "the encoder gives a distribution for each x, not a point",
            "the KL draws the codes, taken together, towards a known prior",
            "so one can draw z from the prior, decode it, and get new data",
            "an autoencoder's latent space has regions that no data were encoded to",
        ),
    ),
    Question(
        "reparameterisation",
        "What is the reparameterisation trick, and what is it needed for?",
        "The bound holds an expectation over z ~ q(z|x), and q has the parameters that we want the"
        " gradient of. A draw by itself has no derivative with respect to mu and sigma. So draw eps"
        " ~ N(0, I), which depends on no parameter, and set z = mu + sigma * eps: the same"
        " distribution, but now z is a differentiable function of mu and sigma, and the gradient of"
        " the reconstruction reaches the encoder.",
        (
            (
                "a gradient is needed with respect to the parameters of the distribution that is"
                " drawn from"
            ),
            "z = mu + sigma * eps with eps ~ N(0, I)",
            "the randomness is in eps, which has no parameters",
            "so gradients reach mu and logvar",
        ),
    ),
    Question(
        "logvar",
        "Why does the encoder give logvar, and not sigma?",
        "A linear layer gives any real number, and sigma must be positive: exp(0.5 * logvar) always"
        " is, with no clamp. Variances range over orders of magnitude, which the logarithm turns"
        " into a moderate range. And the closed-form KL contains logvar itself, so no logarithm of"
        " something close to zero is ever taken; that is where NaNs come from otherwise.",
        (
            "sigma = exp(0.5 * logvar) is positive whatever the network says",
            "small and large variances are numbers of moderate size",
            "the KL needs log sigma^2: no logarithm of a number near 0, no NaN",
        ),
    ),
    Question(
        "kl",
        "What does the KL term do, and what happens without it?",
        "It charges each q(z|x) for what it tells about x beyond the prior. Without it nothing"
        " holds the codes near N(0, I) or keeps sigma from shrinking to 0: an autoencoder with"
        " noise that it learns to turn off, and draws from the prior land where the decoder was"
        " never trained. With too much weight on it, q becomes the prior and z says nothing"
        " about x.",
        (
            "it pulls q(z|x) towards the prior N(0, I): a regulariser",
            "without it sigma shrinks and the model becomes a plain autoencoder",
            "then draws from the prior decode to nonsense",
            "too much of it: q ignores x",
        ),
    ),
)

FOLLOW_UPS = (
    Question(
        "bound",
        "Why is the objective called a lower bound, and on what?",
        "log p(x) = ELBO + KL(q(z|x) || p(z|x)). The KL is never negative, so the ELBO is at most"
        " log p(x), with equality when q is the true posterior. ELBO = E_q[log p(x|z)] - KL(q(z|x)"
        " || p(z)): reconstruction minus KL.",
        (
            "log p(x) = ELBO + KL(q(z|x) || p(z|x))",
            "a KL is at least 0",
            "the ELBO is reconstruction minus KL(q(z|x) || p(z))",
        ),
    ),
    Question(
        "gap",
        "Where does the gap come from, and how is it made smaller?",
        "It is KL(q || true posterior). Part of it is the family: a diagonal Gaussian cannot follow"
        " a posterior that is curved or correlated; flows can. Part is the encoder, which has to"
        " serve all x at once. The importance-weighted bound is tighter with the same q.",
        (
            "the gap is KL(q(z|x) || p(z|x))",
            "a diagonal Gaussian is too simple: a flow as q tightens the bound",
            "importance-weighted bounds tighten it with the same q",
        ),
    ),
    Question(
        "collapse",
        "What is posterior collapse, how do you see it, and what helps?",
        "q(z|x) becomes the prior for all x and the decoder models the data alone. The KL, in all"
        " or in single dimensions, is near 0 and the latent dimensions stop varying with x. It"
        " happens with strong decoders and early in training, when z is still useless. KL warm-up,"
        " a smaller beta, free bits, a weaker decoder, or skip connections from z help.",
        (
            "q(z|x) equals the prior: z says nothing about x",
            "seen as a KL near 0, few active units",
            "remedies: KL warm-up, beta below 1, free bits, a weaker decoder",
        ),
    ),
    Question(
        "beta",
        "What do beta and KL warm-up change?",
        "Both put a weight on the KL. beta is fixed: above 1 the code is squeezed harder, at the"
        " cost of reconstruction; below 1 the reverse. Warm-up raises the weight from 0 to 1, so"
        " that the decoder first learns to use z. With a weight that is not 1 the loss is no longer"
        " minus a bound on log p(x), save that beta above 1 gives a looser one.",
        (
            "beta is a weight on the KL: reconstruction against closeness to the prior",
            "warm-up raises it from 0, so that z is used before it is taxed",
            "at a weight other than 1 the loss is not the plain ELBO",
        ),
    ),
    Question(
        "binary",
        "The data are binary pixels. What changes?",
        "The likelihood: a Bernoulli for each pixel, so the reconstruction is the binary"
        " cross-entropy of the decoder's logits, summed over pixels. Encoder, reparameterisation"
        " and KL stay as they are.",
        (
            "Bernoulli likelihood: binary cross-entropy in the place of the squared error",
            "from logits, summed over pixels",
            "the KL does not change",
        ),
    ),
    Question(
        "mse",
        "Which likelihood stands behind a squared error, summed over dimensions, plus the KL?",
        "A Gaussian of variance 1/2: -log N(x; recon, 1/2) is the squared error plus a constant,"
        " (1/2) log(pi) a dimension. Averaging over dimensions instead, or another weight, is"
        " another variance, and so another balance with the KL.",
        (
            "a Gaussian whose variance is 1/2 everywhere",
            "up to a constant, (D/2) log(pi)",
            "a mean over dimensions instead of a sum weighs the KL D times as much",
        ),
    ),
    Question(
        "rivals",
        "How does a VAE compare with a GAN, and with a diffusion model?",
        "A VAE has a bound on log p(x), an encoder, and one cheap pass to sample; with a simple"
        " decoder its samples are soft. A GAN gives sharp samples but no likelihood, is delicate to"
        " train and may drop modes. A diffusion model gives the best samples, in many steps; in the"
        " latent kind, an autoencoder trained much like a VAE supplies the space that it works in.",
        (
            "VAE: a bound on the likelihood and a latent space, softer samples",
            "GAN: sharp, no likelihood, may drop modes",
            (
                "diffusion: best samples, slow to draw; latent diffusion works in an autoencoder's"
                " space"
            ),
        ),
    ),
    Question(
        "score",
        "Which gradient estimator works without reparameterisation, and why is it not used here?",
        "The score-function estimator (REINFORCE): the mean of f(z) times the gradient of log q(z)."
        " It needs only samples and log q, so it works for discrete z too, but it uses the value of"
        " f and not its slope, and its variance is far higher.",
        (
            "E[f(z) grad log q(z)], the score function or REINFORCE",
            "it needs no derivative of f: also for discrete z",
            "its variance is much higher",
        ),
    ),
    Question(
        "amortised",
        "What does amortised inference mean?",
        "One network maps every x to the parameters of its q(z|x), in place of an optimisation for"
        " each x. A new x costs one forward pass. The price is a gap: the network's q is not the"
        " best of its family for each x.",
        (
            "one encoder for all x, rather than variational parameters for each",
            "inference for a new x is one forward pass",
            "it costs tightness: the amortisation gap",
        ),
    ),
    Question(
        "evaluate",
        "How would you estimate log p(x) of a trained VAE?",
        "Importance sampling with q as the proposal: draw K codes from q(z|x), and take log of the"
        " mean of p(x|z) p(z) / q(z|x). It is a bound itself, low on average, and closes in as K"
        " grows; watch the effective sample size. The ELBO is its case K = 1. Annealed importance"
        " sampling is surer.",
        (
            "log of the mean of p(x, z) / q(z|x) over K draws from q",
            "a lower bound on average that tightens with K",
            "the ELBO alone understates by the gap",
        ),
    ),
    Question(
        "inference",
        "At inference: the mean of q(z|x), or a sample?",
        "For codes and reconstructions of given data the mean: no noise is wanted. To train, and to"
        " estimate the bound, a sample, since both are expectations over q. To generate, z from the"
        " prior and not from any q; and then the decoder's mean, or a draw from p(x|z), which has"
        " the data's noise.",
        (
            "codes and reconstructions: the mean",
            "training and the bound: samples of q",
            "new data: z from the prior",
        ),
    ),
)

QUESTIONS = CORE + FOLLOW_UPS
BY_KEY = {question.key: question for question in QUESTIONS}
