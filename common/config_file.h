/* The YAML file's nodes, between config_file.c and config_handlers.c: the two that know libyaml.
 */
#ifndef TIDINGS_CONFIG_FILE_H
#define TIDINGS_CONFIG_FILE_H

#include "common/config_parts.h"

#include <yaml.h>

struct config_file {
    struct config_loader *loader;
    const char *path;
    struct view bytes; /* all of it */
    yaml_document_t document;
};

/* Says what is wrong at the node: "<path>:<line>: <key>: ..."; a key of NULL is left out. */
void config_file_problem(struct config_file *file, const yaml_node_t *node, const char *key,
                         const char *format, ...) __attribute__((format(printf, 4, 5)));

yaml_node_t *config_file_node(struct config_file *file, yaml_node_item_t id);
/* A scalar's text; anything else: an empty view. */
struct view config_file_text(const yaml_node_t *node);
/* Nothing, `~` or `null`, without quotes. */
bool config_file_is_null(const yaml_node_t *node);

/* Calls `member` for each member of a mapping whose key is a scalar and not a repetition; says
 * so of the others. */
typedef void (*config_member_fn)(struct config_file *file, const yaml_node_t *key,
                                 yaml_node_t *value, void *ctx);
void config_file_each(struct config_file *file, yaml_node_t *mapping, config_member_fn member,
                      void *ctx);
/* Gives a setting of `values` the node's value, or says what is wrong with it. */
void config_file_apply(struct config_file *file, const yaml_node_t *node,
                       const struct config_setting *setting, void *values);

/* Reads the list under `handlers:` into the loader. */
void config_handlers_load(struct config_file *file, yaml_node_t *node);

#endif
