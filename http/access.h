/*
 * access.h - who may read the profiles.
 *
 * Four questions, asked before the path is looked at, so that who is refused learns nothing:
 *
 *   the token      if one is set, as bearer token or as the password of basic authentication,
 *                  which is what `go tool pprof http://user:token@host/` sends
 *   the user       on a Unix socket with no token: ours, or root. The mode of a socket file says
 *                  so already; an abstract name has no mode. On the control socket this is all
 *                  that is asked
 *   the browser    over loopback, every page that somebody opens on this machine can send requests
 *                  here. So none that a browser marks as another site's
 *   the name       with no token, wherever the request comes from, no foreign Host: a page whose
 *                  own name was made to point here may read the answers (hosts.h). No page reaches
 *                  a Unix socket
 */
#ifndef PROF_HTTP_ACCESS_H
#define PROF_HTTP_ACCESS_H

#include <stdbool.h>
#include <stddef.h>

/* One request's credentials; NULL for a header that is absent. */
struct prof__caller {
    bool loopback;     /* reached us over 127.0.0.0/8 or ::1 */
    bool unix_socket;  /* over a Unix socket */
    bool control;      /* over the control socket */
    bool foreign_user; /* a Unix peer that is neither our user nor root */
    const char *authorization;
    const char *host;       /* Host, or that of the target */
    const char *fetch_site; /* Sec-Fetch-Site */
};

/*
 * 0, or -EACCES: no or a wrong token, -EPERM: refused whatever the token. Then `ret_reason` is a
 * sentence for the client.
 *
 * @param token      what is asked for; NULL: nothing
 * @param hosts      names allowed as Host besides addresses and localhost, of prof__hosts_list()
 */
int prof__access_check(const char *token, const char *hosts, const struct prof__caller *caller,
                       const char **ret_reason);

/* An Authorization header carries the token. Takes the same time for every wrong one. */
bool prof__access_token(const char *token, const char *authorization);

#endif
