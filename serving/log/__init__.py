"""The decision log: every decision, what came of it, live behaviour, and what people asked of us."""

from serving.log.log import DecisionLog
from serving.log.reading import Listed, Place, Received
from serving.log.rows import (
    ALL_CHANNELS,
    DAY_US,
    Action,
    DecisionRow,
    EventsAnswer,
    Feedback,
    FeedbackAnswer,
    GlobalCount,
    Health,
    LiveEvent,
    Logged,
    ReceivedEvent,
    Rejected,
    ScoredCandidate,
    ShownOffer,
    UserState,
)

__all__ = [
    "ALL_CHANNELS",
    "DAY_US",
    "Action",
    "DecisionLog",
    "DecisionRow",
    "EventsAnswer",
    "Feedback",
    "FeedbackAnswer",
    "GlobalCount",
    "Health",
    "Listed",
    "LiveEvent",
    "Logged",
    "Place",
    "Received",
    "ReceivedEvent",
    "Rejected",
    "ScoredCandidate",
    "ShownOffer",
    "UserState",
]
