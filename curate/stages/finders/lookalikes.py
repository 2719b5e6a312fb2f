"""What looks like personal data or a secret and is not: the ``except`` part of the rules that look for them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_AROUND = 24  # characters before and after a find that its exceptions may look at


@dataclass(frozen=True, slots=True)
class Exceptions:
    """The exceptions of one kind of personal data."""

    value: re.Pattern[str] | None  # matches the whole find
    before: re.Pattern[str] | None  # ends where the find starts
    after: re.Pattern[str] | None  # starts where the find ends
    networks: tuple[Network, ...]  # IP addresses that are nobody's

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Exceptions:
        """Compile a rule's exceptions; letters match in either case."""
        return cls(
            value=_any_of(data.get("value", ())),
            before=_any_of(data.get("before", ()), r"\Z"),
            after=_any_of(data.get("after", ())),
            networks=tuple(ipaddress.ip_network(network) for network in data.get("networks", ())),
        )

    def covers(self, text: str, start: int, end: int) -> bool:
        """Tell whether characters start to end of the text are an exception."""
        value = text[start:end]
        return bool(
            (self.value and self.value.fullmatch(value))
            or (self.before and self.before.search(text[max(0, start - _AROUND) : start]))
            or (self.after and self.after.match(text[end : end + _AROUND]))
            or (self.networks and _lies_in(value, self.networks))
        )


def _any_of(patterns: Sequence[str], end: str = "") -> re.Pattern[str] | None:
    return re.compile(f"(?:{'|'.join(patterns)}){end}", re.IGNORECASE) if patterns else None


def _lies_in(value: str, networks: Sequence[Network]) -> bool:
    """Tell whether an IP address, with or without a prefix length, lies in one of the networks."""
    try:
        address = ipaddress.ip_interface(value).ip
    except ValueError:
        return False
    return any(address in network for network in networks if network.version == address.version)
