"""The public data sets, against counts that pandas makes of the same files without our code."""

import json
import os
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from configs import load
from features.engine import connect
from features.events import read_entities, read_events, span
from features.ingest import ingest
from features.ledger import Ledger

DATA = Path(os.environ.get("USEROPS_DATA") or Path(__file__).parents[2].parent / "shared" / "data")


def real(*parts):
    path = DATA.joinpath(*parts)
    return pytest.param(
        path, marks=pytest.mark.skipif(not path.exists(), reason=f"no {path.name}: set USEROPS_DATA to its folder")
    )


def accounts(report):
    return report.read, report.accepted, report.quarantined, report.duplicates


@pytest.mark.parametrize("path", [real("online_retail", "online_retail_II.parquet")])
def test_online_retail(tmp_path, path):
    config = load(home=tmp_path)
    report = ingest(config, "online_retail", path)
    raw = pd.read_parquet(path)
    lines = raw.drop_duplicates()
    cancelled = lines["Invoice"].str.startswith("C")
    rules = {
        "not_bad_debt": ~lines["Invoice"].str.startswith("A"),
        "customer_known": lines["Customer ID"].notna(),
        "price_positive": lines["Price"] > 0,
        "quantity_has_its_sign": (lines["Quantity"] < 0) == cancelled,
    }
    open_lines, by_rule = pd.Series(True, lines.index), {}
    for name, kept in rules.items():
        by_rule[name] = int((open_lines & ~kept).sum())
        open_lines &= kept
    assert report.by_rule == {name: count for name, count in by_rule.items() if count}
    assert accounts(report) == (len(raw), open_lines.sum(), (~open_lines).sum(), len(raw) - len(lines))
    assert accounts(report) == (1_067_370, 800_595, 236_830, 29_945)

    # The benchmark's own words: not cancelled, quantity > 0, price > 0, a customer id, exact duplicates dropped.
    bought = lines[~cancelled & (lines["Quantity"] > 0) & (lines["Price"] > 0) & lines["Customer ID"].notna()]
    events = read_events(connect(config), config).execute()
    purchases = events[events["event_type"] == "purchase"]
    assert len(purchases) == len(bought) == 782_147
    assert purchases["amount"].sum() == pytest.approx((bought["Quantity"] * bought["Price"]).sum())
    assert set(purchases["user_id"]) == set(bought["Customer ID"].astype(int).astype(str))
    at = pd.Timestamp("2011-09-10", tz="UTC")
    before = set(purchases.loc[purchases["event_at"] < at, "user_id"])
    after = set(purchases.loc[purchases["event_at"].between(at, at + pd.Timedelta(days=90)), "user_id"])
    assert len(before) == 5_281
    assert len(before & after) / len(before) == pytest.approx(0.434, abs=0.0005)

    given_back = lines[cancelled & (lines["Price"] > 0) & lines["Customer ID"].notna()]
    returns = events[events["event_type"] == "return"]
    assert len(returns) == len(given_back)
    assert returns["amount"].sum() == pytest.approx(-(given_back["Quantity"] * given_back["Price"]).sum())
    assert (events["amount"] > 0).all()
    assert (events["quantity"] > 0).all()
    assert (events["ingested_at"] == events["event_at"]).all()
    assert set(events["store_id"]) <= set(raw["Country"])
    assert events["event_id"].is_unique

    refused = duckdb.execute(
        "SELECT line, raw FROM read_parquet(?) WHERE rule = 'not_bad_debt' ORDER BY line",
        [[str(one.path) for one in Ledger(config).quarantine_files()]],
    ).fetchall()
    for line, text in refused:
        assert json.loads(text)["Invoice"] == raw["Invoice"].iloc[line - 1]
    assert accounts(ingest(config, "online_retail", path)) == (1_067_370, 0, 0, 1_067_370)


@pytest.mark.parametrize("path", [real("cdnow", "CDNOW_master.txt")])
def test_cdnow(tmp_path, path):
    config = load(home=tmp_path)
    report = ingest(config, "cdnow", path)
    raw = pd.read_csv(path, sep=r"\s+", dtype={"customer_id": str, "date": str})
    assert accounts(report) == (len(raw), len(raw), 0, 0) == (69_659, 69_659, 0, 0)
    events = read_events(connect(config), config).execute()
    assert set(events["user_id"]) == set(raw["customer_id"])
    assert events["user_id"].nunique() == 23_570
    assert events["order_id"].nunique() == len(raw.drop_duplicates(["customer_id", "date"])) == 67_591
    assert events["amount"].sum() == pytest.approx(raw["dollar_value"].sum())
    assert events["quantity"].sum() == raw["number_of_cds"].sum()
    assert [at.isoformat() for at in span(config)] == ["1997-01-01T00:00:00+00:00", "1998-06-30T00:00:00+00:00"]
    # The benchmark: of all 23,570 users, 22.8 % return after 1997.
    after = events.loc[events["event_at"] >= pd.Timestamp("1998-01-01", tz="UTC"), "user_id"]
    assert after.nunique() / 23_570 == pytest.approx(0.228, abs=0.0005)


@pytest.mark.parametrize("folder", [real("complete_journey")])
def test_complete_journey(tmp_path, folder):
    config = load(home=tmp_path)
    report = ingest(config, "complete_journey", folder)
    lines = pd.read_parquet(folder / "transactions_sample.parquet")
    coupons = pd.read_parquet(folder / "coupon_redemptions.parquet")
    products = pd.read_parquet(folder / "products.parquet").set_index("product_id")
    people = pd.read_parquet(folder / "demographics.parquet")
    total = len(lines) + len(coupons)
    assert accounts(report) == (total, total, 0, 0) == (77_102, 77_102, 0, 0)
    connection = connect(config)
    events = read_events(connection, config).execute()
    purchases = events[events["event_type"] == "purchase"]
    assert len(purchases) == len(lines)
    assert purchases["amount"].sum() == pytest.approx(lines["sales_value"].sum())
    discounts = purchases["props"].map(lambda text: json.loads(text)["discount"])
    assert discounts.sum() == pytest.approx((lines["retail_disc"] + lines["coupon_disc"]).sum())
    known = products["product_category"].fillna(products["department"])
    assert purchases["category_id"].notna().sum() == lines["product_id"].map(known).notna().sum()
    redeemed = events[events["event_type"] == "coupon"]
    assert len(redeemed) == len(coupons)
    assert set(redeemed["user_id"]) == set(coupons["household_id"])
    assert set(redeemed["props"].map(lambda text: json.loads(text)["campaign_id"])) == set(coupons["campaign_id"])
    users = read_entities(connection, config, "users").execute()
    assert set(users["user_id"]) == set(people["household_id"])
    assert read_entities(connection, config, "items").count().execute() == len(products)
