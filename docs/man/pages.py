#!/usr/bin/env python3
"""pages.py - manual pages of section 3 from the comments of the public headers, their one source.

    pages.py --list HEADER..                 the names of the pages
    pages.py VERSION FOLDER HEADER..         write them there
    pages.py --fill VERSION LIBDIR IN README OUT
                                             a page written by hand: put in @VERSION@, @LIBDIR@, and,
                                             as @PROFILES@ and @ENVIRONMENT@, tables of README.md

One page for each comment that says what a function, type or structure is: declarations that share a
comment share a page, under the name of the first, and the others lead there. libprof.3 has what the
headers say in general, and lists the rest by the headers' own sections. No date is in them, so that
the same headers make the same pages.
"""
import os
import re
import sys

SECTIONS = ("Returns", "Environment")  # of the comments' labels, those that are sections
LABELS = SECTIONS + ("Values", "Memory", "Threads", "Signals", "Blocks", "Waits", "Access", "Metrics",
                     "Source")
LABEL = re.compile(r"(?:^|(?<=[.;] ))(%s): +" % "|".join(LABELS))


class Page:
    """What one comment is about."""

    def __init__(self, header, section, comment, code):
        self.header, self.section, self.comment, self.code = header, section, comment, code
        self.functions = re.findall(r"PROF_API [^;(]*?(\w+)\(", code)
        types = re.findall(r"typedef \w+ (\w+)\(", code) + re.findall(r"^struct (\w+) ?[{;]", code, re.M)
        self.names = self.functions + [t for t in types if t not in self.functions]


def comment_text(raw):
    lines = [re.sub(r"^\s*/?\*+/? ?", "", line) for line in raw.strip()[:-2].split("\n")]
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def declaration(text):
    """What a comment stands before: up to an empty line outside of braces."""
    taken, depth = [], 0
    for line in text.split("\n"):
        if not line.strip() and depth == 0:
            if taken:
                break
            continue
        bare = re.sub(r"/\*.*?\*/", "", line)
        if re.match(r"#(ifdef|endif|pragma)", line) or (not taken and line.startswith("/*")):
            if line.startswith("/*"):
                break
            continue
        depth += bare.count("{") - bare.count("}")
        taken.append(line)
    return "\n".join(taken)


def read_header(path):
    """The general comment, and the pages."""
    with open(path) as f:
        text = f.read()
    name = "prof/" + os.path.basename(path)
    intro = comment_text(text[:text.index("*/") + 2])
    intro = re.sub(r"^\S+ - ", "", intro)
    section, pages = "", []
    for m in re.finditer(r"/\* --- (.*?) -+ \*/|/\*\*(?: |\n).*?\*/\n", text, re.S):
        if m.group(1):
            section = m.group(1)
        elif m.start():
            page = Page(name, section, comment_text(m.group(0).strip()), declaration(text[m.end():]))
            if page.names:
                pages.append(page)
    return name, intro, merged(pages)


def merged(pages):
    """A structure and the function of its name have one page."""
    functions = {n: p for p in pages for n in p.functions}
    for p in [p for p in pages if not p.functions and p.names[0] in functions]:
        whole = functions[p.names[0]]
        whole.code = p.code + "\n\n" + whole.code
        whole.comment = whole.comment.replace("\n\n", "\n\n" + p.comment + "\n\n", 1)
        pages.remove(p)
    return pages


# --- troff

def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("^", "\\(ha").replace("~", "\\(ti")
    text = text.replace("`", "\\(ga").replace("'", "\\(aq")
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.M)


def prose(text):
    """A paragraph: what is in backquotes, and functions of ours, in bold."""
    out = []
    for part in re.split(r"(`[^`]+`|\bprof_\w+\(\)|\bLIBPROF_[A-Z_]+)", " ".join(text.split())):
        bare = escape(part.strip("`"))
        if part.startswith("`") or part.startswith("LIBPROF_"):
            bare = "\\fB%s\\fP" % bare
        elif part.startswith("prof_"):
            bare = "\\fB%s\\fP(3)" % bare[:-2]
        out.append(bare)
    return re.sub(r"^(?=[.'])", r"\\&", "".join(out))


def indent_of(line):
    return len(line) - len(line.lstrip())


