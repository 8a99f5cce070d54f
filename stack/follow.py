"""Shows what the processes write while they run, each line with its writer's name."""

from collections.abc import Iterable

from stack.data_dir import DataDir


class LogFollower:
    """Follows the logs of these processes from their current ends."""

    def __init__(self, data: DataDir, names: Iterable[str]) -> None:
        self._data = data
        self._offsets = {name: self._size(name) for name in names}
        self._width = max(map(len, self._offsets), default=0)

    def _size(self, name: str) -> int:
        path = self._data.log(name)
        return path.stat().st_size if path.exists() else 0

    def new_lines(self) -> list[str]:
        """Whole lines that were written since the last call. A log that was rotated is read from its beginning."""
        lines = []
        for name, offset in self._offsets.items():
            size = self._size(name)
            with open(self._data.log(name), "rb") as log:
                log.seek(offset if offset <= size else 0)
                text = log.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._offsets[name] = (offset if offset <= size else 0) + len(whole)
            lines += [f"{name:<{self._width}} | {line}" for line in whole.decode(errors="replace").splitlines()]
        return lines

    def print_new_lines(self) -> None:
        """Print them."""
        for line in self.new_lines():
            print(line, flush=True)
