/*
 * hosts.c - which names are ours; why that matters is in hosts.h.
 *
 * No resolver is asked: it may take its time, or load what else it likes, and what it says is what
 * an attacker can have arranged. Of /etc/hosts only the line with our host name counts, since
 * others are there to block names that are not ours.
 */
#include "hosts.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "buffer.h"

#define SEPARATORS ", \t\r\n"
#define MAX_NAME   255
#define MAX_HOSTS  (256 * 1024) /* bytes of /etc/hosts that are looked at */

static void add(struct prof__buffer *list, const char *name, size_t size)
{
    if (size == 0 || size > MAX_NAME)
        return;
    prof__buffer_add(list, name, size);
    prof__buffer_puts(list, ",");
}

/* The next of a list's names, taken off it. False: there is none. */
static bool next_name(const char **list, const char **ret_name, size_t *ret_size)
{
    *list += strspn(*list, SEPARATORS);
    *ret_name = *list;
    *ret_size = strcspn(*list, SEPARATORS);
    *list += *ret_size;
    return *ret_size > 0;
}

static bool is_name(const char *name, size_t size, const char *what)
{
    return size == strlen(what) && strncasecmp(name, what, size) == 0;
}

/* "127.0.1.1 db1.example.com db1": both, if one is `host` or its first label. */
static void add_line(struct prof__buffer *list, char *line, const char *host, const char *label)
{
    const char *rest, *name;
    size_t size;
    bool ours = false;

    line[strcspn(line, "#")] = '\0';
    rest = line + strcspn(line, SEPARATORS); /* past the address */
    for (const char *at = rest; next_name(&at, &name, &size);)
        ours |= is_name(name, size, host) || is_name(name, size, label);
    while (ours && next_name(&rest, &name, &size))
        add(list, name, size);
}

static void add_machine(struct prof__buffer *list)
{
    char host[MAX_NAME + 1] = "", label[MAX_NAME + 1];
    struct prof__buffer file = { 0 };

    if (gethostname(host, sizeof(host) - 1) < 0 || !*host || !prof__hosts_valid(host))
        return;
    snprintf(label, sizeof(label), "%.*s", (int)strcspn(host, "."), host);
    add(list, host, strlen(host));
    add(list, label, strlen(label));
    prof__buffer_add_file(&file, "/etc/hosts", MAX_HOSTS);
    prof__buffer_add(&file, "", 1);
    for (char *line, *rest = file.error ? NULL : file.data; (line = strsep(&rest, "\n"));)
        add_line(list, line, host, label);
    prof__buffer_free(&file);
}

char *prof__hosts_list(const char *own_name, const char *more)
{
    struct prof__buffer list = { 0 };
    const char *name;
    size_t size;

    add_machine(&list);
    if (own_name)
        add(&list, own_name, strlen(own_name));
    while (more && next_name(&more, &name, &size))
        add(&list, name, size);
    char *copy = prof__buffer_add(&list, "", 1) == 0 ? strdup(list.data) : NULL;
    prof__buffer_free(&list);
    return copy;
}

bool prof__hosts_valid(const char *more)
{
    const char *name;
    size_t size;

    while (next_name(&more, &name, &size)) {
        const char *plain = name;
        size_t left = size;

        if (*plain == '*') { /* "*" or "*.name" */
            plain++, left--;
            if (left > 0 && (left < 2 || *plain != '.'))
                return false;
        }
        for (size_t i = 0; i < left; i++)
            if (!(plain[i] >= '0' && plain[i] <= '9') &&
                !((plain[i] | 0x20) >= 'a' && (plain[i] | 0x20) <= 'z') &&
                !strchr("-._", plain[i]) && (unsigned char)plain[i] < 0x80)
                return false;
        if (size > MAX_NAME)
            return false;
    }
    return true;
}

/* The name of a Host header without its port. False: it has none. */
static bool cut_port(const char *host, char *buf, size_t buf_size)
{
    size_t size = strlen(host);
    const char *colon = strrchr(host, ':');
    bool brackets = *host == '[';

    if (brackets) { /* [::1] or [::1]:6060 */
        const char *close = strchr(host, ']');

        if (!close || (close[1] != '\0' && close[1] != ':'))
            return false;
        host++;
        size = (size_t)(close - host);
    } else if (colon) {
        size = (size_t)(colon - host);
    }
    if (size == 0 || size >= buf_size)
        return false;
    memcpy(buf, host, size);
    buf[size] = '\0';
    if (brackets)
        buf[strcspn(buf, "%")] = '\0'; /* the zone of a link-local address */
    return true;
}

static bool is_address(const char *name)
{
    unsigned char address[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/* Does `name` end in `suffix`, with something before it? */
static bool is_below(const char *name, const char *suffix, size_t suffix_size)
{
    size_t size = strlen(name);

    return size > suffix_size && strncasecmp(name + size - suffix_size, suffix, suffix_size) == 0;
}

bool prof__hosts_match(const char *list, const char *host)
{
    static const char localhost[] = ".localhost";
    char name[MAX_NAME + 2];
    const char *ours;
    size_t size;

    if (!cut_port(host, name, sizeof(name)))
        return false;
    if (is_address(name))
        return true;
    if (name[strlen(name) - 1] == '.') /* a fully qualified "localhost." */
        name[strlen(name) - 1] = '\0';
    if (strcasecmp(name, localhost + 1) == 0 || is_below(name, localhost, strlen(localhost)))
        return true;
    while (list && next_name(&list, &ours, &size))
        if (is_name(ours, size, name) || is_name(ours, size, "*") ||
            (*ours == '*' && is_below(name, ours + 1, size - 1)))
            return true;
    return false;
}
