"""Tests of `siamese.run_report`: the page of a small finished run."""

import base64
import io
import re
import shutil
from html.parser import HTMLParser

import pandas as pd
import pytest
from PIL import Image

from siamese.errors import DiskError, SiameseError
from siamese.pipeline import train
from siamese.report.page import Row, Section, Tile, page_html, rows_html
from siamese.run_report import write_run_page
from siamese.settings import settings_from_dict
from tests.conftest import Listener

SECTIONS = (
    "What it cannot do",
    "The numbers",
    "The answers",
    "Why: what the matches rest on",
    "What single features look for",
    "Hubs, and who is named",
    "Names to check",
    "How the model sees the photos",
    "Curves",
    "Model card",
)


class Tags(HTMLParser):
    """Collects the tags with their attributes, and checks that they are closed in order."""

    VOID = ("meta", "img")

    def __init__(self, page):
        super().__init__()
        self.found, self.open = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(finished_run, tmp_path_factory):
    """The page of a copy of the run, and the copy."""
    run = shutil.copytree(finished_run.folder, tmp_path_factory.mktemp("run") / "small")
    place = write_run_page(run)
    assert place == run / "report" / "index.html"
    return place.read_text(encoding="utf-8"), run


def test_the_page_has_every_section_and_is_well_formed(page):
    text, _ = page
    tags = Tags(text)
    assert tags.open == []
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert [name for name in SECTIONS if name not in headings] == []


def test_the_page_asks_nothing_of_the_network_and_runs_no_script(page):
    text, _ = page
    tags = Tags(text).found
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags}
    addresses = [attrs[name] for _, attrs in tags for name in ("src", "href") if name in attrs]
    assert addresses
    assert all(address.startswith("data:image/") for address in addresses)
    assert "url(" not in re.sub(r"<img[^>]*>", "", text)


def test_every_picture_can_be_read_and_says_what_it_shows(page):
    for tag, attrs in Tags(page[0]).found:
        if tag == "img":
            assert attrs["alt"]
            kind, content = re.fullmatch(r"data:image/([a-z+]+);base64,(.+)", attrs["src"]).groups()
            if kind == "jpeg":
                assert max(Image.open(io.BytesIO(base64.b64decode(content))).size) == 240


def test_drawings_ask_nothing_of_the_network_either(page):
    for content in re.findall(r"data:image/svg\+xml;base64,([^']+)", page[0]):
        drawn = base64.b64decode(content).decode("utf-8")
        assert not re.search(r"(href|src)=['\"](?!#|data:)", drawn)


def test_the_page_is_small(page):
    assert len(page[0].encode()) < 5_000_000


def test_the_page_opens_with_the_numbers_of_the_run(page, finished_run):
    lead = re.search(r"<p class='lead'>(.*?)</p>", page[0]).group(1)
    assert lead.startswith(f"The model was asked who is on {finished_run.metrics['num_queries']} photos")
    assert f"the right one for {100 * finished_run.metrics['top1']:.0f}" in lead


def test_the_model_card_stands_on_the_page(page):
    text, run = page
    card = (run / "model" / "model_card.md").read_text(encoding="utf-8")
    assert re.search(r"48 photos, 7 individuals", card)
    assert "## Limits" in text


def test_the_same_run_gives_the_same_page(page):
    text, run = page
    write_run_page(run)
    assert (run / "report" / "index.html").read_text(encoding="utf-8") == text


def test_photos_that_went_away_come_from_the_store(page, own_run):
    manifest = pd.read_csv(own_run / "manifest.csv", dtype=str, keep_default_na=False)
    manifest.assign(path=manifest["path"] + ".gone").to_csv(own_run / "manifest.csv", index=False)
    text = write_run_page(own_run).read_text(encoding="utf-8")
    assert text.count("data:image/jpeg") == page[0].count("data:image/jpeg")
    assert text != page[0]


