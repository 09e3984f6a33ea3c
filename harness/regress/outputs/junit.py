"""JUnit XML of a comparison.

A reader of it must not see green where nothing can be told: such a benchmark is an error.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as xml

from ..benchmarks import Comparison
from .decision import Code, code_of, headline
from .words import cells_of

# characters that XML 1.0 cannot hold
UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
KINDS = {Code.FAILURE: "failure", Code.CANNOT_TELL: "error"}


def junit(comparison: Comparison) -> str:
    """One suite, with a case for each benchmark, missing one and exact value that differs.

    Without a benchmark its one case is an error.
    """
    suite = xml.Element("testsuite", name=plain(comparison.title))
    properties = xml.SubElement(suite, "properties")
    for name, value in (("a", comparison.a), ("b", comparison.b), ("study", comparison.study)):
        xml.SubElement(properties, "property", name=name, value=plain(value))
    for j in comparison.judgements:
        message = "  ".join([*cells_of(j)[1:], j.reason])
        command = comparison.commands.get(j.name, "")
        _case(suite, j.name, code_of(j), str(j.verdict), message, command, j.timed_s)
    for line in comparison.missing:
        _case(suite, line, Code.FAILURE, "MISSING", f"missing: {line}")
    for fact in comparison.facts:
        code = Code.FAILURE if fact.gated else Code.FINE
        _case(suite, f"exact: {fact.name}", code, "DIFFERENT", f"{fact.name}: {fact.a} -> {fact.b}")
    if not comparison.judgements:
        _case(suite, "benchmarks", Code.CANNOT_TELL, "NOTHING", headline(comparison))
    counts = {"tests": "testcase", "failures": "testcase/failure", "errors": "testcase/error"}
    suite.attrib |= {name: str(len(suite.findall(path))) for name, path in counts.items()} | {"skipped": "0"}
    suite.set("time", f"{sum(float(case.get('time', 0)) for case in suite.iter('testcase')):.6f}")
    root = xml.Element("testsuites", suite.attrib)
    root.append(suite)
    xml.indent(root)
    return xml.tostring(root, encoding="unicode", xml_declaration=False).join(
        ('<?xml version="1.0" encoding="utf-8"?>\n', "\n")
    )


def _case(
    suite: xml.Element,
    name: str,
    code: Code,
    kind: str,
    message: str,
    command: str = "",
    timed_s: float = 0.0,
) -> None:
    case = xml.SubElement(
        suite, "testcase", classname=suite.get("name", ""), name=plain(name), time=f"{timed_s:.6f}"
    )
    if code in KINDS:
        trouble = xml.SubElement(case, KINDS[code], type=kind, message=plain(message))
        trouble.text = plain(f"{message}\n{command}".strip())
    else:
        xml.SubElement(case, "system-out").text = plain(f"{message}\n{command}".strip())


def plain(text: str) -> str:
    return UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text)
