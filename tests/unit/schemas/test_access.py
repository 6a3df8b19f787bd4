"""Rights: how they are written, what roles have, and how far they reach."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.access import (
    ROLES,
    Action,
    Principal,
    Reach,
    Resource,
    Right,
    Scope,
    check_names,
    rights_of,
)
from schemas.errors import Forbidden, UsageError

RIGHTS = st.builds(
    Right, st.sampled_from(Resource), st.sampled_from(Action), st.sampled_from(Scope)
)


def somebody(*rights: Right) -> Principal:
    return Principal("me", "org-1", frozenset(), frozenset(rights))


@given(RIGHTS)
def test_right_is_read_as_it_is_written(right: Right) -> None:
    assert Right.parse(str(right)) == right


@pytest.mark.parametrize(
    "text",
    ["", "enrichment", "enrichment:read", "enrichment:read:all:x", "*:read:all", "Lake:read:all"],
)
def test_what_is_no_right_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no right"):
        Right.parse(text)


@given(st.frozensets(RIGHTS), st.sampled_from(Resource), st.sampled_from(Action))
def test_reach_is_that_of_the_widest_right_held(
    rights: frozenset[Right], resource: Resource, action: Action
) -> None:
    scopes = {
        right.scope for right in rights if (right.resource, right.action) == (resource, action)
    }
    reaches = {
        Scope.ALL: Reach(None),
        Scope.ORGANIZATION: Reach("org-1"),
        Scope.OWN: Reach("org-1", "me"),
    }
    widest = next((scope for scope in reaches if scope in scopes), None)
    if widest is None:
        with pytest.raises(Forbidden):
            somebody(*rights).reach(resource, action)
    else:
        assert somebody(*rights).reach(resource, action) == reaches[widest]


def test_right_to_read_is_none_to_delete() -> None:
    reader = somebody(Right.parse("enrichment:read:all"))
    with pytest.raises(Forbidden, match="enrichment:delete"):
        reader.reach(Resource.ENRICHMENT, Action.DELETE)


@pytest.mark.parametrize("role", sorted(ROLES.keys() - {"admin"}))
def test_no_role_but_admin_reaches_another_organization(role: str) -> None:
    assert all(right.scope is not Scope.ALL for right in ROLES[role])


def test_roles_and_single_rights_add_up() -> None:
    single = Right.parse("metrics:read:all")
    assert rights_of(["viewer"], [single]) == ROLES["viewer"] | {single}


def test_unknown_role_is_refused() -> None:
    with pytest.raises(UsageError, match="choose from admin"):
        rights_of(["king"])


@given(st.text("aZ0._:|-/@ \né٣", max_size=6), st.text("aZ0._-/@\n", max_size=4))
def test_names_that_are_taken_are_harmless_in_paths_and_logs(subject: str, name: str) -> None:
    try:
        check_names(subject, name)
    except UsageError:
        return
    assert (subject + name).isascii()
    assert not set(subject + name) & set("/\\@ \r\n\t\0'\"<>%")
    assert "." not in name
    assert subject[0].isalnum()


@pytest.mark.parametrize(
    ("subject", "organization"),
    [("me\n", "org"), ("me", "org\n"), ("", "org"), ("me", ""), ("..", "org"), ("me", "..")],
)
def test_names_of_another_form_are_refused(subject: str, organization: str) -> None:
    with pytest.raises(UsageError):
        check_names(subject, organization)
