"""Whether an address that somebody registers is one that everybody can reach."""

from __future__ import annotations

from stores.outbound import AddressRefused, Outbound, Unanswered

NOT_PUBLIC = "the URL does not lead to an address that is public"
"""Said of a name that does not resolve, too: else owners would learn which names there are inside.
"""


def public_or_refused(outbound: Outbound, url: str) -> None:
    """Raises ``AddressRefused`` alike for what is not public and for what does not resolve."""
    try:
        outbound.check(url)
    except Unanswered:
        raise AddressRefused(NOT_PUBLIC) from None
