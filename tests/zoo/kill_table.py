"""The kill table: which of the tutorial's six checks catch which mutant of the zoo.

Each mutant of the tutorial's program is trained, then the checks are applied to it. Run from
tests/: ``OMP_NUM_THREADS=1 python -m zoo.kill_table``; it writes zoo/kill_table.json.
``--checker`` fills in the classes that ``aevb check`` names, and trains nothing; ``--markdown``
prints the table. Programs other than the tutorial's have neither its data nor its interface, so
they skip checks 4 and 5, and check 2 unless they have a KL function. Rows of unchanged mutants are
kept, so that an interrupted run can be continued.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from warm import Warm

from aevb.drill import sanity
from zoo import mutants, probes

RESULT = Path(__file__).with_name("kill_table.json")
COMMAND = "OMP_NUM_THREADS=1 python -m zoo.kill_table"
SEED = 0
EPOCHS = 800
UNTRAINED = (1, 2, 3, 6)
ASKED = {
    "tutorial": (1, 2, 3, 4, 5, 6),
    "convolutional": (1, 3, 6),
    "log_sigma": UNTRAINED,
    "distributions": UNTRAINED,
}


def fit(module: Any, epochs: int) -> tuple[Any, list[float]]:
    """Train as the tutorial does, and return the model and the loss of each epoch.

    Seed, data, batches and Adam are the tutorial's. It ends early once the loss is not a number: no
    later step would change that.
    """
    torch.manual_seed(SEED)
    data, model = module.clusters(2000), module.VAE(data_dim=2, hidden=64, latent_dim=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    losses: list[float] = []
    for _ in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(data)).split(256):
            recon, mu, logvar = model(data[rows])
            loss, _, _ = module.vae_loss(recon, data[rows], mu, logvar)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        losses.append(total / len(data))
        if math.isnan(losses[-1]):
            break
    return model, losses


_known: dict[bytes, tuple[dict[str, Tensor], list[float]]] = {}


def trained(module: Any, epochs: int = EPOCHS) -> tuple[Tensor, list[float]]:
    """Points that the trained model generates (2000, 2), and its losses.

    Two spellings of one mistake make the same numbers. Where the losses and all weights after two
    epochs are those of a mutant trained before, bit for bit, its training is taken over.
    """
    model, losses = fit(module, 2)
    key = b"".join(
        [repr(losses).encode(), *(value.numpy().tobytes() for value in model.state_dict().values())]
    )
    if key not in _known:
        fitted, losses = fit(module, epochs)
        _known[key] = fitted.state_dict(), losses
    state, losses = _known[key]
    model.load_state_dict(state)
    with torch.no_grad():
        return model.generate(2000, torch.Generator().manual_seed(123)), losses


def fails(check: Callable[[], object]) -> bool:
    """Whether a check fails, or crashes, as it would in the tutorial's notebook."""
    torch.manual_seed(SEED)
    try:
        check()
    except Exception:
        return True
    return False


def of_tutorial(module: Any) -> list[int]:
    """Numbers of the checks 1, 2, 3 and 6 that fail, as the drill words them."""
    checks: dict[int, Callable[[], object]] = {
        1: lambda: sanity.differentiable(module.VAE),
        2: lambda: sanity.closed_form_kl(module.kl_divergence),
        3: lambda: sanity.shapes(module.VAE),
        6: lambda: sanity.collapses_to_mean(module.VAE),
    }
    return [number for number, check in checks.items() if fails(check)]


def of_trained(module: Any) -> list[int]:
    """Numbers of the checks 4 and 5 that fail."""
    try:
        generated, losses = trained(module)
    except Exception:
        return [4, 5]
    checks: dict[int, Callable[[], object]] = {
        4: lambda: sanity.data_like(generated),
        5: lambda: sanity.loss_decreases(losses),
    }
    return [number for number, check in checks.items() if fails(check)]


def of_other(module: Any, base: str, prior: float | None = None) -> list[int]:
    """Numbers of the checks that fail, among those that suit other data and other names."""
    probe = probes.PROBES[base]
    at_prior = probe.at_prior if prior is None else prior

    def model() -> Any:
        return probes.evaluate(probe.model, module)

    def draw(mu: Tensor, head: Tensor) -> Tensor:
        return probe.sample(module, model(), mu, head)

    def differentiable() -> None:
        mu = torch.zeros(4, probe.latents, requires_grad=True)
        head = torch.zeros(4, probe.latents, requires_grad=True)
        draw(mu, head).sum().backward()
        for leaf in (mu, head):
            assert leaf.grad is not None
            assert leaf.grad.abs().sum() > 0

    def closed_form_kl() -> None:
        assert probe.kl is not None
        kl_zero = probe.kl(
            module, model(), torch.zeros(5, probe.latents), torch.full((5, probe.latents), at_prior)
        )
        assert torch.allclose(kl_zero, torch.zeros(5), atol=1e-6)
        assert (
            probe.kl(
                module, model(), torch.randn(25, probe.latents), torch.randn(25, probe.latents)
            )
            >= -1e-6
        ).all()

    def shapes() -> None:
        assert draw(torch.randn(8, probe.latents), torch.randn(8, probe.latents)).shape == (
            8,
            probe.latents,
        )
        assert probes.evaluate(probe.new, module, model()).numel() == 5 * probe.data_dim

    def collapses() -> None:
        mu = torch.randn(50, probe.latents)
        assert torch.allclose(draw(mu, torch.full_like(mu, probe.collapsed)), mu, atol=1e-4)

    checks = {1: differentiable, 2: closed_form_kl, 3: shapes, 6: collapses}
    return [number for number, check in checks.items() if number in ASKED[base] and fails(check)]


