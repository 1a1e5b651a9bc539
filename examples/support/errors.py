"""What can go wrong in the shop, as plain exceptions."""


class NotFoundError(Exception):
    """There is no such customer, order or article."""


class NotAllowedError(Exception):
    """The shop's rules forbid it."""


class ConflictError(Exception):
    """The row was changed by somebody else since it was read."""
