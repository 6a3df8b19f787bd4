"""Webhooks: register an address, and be told there what happens to what one may see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from flask import Response, request
from flask_openapi.blueprint import APIBlueprint
from pydantic import BaseModel, Field

from schemas.access import Action, Reach, Resource
from schemas.errors import Conflict, NotFound
from schemas.webhooks import KINDS, Webhook, shown_webhook
from service.answers import AnswerModel, RequestModel, answer
from service.bootstrap import Wiring
from service.context import principal, reach
from service.errors import ErrorBody
from service.openapi import feature
from service.webhooks.public import public_or_refused
from stores.notify.opening import rules_of
from stores.outbound import LONGEST_URL, Outbound
from stores.state.port import AlreadyThere
from stores.webhooks.keys import WebhookKeys
from stores.webhooks.port import TooManyWebhooks, WebhookStore

Kind = Literal["dsr", "job", "run"]


class NewWebhook(RequestModel):
    """An address to be told at."""

    url: str = Field(
        min_length=1, max_length=LONGEST_URL, description="https, and reachable by everybody."
    )
    kinds: list[Kind] = Field(
        min_length=1,
        max_length=len(KINDS),
        description="Of what it is to be told; each needs the right to read it.",
    )


class WebhookPath(BaseModel):
    """Which webhook."""

    webhook_id: str = Field(description="The `id`.")


class WebhookShown(AnswerModel):
    """A webhook."""

    id: str
    url: str
    kinds: list[str]
    created_at: str
    failures: int = Field(description="In a row.")
    failing_since: str | None
    next_try_at: str | None
    disabled_at: str | None
    disabled_reason: str | None
    version: int


class WebhookWithKey(WebhookShown):
    """A webhook, with the key that signs what it is sent."""

    key_id: str = Field(description="As `X-Lethe-Signature` names it.")
    key: str = Field(description="Keep it secret; it is shown here alone.")


class Webhooks(AnswerModel):
    """All of one's webhooks."""

    items: list[WebhookShown]


def blueprint(wiring: Wiring) -> APIBlueprint:
    """The routes."""
    api = feature("webhooks", "Webhooks", "Be told of changes at an address of your own.")
    hooks, keys = wiring.state.webhooks, WebhookKeys(wiring.parameters)
    outbound = Outbound(rules_of(wiring.settings.outbound))

    def found(webhook_id: str, action: Action) -> Webhook:
        hook = hooks.get(webhook_id, reach(Resource.WEBHOOK, action))
        if hook is None:
            raise NotFound("there is no webhook of this id")
        return hook

    def with_key(hook: Webhook) -> dict[str, Any]:
        number = hook.key_number
        key = {"keyId": f"k{number}", "key": keys.secret(hook.id, number)}
        return {**shown_webhook(hook), **key}

    def changed(hook: Webhook) -> Webhook:
        kept = hooks.change(hook)
        if kept is None:
            raise Conflict("the webhook was changed at the same time: try again", reason="changed")
        return kept

    @api.post("/v1/webhooks", responses={201: WebhookWithKey, 409: ErrorBody})
    def create_webhook(body: NewWebhook) -> Response:
        """Register an address; it is told of what happens from now on."""
        reach(Resource.WEBHOOK, Action.CREATE)
        who = principal()
        attempt = wiring.idempotency.attempt(request, who)
        made = Webhook(
            id=attempt.created_id(),
            organization=who.organization,
            owner=who.subject,
            url=body.url,
            kinds=tuple(sorted({*body.kinds})),
            created_at=wiring.clock(),
            place=wiring.state.outbox.newest(),
            of_owner=_owner_limit(body.kinds),
        )
        # A repeat under the same key makes the same id, and finds it there.
        known = hooks.get(made.id, Reach(who.organization))
        if known is None:
            public_or_refused(outbound, body.url)
            known = _added(hooks, made, wiring.settings.webhooks.max_per_organization)
        return answer(with_key(known), 201)

    @api.get("/v1/webhooks", responses={200: Webhooks})
    def list_webhooks() -> Response:
        """List webhooks, oldest first."""
        items = hooks.find(reach(Resource.WEBHOOK, Action.READ))
        return answer({"items": [shown_webhook(hook) for hook in items]})

    @api.get("/v1/webhooks/<id:webhook_id>", responses={200: WebhookShown})
    def get_webhook(path: WebhookPath) -> Response:
        """Show a webhook, and how its deliveries go."""
        return answer(shown_webhook(found(path.webhook_id, Action.READ)))

    @api.delete("/v1/webhooks/<id:webhook_id>", responses={204: None})
    def delete_webhook(path: WebhookPath) -> Response:
        """Forget a webhook; nothing is sent to it any more."""
        hook = found(path.webhook_id, Action.DELETE)
        hooks.remove(hook.id, reach(Resource.WEBHOOK, Action.DELETE))
        return Response(status=204)

    @api.post(
        "/v1/webhooks/<id:webhook_id>:rotate", responses={200: WebhookWithKey, 409: ErrorBody}
    )
    def rotate_webhook_key(path: WebhookPath) -> Response:
        """Have another key sign; the one before signs, too, for a day."""
        hook = found(path.webhook_id, Action.CREATE)
        newer = replace(hook, key_number=hook.key_number + 1, rotated_at=wiring.clock())
        return answer(with_key(changed(newer)))

    @api.post("/v1/webhooks/<id:webhook_id>:enable", responses={200: WebhookShown, 409: ErrorBody})
    def enable_webhook(path: WebhookPath) -> Response:
        """Have a disabled webhook go on where it was, as far as events are still kept."""
        hook = found(path.webhook_id, Action.CREATE)
        public_or_refused(outbound, hook.url)
        well = replace(
            hook,
            failures=0,
            failing_since=None,
            next_try_at=None,
            disabled_at=None,
            disabled_reason=None,
        )
        return answer(shown_webhook(changed(well)))

    return api


def _owner_limit(kinds: list[Kind]) -> str | None:
    """Whose things alone one may be told of. Raises ``Forbidden`` for what one may not read."""
    owners = [reach(KINDS[kind], Action.READ).owner for kind in kinds]
    return next((owner for owner in owners if owner is not None), None)


def _added(hooks: WebhookStore, made: Webhook, most: int) -> Webhook:
    """It, or the one that a repeat of this request was faster with. Raises ``Conflict``."""
    try:
        hooks.add(made, most)
    except AlreadyThere:
        return hooks.get(made.id, Reach(made.organization)) or made
    except TooManyWebhooks:
        message = f"an organization has {most} webhooks at most: delete one"
        raise Conflict(message, reason="full") from None
    return made
