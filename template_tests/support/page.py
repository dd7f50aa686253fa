"""Pages as a browser reads them."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """A page that asks for nothing and runs nothing.

    Attributes:
        text: What it says.
        rows: The texts of the cells of each row of a table.
    """

    def __init__(self, content: str) -> None:
        super().__init__()
        self.text, self.rows, self._open = "", list[list[str]](), list[str]()
        assert not [each for each in ("url(", "@import", "://") if each in content]
        self.feed(content)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe", "object")
        assert not [name for name, _ in attributes if name in ("src", "href") or name[:2] == "on"]
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"th", "td"} & {*self._open}:
            self.rows[-1][-1] += data
