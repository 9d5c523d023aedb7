"""When and where a user comes: hours (UTC), weekends, channels."""

from __future__ import annotations

from features.behaviour.feature import CHANNELS, Feature, share

__all__ = ["FEATURES"]

_CHANNEL_ZH = {"app": "App", "web": "网站", "store": "门店", "wecom": "企业微信"}


def _habit(measure: str, whole: str, window: int, en: str, zh: str, needs: tuple[str, ...], absent: str) -> Feature:
    return Feature(
        name=f"{measure}_share_{window}d",
        group="habits",
        window_days=window,
        unit="share",
        meaning={"en": f"share of activity {en} in the last {window} days", "zh": f"近{window}天{zh}活跃占比"},
        absent=absent,
        low=0.0,
        high=1.0,
        needs=needs,
        value=lambda t: share(t[f"{measure}_{window}d"], t[f"{whole}_{window}d"]),
    )


_IDLE = "not active in the last 365 days"
_NOWHERE = "no activity with a channel in the last 180 days"

FEATURES: tuple[Feature, ...] = (
    _habit("morning", "activities", 365, "between 06:00 and 12:00", "上午", ("clock",), _IDLE),
    _habit("evening", "activities", 365, "after 18:00", "晚间", ("clock",), _IDLE),
    _habit("weekend", "activities", 365, "at weekends", "周末", ("activity",), _IDLE),
    *(
        _habit(c, "channelled", 180, f"in channel {c}", f"{_CHANNEL_ZH[c]}渠道", ("channel",), _NOWHERE)
        for c in CHANNELS
    ),
    Feature(
        "channels_180d", "habits", 180, "count",
        {"en": "channels used in the last 180 days", "zh": "近180天使用的渠道数"},
        "the source has no channels up to as_of", 0.0, float(len(CHANNELS) + 1), ("channel",),
        # Channels without a share of their own count as one.
        lambda t: sum(
            ((t[f"{c}_180d"] > 0).cast("int64") for c in CHANNELS),
            (t.channelled_180d > sum((t[f"{c}_180d"] for c in CHANNELS), 0)).cast("int64"),
        ),
    ),
)  # fmt: skip
