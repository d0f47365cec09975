/*
 * call_names.c - the table is made from the kernel's header by call_names.py.
 */
#include "arch/call_names.h"

#include "base/compiler.h"
#include "call_table.h"

const char *prof__call_name(long number)
{
    return number >= 0 && (size_t)number < ARRAY_LEN(call_name) ? call_name[number] : NULL;
}
