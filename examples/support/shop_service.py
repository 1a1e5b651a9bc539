"""The shipping and stock service: an order or article number in, JSON out; `python -m support.shop_service`."""

import asyncio
from random import Random

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from . import catalogue, latency

HUBS = ("Dover", "Rugby", "Carlisle", "Swindon")
WAREHOUSES = ("North", "South")
ORDERS = frozenset(order["id"] for order in catalogue.orders())
ARTICLES = frozenset(catalogue.skus())


def shipping_of(order_id):
    random = Random(f"shipping {order_id}")
    return {"order_id": order_id, "hub": random.choice(HUBS), "due_in_days": random.randint(1, 9)}


def stock_of(sku):
    random = Random(f"stock {sku}")
    return {"sku": sku, "available": random.randint(0, 60), "warehouse": random.choice(WAREHOUSES)}


async def shipping(request):
    await asyncio.sleep(latency.SHOP_SERVICE_S)
    order_id = request.path_params["order_id"]
    if order_id not in ORDERS:
        return JSONResponse({"error": f"no order {order_id}"}, status_code=404)
    return JSONResponse(shipping_of(order_id))


async def inventory(request):
    await asyncio.sleep(latency.SHOP_SERVICE_S)
    sku = request.path_params["sku"]
    if sku not in ARTICLES:
        return JSONResponse({"error": f"no article {sku}"}, status_code=404)
    return JSONResponse(stock_of(sku))


application = Starlette(routes=[Route("/shipping/{order_id}", shipping), Route("/inventory/{sku}", inventory)])

if __name__ == "__main__":
    from .server_process import serve

    serve(application)
