"""Vendor mode against plans that aimet_onnx 2.42.0 itself made."""

from __future__ import annotations

import pytest

from tests.unit.plans import SHARED, SHIPPED, cases, differences

_ORACLE = SHARED / "oracle" / "aimet" / "resolve"


@pytest.mark.parametrize("model", sorted(p.stem for p in SHIPPED.glob("*.json")))
def test_shipped_plans_are_aimets(model: str) -> None:
    mine = [case for case in cases(SHIPPED, SHIPPED / "configs") if case.model.stem == model]
    wrong = {str(case): found for case in mine if (found := differences(case))}
    assert mine
    assert not wrong


@pytest.mark.skipif(not _ORACLE.is_dir(), reason="the whole set of AIMET's plans is not here")
def test_every_known_plan_is_aimets() -> None:
    configs = (_ORACLE / "configs_hand", SHARED / "configs" / "aimet" / "wheel-2.42")
    every = list(cases(_ORACLE / "public", *configs, pattern="*.onnx.json", drop=["block_size"]))
    wrong = {str(case): found for case in every if (found := differences(case))}
    assert len(every) == 984
    assert not wrong
