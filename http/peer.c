/*
 * peer.c - asks the kernel about the two ends of a connection.
 */
#include "peer.h"

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

union any_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
    struct sockaddr_storage storage;
};

/* Our end of it is in 127.0.0.0/8, or ::1. */
static bool is_loopback(const union any_address *local)
{
    const struct in6_addr *in6 = &local->in6.sin6_addr;

    if (local->any.sa_family == AF_INET)
        return ntohl(local->in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return local->any.sa_family == AF_INET6 &&
           (IN6_IS_ADDR_LOOPBACK(in6) ||
            (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == IN_LOOPBACKNET));
}

static bool is_foreign_user(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return true;
    return peer.uid != geteuid() && peer.uid != 0;
}

void prof__peer_tell(int fd, struct prof__caller *ret)
{
    union any_address local;
    socklen_t size = sizeof(local);

    memset(&local, 0, sizeof(local));
    if (getsockname(fd, &local.any, &size) < 0)
        return; /* as a stranger from the network */
    ret->loopback = is_loopback(&local);
    ret->unix_socket = local.any.sa_family == AF_UNIX;
    /* A name in the abstract name space has no mode that would keep others out. */
    bool has_mode = size > offsetof(struct sockaddr_un, sun_path) && local.un.sun_path[0];
    ret->foreign_user = ret->unix_socket && !has_mode && is_foreign_user(fd);
}
