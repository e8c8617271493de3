#include "common/http_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define ESTABLISHED 1 /* tcpi_state; <netinet/tcp.h> has the name, and an older struct tcp_info */

/* IPv4 addresses whole, IPv6 ones folded: with the port, enough to tell connections apart. */
static uint32_t fold(const struct in6_addr *address)
{
    uint32_t hash = 2166136261U; /* FNV-1a */

    for (int i = 0; i < 16; i++)
        hash = (hash ^ address->s6_addr[i]) * 16777619U;
    return hash;
}

static uint64_t peer_number(uint32_t address, uint16_t port)
{
    return UINT64_C(1) << 63 | (uint64_t)address << 16 | port;
}

static uint64_t peer_of(const struct sockaddr_storage *a)
{
    const struct sockaddr_in *v4 = (const void *)a;
    const struct sockaddr_in6 *v6 = (const void *)a;

    if (a->ss_family == AF_INET)
        return peer_number(v4->sin_addr.s_addr, ntohs(v4->sin_port));
    if (a->ss_family == AF_INET6)
        return peer_number(fold(&v6->sin6_addr), ntohs(v6->sin6_port));
    return 0;
}

static int port_of(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)a)->sin_port);
    if (a->ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)a)->sin6_port);
    return -1;
}

uint64_t http_peer_parse(const char *address, int port)
{
    char plain[INET6_ADDRSTRLEN];
    struct in_addr v4;
    struct in6_addr v6;

    /* A link-local address has its interface behind it: fe80::1%eth0 */
    snprintf(plain, sizeof plain, "%.*s", (int)strcspn(address, "%"), address);
    if (inet_pton(AF_INET, plain, &v4) == 1)
        return peer_number(v4.s_addr, (uint16_t)port);
    if (inet_pton(AF_INET6, plain, &v6) == 1)
        return peer_number(fold(&v6), (uint16_t)port);
    return 0;
}

static bool has_port(int fd, uint16_t port)
{
    struct sockaddr_storage own = {0};
    socklen_t size = sizeof own;

    return getsockname(fd, (struct sockaddr *)&own, &size) == 0 && port_of(&own) == port;
}

uint64_t http_socket_peer(int fd, uint16_t own_port)
{
    struct sockaddr_storage peer = {0};
    socklen_t size = sizeof peer;

    if (getpeername(fd, (struct sockaddr *)&peer, &size) != 0 || !has_port(fd, own_port))
        return 0;
    return peer_of(&peer);
}

/* ---- descriptors ---- */

enum err http_descriptors_allow(uint64_t count, struct err_detail *detail)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= count)
        return ERR_NONE;
    if (limit.rlim_max < count)
        return err_set(detail, ERR_UNAVAILABLE,
                       "so many connections need %llu open files, and this process may have %llu: "
                       "raise the limit (ulimit -n) or allow fewer connections",
                       (unsigned long long)count, (unsigned long long)limit.rlim_max);
    limit.rlim_cur = count;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return err_set(detail, ERR_UNAVAILABLE, "the limit of open files cannot be raised: %s",
                       strerrordesc_np(errno));
    return ERR_NONE;
}

DIR *http_descriptors_open(void)
{
    return opendir("/proc/self/fd");
}

/* Calls `each` for the descriptors of this process until it returns false. */
static bool descriptors_each(DIR *descriptors, bool (*each)(int fd, void *ctx), void *ctx)
{
    struct dirent *entry;

    rewinddir(descriptors);
    errno = 0;
    while ((entry = readdir(descriptors))) {
        if (entry->d_name[0] != '.' && !each(atoi(entry->d_name), ctx))
            return true;
        errno = 0;
    }
    return errno == 0;
}

/* ---- sockets ---- */

struct search {
    uint16_t port;
    bool (*each)(int fd, uint64_t peer, void *ctx);
    void *ctx;
    int found;
};

static bool on_connection(int fd, void *ctx)
{
    struct search *search = ctx;
    uint64_t peer = http_socket_peer(fd, search->port);

    return peer == 0 || search->each(fd, peer, search->ctx);
}

bool http_sockets_each(DIR *descriptors, uint16_t own_port,
                       bool (*each)(int fd, uint64_t peer, void *ctx), void *ctx)
{
    struct search search = {.port = own_port, .each = each, .ctx = ctx};

    return descriptors_each(descriptors, on_connection, &search);
}

static bool on_listening(int fd, void *ctx)
{
    struct search *search = ctx;
    int listening = 0;
    socklen_t size = sizeof listening;

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening &&
        has_port(fd, search->port))
        search->found = fd;
    return search->found < 0;
}

int http_socket_listening(DIR *descriptors, uint16_t port)
{
    struct search search = {.port = port, .found = -1};

    (void)descriptors_each(descriptors, on_listening, &search); /* not found: the same */
    return search.found;
}

bool http_socket_arrival(int fd, struct http_arrival *ret)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    int unread = 0;

    if (ioctl(fd, FIONREAD, &unread) != 0 ||
        getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
        return false;
    *ret = (struct http_arrival){.unread = unread,
                                 .silent_ms = info.tcpi_last_data_recv,
                                 .bytes_arrived = info.tcpi_bytes_received,
                                 .open = info.tcpi_state == ESTABLISHED};
    return true;
}

static bool tcp_info(int fd, struct tcp_info *ret)
{
    socklen_t size = sizeof *ret;

    memset(ret, 0, sizeof *ret);
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, ret, &size) == 0;
}

/* Linux counts the peer's end as a byte that has arrived. */
static unsigned long long end_of_peer(const struct tcp_info *info)
{
    return info->tcpi_state != ESTABLISHED;
}

/* Between two equal looks nothing has arrived, so the number of unread bytes is of that moment. */
bool http_socket_taken(int fd, uint64_t *ret)
{
    struct tcp_info before, after;
    int unread = 0;

    if (!tcp_info(fd, &after))
        return false;
    do {
        before = after;
        if (ioctl(fd, FIONREAD, &unread) != 0 || !tcp_info(fd, &after))
            return false;
    } while (before.tcpi_bytes_received != after.tcpi_bytes_received ||
             before.tcpi_state != after.tcpi_state);
    if (after.tcpi_bytes_received < (unsigned long long)unread + end_of_peer(&after))
        return false; /* an old kernel */
    *ret = after.tcpi_bytes_received - (unsigned long long)unread - end_of_peer(&after);
    return true;
}

uint32_t http_socket_backlog(int listening)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;

    if (getsockopt(listening, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
        return 0;
    return info.tcpi_unacked; /* of a listening socket: its accept queue */
}
