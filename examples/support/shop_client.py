"""The shipping and stock service's client: a path in, its JSON out; one pool of connections for all threads."""

import os
from functools import lru_cache

import httpx

from .errors import NotFoundError


@lru_cache(maxsize=None)
def client(base_url):
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200, keepalive_expiry=60.0)
    return httpx.Client(base_url=base_url, timeout=10.0, limits=limits)


def get(path):
    response = client(os.environ["SUPPORT_SHOP_URL"]).get(path)
    if response.status_code == 404:
        raise NotFoundError(f"{path}: unknown to the shop service")
    response.raise_for_status()
    return response.json()
