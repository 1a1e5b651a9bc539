from __future__ import annotations

import asyncio
import contextvars
import inspect
import multiprocessing.reduction
import pickle
import threading
import traceback
from functools import partial, wraps
from types import FunctionType
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.signal.emit import trampoline as trampoline_module
from otel_perfopt.signal.emit.faults import faults
from otel_perfopt.signal.emit.interception import copy_of, intercept
from otel_perfopt.signal.emit.trampoline import Kind, kind_of


def module_function(a: int, b: str = "b", /, c: float = 1.5, *rest: int, d: int, e: list[int] | None = None, **more):
    """Say what it got."""
    return (a, b, c, rest, d, e, more)


TABLE = {"module_function": module_function}


class Seen(list):
    def around(self, function, args, kwargs):
        self.append((args, kwargs))
        return function(*args, **kwargs)


def test_references_made_before_and_after_take_the_new_way_and_undo_restores_exactly():
    """The function object stays the same one, whoever holds it; afterwards its own code is back."""
    before = (module_function.__code__, module_function.__defaults__, dict(module_function.__dict__))
    seen = Seen()
    interception = intercept(module_function, seen.around)
    assert TABLE["module_function"] is module_function
    assert TABLE["module_function"](1, d=2) == (1, "b", 1.5, (), 2, None, {})
    assert partial(module_function, 1)(d=3, x=9) == (1, "b", 1.5, (), 3, None, {"x": 9})
    assert seen == [((1, "b", 1.5), {"d": 2, "e": None}), ((1, "b", 1.5), {"d": 3, "e": None, "x": 9})]
    interception.undo()
    assert (module_function.__code__, module_function.__defaults__, dict(module_function.__dict__)) == before
    module_function(1, d=2)
    assert len(seen) == 2


def test_what_schema_builders_read_is_unchanged():
    """Signature, annotations, documentation, source and name are the same under interception."""

    def facts():
        code = module_function.__code__
        return (
            inspect.signature(module_function),
            inspect.getfullargspec(module_function),
            get_type_hints(module_function),
            inspect.getsource(module_function),
            inspect.getdoc(module_function),
            module_function.__qualname__,
            code.co_varnames[: code.co_argcount],
            code.co_filename,
            code.co_firstlineno,
        )

    before = facts()
    interception = intercept(module_function, Seen().around)
    assert facts() == before
    interception.undo()


def test_a_function_that_has_been_taken_over_pickles_as_itself():
    """Pickling is by name, and the name still leads to the same object."""
    interception = intercept(module_function, Seen().around)
    try:
        assert pickle.loads(pickle.dumps(module_function)) is module_function
        assert multiprocessing.reduction.ForkingPickler.dumps(module_function)
    finally:
        interception.undo()


def test_wrong_arguments_are_refused_as_before():
    """The same TypeError with the same message, raised before anything of ours runs."""

    def refused():
        with pytest.raises(TypeError) as raised:
            module_function()
        return str(raised.value)

    before = refused()
    seen = Seen()
    interception = intercept(module_function, seen.around)
    assert refused() == before
    assert seen == []
    interception.undo()


def test_exceptions_are_the_same_object_with_a_usable_traceback():
    """What the function raises arrives unchanged, and its traceback ends where it was raised."""
    error = KeyError("lost")

    def failing():
        raise error

    intercept(failing, Seen().around)
    with pytest.raises(KeyError) as raised:
        failing()
    assert raised.value is error
    assert raised.value.__context__ is None
    assert traceback.extract_tb(raised.value.__traceback__)[-1].line == "raise error"


