#!/usr/bin/env python3
"""Writes docs/openapi.yaml from the routes and handlers in engine/src/serve; with --check only says whether it is as written."""

import json
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parents[2]
serve = root / "engine/src/serve"
target = root / "docs/openapi.yaml"

HANDLER = re.compile(r"((?:^[ ]*///[^\n]*\n)*)^(?:pub\((?:super|crate)\) )?(?:async )?fn (\w+)(.*?)^}", re.M | re.S)
ROUTE = re.compile(r"\.route\(\s*\"([^\"]+)\",\s*((?:[^()]|\((?:[^()]|\([^()]*\))*\))*?)\s*,?\s*\)", re.S)
METHOD = re.compile(r"\b(get|post|put|delete|head)\(([\w:]+)")
QUERY = re.compile(r"\.(text|flag|flag_or|number|all|filters|size)\((?:\"(\w[\w-]*)\")?")
KINDS = {"flag": "boolean", "flag_or": "boolean", "number": "integer"}


def handlers():
    found = {}
    for path in sorted(serve.rglob("*.rs")):
        for doc, name, body in HANDLER.findall(path.read_text()):
            words = " ".join(line.strip()[3:].strip() for line in doc.splitlines())
            words = re.sub(r"^(`[^`]*`( and )?)+[.:]?\s*", "", words)
            found.setdefault((path.stem, name), (words, body))
            found.setdefault(name, (words, body))
    return found


def operations():
    known = handlers()
    for path in sorted(serve.rglob("*.rs")):
        text = path.read_text().split("#[cfg(test)]")[0]
        for place, methods in ROUTE.findall(text):
            for method, name in METHOD.findall(methods):
                parts = name.split("::")
                key = tuple(parts[-2:]) if len(parts) > 1 else (path.stem, name)
                words, body = known.get(key) or known.get(parts[-1], ("", ""))
                yield place.replace("{*", "{"), method, parts[-1], words, body


def parameters(place, body):
    for name in re.findall(r"\{(\w+)\}", place):
        yield name, "path", "string"
    seen = set()
    for call, name in QUERY.findall(body):
        names = {"filters": ["filters"], "size": ["h", "w"]}.get(call, [name])
        for name in names:
            if name and name not in seen:
                seen.add(name)
                yield name, "query", "integer" if call == "size" else KINDS.get(call, "string")


def written():
    lines = [
        "# Made by tests/tools/openapi.py from the routes in engine/src/serve; do not edit.",
        "openapi: 3.0.3",
        "info:",
        "  title: The engine of hoist",
        "  description: Docker's Engine API, and below /hoist/ what Docker has no words for. Every path may be preceded by /v1.NN.",
        "  version: '1.51'",
        "paths:",
    ]
    paths = {}
    for place, method, name, words, body in operations():
        paths.setdefault(place, {})[method] = (name, words, body)
    for place in sorted(paths):
        lines.append(f"  {place}:")
        for method in sorted(paths[place]):
            name, words, body = paths[place][method]
            lines.append(f"    {method}:")
            lines.append(f"      operationId: {method}{re.sub(r'[^A-Za-z]+', '_', place).rstrip('_')}")
            lines.append(f"      summary: {json.dumps(words or name.replace('_', ' '), ensure_ascii=False)}")
            given = list(parameters(place, body))
            if given:
                lines.append("      parameters:")
            for parameter, where, kind in given:
                required = "true" if where == "path" else "false"
                lines.append(
                    f"      - {{name: {parameter}, in: {where}, required: {required}, schema: {{type: {kind}}}}}"
                )
            if re.search(r"\b(?:optional_)?json\(", body):
                lines.append("      requestBody: {content: {application/json: {schema: {type: object}}}}")
            lines.append("      responses:")
            lines.append("        2XX: {description: Done}")
            lines.append("        4XX: {$ref: '#/components/responses/Refused'}")
            lines.append("        5XX: {$ref: '#/components/responses/Refused'}")
    lines += [
        "components:",
        "  responses:",
        "    Refused:",
        "      description: Why not, and perhaps what can be done",
        "      content:",
        "        application/json:",
        "          schema:",
        "            type: object",
        "            required: [message]",
        "            properties: {message: {type: string}, hint: {type: string}}",
        "",
    ]
    return "\n".join(lines)


if sys.argv[1:] == ["--check"]:
    if not target.exists() or target.read_text() != written():
        sys.exit("docs/openapi.yaml is not what the routes say: run tests/tools/openapi.py")
else:
    target.parent.mkdir(exist_ok=True)
    target.write_text(written())
