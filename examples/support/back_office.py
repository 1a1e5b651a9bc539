"""Somebody else who works on the same shop: a database in, changed rows at a stated rate; `python -m support.back_office`.

Each change picks a customer or an order at random. Customers move; orders get on their way, have their
total corrected, or have their refunds settled. Every change raises the row's version.
"""

import argparse
import time
from contextlib import closing
from random import Random

from . import catalogue, database, latency

CHANGES = (
    "UPDATE orders SET status = :status, version = version + 1 WHERE id = :order",
    "UPDATE orders SET total_cents = max(refunded_cents, total_cents + :correction), version = version + 1"
    " WHERE id = :order",
    "UPDATE orders SET refunded_cents = 0, version = version + 1 WHERE id = :order",
)


def change(connection, random):
    """Change one row, straight in the database."""
    customer_id = random.choice(catalogue.customer_ids())
    row = random.randrange(1 + catalogue.ORDERS_PER_CUSTOMER)
    if row == 0:
        address = catalogue.an_address(random)
        connection.execute(
            "UPDATE customers SET address = ?, version = version + 1 WHERE id = ?", (address, customer_id)
        )
        return
    values = {
        "order": catalogue.order_ids(customer_id)[row - 1],
        "status": random.choice(catalogue.STATUSES),
        "correction": random.randrange(-200, 300, 50),
    }
    connection.execute(random.choice(CHANGES), values)


def changes_per_second(row_interval_s):
    return catalogue.CUSTOMERS * (1 + catalogue.ORDERS_PER_CUSTOMER) / row_interval_s


def run(path, row_interval_s, seed):
    """Change rows for ever, at random moments (a Poisson process)."""
    random, rate = Random(seed), changes_per_second(row_interval_s)
    due = time.monotonic()
    with closing(database.connect(path)) as connection:
        while True:
            due += random.expovariate(rate)
            time.sleep(max(0.0, due - time.monotonic()))
            change(connection, random)


if __name__ == "__main__":
    from .server_process import announce, end_with_parent

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", required=True)
    parser.add_argument("--row-interval", type=float, default=latency.BACK_OFFICE_ROW_INTERVAL_S, help="seconds")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    end_with_parent()
    announce("back office")
    run(options.database, options.row_interval, options.seed)
