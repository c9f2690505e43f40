"""The README runs: every fence, by the engine that runs the handbook."""

import re
from collections.abc import Iterator

import pytest
from blocks import evaluators
from blocks.page import Page
from blocks.parser import close_page, page_of, parse_markdown
from support import ROOT
from sybil import Document, Example

README = Document.parse(str(ROOT / "README.md"), parse_markdown)
EXAMPLES = list(README.examples())


@pytest.fixture(scope="module", autouse=True)
def page() -> Iterator[Page]:
    yield page_of(EXAMPLES[0])
    close_page(README.namespace)


@pytest.mark.parametrize(
    "example", EXAMPLES, ids=lambda example: f"line-{example.line}"
)
def test_a_block_of_the_readme_runs(example: Example) -> None:
    example.evaluate()


def test_every_python_line_of_the_readme_runs(page: Page) -> None:
    assert evaluators.unrun(page) == []


def test_no_block_hides_from_the_engine() -> None:
    outside = re.sub(r"^```.*?^```$", "", README.text, flags=re.M | re.S)
    assert "```" not in outside
    assert not re.search(r"^(?: {4}|\t)\S", outside, re.M), "an indented block"


def test_a_fence_that_nothing_runs_is_refused() -> None:
    text = "```ruby\nputs 1\n```\n"
    document = Document(text, str(ROOT / "README.md"))
    with pytest.raises(ValueError, match="a fence that nothing runs"):
        list(parse_markdown(document))
