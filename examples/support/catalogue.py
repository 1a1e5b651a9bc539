"""The shop as it is on its first day: customers, orders, articles, documentation; the same every time."""

import re
from pathlib import Path
from random import Random

CUSTOMERS = 40
ORDERS_PER_CUSTOMER = 2
ARTICLES = 12
STATUSES = ("placed", "packed", "shipped", "delivered")
TIERS = ("standard", "silver", "gold")

FIRST_NAMES = ("Ada", "Bo", "Chen", "Dana", "Emre", "Femi", "Gita", "Hugo", "Ines", "Jonas")
LAST_NAMES = ("Abel", "Brandt", "Costa", "Diallo", "Eriksen", "Fischer", "Garcia", "Haddad")
STREETS = ("Elm Street", "Mill Lane", "Station Road", "High Street", "Harbour Way", "Church Row", "Park Avenue")
TOWNS = ("Norwich", "Leeds", "Bristol", "Exeter", "Durham", "Lincoln")

KNOWLEDGE = (Path(__file__).parent / "knowledge.md").read_text(encoding="utf-8")


def customer_ids():
    return [f"C-{number:03d}" for number in range(1, CUSTOMERS + 1)]


def order_ids(customer_id):
    first = 1001 + (int(customer_id[2:]) - 1) * ORDERS_PER_CUSTOMER
    return [f"O-{first + offset}" for offset in range(ORDERS_PER_CUSTOMER)]


def skus():
    return [f"SKU-{number:02d}" for number in range(1, ARTICLES + 1)]


def an_address(random):
    return f"{random.randint(1, 180)} {random.choice(STREETS)}, {random.choice(TOWNS)}"


def customers():
    for customer_id in customer_ids():
        random = Random(customer_id)
        first, last = random.choice(FIRST_NAMES), random.choice(LAST_NAMES)
        yield {
            "id": customer_id,
            "name": f"{first} {last}",
            "email": f"{first}.{last}.{customer_id[2:]}@example.com".lower(),
            "tier": random.choice(TIERS),
            "address": an_address(random),
        }


def orders():
    for customer_id in customer_ids():
        for order_id in order_ids(customer_id):
            random = Random(order_id)
            quantity = random.randint(1, 4)
            yield {
                "id": order_id,
                "customer_id": customer_id,
                "sku": random.choice(skus()),
                "quantity": quantity,
                "status": random.choice(STATUSES),
                "total_cents": quantity * random.randrange(2500, 9000, 50),
            }


def documents(text=KNOWLEDGE):
    """The sections of a knowledge base, by title."""
    sections = re.findall(r"^## (.+)\n+((?:(?!^## ).*\n?)*)", text, flags=re.MULTILINE)
    return {title.strip(): " ".join(body.split()) for title, body in sections}


def rule(body):
    """The first sentence of a section: the rule itself."""
    return re.split(r"(?<=[.])\s", body, maxsplit=1)[0]
