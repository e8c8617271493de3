#include "common/rpc_descriptors.h"

#include "common/mem.h"
#include "common/proto_arena.h"

#include "google/protobuf/descriptor.pb-c.h"

#include <stdlib.h>

struct rpc_descriptor_file {
    struct view name;
    struct view bytes;
    /* Files this one needs, itself included: one byte a file, 1 for those. */
    unsigned char *needs;
};

struct symbol {
    struct view name;
    uint32_t file;
};

struct rpc_descriptors {
    struct proto_arena arena; /* owns all below */
    struct rpc_descriptor_file *files;
    struct symbol *symbols; /* sorted by name */
    size_t file_count, symbol_count, symbol_room;
};

/* ---- collecting ---- */

/* What a walk through one file does: counts its symbols, or adds them. */
struct walk {
    struct rpc_descriptors *descriptors;
    uint32_t file;
    bool count_only;
};

/* Adds scope.name; returns its full name (empty in a walk that only counts). */
static struct view add(struct walk *walk, struct view scope, const char *name)
{
    struct rpc_descriptors *d = walk->descriptors;
    if (walk->count_only) {
        d->symbol_room++;
        return VIEW("");
    }
    size_t len = scope.len + (scope.len != 0) + strlen(name);
    char *full = proto_arena_alloc(&d->arena, 1, len + 1);
    if (!full)
        return VIEW("");
    memcpy(full, scope.data, scope.len);
    if (scope.len)
        full[scope.len] = '.';
    memcpy(full + len - strlen(name), name, strlen(name) + 1);
    d->symbols[d->symbol_count++] = (struct symbol){{full, len}, walk->file};
    return (struct view){full, len};
}

static void add_enum(struct walk *walk, struct view scope,
                     const Google__Protobuf__EnumDescriptorProto *e)
{
    add(walk, scope, e->name);
    for (size_t i = 0; i < e->n_value; i++)
        add(walk, scope, e->value[i]->name); /* values are the enum's siblings, as in C++ */
}

static void add_message(struct walk *walk, struct view scope,
                        const Google__Protobuf__DescriptorProto *m)
{
    struct view name = add(walk, scope, m->name);
    for (size_t i = 0; i < m->n_field; i++)
        add(walk, name, m->field[i]->name);
    for (size_t i = 0; i < m->n_oneof_decl; i++)
        add(walk, name, m->oneof_decl[i]->name);
    for (size_t i = 0; i < m->n_enum_type; i++)
        add_enum(walk, name, m->enum_type[i]);
    for (size_t i = 0; i < m->n_nested_type; i++)
        add_message(walk, name, m->nested_type[i]);
}

static void add_file(struct walk *walk, const Google__Protobuf__FileDescriptorProto *file)
{
    struct view package = view_of(file->package ? file->package : "");
    for (size_t i = 0; i < file->n_message_type; i++)
        add_message(walk, package, file->message_type[i]);
    for (size_t i = 0; i < file->n_enum_type; i++)
        add_enum(walk, package, file->enum_type[i]);
    for (size_t i = 0; i < file->n_service; i++) {
        const Google__Protobuf__ServiceDescriptorProto *service = file->service[i];
        struct view name = add(walk, package, service->name);
        for (size_t k = 0; k < service->n_method; k++)
            add(walk, name, service->method[k]->name);
    }
}

static int compare_views(struct view a, struct view b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.data, b.data, len) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_symbols(const void *a, const void *b)
{
    const struct symbol *x = a;
    const struct symbol *y = b;
    return compare_views(x->name, y->name);
}

static void collect_symbols(struct rpc_descriptors *d,
                            const Google__Protobuf__FileDescriptorSet *set)
{
    for (int pass = 0; pass < 2 && !d->arena.failed; pass++) {
        if (pass == 1)
            d->symbols = proto_arena_alloc(&d->arena, d->symbol_room, sizeof *d->symbols);
        if (d->arena.failed)
            return;
        for (size_t i = 0; i < set->n_file; i++)
            add_file(&(struct walk){d, (uint32_t)i, pass == 0}, set->file[i]);
    }
    if (d->symbol_count)
        qsort(d->symbols, d->symbol_count, sizeof *d->symbols, compare_symbols);
}

