"""Raw path → route template: stateless rules at ingest, learned merges and OpenAPI documents on read."""

from apilens.routes.learned import Merge, RouteMerges, learn
from apilens.routes.openapi import OpenApi, read_openapi
from apilens.routes.rules import template

__all__ = ["Merge", "OpenApi", "RouteMerges", "learn", "read_openapi", "template"]
