"""Every delay and rate of the example's back ends, in one place.

Tools answer as slowly as real remote ones do. The model is some ten times as fast as a hosted
one, and the shop's data changes far more often than a real shop's, so that a minute of traffic
shows what a day would.
"""

# The database is one network hop away, in another region: one statement, there and back.
DATABASE_HOP_S = 0.050
# Full-text search runs on a replica that is further away still.
SEARCH_HOP_S = 0.080
# The shipping and stock service is somebody else's API over the internet.
SHOP_SERVICE_S = 0.060

# The model server: a fixed part, then tokens that are not in its prefix cache, then tokens it writes.
MODEL_OVERHEAD_S = 0.025
PREFILL_TOKENS_PER_S = 20_000.0
DECODE_TOKENS_PER_S = 800.0

# The back office: each customer and each order is changed once in this time, on average.
BACK_OFFICE_ROW_INTERVAL_S = 7.0

# How long a customer reads the answer to a /query before asking for a /task.
CUSTOMER_READS_S = 1.0
