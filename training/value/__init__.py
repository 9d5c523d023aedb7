"""What customers will spend: amounts given a purchase, expected and typical spend, tiers."""
