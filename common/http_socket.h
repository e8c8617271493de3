/* The sockets behind an HTTP server. civetweb does not tell its connections' descriptors, so they
 * are found by looking through this process's: a connection is known by its peer. Linux only.
 */
#ifndef TIDINGS_HTTP_SOCKET_H
#define TIDINGS_HTTP_SOCKET_H

#include <stdbool.h>
#include <stdint.h>

/* A peer's address and port in one number; 0: none. */
uint64_t http_peer_parse(const char *address, int port);
/* The peer of a connection whose own end has this port; 0: the descriptor is no such thing. */
uint64_t http_socket_peer(int fd, uint16_t own_port);
/* Calls `each` for all connections that have this port at our end, until it returns false. */
void http_sockets_each(uint16_t own_port, bool (*each)(int fd, uint64_t peer, void *ctx),
                       void *ctx);
/* The socket that listens on the port; negative: none. */
int http_socket_listening(uint16_t port);

struct http_arrival {
    int unread;             /* bytes that wait to be read */
    int64_t silent_ms;      /* since the last data arrived */
    uint64_t bytes_arrived; /* since the connection began */
};
bool http_socket_arrival(int fd, struct http_arrival *ret);
/* Connections that wait to be accepted. */
uint32_t http_socket_backlog(int listening);

#endif
