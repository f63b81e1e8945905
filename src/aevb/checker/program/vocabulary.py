"""The meanings of names in strangers' programs, as regular expressions and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from aevb.checker.program.frames import unpacked

ROWS = 7
"""Rows of a batch: a rare number, so that a factor of 1/7 shows a mean over rows."""
DATA_DIM, LATENT, HIDDEN = 12, 5, 16
EPOCH = 1_000
"""The current epoch that the program sees; schedules of the KL weight have ended by then."""
ASKED_FOR = 0.37
"""The value for a weight that the program takes from outside; no reduction has this factor."""


def as_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


def _any(*words: str) -> re.Pattern[str]:
    return re.compile("|".join(words), re.IGNORECASE)


WEIGHT = "beta|weight|lambda|alpha|gamma|coef"
"""Names for the weight of a term, in all tables below."""
LOSS = _any("loss|elbo|criterion|objective|nll|free_energy|cost")
KL = _any("kl|divergence|latent_loss|regulari")
SAMPLER = _any("re_?param|sampl|latent|noise|draw")
MODEL = _any("model|net|vae|autoencoder|^m$|^self$")
NAMED_WEIGHT = _any(WEIGHT, r"lam(b|bda)?$|anneal|scale|factor|kl_?w|^w(_|$)|_w$")
"""Names for a weight that the program asks for."""
OF_A_LOSS = _any(
    "loss|kl|elbo|nll|criterion|diverg|objective|likelihood|log_?prob|entropy|backward|mse|bce"
)
"""Names of functions and classes in a program that trains."""
OF_A_KL = _any(
    r"(?<![a-z])kl|elbo|diverg|objective|likelihood|log_?prob|entropy|backward|training_step",
    "vae_?loss",
)
"""Names of any kind in a program with a KL."""
LOG_SIGMA = _any("log_?(sigma|std|sd|scale)(?!_?(2|sq))|lsig")
LOG_VARIANCE = _any("log_?var|ln_?var|logv$|^lv$|log_?(sigma|std)_?(2|sq)|logs2")
MAXIMISED, MINIMISED = _any("elbo|bound|likelihood|log_?p"), _any("loss|neg|minus|nelbo|nll")

PART = re.compile(r"_?(enc|dec)(oder)?(_net|_model)?")
"""Parameters that take a network: the whole name, in lower case."""
OWN_PART = re.compile(r"_?(en|de)coder(_?net\w*)?|backbone")
"""Attributes that a base class elsewhere may give a module."""
CODER = re.compile(r"^[a-z]\w*_(en|de)coder$")
NETWORK = _any(
    "enc|dec|net|backbone|mlp|perceptron|fcn?|gcn|conv|cnn|featur|lstm|gru|transformer|powerful"
)
NO_NETWORK = _any(
    "vae|auto|model|loss|crit|metric|optim|data|load|log|disc|callback|sched|config|label",
    "tokeniz|trainer",
)
NO_NETWORK_CALLED = re.compile(
    "act|nonlin|loss|crit|sampl|reparam|norm|prior|drop|optim|sched|func|fn$|log"
)
"""Parameters that a class calls but that are no networks."""
DECODES = _any("dec|gener")
DECODER = _any(r"^(dec\w*|generat\w*|.*decode\w*|p_x\w*)$")
"""Functions that make new points from z."""

HANDS_ON = _any(
    r"^(to_?var(iable)?|to_?(device|gpu|cuda|torch|tensor)|cuda|gpu|maybe_cuda|move_to\w*)$"
)
"""Helpers in other files that return the tensor that they get."""
ONE_HOT = _any("one_?hot")
BARS = ("tqdm", "track", "tqdm_notebook", "notebook_tqdm")
SERVICES = as_set(
    "logger loggers trainer fabric optimizers lr_schedulers print toggle_optimizer log_metrics"
)
"""Other attributes that Lightning gives a module."""

LOADS = re.compile(r"^(load\w*|read_\w+|genfromtxt|fetch_\w+|from_numpy|open|get_data\w*)$")
TABLES = _any("yaml|json|toml|OmegaConf|configparser")
LOADERS = re.compile("load|iterator|_dl$|^dl$|batches|generator|_iter$")
STORE = _any("store|reader|corpus|archive|recordings?|source")
NOTHING = _any(
    "optim|sched|writer|logger|scaler|accelerator|pbar|bar$|tb$|wandb|callback|^opt$|meter|history"
)
"""Objects that do nothing in a step."""
OPTIMISER = re.compile("^opt|optim")
DATA = _any("^x$|data|dataset|images?$|^imgs?$|_x$|^x_|features|samples|inputs?$")
DATA_PARAMETER = re.compile(
    "x|xs|rows|records|x_?train|features?|data|train_?data|inputs?|train_?x|dataset|samples|embeddings"
)
"""Parameters that take all rows at once: the whole name, in lower case."""
MADE_DATA = re.compile(
    "data|gmm|mixture|cluster|moons|circles|swiss|^x$|^x_train|samples$|blobs|ring|spiral"
)
PIXELS = re.compile(
    r"^(x|xs|xb|t|im|arr|pics?|frames?|pixels?|inputs?|tensor|sample|batch\w*|data\w*|\w*im(g|age)s?\w*)$"
)
LABELS = re.compile("^y$|label|class|target|digit")
LABELS_ALONE = re.compile("y|labels?|targets?|c|cond|condition")
OUTPUTS = re.compile(
    "^(model_?)?(out|outs|outputs?|res|results?|ret|preds?|forward_ret)$|_outputs?$"
)
"""Parameters of a loss that take all outputs of a model."""
BATCH_SIZE = _any(
    r"^-*(train_|mini_?|n_)?(batch_?-?size|batchsize|bs|bsz|batch|mb_?size|minibatch)$"
)
EPOCH_NAME = _any(
    "^(epochs?|ep|e|n_?epoch|epoch_?(num|idx|number|i)?|i_?epoch|cur_?epoch|current_epoch)$"
)
SIZE_NAME = re.compile("(^|_)(dims?|size|width|height|channels|features?_?num)$|^(n|num|dim)_")
CONSTANT = re.compile("SIZE|DIM|LATENT|HIDDEN|CHANNEL|WIDTH|HEIGHT|FEATURES|VOCAB|LEN|^N_|^NUM_")
"""Constants of a missing file that are sizes."""
FREE_CALLS = as_set(
    "device is_available int float str len range dict list tuple set max min sum round sqrt log"
    " exp Namespace SimpleNamespace namedtuple join Path prod ArgumentParser dataclass environ get"
    " device_count TypeVar NewType field"
)
"""Calls that only make a size, a path, a device or options."""

ROLES: list[tuple[str, str]] = [
    ("weight", r"(kld?|latent|loss|recon\w*)_?(scale|weight|coeff?|factor|w)$|_(idx|index)$"),
    ("kl", "^(kl|kld|latent)_?(div|divergence|loss|term)$|^kld?$|^divergence$"),
    (
        "raw",
        "log_?var|^logv$|log_?sig|logvar|lnvar|log_?std|^lv$|logs2|sigma|^std|stddev|_std$|scale"
        "|^var$|variance|log_?sd|^s$",
    ),
    (
        "x",
        "^(x|xs|xb|x_true|x_real|x_in|x_orig|x0|real|orig.*|inputs?|targets?|data|batch|images?"
        "|imgs?|img|y_true|true|truth|gt|ground_truth|sample|samples|original_x|input_data"
        "|batch_x|bx|obs)$",
    ),
    (
        "recon",
        "rec|hat|copy|pred|decoded|output|^out|prime|generated|tilde|logits|^x?_?p$|^y$|x_prob"
        "|probs|x_mean|mu_x|x_mu|^px",
    ),
    ("mean", "mu|mean|loc|cent(er|re)|^(z_)?m$"),
    ("z", "^z|latent|code"),
    ("q", "^q|posterior|dist"),
]


def role_of(name: str) -> str:
    """Return the role of a name: "x", "recon", "mean", "raw", "z", "q", "kl", "weight" or ""."""
    return next((role for role, said in ROLES if re.search(said, name.lower())), "")


class Widths(list[int]):
    """Widths of layers, for as many layers as a program asks for."""

    def __getitem__(self, place: Any) -> Any:
        outside = isinstance(place, int) and not -len(self) <= place < len(self)
        return HIDDEN if outside else super().__getitem__(place)


@dataclass(frozen=True)
class OfTorch:
    """A value that torch makes when it is needed, since reading a program imports no torch."""

    make: str
    argument: Any

    def __call__(self) -> Any:
        """Import torch and return the value."""
        import torch

        return getattr(torch, self.make)(self.argument)


CPU = OfTorch("device", "cpu")
Meanings = list[tuple[str, Any]]
SIZES: Meanings = [
    ("dropout|^p$|_prob$", 0.0),
    ("^adj", OfTorch("eye", ROWS)),
    ("^(vocab|word2idx|token2idx|stoi)$", {chr(97 + place): place for place in range(DATA_DIM)}),
    (r"^(num|n)_?(\w+_)?layers?$|depth|n_blocks|heads?$", 1),
    ("_idx$", 0),
    ("class|label|cond|n_y|^c_?dim|^y_?dim|attr", 10),
    ("latent|z_dim|zdim|^z$|nz|code(?!r)|bottleneck|embed|encoding", LATENT),
    ("hidden_dims|hidden_sizes|layers|widths|layer_sizes", Widths([HIDDEN, HIDDEN])),
    ("hid|^h|h_dim|units|width|inter|enc_|dec_|mid|feature_dim", HIDDEN),
    ("img_size|image_size|^size", 28),
    ("input|data|in_dim|in_feat|x_dim|xdim|n_feat|features|out|obs|dim", DATA_DIM),
    (WEIGHT, 1.0),
    ("device", "cpu"),
    ("batch", ROWS),
    ("lr|rate", 1e-3),
    ("kernel", 3),
]
"""Values for parameters of a model, and for options."""
HANDED_OVER = object()
"""In the next table: a criterion that a caller would pass."""
NUMBERS: Meanings = [
    (f"{WEIGHT}|anneal|_scale$|factor", 1.0),
    ("_(idx|index)$", 0),
    ("^(fn|func|callback)$|perceptual_?(fn|net|loss)", None),
    ("criterion|loss_?f(n|unc)|reconstruction_function|^(bce|mse)(_?loss)?$", HANDED_OVER),
    ("epoch|step|iter", EPOCH),
    ("kwargs", None),
]
"""Values for parameters of a loss that are no outputs of a model."""
ATTRIBUTES: Meanings = [
    ("^device$", CPU),
    (f"{WEIGHT}|noise_scale|temperature", 1.0),
]
"""Values for attributes of an object that was made without its ``__init__``."""
SPREADS: Meanings = [
    (LOG_VARIANCE.pattern, "logvar"),
    (f"{LOG_SIGMA.pattern}|logs$", "log sigma"),
]
"""Readings of a spread by its name."""
WHOLE_NAMES: Meanings = [
    ("epoch|ep|e|global_step|step|iteration|it|n_iter|(n_|num_|total_)?(epochs?|EPOCHS?)", EPOCH),
    ("batch_idx|batch_id|i|idx|j|n", 0),
    ("device|DEVICE|dev", CPU),
]
"""Values for top-level names; the whole name has to match."""


def meaning(name: str, table: Iterable[tuple[str, Any]], default: Any = None) -> Any:
    """Return the value of the first entry that the name matches, else ``default``."""
    found = next((value for said, value in table if re.search(said, name)), default)
    return found() if isinstance(found, OfTorch) else found


class Setting(int):
    """A size that may turn out to be a list of sizes, or a table: ``config["model"]["hidden"]``."""

    def __getitem__(self, key: Any) -> Any:
        return Widths([HIDDEN, HIDDEN])[key] if isinstance(key, slice) else size_of(str(key))

    def __iter__(self) -> Iterator[int]:
        return iter((1, 28, 28) if unpacked() == 3 else (HIDDEN, HIDDEN))

    def __len__(self) -> int:
        return 2

    def __add__(self, other: Any) -> Any:
        return [*self, *other] if isinstance(other, list) else int(self) + other

    def __radd__(self, other: Any) -> Any:
        return [*other, *self] if isinstance(other, list) else other + int(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return size_of(name)


def size_of(name: str, *first: tuple[str, Any]) -> Any:
    """Return the value for a parameter of that name; ``first`` comes before the table SIZES."""
    value = meaning(name.lower(), (*first, *SIZES), HIDDEN)
    if isinstance(value, list | dict):  # a program may fill its own
        return type(value)(value)
    return Setting(value) if type(value) is int else value
