"""The HTML report: what its rows say, and that a hostile model cannot do harm through it."""

from __future__ import annotations

import hashlib
import math
import re
from base64 import b64encode
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from numpy.typing import NDArray

from qsimc.planning.plan import Kind, Reason
from qsimc.report import text
from qsimc.report.bands import band
from qsimc.report.data import ReportData
from qsimc.report.html import report_html
from qsimc.report.page import page
from qsimc.source import Source, Span
from tests.unit.reports import ABOUT, channelwise, encoding, report, tensor

VOID = {"meta", "input"}

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&<!--\u202egnp.exe\x00\n\ud800"


def normal(scale: float = 1.0) -> NDArray[np.float64]:
    return np.random.default_rng(1).normal(0.0, scale, 4096)


class Strict(HTMLParser):
    """Collects tags and text, and fails on a tag that is closed wrongly or an attribute given twice."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), attrs
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.stack):
            self.words.append(data)


def hostile_report() -> ReportData:
    reason = Reason(HOSTILE, Span(Source(HOSTILE, "x"), 0, 1), f"`{HOSTILE}` {HOSTILE}")
    named = replace(tensor(HOSTILE), node=HOSTILE, op=HOSTILE, role=HOSTILE, shares=HOSTILE, because={"bits": reason})
    off = replace(tensor(HOSTILE + "2", enabled=False), because={"enabled": reason})
    about = replace(ABOUT, title=HOSTILE, config=HOSTILE, model=HOSTILE, created_by=HOSTILE)
    return report(named, off, encodings={HOSTILE: encoding()}, values={HOSTILE: normal()}, about=about)


def test_a_hostile_name_adds_no_element() -> None:
    tame = report(
        tensor("a", shares="b"), tensor("a2", enabled=False), encodings={"a": encoding()}, values={"a": normal()}
    )
    hostile = Strict(report_html(hostile_report()))
    assert {tag for tag, _ in hostile.tags} == {tag for tag, _ in Strict(report_html(tame)).tags}
    assert not [name for _, attributes in hostile.tags for name in attributes if name.startswith("on")]
    assert [tag for tag, _ in hostile.tags].count("script") == 1


def test_a_hostile_name_is_shown_with_its_invisible_characters_as_escapes() -> None:
    html = report_html(hostile_report())
    assert "\\u{202e}gnp.exe\\u{0}\\n\\u{d800}" in "".join(Strict(html).words)
    assert not [c for c in html if not c.isprintable() and c != "\n"]


def test_the_page_is_encodable_whatever_the_names() -> None:
    assert report_html(hostile_report()).encode("utf-8")


def test_the_page_loads_nothing() -> None:
    html = report_html(hostile_report())
    assert not re.search(r"https?://|@import|url\(", html)
    links = [a[k] for _, a in Strict(html).tags for k in ("src", "href", "data", "action") if k in a]
    assert all(link and link.startswith("#") for link in links)


def test_the_policy_admits_the_page_s_own_style_and_script_only() -> None:
    html = report_html(report())
    policy = next(a["content"] for tag, a in Strict(html).tags if tag == "meta" and "http-equiv" in a)
    for tag in ("style", "script"):
        (body,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in (policy or "")
    assert "default-src 'none'" in (policy or "")


def test_no_element_has_a_style_of_its_own() -> None:
    assert not [a for _, a in Strict(report_html(hostile_report())).tags if "style" in a]


def test_ids_are_unique_and_references_resolve() -> None:
    data = report(*(tensor(f"t{i}") for i in range(5)), encodings={f"t{i}": encoding() for i in range(5)})
    tags = Strict(report_html(data)).tags
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    used = [a[k] for _, a in tags for k in ("aria-controls", "aria-labelledby") if k in a]
    used += [(a["href"] or "").removeprefix("#") for _, a in tags if "href" in a]
    assert set(used) <= set(ids)


def test_the_same_run_writes_the_same_page() -> None:
    assert report_html(hostile_report()) == report_html(hostile_report())


def test_a_thousand_quantizers_fit_into_five_megabytes() -> None:
    names = [f"model.layers.{i}.self_attn.q_proj.weight" for i in range(1000)]
    data = report(
        *(tensor(n, Kind.PARAM) for n in names),
        encodings={n: channelwise(*np.geomspace(0.01, 0.02, 512)) for n in names},
        values={n: normal() for n in names},
    )
    assert len(report_html(data).encode()) < 5_000_000


def test_a_report_of_nothing_says_so() -> None:
    shown = page(report())
    assert shown.verdict == "No tensor is quantized."
    assert shown.rugs == ()
    assert Strict(report_html(report())).tags


def test_the_worst_quantizer_stands_first_and_the_unmeasured_last() -> None:
    names = ["fine", "unseen", "coarse"]
    data = report(
        *map(tensor, names),
        encodings={"fine": encoding(1 / 32), "unseen": encoding(), "coarse": encoding(2.0)},
        values={"fine": normal(), "coarse": normal()},
    )
    assert [q.tensor for q in page(data).quantizers] == ["coarse", "fine", "unseen"]
    assert [row.tensor for row in data.rows] == names


@pytest.mark.parametrize(
    ("sqnr", "expected"),
    [
        (-3.0, "poor"),
        (9.9, "poor"),
        (10.0, "fair"),
        (19.9, "fair"),
        (20.0, "good"),
        (math.inf, "good"),
        (None, "unknown"),
    ],
)
def test_bands(sqnr: float | None, expected: str) -> None:
    assert band(sqnr) == expected


@pytest.mark.parametrize(
    ("scale", "verdict"),
    [
        (1 / 32, "1 quantized tensor, all at 20 dB or better."),
        (0.75, "1 of 1 quantized tensor between 10 and 20 dB, none below."),
        (1.5, "1 of 1 quantized tensor below 10 dB, where noise has over a tenth of the signal's power."),
    ],
)
def test_the_verdict_is_that_of_the_worst(scale: float, verdict: str) -> None:
    assert page(report(tensor("a"), encodings={"a": encoding(scale)}, values={"a": normal()})).verdict == verdict


def test_silence_is_no_praise() -> None:
    silent = page(report(tensor("a"), encodings={"a": encoding()}))
    assert "nothing is known" in silent.verdict
    zeros = page(report(tensor("a"), encodings={"a": encoding()}, values={"a": np.zeros(4)}))
    assert (zeros.band, zeros.quantizers[0].sqnr) == ("unknown", text.NOTHING)


def test_every_setting_names_its_rule_and_the_rules_it_overruled() -> None:
    first, second = report(tensor("a")).rows[0].decided
    assert (first.winner.settings, first.winner.rule, first.winner.where) == (("on",), "aimet-grid-preserving", "")
    assert second.winner.settings == ("bits=8", "asymmetric")
    assert second.winner.where == "cfg.json:2:3"
    assert [(loser.settings, loser.where) for loser in second.losers] == [(("bits=4",), "cfg.json:1:1")]


def test_a_tensor_left_in_float_says_only_why() -> None:
    data = report(tensor("off", enabled=False), encodings={"off": encoding()}, values={"off": normal()})
    (row,) = data.rows
    assert (row.grid, row.sqnr, row.histogram) == (None, None, None)
    assert [d.winner.rule for d in row.decided] == ["aimet-grid-preserving"]
    assert [t.tensor for t in page(data).unquantized] == ["off"]


def test_a_tensor_that_no_rule_speaks_of_says_that() -> None:
    (shown,) = page(report(replace(tensor("a", enabled=False), because={}))).unquantized
    assert [piece.text for rule in shown.rules for piece in rule.detail] == ["no rule asks for a quantizer"]


def test_a_shared_quantizer_is_drawn_with_its_owner_s_encoding() -> None:
    own, guest = report(tensor("a"), tensor("b", shares="a"), encodings={"a": encoding(0.5)}).rows
    assert guest.grid == own.grid


def test_clipping_is_measured_against_the_chosen_range() -> None:
    values = np.linspace(-4.0, 4.0, 8001)
    (row,) = report(tensor("a"), encodings={"a": encoding()}, values={"a": values}).rows
    assert row.histogram is not None
    # The range is [-2, 127/64]: a quarter below it, a quarter and a step above.
    assert row.histogram.clipped == pytest.approx((0.25, 0.25 + 1 / 512), abs=1e-3)


def test_half_a_step_outside_is_not_clipping() -> None:
    values = np.linspace(-2.0, 127.4 / 64, 1000)
    (row,) = report(tensor("a"), encodings={"a": encoding()}, values={"a": values}).rows
    assert row.histogram is not None
    assert row.histogram.clipped == (0.0, 0.0)
