"""The text that identities are made of: the same for the same code, another for other code."""

from __future__ import annotations

import ast

import pytest

from flowbook.core.syntax import Span, expression, head, scope, statement, written


def at(source: str, part: str) -> tuple[ast.Module, Span]:
    """Where the first ``part`` stands in a source."""
    begin = source.encode().index(part.encode())
    end = begin + len(part.encode())
    before, upto = source.encode()[:begin], source.encode()[:end]
    place = (
        before.count(b"\n") + 1,
        begin - before.rfind(b"\n") - 1,
        upto.count(b"\n") + 1,
        end - upto.rfind(b"\n") - 1,
    )
    return ast.parse(source), Span(*place)


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("x = load( order ,  2)\n", "load( order ,  2)"),
        ("x = load(order, 2)  # why\n", "load(order, 2)"),
        ("x = load(\n    order,  # this one\n    2,\n)\n", "load(\n    order,  # this one\n    2,\n)"),
        ("x = 'ü', load(order, 2)\n", "load(order, 2)"),
        ("async def f():\n    return [await load(order, 2) for _ in range(2)]\n", "load(order, 2)"),
        ("with a:\n    if b:\n        pass\n    elif load(order, 2):\n        pass\n", "load(order, 2)"),
        ("@load(order, 2)\ndef f(): pass\n", "load(order, 2)"),
        ("def f(x=load(order, 2)): pass\n", "load(order, 2)"),
        ("f(key=load(order, 2))\n", "load(order, 2)"),
        ("match x:\n    case 1 if load(order, 2): pass\n", "load(order, 2)"),
        ("x = f'got {load(order, 2)}'\n", "load(order, 2)"),
        ("x = f'{other()} {load(order, 2):>{width()}}'\n", "load(order, 2)"),
    ],
)
def test_neither_layout_nor_what_is_around_changes_an_expression(source: str, part: str) -> None:
    assert expression(*at(source, part)) == written(ast.parse("load(order, 2)", mode="eval").body)


def test_a_chain_of_calls_over_lines_is_the_call_and_not_the_last_link() -> None:
    chained = "(\n    orders\n    .load(1)\n)\n"
    # The compiler has a call of a method on a line of its own begin at the method's name.
    assert expression(*at(chained, "load(1)")) == written(ast.parse("orders.load(1)", mode="eval").body)


@pytest.mark.parametrize(
    ("source", "whole", "part"),
    [
        ("async with limit(10):\n    pass\n", "async with limit(10):\n    pass", "limit(10)"),
        ("with a(), limit(10) as b:\n    pass\n", "with a(), limit(10) as b:\n    pass", "limit(10)"),
        ("for x in rows(10):\n    pass\n", "for x in rows(10):\n    pass", "rows(10)"),
        ("async for x in rows(10):\n    pass\n", "async for x in rows(10):\n    pass", "rows(10)"),
        ("y = [x async for x in rows(10)]\n", "[x async for x in rows(10)]", "rows(10)"),
        ("y = {x: 1 for x in rows(10)}\n", "{x: 1 for x in rows(10)}", "rows(10)"),
    ],
)
def test_what_a_block_does_with_its_expression_is_put_down_to_the_block(source: str, whole: str, part: str) -> None:
    assert expression(*at(source, whole)) == expression(*at(source, part)) != ""
    # What is inside the expression is itself.
    assert expression(*at(source, "10")) == "Constant(value=10)"


def test_the_body_of_a_block_is_no_part_of_it() -> None:
    first, second = "with limit(10):\n    one()\n", "with limit(10):\n    other()\n    more()\n"
    assert expression(*at(first, "limit(10)")) == expression(*at(second, "limit(10)"))
    assert head(ast.parse(first).body[0]) == head(ast.parse(second).body[0])
    assert head(ast.parse("if a:\n    b()\nelse:\n    c()").body[0]) == "If(test=Name(id='a'))"


def test_the_statement_is_the_innermost_one() -> None:
    source = "def f():\n    if a:\n        x = draw()\n    return x\n"
    assert statement(*at(source, "draw()")) == written(ast.parse("x = draw()").body[0])
    assert statement(*at(source, "a")) == "If(test=Name(id='a'))"
    assert statement(ast.parse(""), Span(5, 0, 5, 3)) == expression(ast.parse(""), Span(5, 0, 5, 3)) == ""


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("f()", "Call(func=Name(id='f'))"),
        ("f(*a)", "Call(func=Name(id='f'), args=[Starred(value=Name(id='a'))])"),
        ("f(b=1)", "Call(func=Name(id='f'), keywords=[keyword(arg='b', value=Constant(value=1))])"),
        ("[]", "List()"),
        ("{**a}", "Dict(keys=[None], values=[Name(id='a')])"),
        ("a[1:]", "Subscript(value=Name(id='a'), slice=Slice(lower=Constant(value=1)))"),
        ("a[:1]", "Subscript(value=Name(id='a'), slice=Slice(upper=Constant(value=1)))"),
        ("'\U0001fae8'", "Constant(value='\\U0001fae8')"),
        ("u'x'", "Constant(value='x')"),
        ("...", "Constant(value=Ellipsis)"),
        ("lambda: 1", "Lambda(args=arguments(), body=Constant(value=1))"),
        ("f'a{b!r}'", "JoinedStr(values=[Constant(value='a'), FormattedValue(value=Name(id='b'), conversion=114)])"),
    ],
)
def test_the_text_is_the_same_in_every_version(code: str, text: str) -> None:
    assert written(ast.parse(code, mode="eval").body) == text


def test_a_function_is_written_as_it_was_before_it_could_have_type_parameters() -> None:
    text = "FunctionDef(name='f', args=arguments(args=[arg(arg='x')]), body=[Pass()])"
    assert written(ast.parse("def f(x): pass").body[0]) == text


@pytest.mark.parametrize(
    ("qualname", "expected"),
    [
        ("flow", "flow"),
        ("flow.<locals>.<listcomp>", "flow"),
        ("flow.<locals>.<listcomp>.<locals>.<setcomp>", "flow"),
        ("flow.<locals>.<dictcomp>.<locals>.<lambda>", "flow.<locals>.<lambda>"),
        ("flow.<locals>.<genexpr>", "flow.<locals>.<genexpr>"),
        ("Box.<listcomp>", "Box"),
        ("<listcomp>", "<module>"),
    ],
)
def test_a_comprehension_has_no_scope_of_its_own(qualname: str, expected: str) -> None:
    assert scope(qualname) == expected
