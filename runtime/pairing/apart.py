"""Two live cameras that both deliver, and whose times never meet: nothing is shown, and that has a reason."""

from __future__ import annotations

from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime import rig

DELIVERS_NS = 1_000_000_000
"""A camera whose newest frame came within this time delivers."""
APART_NS = 5_000_000_000
"""So long without a picture is no accident."""


class Apart:
    """Tells once that the times of two cameras do not meet, as after a driver's clock was set."""

    def __init__(self) -> None:
        self._newest: dict[rig.Role, tuple[int, int]] = {}
        """Capture time of each camera's newest frame, and when it came."""
        self._since_ns: int | None = None
        self._told = False

    def came(self, role: rig.Role, frame: Frame, now_ns: int) -> None:
        """A camera gave a frame."""
        self._newest[role] = frame.time_ns, now_ns

    def told(self, now_ns: int, *, shown: bool) -> str | None:
        """What to say now, in a line; None nearly always.

        Args:
            now_ns: Nanoseconds on the clock of :meth:`came`.
            shown: Whether a pair was made since the last call.
        """
        deliver = [role for role, (_, came_ns) in self._newest.items() if now_ns - came_ns < DELIVERS_NS]
        if shown or len(deliver) < 2:
            self._since_ns = None
            return None
        self._since_ns = now_ns if self._since_ns is None else self._since_ns
        if now_ns - self._since_ns < APART_NS or self._told:
            return None
        self._told = True
        skew_s = (self._newest["infrared"][0] - self._newest["visible"][0]) / 1e9
        return (
            f"no picture for {APART_NS / 1e9:g} s though both cameras deliver: by its times infrared is "
            f"{skew_s:+.3f} s from visible; correct that with offset_ms in rig.toml"
        )
