"""Leaving out spaces changes nothing that is said or done."""

from __future__ import annotations

import pytest

from flowbook.widgets.squeezing import squeezed


@pytest.mark.parametrize(
    ("code", "shorter"),
    [
        ("const a = (b, c) => b + c;", "const a=(b,c)=>b+c;"),
        ("f('a , b', \"c = d\", `e , ${f(g, `h , i`)} = j`);", "f('a , b',\"c = d\",`e , ${f(g,`h , i`)} = j`);"),
        ("`a - ${ b ? `c , ${d + e}` : '}' } - f`", "`a - ${b?`c , ${d+e}`:'}'} - f`"),
        ("x.replace(/[&, =]/g, ' ');", "x.replace(/[&, =]/g,' ');"),
        ("a = b + +c - -d;", "a=b + +c - -d;"),
        ("return a in b ? typeof c : void d;", "return a in b?typeof c:void d;"),
        ("if (a) {\nb();\n}\nelse c();\nd()", "if(a){b()}else c();d()"),
        ("function a() {\n}\nfunction b() {\n}", "function a(){}function b(){}"),
        ("i++;\n--j", "i++;--j"),
        ("f(a,\nb)\n.then(c)", "f(a,b).then(c)"),
        ("const wide = a / b, tall = c / d;", "const wide=a/b,tall=c/d;"),
        ("return / a/.test(b);", "return / a/.test(b);"),
        ("'it\\'s , so'", "'it\\'s , so'"),
    ],
)
def test_spaces_that_mean_nothing_go(code: str, shorter: str) -> None:
    assert squeezed(code) == shorter


def test_a_template_without_end_is_an_error() -> None:
    with pytest.raises(ValueError, match="no end"):
        squeezed("f(`a ${b")
