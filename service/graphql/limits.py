"""How much a document may ask for, found out before it is validated or anything is done.

    tokens, values ──> parse ──> fragments end? ──> depth, aliases, directives ──> cost

Each step is linear in the document: a fragment is measured once, however often it is spread.
Refusals name the limit, and nothing of the document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSyntaxError,
    InlineFragmentNode,
    IntValueNode,
    Lexer,
    Node,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    Source,
    Token,
    TokenKind,
    VariableNode,
    parse,
)

from config.service import GraphqlSection
from schemas import identities
from schemas.errors import Invalid, RequestError, TooLarge
from service import paging

LISTS: Mapping[str, int] = {"dsrRequestsByEmail": paging.MOST, "identities": identities.MOST}
"""Fields that give lists, and how long these are at most unless ``first`` says it."""

_NESTING = 60
"""Brackets within brackets: the parser needs a few frames of the stack for each."""

_INTROSPECTION_DEPTH = 24
"""What tools ask for, if they may: types of types of types."""

_OPENING = {TokenKind.BRACE_L, TokenKind.BRACKET_L, TokenKind.PAREN_L}
_CLOSING = {TokenKind.BRACE_R, TokenKind.BRACKET_R, TokenKind.PAREN_R}
_NUMBERS = {TokenKind.INT, TokenKind.FLOAT}
_DIGITS = 32


def parsed(text: str, variables: Mapping[str, Any], limits: GraphqlSection) -> DocumentNode:
    """The document, which is within the limits. Raises ``RequestError`` of what it is not."""
    try:
        _check_tokens(text, limits.tokens)
        document = parse(text)
    except GraphQLSyntaxError as error:
        where = [{"line": place.line, "column": place.column} for place in error.locations or ()]
        raise RequestError("query: is no well-formed GraphQL", where=where) from None
    _check(document, variables, limits)
    return document


def _check_tokens(text: str, most: int) -> None:
    """Raise for too many tokens, nesting, or a NUL. Raises ``GraphQLSyntaxError`` as parsing."""
    lexer, count, depth = Lexer(Source(text)), 0, 0
    while (token := lexer.advance()).kind is not TokenKind.EOF:
        count += 1
        depth += (token.kind in _OPENING) - (token.kind in _CLOSING)
        if count > most:
            raise _beyond("tokens", most)
        if depth > _NESTING:
            raise _beyond("nested brackets", _NESTING)
        _check_value(token)


def _check_value(token: Token) -> None:
    """Raise for what JSON could not say either, or no database keeps."""
    value = token.value or ""
    if "\0" in value:
        raise RequestError("query: holds a NUL character, which cannot be kept", where="query")
    if token.kind in _NUMBERS and (len(value) > _DIGITS or not isfinite(float(value))):
        raise RequestError("query: holds a number that is too large", where="query")


def _check(document: DocumentNode, variables: Mapping[str, Any], limits: GraphqlSection) -> None:
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    _check_fragments_end(fragments)
    nodes = [*_nodes(document)]
    aliases = sum(isinstance(node, FieldNode) and node.alias is not None for node in nodes)
    if aliases > limits.aliases:
        raise _beyond("aliases", limits.aliases)
    directives = sum(len(getattr(node, "directives", None) or ()) for node in nodes)
    if directives > limits.directives:
        raise _beyond("directives", limits.directives)
    measure = _Measure(fragments, variables)
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode):
            _check_operation(node.selection_set, measure, limits)


def _check_operation(
    selections: SelectionSetNode, measure: _Measure, limits: GraphqlSection
) -> None:
    size = measure.of(selections)
    if size.depth > limits.depth:
        raise _beyond("levels", limits.depth)
    if size.introspection_depth > _INTROSPECTION_DEPTH:
        raise _beyond("levels of introspection", _INTROSPECTION_DEPTH)
    if size.cost > limits.cost:
        raise _beyond("fields, times the length of their lists,", limits.cost)


@dataclass(frozen=True)
class _Size:
    """How much selections ask for; ``introspection_depth`` is how deep they look at the schema."""

    depth: int = 0
    introspection_depth: int = 0
    cost: int = 0


@dataclass
class _Measure:
    """Measures selections; of fragments, which end, each once."""

    fragments: Mapping[str, FragmentDefinitionNode]
    variables: Mapping[str, Any]
    _known: dict[str, _Size] = field(default_factory=dict)

    def of(self, selections: SelectionSetNode | None) -> _Size:
        sizes = [self._of_one(node) for node in selections.selections] if selections else []
        return _Size(
            max((size.depth for size in sizes), default=0),
            max((size.introspection_depth for size in sizes), default=0),
            sum(size.cost for size in sizes),
        )

    def _of_one(self, node: SelectionNode) -> _Size:
        if isinstance(node, FieldNode):
            return self._of_field(node)
        if isinstance(node, FragmentSpreadNode):
            return _deeper(self._of_fragment(node.name.value))
        assert isinstance(node, InlineFragmentNode)
        return _deeper(self.of(node.selection_set))

    def _of_field(self, node: FieldNode) -> _Size:
        within = self.of(node.selection_set)
        if node.name.value.startswith("__"):
            return _Size(1, 1 + within.depth + within.introspection_depth, 1 + within.cost)
        cost = 1 + self._length(node) * within.cost
        return _Size(within.depth + 1, within.introspection_depth, cost)

    def _of_fragment(self, name: str) -> _Size:
        if name not in self._known:
            there = self.fragments.get(name)
            self._known[name] = _Size() if there is None else self.of(there.selection_set)
        return self._known[name]

    def _length(self, node: FieldNode) -> int:
        """How many items a field gives, at most."""
        most = LISTS.get(node.name.value, 1)
        for argument in node.arguments or ():
            if argument.name.value == "first":
                return max(1, min(most, self._number(argument.value, most)))
        return most

    def _number(self, value: Node, otherwise: int) -> int:
        if isinstance(value, IntValueNode):
            return int(value.value)
        given = self.variables.get(value.name.value) if isinstance(value, VariableNode) else None
        return given if isinstance(given, int) else otherwise


def _deeper(size: _Size) -> _Size:
    return _Size(size.depth + 1, size.introspection_depth, size.cost)


def _check_fragments_end(fragments: Mapping[str, FragmentDefinitionNode]) -> None:
    """Raise ``Invalid`` if a fragment spreads itself, by way of whatever others."""
    left = {name: {*_spreads(node)} & fragments.keys() for name, node in fragments.items()}
    while left:
        ending = {name for name, others in left.items() if not others & left.keys()}
        if not ending:
            raise Invalid("query: a fragment holds itself")
        left = {name: others for name, others in left.items() if name not in ending}


def _spreads(fragment: FragmentDefinitionNode) -> Iterator[str]:
    return (node.name.value for node in _nodes(fragment) if isinstance(node, FragmentSpreadNode))


def _nodes(root: Node) -> Iterator[Node]:
    """A node and all that are within, without recursion."""
    waiting: list[Node] = [root]
    while waiting:
        node = waiting.pop()
        yield node
        for key in node.keys:
            value = getattr(node, key, None)
            if isinstance(value, Node):
                waiting.append(value)
            elif isinstance(value, (list, tuple)):
                waiting.extend(child for child in value if isinstance(child, Node))


def _beyond(what: str, limit: int) -> TooLarge:
    return TooLarge(f"query: at most {limit:,} {what} are taken: ask for less at once", limit=limit)
