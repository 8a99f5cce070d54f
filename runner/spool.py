"""Events on their way to the log: on the disk first, sent in the background, gone when they were acknowledged.

Nothing here knows of sessions: whoever has events, and a way to send them, can use it.
"""

import json
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from runner.errors import Busy, Refused, Unreachable, Usage
from runner.segments import SEGMENT_BYTES, Segments
from runner.shapes import MOST_AT_ONCE, MOST_BYTES, Event, Receipt

LIMIT_BYTES = 256 * 1024 * 1024
# There is room again, and it is told what was lost, when so much of the limit is in use at most.
ROOM_AGAIN = 0.75
# How long `add` waits for a disk that does not answer.
KEPT_WITHIN_S = 2.0
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 30.0
CLOSING_DELAY_S = 0.2
# How long an event that nobody waits for may wait for others, to be written with them; and a batch, to be sent after
# another one.
GATHER_S, SEND_GATHER_S = 0.02, 0.1

# Sends a batch, each event a line of JSON, and answers with one receipt for each, in their order. Raises Unreachable or
# Busy where it is worth trying again, Refused where it is not.
Send = Callable[[Sequence[bytes]], Sequence[Receipt]]


@dataclass(eq=False)
class _Slot:
    """Events that wait to be written together. `kept` is None until that was tried; then `then` is told."""

    lines: Sequence[bytes]
    kept: bool | None = None
    then: Callable[[bool], None] | None = None
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = sum(map(len, self.lines))


@dataclass
class _Lost:
    """Events for which there was no room, until that could be recorded."""

    count: int = 0
    since: str = ""

    def add(self, count: int) -> None:
        if count:
            self.since = self.since or _now()
            self.count += count

    def line(self) -> bytes:
        return Event("agent.spool_full", {"count": self.count, "since": self.since}, "failure").line() + b"\n"


@dataclass(frozen=True)
class _Batch:
    """Lines to send: off the disk, or from memory while the disk refuses."""

    lines: list[bytes]
    from_disk: bool = True
    broken: list[bytes] = field(default_factory=list)


