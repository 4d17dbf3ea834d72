"""all-MiniLM-L6-v2 on word pairs: attention, layer normalisation, integer inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy.stats import spearmanr
from tokenizers import Tokenizer

from tests.conformance.case import Case, Prepared
from tests.conformance.nets.minilm import MiniLM, renamed
from tests.conformance.runtime import export, outputs, save

_TOKENS = 32
_CALIBRATION_SAMPLES = 64


def prepare(sources: Mapping[str, Path], work: Path) -> Prepared:
    """Export the network; calibrate on news texts and single words, measure on pairs scored by people."""
    model, calibration = work / "minilm.onnx", work / "calibration.npz"
    _export(sources["minilm"], model)
    (vocabulary,) = sources["minilm"].rglob("tokenizer.json")
    tokenizer = Tokenizer.from_file(str(vocabulary))
    tokenizer.enable_truncation(_TOKENS)
    tokenizer.enable_padding()
    (corpus,) = sources["gensim"].rglob("lee_background.cor")
    save(calibration, _tokens(tokenizer, _calibration_texts(corpus)))

    (table,) = sources["gensim"].rglob("wordsim353.tsv")
    pairs = _scored_pairs(table)
    words = sorted({word for first, second, _ in pairs for word in (first, second)})
    row = {word: index for index, word in enumerate(words)}
    firsts, seconds = [row[first] for first, _, _ in pairs], [row[second] for _, second, _ in pairs]
    people = [score for _, _, score in pairs]
    inputs = _tokens(tokenizer, words)

    def agreement(path: Path) -> float:
        vectors = outputs(path, inputs, 32)
        return float(spearmanr((vectors[firsts] * vectors[seconds]).sum(axis=1), people).statistic)

    return Prepared(model=model, calibration=calibration, measure=agreement)


def _export(source: Path, model: Path) -> None:
    (weights,) = source.rglob("model.safetensors")
    network = MiniLM()
    network.load_state_dict(renamed(load_file(weights)))
    examples = {name: torch.ones(2, _TOKENS, dtype=torch.int64) for name in ("ids", "mask")}
    axes = {name: {0: "batch", 1: "tokens"} for name in examples}
    export(network, examples, axes, "vector", model)


def _calibration_texts(corpus: Path) -> list[str]:
    """Return as many texts as single words taken from them: both lengths that the model will meet."""
    half = _CALIBRATION_SAMPLES // 2
    texts = corpus.read_text(encoding="utf-8").splitlines()[:half]
    return [*texts, *(max(text.split()[:8], key=len) for text in texts)]


def _scored_pairs(table: Path) -> list[tuple[str, str, float]]:
    """Return the rows of WordSim-353: two words, and how alike people find them, 0 to 10."""
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [(first, second, float(score)) for first, second, score in rows]


def _tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Return token ids and mask, both (len(texts), longest), padded to the longest text."""
    encoded = tokenizer.encode_batch(list(texts))
    return {
        "ids": np.array([text.ids for text in encoded], np.int64),
        "mask": np.array([text.attention_mask for text in encoded], np.int64),
    }


CASE = Case(
    name="sentence",
    title="all-MiniLM-L6-v2",
    metric="Spearman with people, 353 word pairs",
    packages=("minilm", "gensim"),
    expected=0.729,
    activations="int16",
    allowed_drop=0.01,
    prepare=prepare,
)
