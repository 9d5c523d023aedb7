"""Champion against challenger (`comparison.compare`): the same users, the same origins, differences with intervals."""
