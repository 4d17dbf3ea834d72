"""How a value is written in the file at hand: in a vendor's words, or as in .qsim."""

from __future__ import annotations

import json

from qsimc.formats.encoders import NoWordError, encode
from qsimc.ir.config import Config, Value, show_setting
from qsimc.spec import keymap


def spell(config: Config, field: str, value: Value) -> str:
    """Return a setting as the configuration's own format writes it: `"method": "diffs"` or `calib=diffs`."""
    if config.format not in keymap.names():
        return show_setting(field, value)
    table = keymap.load(config.format)
    row = next((row for row in keymap.rows(table.root) if row.field == field and row.where == "*"), None)
    if row is None:
        return show_setting(field, value)
    key = row.path.rpartition(".")[2]
    try:
        return f'"{key}": {json.dumps(encode(table, row.codec, value))}'
    except NoWordError:
        return show_setting(field, value)


def role(config: Config, name: str) -> str:
    """Return a tensor of a node as the configuration's own format calls it: `activation` or `output`."""
    if config.format not in keymap.names():
        return name
    return next((word for word, neutral in keymap.load(config.format).roles.items() if neutral == name), name)
