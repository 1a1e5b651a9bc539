"""`perfopt approve | reject | rollback | retry | kill | unkill`: who says what about which policy, on the ledger."""
