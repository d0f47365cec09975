/*
 * fuzz_access.c - Authorization and Host headers: none but the right token gets in.
 */
#include "access.h"
#include "fuzz.h"
#include "hosts.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char token[] = "correct horse battery staple";
    char *header = malloc(size + 1);

    memcpy(header, data, size);
    header[size] = '\0';
    /* Base64 hides the token from a look at the header, so only bearer is held to it. */
    if (prof__access_token(token, header) && strncasecmp(header, "basic", 5) != 0)
        FUZZ_PROMISE(strstr(header, token));
    if (prof__hosts_match("a.example,*.b", header))
        FUZZ_PROMISE(size > 0);
    free(header);
    return 0;
}