class Spool:
    """Keeps events and sends them in order, at least once; the far end counts an id once. Two threads: one writes, one
    sends. Events that were kept survive a kill and a power cut, and are sent by whoever opens the same path next.

    When `limit_bytes` are on the disk, new events are refused, and their number is recorded as one agent.spool_full as
    soon as there is room. While the disk refuses, events are sent from memory, up to one batch. `reads` parses a line.
    """

    def __init__(
        self,
        path: Path,
        send: Send,
        limit_bytes: int = LIMIT_BYTES,
        reads: Callable[[bytes], object] = json.loads,
    ) -> None:
        try:
            self._segments = Segments(path, min(SEGMENT_BYTES, limit_bytes // 8))
        except OSError as error:
            raise Usage(
                f"Events cannot be kept in {path}: {error.strerror}. Make room, and see who may write."
            ) from error
        self._path, self._send, self._limit_bytes, self._reads = path, send, limit_bytes, reads
        lock = threading.Lock()
        # The first is for the thread that writes, the second for whoever waits for anything else.
        self._offered, self._changed = threading.Condition(lock), threading.Condition(lock)
        self._urgent = False
        self._slots: list[_Slot] = []
        self._unsaved: list[bytes] = []
        self._lost = _Lost()
        self._writing = self._closing = self._stopped = self._failing = False
        self._most = MOST_AT_ONCE
        if self._segments.torn_bytes:
            say(f"an event of an earlier run was cut off half-way and is left out ({self._segments.torn_bytes} bytes).")
        self._keeper = threading.Thread(target=self._keep_all, name="spool-keeper", daemon=True)
        self._sender = threading.Thread(target=self._send_all, name="spool-sender", daemon=True)
        self._keeper.start()
        self._sender.start()

    def add(self, event: Event) -> bool:
        """Keep an event. True: it is on the disk. False: it is not, which was said; it may yet be sent from memory."""
        slot = _Slot([event.line() + b"\n"])
        with self._changed:
            taken = not self._stopped and slot.size <= MOST_BYTES
            if taken:
                self._put(slot, urgent=True)
                self._changed.wait_for(lambda: slot.kept is not None, KEPT_WITHIN_S)
            else:
                self._lost.add(1)
        if not taken:
            say(f"an event of {slot.size} bytes is lost: it is too long, or came after the end.")
        return slot.kept is True

    def offer(self, lines: Sequence[bytes], then: Callable[[bool], None] | None = None) -> None:
        """Like `add`, for those who may not wait: `then` is called in the thread that writes, with what `add` answers.

        `lines` are events as JSON, without a line's end; they are kept together or not at all.
        """
        slot = _Slot([line + b"\n" for line in lines], then=then)
        with self._changed:
            taken = not self._stopped and all(len(line) <= MOST_BYTES for line in slot.lines)
            if taken:
                self._put(slot, urgent=then is not None)
            else:
                self._lost.add(len(lines))
        if not taken and then is not None:
            then(False)

    def _put(self, slot: _Slot, *, urgent: bool) -> None:
        """The thread that writes is woken by the first one, and by the first one that is waited for."""
        if not self._slots or (urgent and not self._urgent):
            self._offered.notify()
        self._urgent = self._urgent or urgent
        self._slots.append(slot)

    def close(self, within_s: float = 5.0) -> int:
        """Send what is left, for a while. Returns how many are kept for the next time."""
        with self._changed:
            self._closing = True
            self._wake()
            self._changed.wait_for(self._drained, within_s)
            self._stopped = True
            self._wake()
        self._keeper.join(KEPT_WITHIN_S)
        gone = self._lost.count + len(self._unsaved)
        if gone:
            say(f"{gone} events could not be kept in {self._path}, and are lost.")
        if self._keeper.is_alive():
            say(f"the disk of {self._path} does not answer: its last events may be lost.")
            return 0
        try:
            return self._segments.left()
        finally:
            self._segments.close()

    def _wake(self) -> None:
        self._offered.notify_all()
        self._changed.notify_all()

    def _drained(self) -> bool:
        untold = self._lost.count and not self._failing
        written = not (self._slots or self._writing or self._unsaved or untold)
        return (written and self._segments.empty) or not self._sender.is_alive()

    def _keep_all(self) -> None:
        """The thread that writes: whatever came while it wrote goes to the disk together, with one fsync."""
        ending = False
        while not ending:
            with self._changed:
                self._offered.wait_for(lambda: self._slots or self._stopped or self._can_tell())
                self._offered.wait_for(lambda: self._urgent or self._closing, GATHER_S)
                ending, self._urgent = self._stopped, False
                had_room = not self._lost.count
                offered = self._slots
                slots, backlog = self._take()
                full = had_room and self._lost.count > 0
                self._writing = True
            if full:
                say(f"no more events are kept until some of {self._path} were sent: it has {self._limit_bytes} bytes.")
            lines = [*backlog, *(line for slot in slots for line in slot.lines)]
            kept = self._kept(b"".join(lines))
            with self._changed:
                self._writing = False
                if not kept:
                    self._hold(lines)
                for slot in slots:
                    slot.kept = kept
                self._changed.notify_all()
            for slot in offered:
                if slot.then is not None:
                    slot.then(slot.kept is True)

    def _take(self) -> tuple[list[_Slot], list[bytes]]:
        """What there is room for, and what is in memory since the disk refused. The rest is refused here."""
        room = self._limit_bytes - self._segments.used - sum(map(len, self._unsaved))
        fitting: list[_Slot] = []
        if self._can_tell():
            fitting.append(_Slot([self._lost.line()]))
            self._lost = _Lost()
        for slot in self._slots:
            room -= slot.size
            if room < 0:
                slot.kept = False
                self._lost.add(len(slot.lines))
            else:
                fitting.append(slot)
        backlog, self._slots, self._unsaved = self._unsaved, [], []
        return fitting, backlog

    def _can_tell(self) -> bool:
        """Whether it can be recorded how many were lost. That line itself may go beyond the limit at the end."""
        room = self._segments.used <= self._limit_bytes * ROOM_AGAIN
        return bool(self._lost.count) and (room or self._closing) and not self._failing

    def _kept(self, lines: bytes) -> bool:
        try:
            if lines:
                self._segments.append(lines)
        except OSError as error:
            if not self._failing:
                say(f"events cannot be written to {self._path}: {error.strerror}. They are sent from memory meanwhile.")
            self._failing = True
            return False
        self._failing = False
        return True

    def _hold(self, lines: Sequence[bytes]) -> None:
        """Keep in memory as much as one batch has; what is more is lost, and counted."""
        self._unsaved = _fitting(lines)
        self._lost.add(len(lines) - len(self._unsaved))

    def _send_all(self) -> None:
        """The thread that sends."""
        delay_s = FIRST_DELAY_S
        while True:
            try:
                batch = self._next_batch()
                if batch is None:
                    return
                self._settle(batch, self._rejected(batch))
            except Busy as busy:
                self._pause(busy.wait_s, busy.wait_s)
            except (Unreachable, OSError) as error:
                if isinstance(error, OSError):
                    say(f"events cannot be taken out of {self._path}: {error.strerror}.")
                self._pause(delay_s, CLOSING_DELAY_S)
                delay_s = min(delay_s * 2, LONGEST_DELAY_S)
            else:
                delay_s = FIRST_DELAY_S

    def _next_batch(self) -> _Batch | None:
        """None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._unsaved or not self._segments.empty)
            if self._stopped:
                return None
            unsaved = _fitting(self._unsaved)[: self._most]
        if self._segments.empty:
            return _Batch(unsaved, from_disk=False)
        batch = _Batch([])
        for line in self._segments.read(self._most, MOST_BYTES):
            (batch.lines if _is_event(line, self._reads) else batch.broken).append(line)
        return batch

    def _rejected(self, batch: _Batch) -> list[tuple[bytes, str]]:
        """Send it. Returns what was not taken, and why. Raises Busy or Unreachable where it has to be tried again."""
        if not batch.lines:
            return []
        try:
            receipts = self._send(batch.lines)
        except Refused as refused:
            if refused.status == 413 and len(batch.lines) > 1:
                self._most = len(batch.lines) // 2
                raise Busy("The batch was too large.", wait_s=0) from refused
            return [(line, str(refused)) for line in batch.lines]
        rejected = zip(batch.lines, receipts, strict=True)
        return [(line, one.why or "") for line, one in rejected if one.answer == "rejected"]

    def _settle(self, batch: _Batch, rejected: Sequence[tuple[bytes, str]]) -> None:
        """Let go of a batch that was answered; what was refused for good is kept beside."""
        aside = [*rejected, *((line, "It is not JSON.") for line in batch.broken)]
        if aside:
            self._segments.set_aside(b"".join(_refusal(line, why) for line, why in aside))
            say(f"{len(aside)} events were refused, and are kept in {self._path}.refused: {aside[0][1]}")
        if batch.from_disk:
            self._segments.acknowledge(sum(map(len, (*batch.lines, *batch.broken))))
        with self._changed:
            if not batch.from_disk:
                sent = {id(line) for line in batch.lines}
                self._unsaved = [line for line in self._unsaved if id(line) not in sent]
            self._wake()
            # What comes in a moment goes with the next batch: one for each event would cost the far end more.
            self._changed.wait_for(lambda: self._closing or self._stopped, SEND_GATHER_S)

    def _pause(self, delay_s: float, closing_delay_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._closing, delay_s)
            if self._closing:
                self._changed.wait_for(lambda: self._stopped, min(delay_s, closing_delay_s))


def say(text: str) -> None:
    """To the person, not into a command's output."""
    print(f"drawbridge: {text}", file=sys.stderr, flush=True)


def _fitting(lines: Sequence[bytes]) -> list[bytes]:
    """As many of them as fit into one batch."""
    batch: list[bytes] = []
    size = 0
    for line in lines[:MOST_AT_ONCE]:
        size += len(line)
        if size > MOST_BYTES:
            break
        batch.append(line)
    return batch


def _is_event(line: bytes, reads: Callable[[bytes], object] = json.loads) -> bool:
    try:
        return isinstance(reads(line), dict)
    except ValueError:
        return False


def _refusal(line: bytes, why: str) -> bytes:
    """A line of the file beside: why, and the event as it was."""
    event = json.loads(line) if _is_event(line) else line.decode(errors="replace")
    return json.dumps({"why": why, "at": _now(), "event": event}).encode() + b"\n"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