def measure(mutant: mutants.Mutant) -> dict[str, Any]:
    """One row of the table, with the checks that need no training."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = probes.load(mutant)
        caught = (
            of_tutorial(module)
            if mutant.base == "tutorial"
            else of_other(module, mutant.base, mutant.prior)
        )
    asked = UNTRAINED if mutant.base == "tutorial" else ASKED[mutant.base]
    row = {
        "base": mutant.base,
        "name": mutant.name,
        "class": mutant.class_,
        "verdict": mutant.verdict,
        "caught_by": caught,
    }
    return {**row, "asked": list(asked), "digest": digest(mutant)}


def add_training(mutant: mutants.Mutant, row: dict[str, Any]) -> None:
    """Fill in checks 4 and 5."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        row["caught_by"] = sorted([*row["caught_by"], *of_trained(probes.load(mutant))])
    row["asked"] = list(ASKED[mutant.base])


def digest(mutant: mutants.Mutant) -> str:
    """The digest of a mutant's source; a row with another one is out of date."""
    return hashlib.sha256(mutant.source.encode()).hexdigest()[:12]


def named_by_checker(table: list[mutants.Mutant]) -> list[str]:
    """The classes that ``aevb check`` names for each mutant, else its verdict."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.py" for number in range(len(table))]
        for path, mutant in zip(paths, table, strict=True):
            path.write_text(mutant.source, encoding="utf-8")
        with Warm() as warm:
            seen = warm.judged(paths)
    return [", ".join(dict.fromkeys(seen[path.name][1])) or seen[path.name][0] for path in paths]


def wrong() -> list[mutants.Mutant]:
    """The bases, and the mutants that are wrong."""
    return [mutant for mutant in mutants.all() if mutant.class_ or mutant.name == "base"]


def summary(rows: list[dict[str, Any]], base: str = "tutorial") -> str:
    """One sentence: how many mutants of a base the checks catch."""
    of_base = [row for row in rows if row["base"] == base and row["name"] != "base"]
    untrained = sum(bool(set(row["caught_by"]) & set(UNTRAINED)) for row in of_base)
    if base != "tutorial":
        return (
            f"{base}: checks {', '.join(map(str, ASKED[base]))} catch {untrained} of {len(of_base)}"
            " mutants."
        )
    missing = sum(row["asked"] != list(ASKED[base]) for row in of_base)
    caught = sum(bool(row["caught_by"]) for row in of_base)
    pending = f" {missing} mutants have not been trained for checks 4 and 5 yet." if missing else ""
    return (
        f"{base}: checks 1 to 6 catch {caught} of {len(of_base)} mutants; 1, 2, 3 and 6 alone"
        f" {untrained}.{pending}"
    )


def markdown(rows: list[dict[str, Any]], base: str = "tutorial") -> str:
    """The table of a base for docs/checker.md; "-" if the checker was not run yet."""
    lines = [
        "| mutant | class | tutorial's six checks that catch it | our checker |",
        "| --- | --- | --- | --- |",
    ]
    for row in rows:
        if row["base"] == base:
            caught = ", ".join(map(str, row["caught_by"])) or "none"
            lines.append(
                f"| {row['name']} | {row['class'] or 'right'} | {caught} |"
                f" {row.get('checker', '-')} |"
            )
    return "\n".join([*lines, "", summary(rows, base)])


def read() -> list[dict[str, Any]]:
    """The rows measured so far."""
    return json.loads(RESULT.read_text(encoding="utf-8"))["rows"] if RESULT.exists() else []


def write(rows: list[dict[str, Any]]) -> None:
    """Write one line for each row, so that a changed mutant changes one line."""
    head = json.dumps(
        {"command": COMMAND, "seed": SEED, "epochs": EPOCHS, "torch": torch.__version__}, indent=2
    )
    body = ",\n".join("    " + json.dumps(row) for row in rows)
    RESULT.write_text(f'{head[:-2]},\n  "rows": [\n{body}\n  ]\n}}\n', encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Measure new and changed mutants, run the checker on all, or print the table."""
    kept = {row["digest"]: row for row in read()}
    if "--markdown" in arguments:
        sys.stdout.write(
            "\n\n".join(markdown(list(kept.values()), base) for base in mutants.BASES) + "\n"
        )
        return
    torch.set_num_threads(1)
    table = {mutant: kept.get(digest(mutant)) or measure(mutant) for mutant in wrong()}
    write(list(table.values()))
    if "--checker" in arguments:
        for base in mutants.BASES:
            of_base = [mutant for mutant in table if mutant.base == base]
            for mutant, named in zip(of_base, named_by_checker(of_base), strict=True):
                table[mutant]["checker"] = named
        write(list(table.values()))
        return
    for mutant, row in table.items():
        if row["asked"] == list(ASKED[mutant.base]):
            continue
        add_training(mutant, row)
        sys.stderr.write(f"{mutant.base} {mutant.name}: {row['caught_by']}\n")
        write(list(table.values()))


if __name__ == "__main__":
    main(sys.argv[1:])
