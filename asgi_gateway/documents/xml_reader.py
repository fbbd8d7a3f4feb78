"""Read XML with positions, with the standard library's expat: no DOCTYPE, only the five entities, no XInclude."""

from __future__ import annotations

import re
from pathlib import Path
from xml.parsers import expat

from asgi_gateway.documents.nodes import MAX_DEPTH, MAX_NODES, Mark, XmlElement
from asgi_gateway.documents.source import read_bytes
from asgi_gateway.errors import ConfigError, Problem

__all__ = ["read_xml"]

_SEPARATOR = "\x1f"
_XML = "http://www.w3.org/XML/1998/namespace"
_XINCLUDE = "http://www.w3.org/2001/XInclude"
_OTHER_TEXT = re.compile(rb"(?:\xef\xbb\xbf)?\s*[^\s<\x00\x80-\xff]")
_END_TAG = re.compile(rb"</\s*([^\s>]{1,80})")


def read_xml(source: Path | bytes, *, file: Path | None = None) -> XmlElement:
    """Read an XML document.

    Args:
        source: a file, or its content.
        file: the file to name in errors when ``source`` is bytes.

    Returns:
        The root element. Names are local names, whatever their namespace.

    Raises:
        ConfigError: the file cannot be read, or the document is malformed, unsafe or too large. An element that is not
            closed is named, with the position of its start tag.
    """
    data, file = read_bytes(source, file)
    return _Reader(data, file).read()


class _Reader:
    def __init__(self, data: bytes, file: Path | None) -> None:
        self.data = data
        self.file = file
        self.open: list[XmlElement] = []
        self.texts: list[list[str]] = []
        self.root: XmlElement | None = None
        self.count = 0
        self.parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.characters
        self.parser.StartCdataSectionHandler = self.cdata
        self.parser.StartDoctypeDeclHandler = self.doctype

    def read(self) -> XmlElement:
        try:
            self.parser.Parse(self.data, True)
        except expat.ExpatError as error:
            raise ConfigError(self.explain(error)) from None
        except (LookupError, ValueError):
            problem = Mark(self.file, 1, 1).problem("unknown encoding", hint="save the file as UTF-8")
            raise ConfigError(problem) from None
        if self.root is None:  # expat refuses a document without an element
            raise ConfigError(Mark(self.file).problem("the document has no element"))
        return self.root

    def here(self) -> Mark:
        return Mark(self.file, self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber + 1)

    def refuse(self, message: str, hint: str = "") -> ConfigError:
        return ConfigError(self.here().problem(message, path=self.path(), hint=hint))

    def path(self) -> str:
        return ".".join(element.name for element in self.open)

    # ------------------------------------------------------------------------------------------------ expat's handlers

    def start(self, qualified: str, attributes: dict[str, str]) -> None:
        namespace, _, name = qualified.rpartition(_SEPARATOR)
        if namespace == _XINCLUDE:
            raise self.refuse("XInclude is not allowed", "put the text into the file")
        if len(self.open) >= MAX_DEPTH:
            raise self.refuse(f"nested deeper than {MAX_DEPTH} levels")
        self.count += 1
        if self.count > MAX_NODES:
            raise self.refuse(f"the document has more than {MAX_NODES} elements")
        element = XmlElement(name, self.here(), _local(attributes), namespace=namespace)
        if self.open:
            self.open[-1].children.append(element)
        else:
            self.root = element
        self.open.append(element)
        self.texts.append([])

    def end(self, _: str) -> None:
        self.open.pop().text = "".join(self.texts.pop())

    def characters(self, text: str) -> None:
        self.texts[-1].append(text)

    def cdata(self) -> None:
        self.open[-1].cdata = True

    def doctype(self, *_: object) -> None:
        raise self.refuse("a DOCTYPE is not allowed", "remove it, and the entities it declares")

    # ---------------------------------------------------------------------------------------------------------- errors

    def explain(self, error: expat.ExpatError) -> list[Problem]:
        mark = Mark(self.file, error.lineno, error.offset + 1)
        if self.root is None and _OTHER_TEXT.match(self.data):
            hint = "name the file .yaml, if it is YAML"
            return [Mark(self.file, 1, 1).problem("not XML: the text does not begin with an element", hint=hint)]
        if not self.open:
            return [mark.problem(f"invalid XML: {expat.ErrorString(error.code)}")]
        mismatched = error.code == expat.errors.codes[expat.errors.XML_ERROR_TAG_MISMATCH]
        at_end = self.parser.ErrorByteIndex >= len(self.data.rstrip())
        if not mismatched and not at_end:
            hint = {
                expat.errors.codes[expat.errors.XML_ERROR_UNDEFINED_ENTITY]: "only &amp; &lt; &gt; &quot; &apos; exist",
                expat.errors.codes[expat.errors.XML_ERROR_INVALID_TOKEN]: "write & as &amp; and < as &lt;, in UTF-8",
            }.get(error.code, "")
            message = f"invalid XML: {expat.ErrorString(error.code)}"
            return [mark.problem(message, path=self.path(), hint=hint)]
        return self.doubled() or [self.left_open(mark, at_end)]

    def doubled(self) -> list[Problem]:
        """Return the problems of start tags directly in an element of their own name: end tags without their slash."""
        problems = []
        for depth, (outer, inner) in enumerate(zip(self.open, self.open[1:], strict=False), 1):
            if outer.name == inner.name:
                message = (
                    f"<{outer.name}> opened at {outer.mark} is not closed: another <{inner.name}> begins inside it"
                )
                path = ".".join(element.name for element in self.open[:depth])
                problems.append(inner.mark.problem(message, path=path, hint=f"did you mean </{inner.name}> here?"))
        return problems

    def left_open(self, mark: Mark, at_end: bool) -> Problem:
        last = self.open[-1]
        if at_end:
            message = f"the file ends, and <{last.name}> opened at {last.mark} is not closed"
            return mark.problem(message, path=self.path(), hint=f"write </{last.name}>")
        # expat's position is behind the "</" of the tag that does not match
        start = self.data.rfind(b"</", 0, self.parser.ErrorByteIndex + 2)
        match = _END_TAG.match(self.data, start)
        closing = match[1].decode("utf-8", "replace").rpartition(":")[2] if match else ""
        message = f"<{last.name}> opened at {last.mark} is not closed: </{closing}> comes first"
        if not any(element.name == closing for element in self.open):
            message = f"unexpected end tag </{closing}>: <{last.name}> opened at {last.mark} is not closed"
        return mark.problem(message, path=self.path(), hint=f"write </{last.name}> before it or in its place")


def _local(attributes: dict[str, str]) -> dict[str, str]:
    found = {}
    for qualified, value in attributes.items():
        namespace, _, name = qualified.rpartition(_SEPARATOR)
        if namespace in ("", _XML):
            found[f"xml:{name}" if namespace else name] = value
    return found
