/*
 * peer.c - asks the kernel about the two ends of a connection.
 */
#include "peer.h"

#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

bool prof__peer_is_loopback(int fd)
{
    struct sockaddr_storage local;
    socklen_t size = sizeof(local);

    if (getsockname(fd, (struct sockaddr *)&local, &size) < 0)
        return false;
    if (local.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&local;
        return ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    if (local.ss_family == AF_INET6) {
        const struct in6_addr *in6 = &((const struct sockaddr_in6 *)&local)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(in6) ||
               (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == IN_LOOPBACKNET);
    }
    return false;
}

bool prof__peer_is_foreign_user(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return true;
    return peer.uid != geteuid() && peer.uid != 0;
}

bool prof__peer_is_abstract(int fd)
{
    struct sockaddr_un local;
    socklen_t size = sizeof(local);

    if (getsockname(fd, (struct sockaddr *)&local, &size) < 0 || local.sun_family != AF_UNIX)
        return false;
    return size <= offsetof(struct sockaddr_un, sun_path) || local.sun_path[0] == '\0';
}
