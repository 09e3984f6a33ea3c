"""A notebook's cells run as a kernel runs them: in `__main__`, with sources that linecache alone has."""

import ast
import json
import linecache
import sys
import types


def executed(notebook, monkeypatch):
    """What each cell shows: the value of its last line; None where that is a statement or ends in `;`."""
    main = types.ModuleType("__main__")  # has no file, as a kernel's has none
    monkeypatch.setitem(sys.modules, "__main__", main)
    shown = []
    for number, cell in enumerate(json.loads(notebook.read_text())["cells"]):
        if cell["cell_type"] == "code":
            text = "".join(cell["source"])
            file = f"/tmp/ipykernel_1/{notebook.stem}_{number}.py"
            linecache.cache[file] = (len(text), None, text.splitlines(True), file)
            shown.append(_value(text, file, vars(main)))
    return shown


def _value(text, file, space):
    body = ast.parse(text).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), file, "exec"), space)
    value = eval(compile(ast.Expression(last.value), file, "eval"), space) if last else None
    return None if text.rstrip().endswith(";") else value
