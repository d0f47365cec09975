/*
 * demangle_ops.h - the operators of C++ by their codes in mangled names.
 */
#ifndef PROF_SYMBOL_DEMANGLE_OPS_H
#define PROF_SYMBOL_DEMANGLE_OPS_H

#include "base/compiler.h"

enum prof__op_kind {
    PROF__OP_NULLARY,
    PROF__OP_UNARY,
    PROF__OP_OF_TYPE, /* its operand is a type */
    PROF__OP_BINARY,
    PROF__OP_MEMBER, /* its right side is a name */
    PROF__OP_NAMED_CAST,
    PROF__OP_SUBSCRIPT,
    PROF__OP_CALL,
    PROF__OP_CONDITIONAL,
    PROF__OP_NEW,
};

struct prof__op {
    char code[3];
    const char *text;
    enum prof__op_kind kind;
    bool is_name; /* a function can be called so: operator+ */
};

extern const struct prof__op prof__ops[];
extern const size_t prof__n_ops;

#endif
