"""The shop's calendar: how much busier a day is than a usual one, for visits and for purchases."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

__all__ = ["PEAKS", "WEEKDAYS", "season"]

# Monday to Sunday; the mean is 1.
WEEKDAYS: tuple[float, ...] = (0.88, 0.84, 0.88, 0.92, 1.06, 1.26, 1.16)

# (month, day, lift of purchases on the day itself): the mid-year sale, the two November and December sales, New Year.
PEAKS: tuple[tuple[int, int, float], ...] = ((6, 18, 1.2), (11, 11, 1.6), (12, 12, 0.8), (1, 1, 0.6))

_PEAK_WIDTH_DAYS = 3.0
_VISITS_FEEL = 0.5  # visits rise half as much as purchases: on a sale day more visits end at the till


def season(first: date, days: int, purchases: bool) -> NDArray[np.float64]:
    """The factor of each day from ``first`` on, shape ``(days,)``: weekday x time of the year x sale peak.

    The time of the year moves purchases by 12 % (most in December, least in June) and visits by half of that.

    Examples
    --------
    >>> week = season(date(2024, 3, 4), 7, purchases=True)
    >>> int(week.argmax()), int(week.argmin())
    (5, 1)
    >>> sale = season(date(2024, 11, 1), 30, purchases=True)
    >>> round(float(sale[10] / sale[24]), 1)  # two Mondays
    2.5
    """
    calendar = [first + timedelta(days=k) for k in range(days)]
    weekday = np.array([WEEKDAYS[day.weekday()] for day in calendar])
    of_year = np.array([day.timetuple().tm_yday for day in calendar], dtype=float)
    feel = 1.0 if purchases else _VISITS_FEEL
    annual = 1.0 + 0.12 * feel * np.cos(2 * np.pi * (of_year - 350) / 365.25)
    peak = np.ones(days)
    for month, day, lift in PEAKS:
        ordinal = date(2023, month, day).timetuple().tm_yday
        away = np.abs((of_year - ordinal + 182.625) % 365.25 - 182.625)
        peak += feel * lift * np.exp(-0.5 * (away / _PEAK_WIDTH_DAYS) ** 2)
    return weekday * annual * peak
