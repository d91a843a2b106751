"""Raw path → route template: stateless rules at ingest, learned merges on read."""

from apilens.routes.learned import Merge, RouteMerges, learn
from apilens.routes.rules import template

__all__ = ["Merge", "RouteMerges", "learn", "template"]
