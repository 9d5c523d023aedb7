"""Segments at their borders."""

import numpy as np
import pytest

from training.segments import CHANNELS, segments


def of(**given):
    count = len(next(iter(given.values())))
    values = {f"{channel}_share_180d": np.full(count, np.nan) for channel in CHANNELS}
    values |= {"tenure_days": np.ones(count), "spend_365d": np.zeros(count)}
    values |= {name: np.array(column, float) for name, column in given.items()}
    return {name: part.tolist() for name, part in segments(values, np.full(count, None, object)).items()}


@pytest.mark.parametrize(
    ("days", "band"), [(0, "up to 30 d"), (30, "up to 30 d"), (30.5, "31-90 d"), (365, "91-365 d"), (366, "over 365 d")]
)
def test_bands_of_tenure_include_their_last_day(days, band):
    assert of(tenure_days=[days])["tenure"] == [band]


def test_thirds_of_spenders_are_equal_and_ties_stay_together():
    thirds = of(spend_365d=[0, np.nan, 1, 2, 3, 4, 5, 6])["value"]
    assert thirds == ["none", "none", "low", "low", "middle", "middle", "high", "high"]
    assert of(spend_365d=[7, 7, 7, 7])["value"] == ["low"] * 4


def test_the_channel_is_the_largest_share():
    found = of(app_share_180d=[0.2, 0, np.nan], web_share_180d=[0.5, 0, np.nan])["channel"]
    assert found == ["web", "other", "unknown"]
