"""For whom a call is made, as far as decisions ask: a run and a plan in, a preference and a user out."""

from __future__ import annotations

from typing import Final

from otel_perfopt import conventions
from otel_perfopt.act.selection import NOBODY, Asker, Plan
from otel_perfopt.signal.calls import RunContext
from otel_perfopt.signal.preference import LEARNED, NO_PREFERENCE
from otel_perfopt.signal.user_digest import user_digest

_SLOT: Final = "perfopt.act.asker"


def asker_of(run: RunContext | None, plan: Plan) -> Asker:
    """Return for whom the run is; where no decision asks that, nobody in particular, at no cost.

    What is preferred is settled at the run's first call that is asked about and kept for the run: what
    was stated wins over what was learned. Of users only those that some decision names are told apart.
    """
    personal = plan.personal
    if personal is None or run is None:
        return NOBODY
    kept: Asker | None = run.slots.get(_SLOT)
    if kept is None:
        kept = run.slots.setdefault(_SLOT, _settled(run, plan))
    return kept if kept.user in personal.users else Asker(kept.preference)


def _settled(run: RunContext, plan: Plan) -> Asker:
    personal = plan.personal
    assert personal is not None
    run.preference_settled = True
    user = user_digest(run.user_id, personal.table.salt)
    if run.preference_source:
        return Asker(run.preference, user)
    learned = personal.table.learned(user, run.command)
    run.preference, run.preference_source = learned, LEARNED if learned else NO_PREFERENCE
    if learned and run.span.is_recording():
        run.span.set_attribute(conventions.PREFERENCE, learned)
        run.span.set_attribute(conventions.PREFERENCE_SOURCE, LEARNED)
    return Asker(learned, user)
