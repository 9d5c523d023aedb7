"""The event tuple: what happened, to whom, when, and when we learned of it.

=============  ==========================  ==========================================================================
column         type                        meaning
=============  ==========================  ==========================================================================
event_id       string                      hash of the mapped line and its number among equal lines; the same line
                                           read twice has the same id
user_id        string                      the one resolved key of a person (OneID)
event_type     string                      one of ``KINDS``
event_at       timestamp('UTC', 6)         when it happened
ingested_at    timestamp('UTC', 6)         when we learned of it; never before ``event_at``
channel        string, null when unknown   where: app, web, store, wecom, ...
category_id    string, null when unknown
item_id        string, null when unknown
store_id       string, null when unknown
order_id       string, null when unknown   lines with the same order_id are one purchase
quantity       float64, null when unknown  pieces, >= 0
amount         float64, null when unknown  money of the line in the shop's currency, >= 0 (a return has the amount
                                           given back)
props          string, null when none      a JSON object; ``discount`` (money off the line) is read by the features
=============  ==========================  ==========================================================================
"""

from __future__ import annotations

__all__ = ["COLUMNS", "KINDS"]

COLUMNS: dict[str, str] = {
    "event_id": "string",
    "user_id": "string",
    "event_type": "string",
    "event_at": "timestamp('UTC', 6)",
    "ingested_at": "timestamp('UTC', 6)",
    "channel": "string",
    "category_id": "string",
    "item_id": "string",
    "store_id": "string",
    "order_id": "string",
    "quantity": "float64",
    "amount": "float64",
    "props": "string",
}

KINDS: tuple[str, ...] = (
    "register",  # the person became known to us
    "visit",  # opened the app or entered the store
    "view",  # looked at an item
    "search",
    "cart",  # put an item into the basket
    "purchase",  # bought and paid a line
    "return",  # gave a line back, or cancelled it
    "coupon",  # received or redeemed a coupon
    "impression",  # was shown an offer of ours
    "click",  # reacted to an offer of ours
    "contact",  # wrote to customer service
    "survey",
)