/* False: a dependency is not among the files before it. */
static bool collect_file(struct rpc_descriptors *d, const Google__Protobuf__FileDescriptorSet *set,
                         size_t index)
{
    const Google__Protobuf__FileDescriptorProto *from = set->file[index];
    struct rpc_descriptor_file *file = &d->files[index];
    size_t size = google__protobuf__file_descriptor_proto__get_packed_size(from);
    char *bytes = proto_arena_alloc(&d->arena, 1, size);
    file->needs = proto_arena_alloc(&d->arena, set->n_file, 1);
    if (d->arena.failed || !from->name)
        return false;
    google__protobuf__file_descriptor_proto__pack(from, (uint8_t *)bytes);
    file->bytes = (struct view){bytes, size};
    file->name = view_of(from->name);
    memset(file->needs, 0, set->n_file);
    file->needs[index] = 1;
    for (size_t k = 0; k < from->n_dependency; k++) {
        const struct rpc_descriptor_file *needed =
            rpc_descriptors_file(d, view_of(from->dependency[k]));
        if (!needed)
            return false;
        for (size_t i = 0; i < set->n_file; i++)
            file->needs[i] |= needed->needs[i];
    }
    d->file_count = index + 1;
    return true;
}

static bool collect(struct rpc_descriptors *d, struct view bytes)
{
    const Google__Protobuf__FileDescriptorSet *set = google__protobuf__file_descriptor_set__unpack(
        &d->arena.allocator, bytes.len, (const uint8_t *)bytes.data);
    if (!set)
        return false;
    d->files = proto_arena_alloc(&d->arena, set->n_file, sizeof *d->files);
    if (!d->files)
        return false;
    for (size_t i = 0; i < set->n_file; i++) {
        if (!collect_file(d, set, i))
            return false;
    }
    collect_symbols(d, set);
    return !d->arena.failed;
}

enum err rpc_descriptors_new(struct view set, struct rpc_descriptors **ret)
{
    struct rpc_descriptors *d = mem_zero(1, sizeof *d);
    if (!d)
        return ERR_MEMORY;
    proto_arena_init(&d->arena, NULL, 0, 16 * 1024);
    if (!collect(d, set)) {
        enum err e = d->arena.failed ? ERR_MEMORY : ERR_MALFORMED;
        rpc_descriptors_free(d);
        return e;
    }
    *ret = d;
    return ERR_NONE;
}

void rpc_descriptors_free(struct rpc_descriptors *descriptors)
{
    if (!descriptors)
        return;
    proto_arena_free(&descriptors->arena);
    mem_free(descriptors);
}

/* ---- looking up ---- */

size_t rpc_descriptors_count(const struct rpc_descriptors *descriptors)
{
    return descriptors->file_count;
}

const struct rpc_descriptor_file *rpc_descriptors_file(const struct rpc_descriptors *descriptors,
                                                       struct view name)
{
    for (size_t i = 0; i < descriptors->file_count; i++) {
        if (view_equal(descriptors->files[i].name, name))
            return &descriptors->files[i];
    }
    return NULL;
}

const struct rpc_descriptor_file *rpc_descriptors_symbol(const struct rpc_descriptors *descriptors,
                                                         struct view symbol)
{
    const struct symbol *found = NULL;
    if (descriptors->symbol_count)
        found = bsearch(&(struct symbol){.name = symbol}, descriptors->symbols,
                        descriptors->symbol_count, sizeof *found, compare_symbols);
    return found ? &descriptors->files[found->file] : NULL;
}

size_t rpc_descriptors_closure(const struct rpc_descriptors *descriptors,
                               const struct rpc_descriptor_file *file, struct view *ret)
{
    size_t count = 0;
    ret[count++] = file->bytes;
    for (size_t i = 0; i < descriptors->file_count; i++) {
        if (file->needs[i] && &descriptors->files[i] != file)
            ret[count++] = descriptors->files[i].bytes;
    }
    return count;
}
