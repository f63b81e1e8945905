"""The interview's questions, their model answers, and the points by which learners mark themselves.

The first four questions are the core, and the others are follow-ups. To add a question, add an
entry here and a section in docs/faq.md.
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
        "New data. An autoencoder learns to decode the codes of its training points. Between and"
        " around these codes, nothing constrains the decoder, so a random code usually decodes to"
        " nonsense. A VAE encodes each x as a distribution N(mu, sigma^2), and its loss penalises"
        " the distance of that distribution from N(0, I). So the codes of all data together fill"
        " the prior, and the decoder is trained on all of it. Then z ~ N(0, I) decodes to"
        " something like the data. Training is plain backpropagation on one bound.",
        (
            "the encoder gives a distribution for each x, not a point",
            "the KL pulls the codes, taken together, towards a known prior",
            "so one can draw z from the prior, decode it, and get new data",
            "an autoencoder's latent space has regions without any codes",
        ),
    ),
    Question(
        "reparameterisation",
        "What is the reparameterisation trick, and what is it needed for?",
        "The bound contains an expectation over z ~ q(z|x), and we want its gradient with respect"
        " to the parameters of q. But a random draw has no derivative with respect to mu and"
        " sigma. So we draw eps ~ N(0, I), which depends on no parameter, and set"
        " z = mu + sigma * eps. This z has the same distribution, and it is a differentiable"
        " function of mu and sigma. So the gradient of the reconstruction reaches the encoder.",
        (
            "we need a gradient with respect to the parameters of the sampling distribution",
            "z = mu + sigma * eps with eps ~ N(0, I)",
            "the randomness is in eps, which has no parameters",
            "so gradients reach mu and logvar",
        ),
    ),
    Question(
        "logvar",
        "Why does the encoder give logvar, and not sigma?",
        "A linear layer returns any real number, but sigma must be positive. exp(0.5 * logvar) is"
        " always positive, without a clamp. Variances range over orders of magnitude, and their"
        " logarithms stay moderate. And the closed-form KL contains logvar itself, so we never"
        " take the logarithm of a number near 0, which is a common source of NaN.",
        (
            "sigma = exp(0.5 * logvar) is positive whatever the network returns",
            "small and large variances become numbers of moderate size",
            "the KL needs log sigma^2: no logarithm of a number near 0, no NaN",
        ),
    ),
    Question(
        "kl",
        "What does the KL term do, and what happens without it?",
        "It penalises the distance of each q(z|x) from the prior, and so limits how much z can say"
        " about x. Without it, nothing keeps the codes near N(0, I), and nothing stops sigma from"
        " shrinking to 0. The model learns to turn its noise off and becomes a plain autoencoder."
        " Draws from the prior then land where the decoder was never trained. If the KL has too"
        " much weight, q becomes the prior, and z says nothing about x.",
        (
            "it pulls q(z|x) towards the prior N(0, I): a regulariser",
            "without it, sigma shrinks and the model becomes a plain autoencoder",
            "then draws from the prior decode to nonsense",
            "with too much of it, q ignores x",
        ),
    ),
)

FOLLOW_UPS = (
    Question(
        "bound",
        "Why is the objective called a lower bound, and on what?",
        "log p(x) = ELBO + KL(q(z|x) || p(z|x)). A KL is never negative, so the ELBO is at most"
        " log p(x). They are equal if q is the true posterior."
        " ELBO = E_q[log p(x|z)] - KL(q(z|x) || p(z)): reconstruction minus KL.",
        (
            "log p(x) = ELBO + KL(q(z|x) || p(z|x))",
            "a KL is at least 0",
            "the ELBO is reconstruction minus KL(q(z|x) || p(z))",
        ),
    ),
    Question(
        "gap",
        "Where does the gap come from, and how is it made smaller?",
        "The gap is KL(q || true posterior). It has two causes. One is the family of q: a diagonal"
        " Gaussian cannot follow a curved or correlated posterior, but a flow can. The other is"
        " the encoder, which has to serve all x at once. The importance-weighted bound is tighter"
        " with the same q.",
        (
            "the gap is KL(q(z|x) || p(z|x))",
            "a diagonal Gaussian is too simple: a flow as q tightens the bound",
            "importance-weighted bounds tighten it with the same q",
        ),
    ),
    Question(
        "collapse",
        "What is posterior collapse, how do you see it, and what helps?",
        "q(z|x) becomes the prior for all x, and the decoder models the data without z. You see a"
        " KL near 0, in total or in single dimensions, and latent dimensions that no longer vary"
        " with x. It happens with strong decoders, and early in training, when z is still useless."
        " These help: KL warm-up, a smaller beta, free bits, a weaker decoder, skip connections"
        " from z.",
        (
            "q(z|x) equals the prior: z says nothing about x",
            "its signs are a KL near 0 and few active units",
            "remedies: KL warm-up, beta below 1, free bits, a weaker decoder",
        ),
    ),
    Question(
        "beta",
        "What do beta and KL warm-up change?",
        "Both put a weight on the KL. beta is constant. Above 1, it compresses the code more and"
        " costs reconstruction quality; below 1, it does the opposite. Warm-up raises the weight"
        " from 0 to 1, so that the decoder first learns to use z. At a weight below 1, the loss is"
        " no longer minus a bound on log p(x). Above 1, it still is, but the bound is looser.",
        (
            "beta is a weight on the KL: it trades reconstruction for closeness to the prior",
            "warm-up raises the weight from 0, so that z is in use before it costs anything",
            "at a weight other than 1 the loss is not the plain ELBO",
        ),
    ),
    Question(
        "binary",
        "The data are binary pixels. What changes?",
        "The likelihood changes: it is a Bernoulli distribution for each pixel. So the"
        " reconstruction term is the binary cross-entropy of the decoder's logits, summed over"
        " pixels. Encoder, reparameterisation and KL do not change.",
        (
            "Bernoulli likelihood: binary cross-entropy instead of the squared error",
            "from logits, summed over pixels",
            "the KL does not change",
        ),
    ),
    Question(
        "mse",
        "The loss is a squared error, summed over dimensions, plus the KL. Which likelihood does it"
        " assume?",
        "A Gaussian of variance 1/2: -log N(x; recon, 1/2) is the squared error plus a constant,"
        " (1/2) log(pi) for each dimension. A mean over dimensions, or another weight, means"
        " another variance, and so another balance with the KL.",
        (
            "a Gaussian whose variance is 1/2 everywhere",
            "up to a constant, (D/2) log(pi)",
            "with a mean over dimensions instead of a sum, the KL weighs D times as much",
        ),
    ),
    Question(
        "rivals",
        "How does a VAE compare with a GAN, and with a diffusion model?",
        "A VAE has a bound on log p(x) and an encoder, and it samples in one cheap pass. With a"
        " simple decoder, its samples are blurred. A GAN gives sharp samples. But it has no"
        " likelihood, is hard to train, and may drop modes. A diffusion model gives the best"
        " samples, but needs many steps. A latent diffusion model works in the latent space of an"
        " autoencoder that is trained much like a VAE.",
        (
            "VAE: a bound on the likelihood and a latent space, blurred samples",
            "GAN: sharp, no likelihood, may drop modes",
            "diffusion: best samples, slow to draw; the latent kind uses an autoencoder's space",
        ),
    ),
    Question(
        "score",
        "Which gradient estimator works without reparameterisation, and why is it not used here?",
        "The score-function estimator (REINFORCE). It is the mean of f(z) times the gradient of"
        " log q(z). It needs only samples and log q, so it works for discrete z too. But it uses"
        " the value of f and not its slope, and its variance is far higher.",
        (
            "E[f(z) grad log q(z)], the score function or REINFORCE",
            "it needs no derivative of f, so z may be discrete",
            "its variance is much higher",
        ),
    ),
    Question(
        "amortised",
        "What does amortised inference mean?",
        "One network maps every x to the parameters of its q(z|x). It replaces an optimisation for"
        " each x, so a new x costs one forward pass. The price is a gap: for a given x, the"
        " network's q is not the best one of its family.",
        (
            "one encoder for all x, rather than variational parameters for each",
            "inference for a new x is one forward pass",
            "it costs tightness: the amortisation gap",
        ),
    ),
    Question(
        "evaluate",
        "How would you estimate log p(x) of a trained VAE?",
        "By importance sampling with q as the proposal. Draw K codes from q(z|x), and take the log"
        " of the mean of p(x|z) p(z) / q(z|x). On average the estimate is too low, so it is a"
        " bound itself, and it tightens as K grows. Watch the effective sample size. The ELBO is"
        " the case K = 1. Annealed importance sampling is more reliable.",
        (
            "log of the mean of p(x, z) / q(z|x) over K draws from q",
            "a lower bound on average that tightens with K",
            "the ELBO alone is too low by the gap",
        ),
    ),
    Question(
        "inference",
        "At inference: the mean of q(z|x), or a sample?",
        "For codes and reconstructions of given data, take the mean, since noise is not wanted. To"
        " train, and to estimate the bound, take samples, since both are expectations over q. To"
        " generate, draw z from the prior and not from any q. Then take the decoder's mean, or"
        " draw from p(x|z) to get the data's noise as well.",
        (
            "codes and reconstructions: the mean",
            "training and the bound: samples of q",
            "new data: z from the prior",
        ),
    ),
)

QUESTIONS = CORE + FOLLOW_UPS
BY_KEY = {question.key: question for question in QUESTIONS}
