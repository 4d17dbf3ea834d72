"""The fuzz targets on their seeds and on damage to them: what a long run of the fuzzers does, in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.fuzz import onnx_seeds, targets
from tests.fuzz.mutations import damaged

SEEDS = [(name, path) for name in targets.NAMES for path in targets.corpus(name)]


@pytest.mark.parametrize(("name", "path"), SEEDS, ids=[f"{name}-{path.name}" for name, path in SEEDS])
def test_no_seed_is_a_bug_of_ours(name: str, path: Path) -> None:
    targets.load(name)(path.read_bytes())


@pytest.mark.parametrize("name", targets.NAMES)
def test_no_damage_to_a_seed_is_a_bug_of_ours(name: str) -> None:
    fuzz_one = targets.load(name)

    @settings(max_examples=100)
    @given(damaged(name))
    def holds(data: bytes) -> None:
        fuzz_one(data)

    holds()


@pytest.mark.parametrize("name", targets.NAMES)
def test_a_target_has_a_dozen_seeds(name: str) -> None:
    assert len(targets.corpus(name)) >= 12


def test_the_onnx_seeds_are_those_that_the_source_makes(update: bool) -> None:
    folder = targets.HERE / "corpus" / "onnx_model"
    made = {f"{name}.onnx": content for name, content in onnx_seeds.seeds()}
    if update:
        for name, content in made.items():
            (folder / name).write_bytes(content)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == made
