// demangle.js - C++ names for people, as pprof shows them: without parameters, template arguments or
// return types: _ZN3net6Server5serveERKSs becomes net::Server::serve. Rust's older names are of the
// same kind, and lose their hash.
//
// A name is read from left to right into text; every part that a later S_, S0_, ... may mean is kept in
// `seen`. Types matter only because they are counted there too. What is not understood (expressions in
// template arguments, mostly) leaves the name as it was.
// Source: the Itanium C++ ABI, section 5.1.

const BUILTIN = {
  v: "void", w: "wchar_t", b: "bool", c: "char", a: "signed char", h: "unsigned char", s: "short",
  t: "unsigned short", i: "int", j: "unsigned int", l: "long", m: "unsigned long", x: "long long",
  y: "unsigned long long", n: "__int128", o: "unsigned __int128", f: "float", d: "double",
  e: "long double", g: "__float128", z: "...",
};
const BUILTIN_D = { n: "decltype(nullptr)", i: "char32_t", s: "char16_t", u: "char8_t", a: "auto",
  c: "decltype(auto)", h: "half", d: "decimal64", e: "decimal128", f: "decimal32" };
const STANDARD = { t: "std", a: "std::allocator", b: "std::basic_string", s: "std::string",
  i: "std::istream", o: "std::ostream", d: "std::iostream" };
const OPERATOR = {
  nw: " new", na: " new[]", dl: " delete", da: " delete[]", aw: " co_await", ps: "+", ng: "-", ad: "&",
  de: "*", co: "~", pl: "+", mi: "-", ml: "*", dv: "/", rm: "%", an: "&", or: "|", eo: "^", aS: "=",
  pL: "+=", mI: "-=", mL: "*=", dV: "/=", rM: "%=", aN: "&=", oR: "|=", eO: "^=", ls: "<<", rs: ">>",
  lS: "<<=", rS: ">>=", eq: "==", ne: "!=", lt: "<", gt: ">", le: "<=", ge: ">=", ss: "<=>", nt: "!",
  aa: "&&", oo: "||", pp: "++", mm: "--", cm: ",", pm: "->*", pt: "->", cl: "()", ix: "[]", qu: "?",
};
const SPECIAL = { TV: "vtable for ", TT: "VTT for ", TI: "typeinfo for ", TS: "typeinfo name for ",
  GV: "guard variable for " };
const RUST = { $SP$: "@", $BP$: "*", $RF$: "&", $LT$: "<", $GT$: ">", $LP$: "(", $RP$: ")", $C$: "," };
const DEEPEST = 200; // of nesting, so that no name can exhaust the stack

class Unknown extends Error {}

class Name {
  constructor(text) {
    this.text = text;
    this.at = 2; // after _Z
    this.seen = [];
    this.depth = 0;
  }

  eat(what) {
    if (!this.text.startsWith(what, this.at))
      return false;
    this.at += what.length;
    return true;
  }

  need(what) {
    if (!this.eat(what))
      throw new Unknown();
  }

  match(expression) { // a sticky one
    expression.lastIndex = this.at;
    const found = expression.exec(this.text);
    if (found)
      this.at += found[0].length;
    return found && found[0];
  }

  keep(text) {
    this.seen.push(text);
    return text;
  }

  /** A function with its parameters, or an object. Ends at E or at the end. */
  encoding() {
    for (const [code, words] of Object.entries(SPECIAL))
      if (this.eat(code))
        return words + (code === "GV" ? this.name() : this.type());
    const thunk = this.match(/T(?:hn?\d+_|vn?\d+_n?\d+_)/y);
    if (thunk)
      return (thunk[1] === "h" ? "non-virtual thunk to " : "virtual thunk to ") + this.encoding();
    const name = this.name();
    while (this.at < this.text.length && !/[E.]/.test(this.text[this.at]))
      this.type();
    return name;
  }

  name() {
    if (this.eat("N"))
      return this.nested();
    if (this.eat("Z"))
      return this.local();
    const std = this.eat("St");
    let name = !std && this.text[this.at] === "S" ? this.substitution()
      : (std ? "std::" : "") + this.unqualified("");
    if (this.text[this.at] === "I") {
      if (this.text[this.at - 1] !== "_" || std)
        this.keep(name);
      this.templateArguments();
    }
    return name;
  }

  nested() {
    let name = "";
    this.match(/[rVK]*[RO]?/y);
    while (!this.eat("E")) {
      const next = this.text[this.at];
      if (next === "S" && this.text[this.at + 1] !== "t") {
        name = this.substitution();
        continue; // kept already
      } else if (next === "S") {
        this.at += 2;
        name = "std";
        continue; // so is std, in a way
      } else if (next === "I") {
        this.templateArguments();
      } else if (next === "T" || next === "D" && /[tT]/.test(this.text[this.at + 1])) {
        name = this.bare();
      } else {
        const part = this.unqualified(name);
        name = name ? name + "::" + part : part;
      }
      this.eat("M"); // what follows is in its initializer
      if (this.text[this.at] !== "E")
        this.keep(name);
    }
    return name;
  }

  local() {
    const outer = this.encoding();
    this.need("E");
    if (this.eat("s")) {
      this.match(/_\d|__\d+_/y);
      return outer;
    }
    if (this.eat("d"))
      this.match(/n?\d*_/y);
    const inner = this.name();
    this.match(/_\d|__\d+_/y);
    return outer + "::" + inner;
  }

