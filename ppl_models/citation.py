"""Citations: the BibTeX of what a model, a guide or an objective is, from its documentation.

Docstrings give a reference in one form, anywhere in the text, best in a section "References"::

    Authors, "Title", venue year[, volume or number][, arXiv:ID][, doi:ID][, where in it]
    Authors year, "Title"[, where in it]

Authors are surnames, with initials or without: ``Kingma and Welling``, ``X. Lin, L. Girin``,
``Bowman et al.`` What such a line does not give is left out of the entry, never guessed.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from ppl_models.errors import InputError

_NOT_ACCENTS = str.maketrans({"ø": "o", "ł": "l", "ß": "ss", "æ": "ae"})
PACKAGES = ("ppl_models", "guides", "inference")
CONFERENCES = set(
    "AAAI AISTATS CVPR CoNLL ICASSP ICLR ICML IJCAI Interspeech NAACL NeurIPS SIGIR SODA UAI WASPAA"
    .split()
)  # fmt: skip
_NAME = r"(?:[A-Z]\.[ -])*(?:(?:de|van|von|Del|Le) )?[A-Z][\w'’-]+"
_AUTHORS = rf"{_NAME}(?:(?:, and |, | and ){_NAME})*(?: et al\.)?"
_REFERENCE = re.compile(
    rf'(?P<authors>{_AUTHORS}),?(?: \(?(?P<year>[12]\d\d\d)\)?)?, "(?P<title>.+?)"'
)
_VENUE = re.compile(r"[, ]*(?P<venue>[^\";]*?),? ?(?P<year>(?:19|20)\d\d)(?!\d|\.\d)")
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_DOI = re.compile(r"doi:(10\.[^\s,;]*[^\s,;.])")


@dataclass(frozen=True)
class Reference:
    """What a docstring says of one publication.

    Parameters
    ----------
    authors
        As they stand there, initials first; ``others`` at the end of a list that is cut short.
    title, year
    venue
        Conference or journal; empty for a book, a report or a preprint.
    arxiv, doi
        Identifiers, or empty.
    """

    authors: tuple[str, ...]
    title: str
    year: str
    venue: str = ""
    arxiv: str = ""
    doi: str = ""

    @property
    def key(self) -> str:
        """Surname of the first author, year, and first word of the title: ``kingma2014auto``."""
        surname = self.authors[0].rpartition(".")[2]
        words = [w for w in _plain(self.title).split() if w not in ("a", "an", "on", "the")]
        return _plain(surname).replace(" ", "") + self.year + words[0]

    def bibtex(self) -> str:
        """Return the entry."""
        kind, where = _kind(self.venue)
        entry = {"author": " and ".join(self.authors), "title": f"{{{self.title}}}", **where}
        entry |= {"year": self.year, "doi": self.doi}
        if self.arxiv:
            entry |= {"eprint": self.arxiv, "archiveprefix": "arXiv"}
        lines = "".join(f"  {name} = {{{value}}},\n" for name, value in entry.items() if value)
        return f"@{kind}{{{self.key},\n{lines}}}"

    def merged(self, other: Reference) -> Reference:
        """Return the fuller of two mentions of one publication, field by field."""
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return Reference(*(max(one, two, key=len) for one, two in pairs))


def citation(*objects: object) -> str:
    """Return BibTeX entries of what models, guides, objectives or functions are.

    Instances and classes are taken; of an instance, its parts are cited too: prior, likelihood,
    penalties. A guide whose documentation has no reference of its own has its model's.

    Raises
    ------
    InputError
        Nothing in the documentation of any of the objects is a reference.

    Examples
    --------
    >>> from ppl_models import VAE, citation
    >>> print(citation(VAE))
    @inproceedings{kingma2014auto,
      author = {Kingma and Welling},
      title = {{Auto-Encoding Variational Bayes}},
      booktitle = {ICLR},
      year = {2014},
    }
    """
    found: dict[str, Reference] = {}
    for reference in (r for each in objects for r in references_of(each)):
        known = found.get(reference.key, reference)
        found[reference.key] = known.merged(reference)
    if not found:
        names = ", ".join(getattr(each, "__name__", type(each).__name__) for each in objects)
        cure = 'document it: Authors, "Title", venue year'
        expected = "something whose docstring has references"
        raise InputError("objects", names or "none", expected, cure)
    return "\n\n".join(reference.bibtex() for reference in found.values())


def references_of(thing: object) -> Iterator[Reference]:
    """Yield the references of an object and its parts, in the order of the documentation."""
    if isinstance(thing, type) or callable(thing) and hasattr(thing, "__qualname__"):
        yield from _documented(thing)
    else:
        for kind in dict.fromkeys(map(type, _parts(thing))):
            yield from _documented(kind)


def parse(text: str | None) -> Iterator[Reference]:
    """Yield the references in a docstring."""
    text = " ".join((text or "").split())
    matches = list(_REFERENCE.finditer(text))
    ends = [match.start() for match in matches[1:]] + [len(text)]
    for match, end in zip(matches, ends, strict=False):  # of no match there is no end
        rest = text[match.end() : end].partition(";")[0]
        dated = _VENUE.match(rest)
        venue = dated["venue"] if dated and not match["year"] else ""
        if year := match["year"] or (dated and dated["year"]):
            yield Reference(
                _authors(match["authors"]),
                match["title"],
                year,
                venue.strip(" ,"),
                *(next(iter(pattern.findall(rest)), "") for pattern in (_ARXIV, _DOI)),
            )


def _documented(thing: Any) -> list[Reference]:
    """Return the references of a class or function, else of its module, its model, its bases."""
    bases = getattr(thing, "__mro__", [thing])[1:]
    for each in [thing, *_model_of(thing), *bases]:
        module = sys.modules.get(each.__module__)
        for text in (each.__doc__, getattr(module, "__doc__", None)):
            if found := list(parse(text)):
                return found
    return []


def _model_of(thing: Any) -> list[Any]:
    """Return the model of a guide of `guides`: the class in the module of the same name."""
    package, _, inner = thing.__module__.partition(".")
    if package != "guides":
        return []
    try:
        models = import_module(f"ppl_models.{inner}")
    except ModuleNotFoundError:
        return []
    found = getattr(models, thing.__name__.removesuffix("Guide"), None)
    return [] if found is None else [found]


def _parts(thing: Any) -> Iterator[object]:
    """Yield an object and what of these packages it is built from, however deep."""
    yield thing
    if hasattr(thing, "named_parameters"):  # an nn.Module, without importing torch for it
        inner: Iterable[Any] = (part for part in thing.modules() if part is not thing)
        yield from (part for part in inner if _ours(part))
        return
    for value in getattr(thing, "__dict__", {}).values():
        for part in value if isinstance(value, list | tuple) else (value,):
            if _ours(part):
                yield from _parts(part)


def _ours(part: object) -> bool:
    return type(part).__module__.partition(".")[0] in PACKAGES


def _authors(text: str) -> tuple[str, ...]:
    names = re.split(r", and |, | and ", text.removesuffix(" et al."))
    return (*names, "others") if text.endswith(" et al.") else tuple(names)


def _kind(venue: str) -> tuple[str, dict[str, str]]:
    """Return the kind of a BibTeX entry, and the field that names the venue."""
    if not venue:
        return "misc", {}
    if venue.startswith("PhD thesis"):
        return "phdthesis", {"school": venue.removeprefix("PhD thesis").strip(" ,")}
    if venue.startswith("technical report"):
        return "misc", {"howpublished": venue.capitalize()}
    if venue.partition(" ")[0] in CONFERENCES:
        return "inproceedings", {"booktitle": venue}
    volume = next(iter(re.findall(r" (\d+)$", venue)), "")
    return "article", {"journal": venue.removesuffix(f" {volume}"), "volume": volume}


def _plain(text: str) -> str:
    """Return lower-case words without accents or signs."""
    letters = unicodedata.normalize("NFKD", text.lower().translate(_NOT_ACCENTS))
    letters = letters.encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", " ", letters).strip()
