/*
 * fuzz_address.c - where to listen, as the program or the environment spells it.
 */
#include "address.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include <prof/prof.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct prof__address a;

    memcpy(text, data, size);
    text[size] = '\0';
    if (prof__address_parse(text, &a) == 0) {
        FUZZ_PROMISE(memchr(a.host, '\0', sizeof(a.host)) && memchr(a.text, '\0', sizeof(a.text)));
        FUZZ_PROMISE(a.kind <= PROF__ADDRESS_FD);
    } else {
        FUZZ_PROMISE(prof_last_error()[0]);
    }
    free(text);
    return 0;
}
