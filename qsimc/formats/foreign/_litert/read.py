"""What a LiteRT recipe means: entries in the quantizer's own precedence become rules that say everything they decide.

An entry is a whole configuration and takes nothing over from another one, so each rule names every tensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from qsimc.formats.foreign._litert import policy as litert
from qsimc.formats.foreign._litert.clauses import activation, clauses
from qsimc.formats.foreign._litert.entries import Entry, Place
from qsimc.formats.foreign._names import globs_of_regex, name_of_glob
from qsimc.formats.foreign._shared import Findings
from qsimc.ir.config import Clause, Rule, Setting
from qsimc.ir.loss import LossKind
from qsimc.ir.select import AnyOf, Boundary, Everything, NodeName, OpType, Selector
from qsimc.source import Span
from qsimc.spec.operator_words import operator_words

BOUNDARY = {"INPUT": "input", "OUTPUT": "output"}
"""Operations that stand for the model's own tensors."""

_FOR_ALL = (litert.MINMAX, "OCTAV")
"""Algorithms that know operations without weights."""


def rules(entries: Iterable[Entry], findings: Findings) -> tuple[Rule, ...]:
    """Return the rules of a recipe; what they cannot say is reported."""
    return tuple(_Recipe(in_force(entries, findings), findings).rules())


def in_force(entries: Iterable[Entry], findings: Findings) -> list[Entry]:
    """Return the entries that are in force, in the order in which the quantizer looks at them: the last one wins.

    Regular expressions keep the place of their first entry; an entry for `*` takes the place of all others of its own.
    """
    scopes: dict[str, list[Entry]] = {}
    for entry in entries:
        same = scopes.setdefault(entry.regex, [])
        if entry.operation == litert.EVERY:
            replaced, kept = same, []
        elif entry.forced or litert.allowed(entry.operation, entry.mode):
            replaced = [other for other in same if other.operation == entry.operation]
            kept = [other for other in same if other.operation != entry.operation]
        else:
            place = entry.place("op_config")
            findings.bad(f"LiteRT's quantizer refuses this configuration of {entry.operation}", *_at(place))
            continue
        for other in replaced:
            message = "this entry does nothing: a later one with the same regular expression takes its place"
            findings.lost(LossKind.PRECEDENCE, message, *_at(other.place("operation")))
        scopes[entry.regex] = [*kept, entry]
    return [entry for scope in scopes.values() for entry in scope]