def groups(lines):
    """Runs of lines that are of one kind: text, code, an entry of a list, nothing."""
    kind, run = None, []
    for line in lines:
        deep = indent_of(line)
        if not line.strip():
            new = kind if kind == "code" else "empty"
        elif deep == 0:
            new = "text"
        elif kind == "entry" and deep > indent_of(run[0]) + 1 and deep != 4:
            new = None  # goes on
        elif kind == "entry" and deep > 4:
            new = None
        elif deep < 4 and (line.lstrip().startswith("- ") or re.match(r" +\S+( \S+)* {2,}\S", line)):
            new = "start"
        elif deep >= 4:
            new = "code"
        else:
            new = "text"
        if new is None or (new == kind and new != "start"):
            run.append(line)
            continue
        if run:
            yield kind, run
        kind, run = ("entry" if new == "start" else new), [line]
    if run:
        yield kind, run


def body(text):
    out = []
    for kind, run in groups(text.split("\n")):
        if kind == "text":
            out += [".PP" if not out or out[-1] != ".PP" else None, prose(" ".join(run))]
        elif kind == "code":
            while run and not run[-1].strip():
                run.pop()
            out += [".PP", ".in +4n", ".EX"] + [escape(line[4:]) for line in run] + [".EE", ".in"]
        elif kind == "entry" and run[0].lstrip().startswith("- "):
            out += [".IP \\(bu 2", prose(" ".join(run).strip()[2:])]
        elif kind == "entry":
            tag, rest = re.match(r" +(.*?) {2,}(.*)", run[0]).groups()
            out += [".TP", "\\fB%s\\fP" % escape(tag), prose(" ".join([rest] + run[1:]))]
    return [line for line in out if line is not None]


def parts(comment):
    """The description, parameters, and what follows each label."""
    labelled, params, text, where = {}, [], [], None
    for line in comment.split("\n"):
        pieces = LABEL.split(line)
        m = re.match(r"@param (\w+) +(.*)", line)
        if m:
            params.append([m.group(1), m.group(2)])
            where = "param"
            continue
        if not line.strip():
            where = None
        if pieces[0] or len(pieces) == 1:
            if where == "param" and line.startswith(" "):
                params[-1][1] += " " + line.strip()
            elif where and where != "param" and pieces[0]:
                labelled[where].append(pieces[0])
            else:
                where = None
                text.append(pieces[0])
        for label, rest in zip(pieces[1::2], pieces[2::2]):
            labelled.setdefault(label, []).append(rest)
            where = label
    return "\n".join(text).strip("\n"), params, labelled


def summary(page):
    """One line for NAME."""
    text = " ".join(parts(page.comment)[0].split("\n\n")[0].replace("`", "").split())
    text = re.sub(r" \([^()]*[.:;][^()]*\)", "", text)
    end = re.compile(r"[.:;](?: |$)")
    at = end.search(text) # not "For servers:"
    at = end.search(text, 14) if at and at.start() < 14 else at
    first = text[:at.start()] if at else text
    return first[:1].lower() + first[1:] if not re.match(r"[A-Z]{2}", first) else first


def heading(name, version):
    return '.TH %s 3 "" "libprof %s" "libprof"' % (escape(name), version)


def checked(text, pages):
    """The text, if what it refers to exists."""
    known = {n for p in pages for n in p.names}
    for name in set(re.findall(r"\\fB(prof_\w+)\\fP\(3\)", text)):
        if name not in known:
            raise SystemExit("pages.py: %s is spoken of, and is in no header" % name)
    return text


def module(header):
    return {"prof/http.h": "libprof\\-http"}.get(header, "libprof")


