"""The user's own Python, named as `package.module:factory`: found, imported and run.

This is the one place where qsimc runs code that it did not ship; the caller says so first (`announce`).
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from types import ModuleType, TracebackType
from typing import Any

from qsimc.diagnostics import Diagnostic, Report, Severity, did_you_mean

_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_REFERENCE = re.compile(rf"({_DOTTED}):({_DOTTED})")

USER_ERRORS = (Exception, SystemExit)
"""What running the user's code may raise: anything, `sys.exit()` included, but an interrupt is not theirs."""

Factory = Callable[[], Any]


def split_reference(text: str) -> tuple[str, str] | None:
    """Split `package.module:factory` into module and attribute; None for anything else, such as a path."""
    match = _REFERENCE.fullmatch(text)
    return (match[1], match[2]) if match else None


def announce(text: str) -> str:
    """Return the sentence that tells the user, before it happens, that their code is about to run."""
    return f"running your Python code: `{text}`"


def load_reference(text: str, report: Report) -> Factory | None:
    """Import the user's module and return the callable that `text` names; None after reporting Q0510.

    The current folder is importable, as under `python -m`.

    Raises:
        ValueError: `text` is not a reference (see `split_reference`).
    """
    reference = split_reference(text)
    if reference is None:
        raise ValueError(f"`{text}` is not of the form `package.module:factory`")
    module_name, attribute = reference
    module = _import(module_name, text, report)
    if module is None:
        return None
    found = _attribute(module, attribute, text, report)
    if found is None:
        return None
    if not callable(found):
        message = f"`{attribute}` in module `{module_name}` is a `{type(found).__name__}`, which cannot be called"
        report(faulty_code(text, message, helps=("name a function without arguments",)))
        return None
    factory: Factory = found
    return factory


def run(text: str, factory: Factory, report: Report) -> Any:
    """Call the user's factory and return what it returns; None after reporting Q0510 if that is nothing.

    What it prints goes to standard error, because standard output belongs to qsimc's product.
    """
    try:
        with redirect_stdout(sys.stderr):
            made = factory()
    except USER_ERRORS as error:
        report(raised(text, f"`{text}` raised an exception", error))
        return None
    if made is None:
        report(faulty_code(text, f"`{text}` returned nothing", helps=("end the function with `return`",)))
    return made


def faulty_code(text: str, message: str, *, notes: tuple[str, ...] = (), helps: tuple[str, ...] = ()) -> Diagnostic:
    """Return Q0510: the user's Python code does not do what qsimc needs of it."""
    return Diagnostic(
        code="Q0510",
        name="python-entry",
        severity=Severity.ERROR,
        message=message,
        notes=notes,
        helps=helps,
        path=text,
    )


def raised(text: str, message: str, error: BaseException) -> Diagnostic:
    """Return Q0510 for an exception that came out of the user's code: what it was, and the line it came from."""
    place = place_of(error)
    notes = (one_line(error),) if place is None else (one_line(error), f"raised at {place}")
    return faulty_code(text, message, notes=notes)


def one_line(error: BaseException, width: int = 200) -> str:
    """Return an exception as `Type: first line of its text`, at most `width` characters long."""
    if isinstance(error, SyntaxError):
        text = error.msg
    else:
        text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    sentence = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return sentence if len(sentence) <= width else sentence[: width - 1] + "…"


def _import(name: str, text: str, report: Report) -> ModuleType | None:
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        with redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except USER_ERRORS as error:
        report(_import_failure(name, text, error))
        return None


def _import_failure(name: str, text: str, error: BaseException) -> Diagnostic:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    # `import a.b` fails with name `a` or `a.b` when they are missing; any other name is an import made by them.
    if missing is not None and f"{name}.".startswith(f"{missing}."):
        return faulty_code(
            text,
            f"no Python module `{missing}`",
            notes=("looked in the current folder and among the installed packages",),
            helps=("run qsimc from the folder that holds the module, or install its package",),
        )
    return raised(text, f"importing module `{name}` raised an exception", error)


def _attribute(module: ModuleType, dotted: str, text: str, report: Report) -> Any:
    found: Any = module
    for name in dotted.split("."):
        if not hasattr(found, name):
            report(_no_attribute(module, found, name, text))
            return None
        found = getattr(found, name)
    if found is None:
        report(faulty_code(text, f"`{dotted}` in module `{module.__name__}` is None, which cannot be called"))
    return found


def _no_attribute(module: ModuleType, owner: Any, name: str, text: str) -> Diagnostic:
    where = f"module `{module.__name__}`" if owner is module else f"`{getattr(owner, '__name__', owner)}`"
    near = did_you_mean(name, [known for known in dir(owner) if not known.startswith("_")])
    helps = (f"did you mean `{near}`?",) if near else ()
    file = getattr(module, "__file__", None)
    notes = (f"the module was read from `{file}`",) if file else ()
    return faulty_code(text, f"{where} has no `{name}`", notes=notes, helps=helps)


def place_of(error: BaseException) -> str | None:
    """Return `file:line` of the user's own code that is to blame, the innermost if there are several."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = list(_frames(error.__traceback__))
    return frames[-1] if frames else None


def _frames(trace: TracebackType | None) -> list[str]:
    """Return the places of a traceback that lie outside qsimc, the standard library and installed packages."""
    paths = sysconfig.get_paths()
    installed = [paths[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    foreign = [os.path.join(folder, "") for folder in (os.path.dirname(__file__), *installed)]
    return [
        f"{frame.filename}:{frame.lineno}"
        for frame in traceback.extract_tb(trace)
        if not frame.filename.startswith((*foreign, "<"))
    ]
