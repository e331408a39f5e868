"""Pictures of the report of the example, for the documents: `make example` takes them."""

from browsing import appear, chromium
from serving import ROOT

REPORT = ROOT / "reports" / "example" / "report.html"
FOLDER = ROOT / "docs" / "img"

SIZES = {"wide": (1100, 1700), "phone": (390, 1700)}


def main() -> None:
    """Take them all: light and dark, wide and on a phone."""
    FOLDER.mkdir(exist_ok=True)
    with chromium() as browser:
        for name, (width, height) in SIZES.items():
            for scheme in ("light", "dark"):
                appear(browser, width=width, height=height, scheme=scheme)
                browser.get(REPORT.as_uri())
                browser.save_screenshot(str(FOLDER / f"report-{scheme}-{name}.png"))


if __name__ == "__main__":
    main()