class _Recipe:
    """Sorts entries by what they speak of: all operations, one of them, or names."""

    def __init__(self, entries: Iterable[Entry], findings: Findings) -> None:
        self.findings = findings
        self.general: Entry | None = None
        self.by_word: dict[str, Entry] = {}
        self.named: list[tuple[Entry, tuple[NodeName, ...]]] = []
        for entry in entries:
            self._sort(entry)

    def _sort(self, entry: Entry) -> None:
        globs = self._globs(entry)
        if globs is None:
            return
        if globs != ("*",):
            self._sort_named(entry, tuple(map(_name, globs)))
        elif entry.operation == litert.EVERY:
            if self.general or self.by_word or self.named:
                message = "this entry is for everything and comes last, so those before it do nothing"
                self._lost(LossKind.PRECEDENCE, message, entry, "regex")
            self.general, self.by_word, self.named = entry, {}, []
        else:
            if self.named:
                message = "this entry also wins over those for names before it, where rules for names win here"
                self._lost(LossKind.PRECEDENCE, message, entry, "operation")
            self.by_word.pop(entry.operation, None)
            self.by_word[entry.operation] = entry

    def _sort_named(self, entry: Entry, names: tuple[NodeName, ...]) -> None:
        if entry.operation != litert.EVERY and (entry.operation in BOUNDARY or any(name.glob for name in names)):
            message = f"no rule is about both names and an operator: the one for {entry.operation} here is left out"
            self._lost(LossKind.SELECTOR, message, entry, "regex")
            return
        earlier = (name for _, others in self.named for name in others if not name.glob)
        if any(n.glob and fnmatchcase(e.pattern, n.pattern) for e in earlier for n in names):
            message = "this entry wins over those for single names before it, where rules for single names win here"
            self._lost(LossKind.PRECEDENCE, message, entry, "regex")
        self.named.append((entry, names))

    def _globs(self, entry: Entry) -> tuple[str, ...] | None:
        """Return the globs of an entry's regular expression, which is searched for in `output;` or `first;second;`."""
        found = globs_of_regex(entry.regex, begins=False, ends=False)
        if found is None:
            message = f"no pattern of names matches what the regular expression `{entry.regex[:60]}` does"
            self._lost(LossKind.SELECTOR, message, entry, "regex")
            return None
        if not found.exact:
            message = f"names that the regular expression `{entry.regex[:60]}` leaves out are matched too"
            self._lost(LossKind.SELECTOR, message, entry, "regex")
        ended = tuple(g.removesuffix("*").removesuffix(";") if g.endswith((";", ";*")) else g for g in found.patterns)
        if any(g == e and not g.endswith("*") for g, e in zip(found.patterns, ended, strict=True)):
            message = f"`{entry.regex[:60]}` matches nothing: LiteRT ends each name with `;`"
            self._lost(LossKind.SELECTOR, message, entry, "regex")
            return None
        return ("*",) if "*" in ended else ended

    # ── rules ────────────────────────────────────────────────────────────────────────────────

    def rules(self) -> Iterator[Rule]:
        general = self.general
        broad = general is not None and general.mode.activation is not None and general.mode.algorithm in _FOR_ALL
        if general is not None:
            yield self._rule(general, Everything()) if broad else _off(general, Everything())
        decided = self._decided()
        if general is not None:
            if general.mode.algorithm != litert.NONE and not any(e is general for e in decided.values()):
                message = "no operation of LiteRT takes this configuration, so the entry does nothing"
                self._lost(LossKind.PLACEMENT, message, general, "op_config")
            if broad:
                if silent := [op for op, entry in decided.items() if entry is None]:
                    yield _off(general, _any(silent))
            elif taking := [op for op, entry in decided.items() if entry is general]:
                yield self._rule(general, _any(taking))
            self._uneven(general, decided)
        for word, entry in self.by_word.items():
            if word in BOUNDARY:
                yield self._rule(entry, Boundary(), BOUNDARY[word])
            elif operators := [op for op, other in decided.items() if other is entry]:
                yield self._rule(entry, _any(operators))
            self._uneven(entry, decided)
        for entry, names in self.named:
            yield self._rule(entry, names[0] if len(names) == 1 else AnyOf(names))

    def _decided(self) -> Mapping[str, Entry | None]:
        """Return the entry that decides each ONNX operator, None where it stays float; the first word counts."""
        found: dict[str, Entry | None] = {}
        for operator, words in operator_words(litert.FAMILY).of.items():
            found[operator] = next((e for e in map(self._entry, words) if e is not None), None)
        return found

    def _entry(self, word: str) -> Entry | None:
        """Return the entry that an operation takes; None if it stays float because no entry reaches it."""
        if word in self.by_word:
            return self.by_word[word]
        general = self.general
        reached = general is not None and general.mode.algorithm != litert.NONE
        return general if general and reached and litert.allowed(word, general.mode) else None

    def _mode(self, word: str) -> litert.Mode:
        entry = self._entry(word)
        return litert.FLOAT if entry is None else entry.mode

    def _uneven(self, entry: Entry, decided: Mapping[str, Entry | None]) -> None:
        """Report an entry about a word that shares an ONNX operator with words that are treated otherwise."""
        if entry.operation in BOUNDARY:
            return
        weighted = litert.policy().weighted
        words = weighted if entry is self.general else (entry.operation,)
        operators = dict.fromkeys(op for word in words for op in litert.operators_of(word))
        if not operators:
            message = f"no operator of ONNX is {entry.operation} by itself, so the entry is left out"
            self._lost(LossKind.SELECTOR, message, entry, "operation")
        uneven: list[str] = []
        for operator in operators:
            chosen = decided[operator]
            mode = litert.FLOAT if chosen is None else chosen.mode
            for word in litert.words_of(operator):
                if word != entry.operation and entry is not self.general and chosen is not entry:
                    continue
                if entry is self.general and (chosen is not entry or word not in weighted or operator == "Gather"):
                    continue
                if self._mode(word) != mode:
                    uneven.append(f"{operator} is {word} too")
        if uneven:
            message = f"LiteRT tells apart what ONNX does not, and the recipe treats it otherwise: {', '.join(uneven)}"
            self._lost(LossKind.SELECTOR, message, entry, "operation")

    def _lost(self, what: LossKind, message: str, entry: Entry, path: str, *fields: str) -> None:
        place = entry.place(path)
        self.findings.lost(what, message, place.span, place.pointer, *fields)

    def _rule(self, entry: Entry, selector: Selector, role: str = "") -> Rule:
        subject = entry.place("operation" if entry.operation != litert.EVERY else "regex").span
        if entry.mode.algorithm == litert.NONE:
            return _off(entry, selector, role)
        bare = self.by_word.get(entry.operation) is entry and entry.operation not in litert.policy().weighted
        found = [activation(entry, (role,))] if role else list(clauses(entry, self.findings, bare=bare))
        return Rule(selector, tuple(found), entry.place("").span, subject)


def _off(entry: Entry, selector: Selector, role: str = "") -> Rule:
    place = entry.place("op_config" if "op_config" in entry.places else "algorithm_key")
    clause = Clause((role,) if role else (), (Setting("enabled", False, place.span, place.pointer),), place.span)
    return Rule(selector, (clause,), entry.place("").span, entry.place("operation").span)


def _any(operators: list[str]) -> Selector:
    found = tuple(map(OpType, operators))
    return found[0] if len(found) == 1 else AnyOf(found)


def _name(glob: str) -> NodeName:
    exact = name_of_glob(glob)
    return NodeName(glob, glob=True) if exact is None else NodeName(exact)


def _at(place: Place) -> tuple[Span, str]:
    return place.span, place.pointer
