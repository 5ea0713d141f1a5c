"""Exposure and gain of a V4L2 camera."""

from __future__ import annotations

from contextlib import suppress

from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.sources.video4linux import layouts
from tdfusion_edge.runtime.sources.video4linux.device import Device

_MANUAL = 1
_AUTOMATIC = (3, 0)
"""Aperture priority, which USB cameras have, and fully automatic."""
_TENTHS = 10
"""The kernel counts exposure in tenths of a millisecond."""


def set_controls(
    device: Device, name: str, path: str, *, exposure_ms: float | None, gain: float | None
) -> None:
    """Set what is given, and hand the rest to the camera's own control.

    A USB camera keeps what another program set, even over a restart of this one.

    Args:
        device: Of the camera.
        name: Of the source, for messages.
        path: Of the device, for messages.
        exposure_ms: Exposure in milliseconds; None for automatic.
        gain: In the driver's own unit; None for automatic.

    Raises:
        RequestError: the camera has no such control, or not that value; its range is named.
    """
    if exposure_ms is None:
        _let_it_expose(device)
    else:
        wanted = round(exposure_ms * _TENTHS)
        control = _asked(device, layouts.EXPOSURE_ABSOLUTE, name, path, "exposure")
        _check_range(control, wanted, name, "exposure", _TENTHS, " ms")
        if _found(device, layouts.EXPOSURE_AUTO) is not None:
            _set(device, layouts.EXPOSURE_AUTO, _MANUAL, name, "exposure")
        _set(device, layouts.EXPOSURE_ABSOLUTE, wanted, name, "exposure")
    if gain is not None:
        control = _asked(device, layouts.GAIN, name, path, "gain")
        _check_range(control, gain, name, "gain", 1, "")
    if _found(device, layouts.AUTOGAIN) is not None:
        with suppress(RequestError):
            _set(device, layouts.AUTOGAIN, int(gain is None), name, "gain")
    if gain is not None:
        _set(device, layouts.GAIN, round(gain), name, "gain")


def _let_it_expose(device: Device) -> None:
    """Turn automatic exposure on, in the way that the camera has."""
    if _found(device, layouts.EXPOSURE_AUTO) is None:
        return
    for way in _AUTOMATIC:
        with suppress(OSError):
            device.ioctl(layouts.QUERYMENU, layouts.Querymenu(id=layouts.EXPOSURE_AUTO, index=way))
            device.ioctl(layouts.S_CTRL, layouts.Control(layouts.EXPOSURE_AUTO, way))
            return


def _found(device: Device, number: int) -> layouts.Queryctrl | None:
    """A control, None where the camera has none that can be set."""
    control = layouts.Queryctrl(id=number)
    try:
        device.ioctl(layouts.QUERYCTRL, control)
    except OSError:
        return None
    return None if control.flags & (layouts.CONTROL_DISABLED | layouts.CONTROL_READ_ONLY) else control


def _asked(device: Device, number: int, name: str, path: str, what: str) -> layouts.Queryctrl:
    control = _found(device, number)
    if control is None:
        raise RequestError(
            f"camera {name} has no {what} that can be set",
            hint=f"What it has: v4l2-ctl -d {path} --list-ctrls. Leave {what} out to let the camera choose.",
        )
    return control


def _check_range(
    control: layouts.Queryctrl, wanted: float, name: str, what: str, unit: int, suffix: str
) -> None:
    if not control.minimum <= wanted <= control.maximum:
        raise RequestError(
            f"camera {name} does not have that {what}",
            expected=f"{control.minimum / unit:g} to {control.maximum / unit:g}{suffix}",
            got=f"{wanted / unit:g}{suffix}",
        )


def _set(device: Device, number: int, value: int, name: str, what: str) -> None:
    try:
        device.ioctl(layouts.S_CTRL, layouts.Control(number, value))
    except OSError as error:
        raise RequestError(f"camera {name} refuses to set its {what}: {error.strerror}") from error
