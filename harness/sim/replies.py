"""The bodies that the service sends (contract sections 2.1 and 2.3), in the documented form and key order."""

from __future__ import annotations

import orjson

from harness.sim.ids import draw
from harness.sim.scenario import Engagement

_TEN_DIGITS = 10**9


class Offer:
    """The engagement of one account: its ids as text, and the rendered `engagementDetails` for each contextId."""

    def __init__(self, engagement: Engagement, seed: int, account: str) -> None:
        draws = draw(seed, f"{account}/engagement", 0)
        self.campaign_id, self.engagement_id, self.window_id = (
            str(_TEN_DIGITS + bits % (9 * _TEN_DIGITS)) for bits in (draws.page_bits, draws.visit_bits, draws.vid_bits)
        )
        self.revision = str(engagement.revision)
        self._engagement = engagement
        self._rendered: dict[int, bytes] = {}

    def details(self, context: int) -> bytes:
        """`engagementDetails` as JSON, with `context` (1 or more) as contextId."""
        known = self._rendered.get(context)
        if known is not None:
            return known
        engagement = self._engagement
        optional = {"skillId": engagement.skill_id, "skillName": engagement.skill_name}
        rendered = orjson.dumps(
            {
                "campaignId": self.campaign_id,
                "engagementId": self.engagement_id,
                "contextId": str(context),
                "windowId": self.window_id,
                "language": engagement.language,
                "engagementRevision": engagement.revision,
                "validForSeconds": engagement.valid_for_s,
                **{key: value for key, value in optional.items() if value is not None},
            }
        )
        if context <= 64:  # beyond that a session is so old that rendering again costs less than remembering
            self._rendered[context] = rendered
        return rendered


def engaged(vid: str, sid: str, page_id: str, details: bytes | None) -> bytes:
    """The body of a successful POST: Available with `details`, NotAvailable without."""
    if details is None:
        return f'{{"status":"NotAvailable","sessionId":"{sid}","visitorId":"{vid}","pageId":"{page_id}"}}'.encode()
    head = f'{{"status":"Available","sessionId":"{sid}","visitorId":"{vid}","pageId":"{page_id}","engagementDetails":'
    return head.encode() + details + b"}"


def error(time_ms: int, message: str, code: int) -> bytes:
    """An error body with a documented `code`."""
    return orjson.dumps({"time": time_ms, "message": message, "internalCode": code})
