"""Memory of a device that is given back together."""

from __future__ import annotations

import contextlib

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.cuda.device import Device, HostMemory


class Held:
    """What one way through the GPU has allocated.

    Args:
        device: Where.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._addresses: list[int] = []
        self._hosts: list[HostMemory] = []

    def allocate(self, size: int) -> int:
        """Address of so many bytes on the device.

        Raises:
            EngineError: as :meth:`.Device.allocate` says, and so below.
        """
        self._addresses.append(self._device.allocate(size))
        return self._addresses[-1]

    def allocate_host(self, size: int) -> HostMemory:
        """So many bytes of the host that the device can reach."""
        self._hosts.append(self._device.allocate_host(size))
        return self._hosts[-1]

    def release(self) -> None:
        """Give all of it back; safe to call twice."""
        # A lost GPU refuses that too; what is to be told of it was told before.
        while self._addresses:
            with contextlib.suppress(EngineError):
                self._device.free(self._addresses.pop())
        while self._hosts:
            with contextlib.suppress(EngineError):
                self._device.free_host(self._hosts.pop())
