"""The shipping and stock service's client: a path in, its JSON out; one pool of connections for all threads."""

import os
from functools import lru_cache
from threading import Lock

import httpx

from .errors import NotFoundError


one_at_a_time = Lock()  # lru_cache alone lets threads that come together make a client each


@lru_cache(maxsize=1)
def client_for(base_url):
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200, keepalive_expiry=60.0)
    return httpx.Client(base_url=base_url, timeout=10.0, limits=limits)


def client():
    with one_at_a_time:
        return client_for(os.environ["SUPPORT_SHOP_URL"])


def get(path):
    response = client().get(path)
    if response.status_code == 404:
        raise NotFoundError(f"{path}: unknown to the shop service")
    response.raise_for_status()
    return response.json()
