/* The sockets behind an HTTP server. civetweb does not tell its connections' descriptors, so they
 * are found by looking through this process's: a connection is known by its peer. Linux only.
 */
#ifndef TIDINGS_HTTP_SOCKET_H
#define TIDINGS_HTTP_SOCKET_H

#include "common/err.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>

/* A peer's address and port in one number; 0: none. */
uint64_t http_peer_parse(const char *address, int port);
/* The peer of a connection whose own end has this port; 0: the descriptor is no such thing. */
uint64_t http_socket_peer(int fd, uint16_t own_port);
/* Sees to it that this process may have so many open files, by raising its soft limit if need be.
 * ERR_UNAVAILABLE: the hard limit is lower. */
must_check enum err http_descriptors_allow(uint64_t count, struct err_detail *detail);
/* This process's descriptors, to look through again and again: kept open, since looking must also
 * work when no descriptor is left. One thread at a time. NULL: errno says why; closedir ends it. */
DIR *http_descriptors_open(void);
/* Calls `each` for all connections that have this port at our end, until it returns false. False:
 * the descriptors could not be looked through. */
must_check bool http_sockets_each(DIR *descriptors, uint16_t own_port,
                                  bool (*each)(int fd, uint64_t peer, void *ctx), void *ctx);
/* The socket that listens on the port; negative: none. */
int http_socket_listening(DIR *descriptors, uint16_t port);

struct http_arrival {
    int unread;             /* bytes that wait to be read */
    int64_t silent_ms;      /* since the last data arrived */
    uint64_t bytes_arrived; /* since the connection began */
    bool open;              /* neither side has ended it */
};
bool http_socket_arrival(int fd, struct http_arrival *ret);
/* How many bytes have been read from the socket since the connection began. False: the kernel does
 * not tell. */
must_check bool http_socket_taken(int fd, uint64_t *ret);
/* Connections that wait to be accepted. */
uint32_t http_socket_backlog(int listening);

#endif
