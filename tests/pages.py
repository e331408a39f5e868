"""What a page in HTML holds, for tests: its elements, tables and plots."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

__all__ = ["Element", "Page", "drawn", "parse"]

VOID = {"meta", "link", "br", "img", "input"}


@dataclass(slots=True)
class Element:
    """An element, with its text and that of all within."""

    tag: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    text: str = ""

    def all(self, tag: str) -> list["Element"]:
        """Those within of that tag, in their order."""
        found = []
        for child in self.children:
            found += [child] if child.tag == tag else []
            found += child.all(tag)
        return found


class Page(HTMLParser):
    """A page whose elements are closed in the order that they were opened in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self._open = [self.root]
        self.feed(text)
        self.close()
        assert self._open == [self.root], f"{self._open[-1].tag} is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element of SVG that has nothing within."""
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        """Text, which is in all that is open."""
        for element in self._open:
            element.text += data

    def table(self, caption: str) -> list[list[str]]:
        """The rows of the table with that caption, its head included."""
        [found] = [one for one in self.root.all("table") if one.all("caption")[0].text == caption]
        return [[cell.text for cell in row.children] for row in found.all("tr")]

    def figure(self, title: str) -> Element:
        """The figure with that title."""
        [found] = [one for one in self.root.all("figure") if one.all("h3")[0].text == title]
        return found


def parse(text: str) -> Page:
    """The page that `text` is."""
    return Page(text)


def drawn(figure: Element, line: int) -> list[float]:
    """The values of a line of a plot with a linear axis, read off its ticks as people do."""
    plot = figure.all("svg")[-2]
    ticks = [
        (1 - float(one.attributes["y"].rstrip("%")) / 100, float(one.text.replace(" ", "")))
        for one in plot.all("text")
        if one.attributes.get("class") == "tick end"
    ]
    (low, first), (high, last) = ticks[0], ticks[-1]
    path = plot.all("path")[line].attributes["d"]
    places = [1 - int(y) / 1000 for y in re.findall(r"[ML]\d+ (\d+)", path)]
    return [first + (place - low) / (high - low) * (last - first) for place in places]