def test_closures_keep_their_variables():
    """Free variables are matched, also those written to, and methods that use `super()`."""

    def counter():
        count = 0

        def step(by=1):
            nonlocal count
            count += by
            return count

        return step

    step = counter()
    seen = Seen()
    interception = intercept(step, seen.around)
    assert [step(), step(2), step()] == [1, 3, 4]
    interception.undo()
    assert step() == 5
    assert len(seen) == 3

    class Base:
        def name(self):
            return "base"

    class Derived(Base):
        def name(self):
            return f"derived of {super().name()}"

    held = Derived().name
    intercept(Derived.name, seen.around)
    assert held() == Derived().name() == "derived of base"


def test_a_decorated_function_is_taken_over_alone():
    """Two functions out of one decorator share code; taking one over leaves the other."""

    def twice(function):
        @wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs) * 2

        return wrapper

    @twice
    def one(x):
        return x

    @twice
    def other(x):
        return x

    seen = Seen()
    intercept(one, seen.around)
    assert (one(2), other(3)) == (4, 6)
    assert seen == [((2,), {})]


async def test_coroutine_functions_stay_coroutine_functions():
    """They are told as such, return a coroutine, and can be cancelled."""
    started = asyncio.Event()

    async def work(x):
        started.set()
        await asyncio.sleep(0 if x else 60)
        return x * 2

    async def around(function, args, kwargs):
        return await function(*args, **kwargs)

    intercept(work, around)
    assert inspect.iscoroutinefunction(work)
    assert kind_of(work) is Kind.ASYNC
    assert await asyncio.gather(*(work(n) for n in range(1, 6))) == [2, 4, 6, 8, 10]
    task = asyncio.create_task(work(0))
    started.clear()
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_generators_hand_everything_through():
    """Values sent, exceptions thrown, the returned value and closing reach the generator."""
    ended = []

    def numbers(start):
        try:
            while True:
                try:
                    sent = yield start
                except KeyError:
                    sent = -1
                if sent == 0:
                    return "done"
                start = start + 1 if sent is None else sent
        finally:
            ended.append(start)

    intercept(numbers, Seen().around)
    assert inspect.isgeneratorfunction(numbers)
    generator = numbers(1)
    assert [next(generator), next(generator), generator.send(10), generator.throw(KeyError("x"))] == [1, 2, 10, -1]
    with pytest.raises(StopIteration) as stopped:
        generator.send(0)
    assert stopped.value.value == "done"
    second = numbers(5)
    next(second)
    with pytest.raises(ZeroDivisionError):
        second.throw(ZeroDivisionError)
    third = numbers(7)
    next(third)
    third.close()
    assert ended == [-1, 5, 7]


async def test_asynchronous_generators_hand_everything_through():
    """The same for asynchronous ones, which have no `yield from`."""
    ended = []

    async def numbers(start):
        try:
            while True:
                try:
                    sent = yield start
                except KeyError:
                    sent = -1
                if sent == 0:
                    return
                start = start + 1 if sent is None else sent
        finally:
            await asyncio.sleep(0)
            ended.append(start)

    intercept(numbers, Seen().around)
    assert inspect.isasyncgenfunction(numbers)
    generator = numbers(1)
    assert await anext(generator) == 1
    assert await anext(generator) == 2
    assert await generator.asend(10) == 10
    assert await generator.athrow(KeyError("x")) == -1
    with pytest.raises(StopAsyncIteration):
        await generator.asend(0)
    second = numbers(7)
    assert await anext(second) == 7
    await second.aclose()
    assert ended == [-1, 7]


def test_recursion_goes_straight_to_the_original():
    """Inner calls of a recursive function are not calls of their own, and a depth of hundreds still works."""
    inside = contextvars.ContextVar("inside", default=False)
    outer = []

    def depth(n, *, step=1):
        return 0 if n == 0 else 1 + depth(n - step, step=step)

    def around(function, args, kwargs):
        outer.append(args)
        token = inside.set(True)
        try:
            return function(*args, **kwargs)
        finally:
            inside.reset(token)

    intercept(depth, around, inside=inside)
    assert depth(300) == 300
    assert outer == [(300,)]
    with pytest.raises(RecursionError):
        depth(10**6)


