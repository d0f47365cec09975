/*
 * hosts.h - the names that a Host header may have where no token is asked for.
 *
 * A page whose own name was made to point at this machine (DNS rebinding) counts as the same site
 * to the browser, and may read the answers. Only its Host gives it away: it is the page's name and
 * not one of ours. So these are let in:
 *
 *   always        an IP address; localhost, and every name below .localhost (RFC 6761)
 *   the machine's its host name, and what /etc/hosts says besides in the same line
 *   the server's  the name in the address it listens on
 *   the options'  names, "*.example.com" for all below it, "*" for any
 */
#ifndef PROF_HTTP_HOSTS_H
#define PROF_HTTP_HOSTS_H

#include <stdbool.h>

/*
 * The machine's names, `own_name` (may be NULL) and `more` (may be NULL; commas or blanks between
 * them), as one list for prof__hosts_match(). malloc'ed; NULL: out of memory. Reads /etc/hosts and
 * asks no resolver.
 */
char *prof__hosts_list(const char *own_name, const char *more);

/* Are these names that can be compared with? */
bool prof__hosts_valid(const char *more);

/* A Host header, with or without a port, names an address, this machine, or what is in the list
 * (may be NULL). */
bool prof__hosts_match(const char *list, const char *host);

#endif
