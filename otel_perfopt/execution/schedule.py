"""What-if: a recorded run and changes to it in, the run as it would have been out."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field

from otel_perfopt.execution.data_flow import dependencies
from otel_perfopt.execution.model import Execution, Step, StepKind, ToolEffects
from otel_perfopt.execution.replayed_run import NO_CHANGES, Changes, ReplayedRun
from otel_perfopt.execution.step_tree import StepNode, StepTree, step_tree

__all__ = ["NO_CHANGES", "Changes", "ReplayedRun", "replay"]


def replay(
    execution: Execution,
    changes: Changes = NO_CHANGES,
    *,
    tree: StepTree | None = None,
    depends: Mapping[str, frozenset[str]] | None = None,
) -> ReplayedRun:
    """Play a run again with changes applied.

    Each step begins when everything that had ended before it in its parent has ended, plus the
    recorded gap (the agent's own code), and a parent ends the recorded time after its last child.
    A call moved forward never starts before what it depends on has ended, and the agent goes on
    when it asked for the call and the call is done. Without changes the recorded times come back
    exactly, and shortening or moving steps never makes a run longer. `tree` and `depends` may be
    given when a run is replayed several times. Changes to steps that are not in the run do nothing.
    """
    moves = bool(changes.parallel_replies or changes.starts_after)
    needs = (dependencies(execution) if depends is None else depends) if moves else {}
    root = (tree or step_tree(execution)).root
    replied = {step.span_id: step.end_ns for step in execution.steps if step.span_id in changes.parallel_replies}
    player = _Player(changes, needs, {execution.command.span_id: root.start_ns}, moves, replied)
    end = player.play(root)
    return ReplayedRun(root.length_ns, end - root.start_ns, player.intervals)


@dataclass(slots=True)
class _Frame:
    """A step being played: what has ended in it so far, as recorded and as played."""

    node: StepNode
    demanded_ns: int
    start_ns: int
    recorded_ns: int
    played_ns: int
    next_child: int = 0
    running: list[tuple[int, int, int]] = field(default_factory=list)

    def wait_until(self, recorded_ns: int) -> None:
        """Let every child end that had ended by `recorded_ns` in the recording."""
        while self.running and self.running[0][0] <= recorded_ns:
            recorded, _, played = heapq.heappop(self.running)
            self.recorded_ns = max(self.recorded_ns, recorded)
            self.played_ns = max(self.played_ns, played)

    def moment(self, recorded_ns: int) -> int:
        """Return when what happened at `recorded_ns` happens now, everything ended before it waited for."""
        self.wait_until(recorded_ns)
        return self.played_ns + recorded_ns - self.recorded_ns


@dataclass(slots=True)
class _Player:
    """Plays steps in order of start; `ends` knows when each step played so far ended."""

    changes: Changes
    needs: Mapping[str, frozenset[str]]
    ends: dict[str, int]
    moves: bool
    replied_ns: Mapping[str, int]  # when each reply whose calls go side by side had been read, as recorded
    intervals: dict[str, tuple[int, int]] = field(default_factory=dict)
    _reply_starts: dict[str, int] = field(default_factory=dict)

    def play(self, root: StepNode) -> int:
        """Return when the root ends."""
        if not root.children or root.step.span_id in self.changes.durations_ns:
            return self._ended(root, root.start_ns, self._alone(root, root.start_ns))
        frames = [_Frame(root, root.start_ns, root.start_ns, root.start_ns, root.start_ns)]
        while True:
            frame = frames[-1]
            node = frame.node
            if frame.next_child < len(node.children):
                child = node.children[frame.next_child]
                frame.next_child += 1
                demanded = frame.moment(child.start_ns)
                start = self._start(child.step, demanded) if self.moves else demanded
                if child.children and child.step.span_id not in self.changes.durations_ns:
                    frames.append(_Frame(child, demanded, start, child.start_ns, start))
                else:
                    joined = max(demanded, self._ended(child, start, self._alone(child, start)))
                    heapq.heappush(frame.running, (child.end_ns, frame.next_child, joined))
                continue
            frames.pop()
            joined = max(frame.demanded_ns, self._ended(node, frame.start_ns, frame.moment(node.end_ns)))
            if not frames:
                return joined
            heapq.heappush(frames[-1].running, (node.end_ns, frames[-1].next_child, joined))

    def _alone(self, node: StepNode, start_ns: int) -> int:
        """Return when a step ends that was changed, or has nothing inside."""
        changed = self.changes.durations_ns.get(node.step.span_id)
        if changed is None:
            return start_ns + node.end_ns - node.start_ns
        recorded = max(0, node.step.end_ns - node.step.start_ns)
        end = start_ns + max(0, node.length_ns - recorded + changed)
        if self.moves:
            self._pass_over(node, start_ns, end)
        return end

    def _ended(self, node: StepNode, start_ns: int, end_ns: int) -> int:
        self.intervals[node.step.span_id] = (start_ns, end_ns)
        self.ends[node.step.span_id] = end_ns
        return end_ns

    def _pass_over(self, node: StepNode, start_ns: int, end_ns: int) -> None:
        """Note what is inside a step that is not played: others may have waited for it, or be of its reply."""
        for inner in node.descendants():
            self.ends[inner.step.span_id] = end_ns
            self._reply_starts.setdefault(inner.step.requested_by, start_ns)

    def _start(self, step: Step, demanded_ns: int) -> int:
        """Return when a step starts that is asked for at `demanded_ns`: then, or earlier if it was moved."""
        earliest = self._allowed(step, demanded_ns)
        if earliest is None:
            return demanded_ns
        for needed in self.needs.get(step.span_id, ()):
            end = self.ends.get(needed)
            if end is None:
                return demanded_ns
            earliest = max(earliest, end)
        return min(earliest, demanded_ns)

    def _allowed(self, step: Step, demanded_ns: int) -> int | None:
        anchor = self.changes.starts_after.get(step.span_id)
        early = None if anchor is None else self.ends.get(anchor)
        # What began while its reply was still being read was asked for only then, so it cannot begin before.
        asked = step.kind is StepKind.TOOL and step.start_ns >= self.replied_ns.get(step.requested_by, step.start_ns)
        if asked and step.requested_by in self.changes.parallel_replies:
            begun = self._reply_starts.setdefault(step.requested_by, demanded_ns)
            if step.effects is ToolEffects.READ:
                early = begun if early is None else min(early, begun)
        return early
