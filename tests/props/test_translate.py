"""Translation laws: what is read is written again, through .qsim or not, and no difference of plans goes unreported."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qsimc import formats
from qsimc.diagnostics import Diagnostic, Severity
from qsimc.formats import keyed_writer, qsim_writer
from qsimc.ir.config import Config
from qsimc.ir.loss import Loss
from qsimc.source import Source
from qsimc.spec import keymap
from tests.props.vendor_documents import DOCUMENTS, Document

VENDORS = sorted(DOCUMENTS)


def read(text: str, path: str = "c.json", format: str | None = None) -> Config:
    found: list[Diagnostic] = []
    config = formats.written(Source(path, text), found.append, format)
    assert config is not None, found
    assert not [d for d in found if d.severity is Severity.ERROR]
    return config


def document(config: Config) -> Any:
    """Return a configuration as its own vendor's file; nothing may be lost."""
    losses: list[Loss] = []
    text = keyed_writer.write(keymap.load(config.dialect), config, losses.append)
    assert not losses
    return json.loads(text)


@pytest.mark.parametrize("vendor", VENDORS)
@given(st.data())
@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_read_is_written_again(vendor: str, data: st.DataObject) -> None:
    drawn: Document = data.draw(DOCUMENTS[vendor])
    assert document(read(json.dumps(drawn), format=vendor)) == drawn


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("vendor", VENDORS)
@given(st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_a_detour_through_qsim_changes_nothing(vendor: str, compact: bool, data: st.DataObject) -> None:
    drawn: Document = data.draw(DOCUMENTS[vendor])
    text = qsim_writer.write(read(json.dumps(drawn), format=vendor), compact=compact)
    assert document(read(text, "c.qsim", "qsim")) == drawn
