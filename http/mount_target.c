/*
 * mount_target.c - back from a decoded path and decoded parameters to a raw target.
 *
 * libmicrohttpd hands over the former; routes.c reads the latter. So encode again what it has
 * decoded. A ';' and a ' ' are as they were: the one is never special to libmicrohttpd, the other
 * was a '+'.
 */
#include "mount_target.h"

#include <string.h>

#include "buffer.h"

#define ROOT "/debug/pprof/"

bool prof__mount_is_prefix(const char *prefix)
{
    const char *end = strstr(prefix, ROOT);

    while (end && end[strlen(ROOT)])
        end = strstr(end + 1, ROOT);
    return end && *prefix == '/';
}

bool prof__mount_is_below(const char *url, const char *prefix, const char **ret_below)
{
    size_t size = strlen(prefix);

    if (strncmp(url, prefix, size) == 0)
        *ret_below = url + size;
    else if (strlen(url) == size - 1 && strncmp(url, prefix, size - 1) == 0)
        *ret_below = NULL;
    else
        return false;
    return true;
}

static void add_encoded(struct prof__buffer *out, const char *text, size_t size, const char *plain)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

        if (word || (c && strchr(plain, c)))
            prof__buffer_add(out, &text[i], 1);
        else if (c == ' ' && *plain == ';')
            prof__buffer_puts(out, "+");
        else
            prof__buffer_printf(out, "%%%02X", c);
    }
}

static enum MHD_Result add_parameter(void *buffer, enum MHD_ValueKind kind, const char *name,
                                     size_t name_size, const char *value, size_t value_size)
{
    struct prof__buffer *out = buffer;

    (void)kind;
    prof__buffer_puts(out, out->size && out->data[out->size - 1] == '?' ? "" : "&");
    add_encoded(out, name, name_size, ";-_.~");
    if (value) {
        prof__buffer_puts(out, "=");
        add_encoded(out, value, value_size, ";-_.~");
    }
    return MHD_YES;
}

char *prof__mount_target(struct MHD_Connection *mhd, const char *below)
{
    struct prof__buffer out = { 0 };

    if (!below)
        return strndup(ROOT, strlen(ROOT) - 1); /* has a route that sends to the index */
    prof__buffer_puts(&out, ROOT);
    add_encoded(&out, below, strlen(below), "/-_.~");
    prof__buffer_puts(&out, "?");
    MHD_get_connection_values_n(mhd, MHD_GET_ARGUMENT_KIND, add_parameter, &out);
    char *copy = prof__buffer_add(&out, "", 1) == 0 ? strdup(out.data) : NULL;
    prof__buffer_free(&out);
    return copy;
}
