"""Project settings: `qsimc.toml`, or `[tool.qsimc]` of `pyproject.toml`, in the nearest parent folder."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from qsimc.diagnostics import Diagnostic, InputError, Label, Severity, did_you_mean
from qsimc.explain import codes
from qsimc.source import Source, Span

FILES = ("qsimc.toml", "pyproject.toml")
"""Files that may hold settings, the first one of a folder winning."""

_MODES = ("fixed", "vendor")
_TABLE = re.compile(r"^\s*\[\s*tool\s*\.\s*qsimc\s*\]", re.M)
_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)$")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a project decides once; a word of the command line goes before it.

    Attributes:
        folder: where the settings stand; patterns and the baseline are relative to it.
        target: hardware target to check against.
        mode: `fixed` or `vendor`.
        fail_on: the least severity that counts as a failure.
        baseline: file of the findings that are known already.
        exclude: patterns of files that a walk through a folder leaves out.
        ignore: codes, or beginnings of codes, that are not reported.
        per_path_ignores: the same for files that match a pattern.
    """

    folder: Path | None = None
    target: str | None = None
    mode: str | None = None
    fail_on: Severity | None = None
    baseline: str | None = None
    exclude: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    per_path_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def excludes(self, path: Path) -> bool:
        """Say whether a file or folder is left out of a walk."""
        return any(self._matches(path, pattern) for pattern in self.exclude)

    def ignores(self, path: str, code: str) -> bool:
        """Say whether findings of a code are not reported for a file."""
        ignored = [c for pattern, said in self.per_path_ignores if self._matches(Path(path), pattern) for c in said]
        return code.startswith((*self.ignore, *ignored)) if self.ignore or ignored else False

    def _matches(self, path: Path, pattern: str) -> bool:
        """Match as `.gitignore` users expect: a name at any depth, a path from the settings' folder, or a folder."""
        full, root = path.absolute(), self.folder or Path()
        below = full.relative_to(root) if full.is_relative_to(root) else full
        wanted = pattern.removeprefix("./").rstrip("/")
        names = [below, *below.parents] if below.parts else []
        return any(
            fnmatch(part.as_posix(), wanted) or fnmatch(part.name, wanted.removeprefix("**/"))
            for part in names
            if part.parts
        )


def nearest(folder: Path) -> Settings:
    """Return the settings that hold in a folder: those of the nearest parent that has some, else none.

    Raises:
        InputError: Q0110, the file with the settings is wrong.
    """
    return _nearest(folder.absolute())


def forget() -> None:
    """Look at the disk again; what runs for long calls this, for people edit settings too."""
    _nearest.cache_clear()


@cache
def _nearest(folder: Path) -> Settings:
    for name in FILES:
        path = folder / name
        # What only looks for a table need not parse every `pyproject.toml`, nor complain of it.
        if path.is_file() and (name != FILES[1] or _TABLE.search(_text(path))):
            return read(path)
    return Settings() if folder.parent == folder else _nearest(folder.parent)


def read(path: Path) -> Settings:
    """Return the settings of a file.

    Raises:
        InputError: Q0110, it cannot be read, or says what no setting means.
    """
    source = Source(_shown(path), _text(path))
    try:
        document = tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        raise InputError([_syntax(source, str(error))]) from None
    if path.name == FILES[1]:
        document = document.get("tool", {}).get("qsimc", {})
    return _Reader(source).settings(path.absolute().parent, document)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError([_bad(Source(_shown(path), ""), None, f"cannot read the settings: {error}")]) from None


def _shown(path: Path) -> str:
    """Return a path as short as it can be said from here."""
    full = path.absolute()
    return str(full.relative_to(Path.cwd())) if full.is_relative_to(Path.cwd()) else str(full)


@dataclass(slots=True)
class _Reader:
    source: Source

    def settings(self, folder: Path, table: Mapping[str, Any]) -> Settings:
        known = {field.name.replace("_", "-"): field.name for field in fields(Settings) if field.name != "folder"}
        readers: dict[str, Callable[[str, Any], Any]] = {
            "target": self._word,
            "baseline": self._word,
            "mode": lambda key, value: self._one_of(key, value, _MODES),
            "fail-on": lambda key, value: Severity(self._one_of(key, value, tuple(map(str, Severity)))),
            "exclude": self._words,
            "ignore": self._codes,
            "per-path-ignores": self._per_path,
        }
        found: dict[str, Any] = {"folder": folder}
        for key, value in table.items():
            if key not in known:
                near = did_you_mean(key, list(known))
                help_ = f"did you mean `{near}`?" if near else f"settings: {', '.join(known)}"
                raise self._wrong(key, f"no setting is called `{key}`", help_)
            found[known[key]] = readers[key](key, value)
        return Settings(**found)

    def _word(self, key: str, value: Any) -> str:
        if not isinstance(value, str):
            raise self._wrong(key, f"`{key}` is a string")
        return value

    def _words(self, key: str, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise self._wrong(key, f"`{key}` is a list of strings")
        return tuple(value)

    def _one_of(self, key: str, value: Any, words: tuple[str, ...]) -> str:
        if value not in words:
            near = did_you_mean(str(value), words)
            raise self._wrong(
                key, f"`{key}` is one of {', '.join(words)}", *((f"did you mean `{near}`?",) if near else ())
            )
        return str(value)

    def _codes(self, key: str, value: Any) -> tuple[str, ...]:
        for code in (said := self._words(key, value)):
            if not code or not any(known.startswith(code) for known in codes("diagnostics")):
                near = did_you_mean(code, codes("diagnostics"))
                help_ = f"did you mean `{near}`?" if near else "name a code such as Q0206, or the beginning of some"
                raise self._wrong(code or key, f"no finding has the code `{code}`", help_)
        return said

    def _per_path(self, key: str, value: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
        if not isinstance(value, dict):
            raise self._wrong(key, f"`{key}` is a table from patterns to lists of codes")
        return tuple((pattern, self._codes(pattern, said)) for pattern, said in value.items())

    def _wrong(self, word: str, message: str, *helps: str) -> InputError:
        # tomllib keeps no places; the first time that a key is written is nearly always the one that is meant.
        table = _TABLE.search(self.source.text)
        at = self.source.text.find(word, table.end() if table else 0)
        span = Span(self.source, at, at + len(word)) if at >= 0 else None
        return InputError([_bad(self.source, span, message, *helps)])


def _syntax(source: Source, said: str) -> Diagnostic:
    place = _PLACE.search(said)
    if place is None:
        return _bad(source, Span(source, len(source.text), len(source.text)), f"not TOML: {said}")
    lines = source.text.splitlines(keepends=True)
    at = sum(map(len, lines[: int(place[1]) - 1])) + int(place[2]) - 1
    reason = said[: place.start()]
    return _bad(source, Span(source, at, at + 1), f"not TOML: {reason[:1].lower()}{reason[1:]}")


def _bad(source: Source, span: Span | None, message: str, *helps: str) -> Diagnostic:
    return Diagnostic(
        code="Q0110",
        name="bad-settings",
        severity=Severity.ERROR,
        message=message,
        labels=() if span is None else (Label(span),),
        helps=helps,
        path=source.path,
    )