def test_interceptions_stack_and_undo_in_any_order():
    """The one taken back first steps aside although another was put on top of it."""
    first, second = Seen(), Seen()

    def work(x):
        return x

    own = work.__code__
    lower, upper = intercept(work, first.around), intercept(work, second.around)
    work(1)
    lower.undo()
    work(2)
    upper.undo()
    work(3)
    assert (len(first), len(second)) == (1, 2)
    assert work.__code__ is not own  # the lower one's code, which steps aside
    assert work(4) == 4


def test_many_threads_call_while_it_is_put_on_and_taken_off():
    """Exchanging the code under running callers loses and changes no result."""

    def work(x):
        return x + 1

    stop = threading.Event()
    wrong = []

    def call():
        while not stop.is_set():
            if work(1) != 2:
                wrong.append(1)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        intercept(work, Seen().around).undo()
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_names_that_source_cannot_hold_are_refused_cleanly():
    """A function with such parameters is left as it is: no interception, no fault."""
    code = (lambda x: x).__code__.replace(co_varnames=(".0",))
    odd = FunctionType(code, {})
    assert intercept(odd, Seen().around) is None
    assert odd(3) == 3
    assert not faults


def test_where_code_cannot_hold_objects_they_are_looked_up(monkeypatch):
    """The way for free-threaded interpreters gives the same results."""
    monkeypatch.setattr(trampoline_module, "_EMBEDS_OBJECTS", False)
    seen = Seen()

    def work(a, *, b=2):
        return a + b

    interception = intercept(work, seen.around)
    assert (work(1), work(1, b=5)) == (3, 6)
    assert len(seen) == 2
    interception.undo()
    assert work(1) == 3


def test_a_copy_is_a_function_like_the_original():
    """Everything that describes a function is in its copy."""
    copy = copy_of(module_function)
    assert copy is not module_function
    assert copy(1, d=2) == module_function(1, d=2)
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__defaults__", "__kwdefaults__"):
        assert getattr(copy, name) == getattr(module_function, name)
    assert inspect.signature(copy) == inspect.signature(module_function)


_NAMES = ["a", "b", "c", "d", "e", "f"]


@st.composite
def functions(draw):
    """Source of a function with any mix of parameter kinds, and arguments that fit it."""
    kinds = draw(st.lists(st.sampled_from(["only", "plain", "keyword"]), max_size=6))
    only = [_NAMES[n] for n, kind in enumerate(kinds) if kind == "only"]
    plain = [_NAMES[n] for n, kind in enumerate(kinds) if kind == "plain"]
    keyword = [_NAMES[n] for n, kind in enumerate(kinds) if kind == "keyword"]
    more, extra = draw(st.booleans()), draw(st.booleans())
    defaults = draw(st.integers(0, len(only) + len(plain)))
    positional = only + plain
    parts = [f"{name}={name!r}" if n >= len(positional) - defaults else name for n, name in enumerate(positional)]
    if only:
        parts.insert(len(only), "/")
    if more:
        parts.append("*more")
    elif keyword:
        parts.append("*")
    parts += [f"{name}=0" for name in keyword]
    if extra:
        parts.append("**extra")
    source = f"def made({', '.join(parts)}):\n    return sorted(locals().items(), key=str)"
    args = draw(st.lists(st.integers(), max_size=8))
    kwargs = draw(st.dictionaries(st.sampled_from([*_NAMES, "other"]), st.integers()))
    return source, args, kwargs


@given(functions())
def test_any_parameters_give_the_same_result_or_the_same_error(made):
    """For any signature and any arguments, the call ends as it would have without us."""
    source, args, kwargs = made
    namespace: dict = {}
    exec(source, namespace)
    function = namespace["made"]

    def outcome():
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            return str(error)

    before = outcome()
    intercept(function, lambda plain, a, k: plain(*a, **k))
    assert outcome() == before