def test_names_cannot_break_the_page():
    tile = Tile("", "<b>'\"", "<script>", ("<i>",), "wrong", blank="</div>")
    shown = Section("<h>", "<e>", (rows_html([Row((tile,), "<r>", "<n>")]),))
    page = page_html("<x>", "<y>", ["<z>"], [], [shown], shape=(16, 32))
    tags = Tags(page)
    assert tags.open == []
    assert not {"script", "i", "z", "x", "y", "r", "n", "e", "h"} & {tag for tag, _ in tags.found}
    assert [attrs for tag, attrs in tags.found if tag == "span"] == [{}, {"title": "<i>"}]


def test_a_run_without_metrics_is_told(tmp_path):
    with pytest.raises(SiameseError, match="there must be a report"):
        write_run_page(tmp_path)


def test_a_full_disk_leaves_the_earlier_page(page, full_disk):
    text, run = page
    with full_disk(1000), pytest.raises(DiskError, match="must be writable"):
        write_run_page(run)
    assert (run / "report" / "index.html").read_text(encoding="utf-8") == text


def headings(text):
    return re.findall(r"<h2>(.*?)</h2>", text)


def test_every_photo_asked_stands_in_one_section(page, finished_run):
    counts = [int(count) for count, _ in re.findall(r"(\d+) of (\d+) photos?; \d+ drawn by lot", page[0])]
    assert sum(counts) == finished_run.metrics["num_queries"]


def test_pictures_keep_the_shape_of_the_photos(page):
    assert ".answer .plate { aspect-ratio: 32 / 16; }" in page[0]


def test_a_run_with_missing_and_damaged_records_still_has_a_page(page, own_run):
    (own_run / "photos.csv").unlink()
    (own_run / "history.csv").write_bytes(b"\xff\x00,\n1,2,3\n")
    text = write_run_page(own_run).read_text(encoding="utf-8")
    assert "sharpness" in page[0]
    assert "sharpness" not in text
    figures = [shown.count("<figcaption>Loss</figcaption>") for shown in (page[0], text)]
    assert figures == [1, 0]


@pytest.mark.parametrize("content", ["", "[1, 2]", "{"])
def test_metrics_that_are_none_are_told(own_run, content):
    (own_run / "report" / "metrics.json").write_text(content)
    with pytest.raises(SiameseError, match="metrics.json: there must be a report"):
        write_run_page(own_run)


def change_split(run, change):
    """Rewrites the split column of a run's manifest."""
    manifest = pd.read_csv(run / "manifest.csv", dtype=str, keep_default_na=False)
    manifest["split"] = change(manifest)
    manifest.to_csv(run / "manifest.csv", index=False)


def test_a_run_without_test_photos_is_told(own_run):
    change_split(own_run, lambda table: table["split"].where(table["split"] != "test", "train"))
    with pytest.raises(SiameseError, match="the run must have test photos. Received: none."):
        write_run_page(own_run)


@pytest.mark.parametrize("known", [True, False])
def test_one_photo_asked_is_enough(own_run, known):
    def keep_one(table):
        test = table.index[(table["split"] == "test") & ((table["identity"] != "") == known)]
        return table["split"].where((table["split"] != "test") | (table.index == test[0]), "")

    change_split(own_run, keep_one)
    text = write_run_page(own_run).read_text(encoding="utf-8")
    assert "The model was asked who is on 1 photo that took no part" in text
    other = "animals that the catalog does not hold" if known else "animals in the catalog"
    assert f"It was asked about no photo of {other}: how well it does there is not known." in text


def test_a_model_with_further_views_is_explained_by_the_plain_photos(small_collection, tiny_settings, tmp_path):
    views = {"turns": ["flip"], "margins": [0.2]}
    settings = settings_from_dict(
        {
            **tiny_settings.model_dump(mode="json"),
            "ranking": {"views": views, "identity_score": {"rule": "mean"}},
            "encoder": {**tiny_settings.encoder.model_dump(mode="json"), "stripes": 3},
        }
    )
    train(small_collection, settings, tmp_path / "run", Listener())
    text = write_run_page(tmp_path / "run").read_text(encoding="utf-8")
    assert "Why: what the matches rest on" in headings(text)
    assert "By upright stripe of the photo, from left to right: " in text
