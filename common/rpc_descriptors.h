/* An index over a google.protobuf.FileDescriptorSet: files by name, and by the symbols they
 * declare. Immutable once made, hence thread-safe.
 */
#ifndef TIDINGS_RPC_DESCRIPTORS_H
#define TIDINGS_RPC_DESCRIPTORS_H

#include "common/buf.h"

struct rpc_descriptors;
struct rpc_descriptor_file;

/* `set` must hold each file's dependencies, before it (protoc --include_imports does), and is not
 * needed afterwards. ERR_MALFORMED, ERR_MEMORY. */
must_check enum err rpc_descriptors_new(struct view set, struct rpc_descriptors **ret);
void rpc_descriptors_free(struct rpc_descriptors *descriptors);

size_t rpc_descriptors_count(const struct rpc_descriptors *descriptors); /* of files */
/* NULL: there is none. A symbol is the full name of a message, field, oneof, enum, value, service
 * or method. */
const struct rpc_descriptor_file *rpc_descriptors_file(const struct rpc_descriptors *descriptors,
                                                       struct view name);
const struct rpc_descriptor_file *rpc_descriptors_symbol(const struct rpc_descriptors *descriptors,
                                                         struct view symbol);
/* The file and all it needs, each once and encoded as a FileDescriptorProto; returns how many.
 * `ret` has room for rpc_descriptors_count. */
size_t rpc_descriptors_closure(const struct rpc_descriptors *descriptors,
                               const struct rpc_descriptor_file *file, struct view *ret);

#endif