  /** One part of a name; `scope` is what is before it. */
  unqualified(scope) {
    const own = scope.replace(/(\[abi:\w+\])+$/, "").split("::").pop();
    let part;
    this.eat("L");
    if (/\d/.test(this.text[this.at]))
      part = this.source();
    else if (this.match(/C[1-5]|CI[12]/y))
      part = own;
    else if (this.match(/D[0-5]/y))
      part = "~" + own;
    else if (this.eat("Ut"))
      part = `{unnamed type#${this.ordinal()}}`;
    else if (this.eat("Ul")) {
      while (!this.eat("E"))
        this.type();
      part = `{lambda#${this.ordinal()}}`;
    } else if (this.eat("cv"))
      part = "operator " + this.type();
    else if (this.eat("li"))
      part = 'operator"" ' + this.source();
    else {
      const code = this.match(/[a-z][a-zA-Z]/y);
      if (!Object.hasOwn(OPERATOR, code))
        throw new Unknown();
      part = "operator" + OPERATOR[code];
    }
    while (this.eat("B"))
      part += `[abi:${this.source()}]`;
    return part;
  }

  source() {
    const size = Number(this.match(/\d{1,6}/y));
    const text = this.text.substr(this.at, size);
    if (!size || text.length < size)
      throw new Unknown();
    this.at += size;
    return text.startsWith("_GLOBAL__N") ? "(anonymous namespace)" : text;
  }

  ordinal() {
    const digits = this.match(/\d*_/y);
    if (!digits)
      throw new Unknown();
    return digits === "_" ? 1 : Number(digits.slice(0, -1)) + 2;
  }

  /** S_ S0_ ... of what was seen, or one of the short names of std. */
  substitution() {
    this.need("S");
    const code = this.match(/[0-9A-Z]*_/y);
    if (code) {
      const index = code === "_" ? 0 : parseInt(code, 36) + 1;
      if (index >= this.seen.length)
        throw new Unknown();
      return this.seen[index];
    }
    const standard = this.text[this.at++];
    if (!Object.hasOwn(STANDARD, standard))
      throw new Unknown();
    return STANDARD[standard];
  }

  templateArguments() {
    this.need("I");
    while (!this.eat("E"))
      this.argument();
  }

  argument() {
    if (this.eat("J")) {
      while (!this.eat("E"))
        this.argument();
    } else if (this.eat("L")) {
      if (this.eat("_Z"))
        this.encoding();
      else {
        this.type();
        this.match(/n?[0-9a-f]*/y);
      }
      this.need("E");
    } else if (this.text[this.at] === "X") {
      throw new Unknown();
    } else {
      this.type();
    }
  }

  type() {
    if (++this.depth > DEEPEST)
      throw new Unknown();
    const text = this.bare();
    this.depth--;
    return text;
  }

  bare() {
    const next = this.text[this.at], after = this.text[this.at + 1];
    if (next === undefined)
      throw new Unknown();
    if (Object.hasOwn(BUILTIN, next)) {
      this.at++;
      return BUILTIN[next];
    }
    const qualifiers = this.match(/[rVK]+/y);
    if (qualifiers)
      return this.keep(this.type());
    switch (next) {
    case "P": this.at++; return this.keep(this.type() + "*");
    case "R": this.at++; return this.keep(this.type() + "&");
    case "O": this.at++; return this.keep(this.type() + "&&");
    case "C": case "G": this.at++; return this.keep(this.type());
    case "F":
      this.at++;
      this.eat("Y");
      while (!this.match(/[RO]?E/y))
        this.type();
      return this.keep("function");
    case "A": {
      this.at++;
      if (!this.match(/\d*_/y))
        throw new Unknown();
      return this.keep(this.type() + "[]");
    }
    case "M": {
      this.at++;
      const owner = this.type();
      this.type();
      return this.keep(owner + "::*");
    }
    case "T":
      if (!this.match(/T\d*_/y))
        throw new Unknown();
      this.keep("auto");
      break;
    case "D":
      if (after === "p") {
        this.at += 2;
        return this.keep(this.type());
      }
      if (!Object.hasOwn(BUILTIN_D, after))
        throw new Unknown();
      this.at += 2;
      return BUILTIN_D[after];
    case "u":
      this.at++;
      return this.keep(this.source());
    case "S": {
      if (after === "t")
        return this.keep(this.name());
      const text = this.substitution();
      if (this.text[this.at] !== "I")
        return text;
      this.templateArguments();
      return this.keep(text);
    }
    default: {
      const text = this.name();
      return this.keep(text);
    }
    }
    if (this.text[this.at] === "I") {
      this.templateArguments();
      this.keep("auto");
    }
    return "auto";
  }
}

function rust(name) {
  return name.replace(/::h[0-9a-f]{16}$/, "")
    .replace(/\$(?:SP|BP|RF|LT|GT|LP|RP|C)\$/g, (code) => RUST[code])
    .replace(/\$u([0-9a-f]{2,4})\$/g, (_, code) => String.fromCharCode(parseInt(code, 16)))
    .replace(/\.\./g, "::").replace(/(^|::)_</g, "$1<");
}

/** `name` readable; itself when it is no mangled name, or one of a kind not known here. */
export function demangle(name) {
  if (!name.startsWith("_Z"))
    return name;
  try {
    const n = new Name(name), text = n.encoding(), rest = name.slice(n.at);
    if (rest && rest[0] !== ".")
      return name;
    const clone = rest ? ` [clone ${rest}]` : "";
    return (/::h[0-9a-f]{16}$/.test(text) ? rust(text) : text) + clone;
  } catch (error) {
    if (error instanceof Unknown)
      return name;
    throw error;
  }
}
