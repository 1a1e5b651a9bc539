"""Chat trajectories in the form of OpenAI's messages in, one untimed trace each out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from otel_perfopt.signal.read.episode import Episode, episodes_of, model_of
from otel_perfopt.signal.read.json_values import JsonValue, JsonValues
from otel_perfopt.signal.read.trajectory_spans import trajectory_spans
from otel_perfopt.signal.record import SpanRecord
from otel_perfopt.signal.source import ReadProblem, ReadTally

MESSAGE_KEYS: Final = ("traj", "messages", "trajectory", "conversation")
_IDENTITY_KEYS: Final = ("id", "conversation_id", "session_id", "task_id")


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One chat: its messages in order, an identity unique in the input, its reward if it was judged, where it stands."""

    identity: str
    messages: Sequence[Mapping[str, Any]]
    location: str
    number: int
    reward: float | None = None


class TrajectorySource:
    """Reads chats with tool calls; a `SpanSource` in the memory of one chat.

    Understood: an array of `{task_id, reward, traj}` (tau-bench), an array of messages, objects with
    `messages` (one in a file, in an array, or one a line), and episodes of benchmarks (`episode`). A chat has no clock: times are synthetic
    and consecutive, and its command is marked `perfopt.untimed`. Tokens are estimated from the text
    (`perfopt.usage.estimated`).
    """

    def __init__(self, paths: Sequence[Path], tally: ReadTally | None = None) -> None:
        self._paths = paths
        self._tally = ReadTally() if tally is None else tally

    @property
    def tally(self) -> ReadTally:
        """What has been read so far, and what could not be."""
        return self._tally

    def batches(self) -> Iterator[tuple[SpanRecord, ...]]:
        """Yield one batch a chat."""
        for path in self._paths:
            self._tally.files += 1
            for trajectory in self._trajectories(path):
                spans = trajectory_spans(
                    trajectory.messages,
                    identity=trajectory.identity,
                    location=trajectory.location,
                    number=trajectory.number,
                    reward=trajectory.reward,
                )
                self._tally.spans += len(spans)
                yield spans

    def _trajectories(self, path: Path) -> Iterator[Trajectory]:
        loose: list[Mapping[str, Any]] = []
        first: JsonValue | None = None
        for item in JsonValues(path, self._tally):
            if isinstance(item.value, Mapping) and isinstance(item.value.get("role"), str):
                if first is not None and item.array != first.array:
                    yield _trajectory(path, first, loose, {})
                    first, loose = None, []
                first = first or item
                loose.append(item.value)
                continue
            episodes = list(episodes_of(item.value))
            yield from (_of_episode(path, item, place, episode) for place, episode in enumerate(episodes))
            messages = None if episodes else _messages(item.value)
            if episodes:
                continue
            if messages is None:
                found = f"a {type(item.value).__name__} without chat messages"
                self._tally.report(ReadProblem(str(path), item.line, "not_a_chat", found))
            else:
                yield _trajectory(path, item, messages, item.value if isinstance(item.value, Mapping) else {})
        if first is not None:
            yield _trajectory(path, first, loose, {})


def _trajectory(
    path: Path, item: JsonValue, messages: Sequence[Mapping[str, Any]], record: Mapping[str, Any]
) -> Trajectory:
    reward = record.get("reward")
    identity = " ".join(f"{key}={record[key]}" for key in (*_IDENTITY_KEYS, "trial") if _is_plain(record.get(key)))
    return Trajectory(
        identity=f"{path.name.split('.')[0]} {identity or f'number={item.number}'}",
        messages=messages,
        location=f"{path}:{item.line}#{item.number}",
        number=item.number,
        reward=float(reward) if isinstance(reward, (int, float)) else None,
    )


def _of_episode(path: Path, item: JsonValue, place: int, episode: Episode) -> Trajectory:
    number = item.number + place
    return Trajectory(
        # Recordings of several models lie in folders of the same files.
        identity=f"{path.parent.name}/{path.name} {episode.identity}",
        messages=[_with_model(message, model_of(path)) for message in episode.messages],
        location=f"{path}:{item.line}#{number}",
        number=number,
        reward=episode.reward,
    )


def _with_model(message: Mapping[str, Any], model: str) -> Mapping[str, Any]:
    return {"model": model, **message} if model and message.get("role") == "assistant" else message


def _messages(value: object) -> list[Mapping[str, Any]] | None:
    """Return the chat in a value, or None; what is no message in it is left out."""
    if isinstance(value, Mapping):
        value = next((value[key] for key in MESSAGE_KEYS if isinstance(value.get(key), list)), None)
    if not isinstance(value, list):
        return None
    messages = [message for message in value if isinstance(message, Mapping) and isinstance(message.get("role"), str)]
    return messages or None


def _is_plain(value: object) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)
