/*
 * encode_linked.c - libprotobuf-c is linked with libprof.a, so it is there.
 */
#include "encode/encode.h"

bool prof__encode_can_pprof(void)
{
    return true;
}
