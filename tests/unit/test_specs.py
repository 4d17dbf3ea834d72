"""Our own data files say what they must: validated here, so that no command has to at every start."""

from __future__ import annotations

import tomllib

import onnx.defs
import pytest
from pydantic import TypeAdapter

from qsimc import resources, targets
from qsimc.calibrate.vitis_shift import Form
from qsimc.formats.codecs import CODECS
from qsimc.ir.quant import FIELDS, UNSIMULATED
from qsimc.spec import fields, keymap, operators
from qsimc.spec.ops import Operator, Operators
from qsimc.spec.ops import operators as op_rows
from qsimc.spec.vitis_ops import VitisOperators, vitis_operators


@pytest.mark.parametrize("name", keymap.names())
def test_a_key_table_is_well_formed(name: str) -> None:
    table = tomllib.loads(resources.read("specs", f"vendors/{name}.toml"))
    known = dict.fromkeys(keymap.TableFile.__dataclass_fields__)
    assert set(table) <= set(known)
    TypeAdapter(keymap.TableFile).validate_python(table)
    assert {limit["key"] for limit in table.get("limit", ())} <= set(table["key"])


@pytest.mark.parametrize("name", keymap.names())
def test_a_key_table_speaks_the_vocabulary(name: str) -> None:
    rows = list(keymap.rows(keymap.load(name).root))
    assert {row.codec for row in rows} <= set(CODECS)
    settings = {row.field for row in rows if row.where not in ("option", "fuse", "target", "entry")}
    assert settings <= set(fields.vocabulary().fields)


def test_the_vocabulary_is_that_of_a_spec() -> None:
    table = tomllib.loads(resources.read("specs", "fields.toml"))
    TypeAdapter(dict[str, fields.Field]).validate_python(table)
    assert {*FIELDS, "kernels", "per_group", "dynamic"} == set(fields.vocabulary().fields)
    for name, values in UNSIMULATED.items():
        assert values <= set(fields.domain(name))


def test_operator_names_are_those_of_onnx() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}
    assert set(operators.names("onnx")) == known
    assert not set(operators.names("onnx")) & set(operators.names("aimet_torch"))


def test_the_operator_table_is_well_formed() -> None:
    table = tomllib.loads(resources.read("specs", "ops.toml"))
    columns = set(Operator.__dataclass_fields__)
    assert all(set(row) <= columns for row in table["op"].values())
    assert TypeAdapter(Operators).validate_python(table) == op_rows()


def test_operators_with_facts_are_operators() -> None:
    beyond_onnx = {"branch", "RMSNormalization", "MaskedSoftmax"}
    assert set(op_rows().op) <= set(operators.names("onnx")) | beyond_onnx


def test_every_builtin_configuration_has_a_title() -> None:
    assert all(len(targets.title(name)) > 20 for name in targets.names())


def test_the_table_of_vitis_operators_is_well_formed() -> None:
    table = tomllib.loads(resources.read("specs", "vitis_ops.toml"))
    assert TypeAdapter(VitisOperators).validate_python(table) == vitis_operators()
    assert set(table["onnx"].values()) <= set(table["kind"])
    assert set(table["onnx"]) <= set(operators.names("onnx"))
    assert {row.form for row in vitis_operators().kind.values() if row.form} <= {form.value for form in Form}