def page_text(page, pages, version):
    description, params, labelled = parts(page.comment)
    out = [heading(page.names[0], version), ".SH NAME",
           ", ".join(page.names) + " \\- " + escape(summary(page)), ".SH SYNOPSIS", ".nf",
           "\\fB#include <%s>\\fP" % page.header, ".PP"]
    code = re.sub(r"PROF_API .*?\(.*?;", lambda m: re.sub(r"^PROF_API |^ {9}", "", m.group(0), flags=re.M),
                  page.code, flags=re.S)
    out += [escape(line) for line in code.split("\n")]
    out += [".PP", "Link with \\fIpkg\\-config \\-\\-libs %s\\fP." % module(page.header), ".fi",
            ".SH DESCRIPTION"] + body(description)
    for name, text in params:
        out += [".TP", "\\fI%s\\fP" % name, prose(text)]
    if "Returns" in labelled:
        out += [".SH RETURN VALUE", prose(" ".join(labelled.pop("Returns")))]
        if page.functions and "prof_last_error" not in page.names:
            out += [".PP", "After a failure \\fBprof_last_error\\fP(3) has a sentence on why."]
    if "Environment" in labelled:
        out += [".SH ENVIRONMENT", prose(" ".join(labelled.pop("Environment")))]
    source = labelled.pop("Source", None)
    if labelled:
        out += [".SH NOTES"]
        for label, text in labelled.items():
            out += [".TP", "\\fB%s\\fP" % label, prose(" ".join(text))]
    if source:
        out += [".SH STANDARDS", prose(" ".join(source))]
    near = [p.names[0] for p in pages
            if (p.header, p.section) == (page.header, page.section) and p is not page]
    out += [".SH SEE ALSO", ",\n".join("\\fB%s\\fP(%s)" % (escape(n), s) for n, s in
                                      [(n, 3) for n in near[:8]] + [("libprof", 3), ("libprof", 7)])]
    return checked("\n".join(out) + "\n", pages)


def index_text(headers, pages, version):
    out = [heading("libprof", version), ".SH NAME",
           "libprof \\- profiles of a running native program: the C interface", ".SH SYNOPSIS", ".nf"]
    out += ["\\fB#include <%s>\\fP" % name for name, _, own in headers if own]
    out += [".PP", "\\fIcc service.c $(pkg\\-config \\-\\-cflags \\-\\-libs libprof\\-http libprof\\-hooks)\\fP",
            ".fi", ".SH DESCRIPTION"]
    for name, intro, own in headers:
        if own:
            out += [".SS <%s>" % name] + body(intro[:1].upper() + intro[1:])
    out += [".SH INTERFACE"]
    section = None
    for p in pages:
        if (p.header, p.section) != section:
            section = (p.header, p.section)
            out += [".SS " + (escape(p.section[:1].upper() + p.section[1:]) or "<%s>" % p.header)]
        out += [".TP", ", ".join("\\fB%s\\fP(3)" % n for n in p.names), escape(summary(p))]
    out += [".SH SEE ALSO", "\\fBprofrun\\fP(1),\n\\fBlibprof\\fP(7)"]
    return checked("\n".join(out) + "\n", pages)


def table(readme, heading):
    """The table below a heading of README.md, as a list."""
    with open(readme) as f:
        rows = re.findall(r"^\| `?(.+?)`? \| (.+) \|$", f.read().split("\n## %s\n" % heading)[1].split("\n## ")[0],
                          re.M)
    return "\n".join(".TP\n\\fB%s\\fP\n%s" % (escape(name), prose(text)) for name, text in rows[2:])


def fill(version, libdir, source, readme, out):
    with open(source) as f:
        text = f.read()
    for mark, value in (("VERSION", version), ("LIBDIR", escape(libdir)),
                        ("PROFILES", table(readme, "What each profile means")),
                        ("ENVIRONMENT", table(readme, "Environment"))):
        text = text.replace("@%s@" % mark, value)
    with open(out, "w") as f:
        f.write(text)


def main():
    if sys.argv[1] == "--fill":
        fill(*sys.argv[2:])
        return
    listing = sys.argv[1] == "--list"
    headers = [read_header(path) for path in sys.argv[2 if listing else 3:]]
    pages = [p for _, _, own in headers for p in own]
    if listing:
        print("\n".join(n + ".3" for n in ["libprof"] + [n for p in pages for n in p.names]))
        return
    version, folder = sys.argv[1:3]
    made = {"libprof": index_text(headers, pages, version)}
    for p in pages:
        made[p.names[0]] = page_text(p, pages, version)
        made.update({n: ".so man3/%s.3\n" % p.names[0] for n in p.names[1:]})
    for name, text in made.items():
        with open(os.path.join(folder, name + ".3"), "w") as f:
            f.write(text)


main()
