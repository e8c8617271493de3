#include "common/listen.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct holder {
    char pid[16];
    char name[64];
};

/* "host:port" or "[v6]:port" into its parts. */
static bool split(const char *address, char host[256], char port[8])
{
    const char *colon = strrchr(address, ':');
    size_t len;

    if (!colon || strlen(colon + 1) >= 8)
        return false;
    len = (size_t)(colon - address);
    if (address[0] == '[' && len >= 2) {
        address++;
        len -= 2;
    }
    if (len >= 256)
        return false;
    memcpy(host, address, len);
    host[len] = '\0';
    strcpy(port, colon + 1);
    return true;
}

/* The errno of binding and listening; 0: it works by now. */
static int try_address(const struct addrinfo *a)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, error = 0;

    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, 1) != 0)
        error = errno;
    close(fd);
    return error;
}

/* ---- by whom it is taken: /proc/net/tcp knows the socket, /proc/<pid>/fd who has it ---- */

/* The inode of a socket that listens on the port, from /proc/net/tcp or tcp6; 0: none. */
static unsigned long listening_inode(const char *table, unsigned port)
{
    char line[512];
    unsigned long found = 0;
    FILE *f = fopen(table, "re");

    while (f && found == 0 && fgets(line, sizeof line, f)) {
        unsigned its_port, state;
        unsigned long inode;

        /* sl local:port remote:port state queues timer retransmits uid timeout inode */
        if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*u %lu",
                   &its_port, &state, &inode) == 3 &&
            its_port == port && state == 0x0a)
            found = inode;
    }
    if (f)
        fclose(f);
    return found;
}

static bool has_socket(const char *pid, const char *target)
{
    char path[600], link[64];
    struct dirent *entry;
    bool found = false;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    dir = opendir(path);
    while (dir && !found && (entry = readdir(dir))) {
        ssize_t len;

        snprintf(path, sizeof path, "/proc/%s/fd/%s", pid, entry->d_name);
        len = readlink(path, link, sizeof link - 1);
        link[len > 0 ? len : 0] = '\0';
        found = strcmp(link, target) == 0;
    }
    if (dir)
        closedir(dir);
    return found;
}

static void read_name(const char *pid, char *name, size_t size)
{
    char path[64];
    FILE *f;

    snprintf(path, sizeof path, "/proc/%s/comm", pid);
    f = fopen(path, "re");
    if (!f || !fgets(name, (int)size, f))
        snprintf(name, size, "?");
    name[strcspn(name, "\n")] = '\0';
    if (f)
        fclose(f);
}

static bool find_holder(unsigned port, struct holder *ret)
{
    unsigned long inode = listening_inode("/proc/net/tcp", port);
    char target[64];
    struct dirent *entry;
    bool found = false;
    DIR *dir;

    if (inode == 0)
        inode = listening_inode("/proc/net/tcp6", port);
    if (inode == 0 || !(dir = opendir("/proc")))
        return false;
    snprintf(target, sizeof target, "socket:[%lu]", inode);
    while (!found && (entry = readdir(dir))) {
        if (!isdigit((unsigned char)entry->d_name[0]) || !has_socket(entry->d_name, target))
            continue;
        snprintf(ret->pid, sizeof ret->pid, "%.15s", entry->d_name);
        read_name(ret->pid, ret->name, sizeof ret->name);
        found = true;
    }
    closedir(dir);
    return found;
}

static enum err explain_taken(const char *address, const char *port, struct err_detail *detail)
{
    struct holder holder;

    if (find_holder((unsigned)atoi(port), &holder))
        return err_set(detail, ERR_UNAVAILABLE,
                       "cannot listen on %s: the port is taken by %s (process %s)", address,
                       holder.name, holder.pid);
    return err_set(detail, ERR_UNAVAILABLE, "cannot listen on %s: the port is taken", address);
}

enum err listen_explain(const char *address, const char *otherwise, struct err_detail *detail)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    char host[256], port[8];
    int error;

    if (!split(address, host, port) || getaddrinfo(host, port, &hints, &found) != 0)
        return err_set(detail, ERR_UNAVAILABLE, "cannot listen on %s: there is no such host",
                       address);
    error = try_address(found);
    freeaddrinfo(found);
    switch (error) {
    case EADDRINUSE:
        return explain_taken(address, port, detail);
    case EADDRNOTAVAIL:
        return err_set(detail, ERR_UNAVAILABLE,
                       "cannot listen on %s: it is not an address of this machine", address);
    case EACCES:
        return err_set(detail, ERR_UNAVAILABLE,
                       "cannot listen on %s: the port takes more rights than this process has",
                       address);
    case 0:
        return err_set(detail, ERR_UNAVAILABLE, "cannot listen on %s: %s", address, otherwise);
    default:
        return err_set(detail, ERR_UNAVAILABLE, "cannot listen on %s: %s", address,
                       strerrordesc_np(error));
    }
}
