"""Pictures of every page in both languages, for people: in var/screenshots, or small ones where `make` wants them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGES = {"models": 900, "card-churn": 2400, "learned-churn": 2400, "compare": 2000, "users": 700, "user-churn": 2600,
         "decisions": 800, "decision": 2200}  # fmt: skip
LARGEST = 150_000  # bytes of a picture that is kept with the code


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", PAGES)
def test_a_picture_of(window, desk, name, lang):
    folder = Path(os.environ.get("USEROPS_SCREENSHOTS") or ROOT / "var" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    visit = window(lang)
    visit.open(desk.paths()[name])
    picture = Image.open(io.BytesIO(visit.page.screenshot(full_page=True, animations="disabled"))).convert("RGB")
    assert picture.width == 1280
    picture = picture.crop((0, 0, 1280, min(picture.height, PAGES[name])))
    assert len(picture.getcolors(1 << 24) or range(1 << 24)) > 20, "an empty page"
    file = folder / f"{name.partition('-')[0]}-{lang}.png"
    for colours in (64, 32, 16):
        picture.quantize(colours, dither=Image.Dither.NONE).save(file, optimize=True)
        if file.stat().st_size < LARGEST:
            break
    assert file.stat().st_size < LARGEST
