#include "common/port_owner.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STATE_LISTEN 0x0A /* include/net/tcp_states.h */
#define HOST_MAX 256

/* ---- who ---- */

/* The socket's inode from one of the kernel's tables (proc(5), /proc/net/tcp); 0: not there. */
static uint64_t listening_inode(const char *table, uint16_t port)
{
    FILE *file = fopen(table, "re");
    char line[512];
    uint64_t found = 0;
    if (!file)
        return 0;
    while (!found && fgets(line, sizeof line, file)) {
        unsigned local_port, state;
        uint64_t inode;
        if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*s %*s %" SCNu64,
                   &local_port, &state, &inode) == 3 &&
            local_port == port && state == STATE_LISTEN)
            found = inode;
    }
    fclose(file);
    return found;
}

static bool has_socket(const char *pid, const char *socket)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    DIR *fds = opendir(path);
    bool found = false;
    if (!fds)
        return false;
    for (struct dirent *entry = readdir(fds); entry && !found; entry = readdir(fds)) {
        char target[64];
        ssize_t len = readlinkat(dirfd(fds), entry->d_name, target, sizeof target - 1);
        if (len < 0)
            continue;
        target[len] = '\0';
        found = strcmp(target, socket) == 0;
    }
    closedir(fds);
    return found;
}

static void describe(const char *pid, char *ret, size_t size)
{
    char path[64];
    char name[64] = "";
    snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
    FILE *file = fopen(path, "re");
    if (file) {
        if (!fgets(name, sizeof name, file))
            name[0] = '\0';
        fclose(file);
    }
    name[strcspn(name, "\n")] = '\0';
    snprintf(ret, size, "%s (pid %.20s)", name[0] ? name : "a process", pid);
}

bool port_owner_find(uint16_t port, char *ret, size_t size)
{
    uint64_t inode = listening_inode("/proc/net/tcp", port);
    if (!inode)
        inode = listening_inode("/proc/net/tcp6", port);
    if (!inode)
        return false;
    char socket[64];
    snprintf(socket, sizeof socket, "socket:[%" PRIu64 "]", inode);
    DIR *processes = opendir("/proc");
    bool found = false;
    if (!processes)
        return false;
    for (struct dirent *entry = readdir(processes); entry && !found; entry = readdir(processes)) {
        found = isdigit((unsigned char)entry->d_name[0]) && has_socket(entry->d_name, socket);
        if (found)
            describe(entry->d_name, ret, size);
    }
    closedir(processes);
    return found;
}

/* ---- why ---- */

/* Splits host:port or [v6]:port; false: it isn't one. */
static bool split(const char *listen, char host[HOST_MAX], const char **ret_port)
{
    const char *colon = strrchr(listen, ':');
    if (!colon || !colon[1])
        return false;
    const char *from = listen;
    size_t len = (size_t)(colon - listen);
    if (len >= 2 && from[0] == '[' && from[len - 1] == ']') {
        from++;
        len -= 2;
    }
    if (len >= HOST_MAX)
        return false;
    memcpy(host, from, len);
    host[len] = '\0';
    *ret_port = colon + 1;
    return true;
}

/* 0: it can be listened on. */
static int try_address(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int on = 1;
    int error = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, 1) != 0)
        error = errno;
    close(fd);
    return error;
}

enum err port_owner_explain(const char *listen, struct err_detail *detail)
{
    char host[HOST_MAX];
    char owner[128];
    const char *port;
    if (!split(listen, host, &port))
        return err_set(detail, ERR_UNAVAILABLE, "cannot listen on %s: it isn't host:port", listen);

    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses;
    int why = getaddrinfo(host[0] ? host : NULL, port, &hints, &addresses);
    if (why != 0)
        return err_set(detail, ERR_UNAVAILABLE, "cannot listen on %s: %s", listen,
                       gai_strerror(why));
    int error = 0;
    for (struct addrinfo *a = addresses; a && !error; a = a->ai_next)
        error = try_address(a);
    freeaddrinfo(addresses);

    if (error == EADDRINUSE &&
        port_owner_find((uint16_t)strtoul(port, NULL, 10), owner, sizeof owner))
        return err_set(detail, ERR_UNAVAILABLE, "cannot listen on %s: %s, by %s", listen,
                       strerrordesc_np(error), owner);
    return err_set(detail, ERR_UNAVAILABLE, "cannot listen on %s: %s", listen,
                   error ? strerrordesc_np(error)
                         : "it was refused for a reason that is gone by now");
}
