/* What one Raft log entry holds: an envelope and bundles of commands.
 *
 * A bundle is what one node collected in a moment; the leader puts its own and those that were
 * forwarded to it into one entry. Pure functions, any thread.
 *
 *   envelope   u8 version, u8 feature level, u16 flags, u32 group, u64 term, u64 time_ms,
 *              u32 number of bundles, u32 size of all bundles, u64 checksum of the rest
 *   bundle     u64 origin, u64 boot, u64 sequence, u32 number of commands, u32 size of all commands
 *   command    u32 size, bytes (see command.h)
 *   padding    zeros up to a multiple of 8, as libraft wants it
 *
 * The checksum is the XXH3-64 of the bundles; its seed is the XXH3-64 of the envelope with the
 * checksum as 0. All numbers are little-endian. */
#ifndef HOLDFAST_STORAGE_ENTRY_H
#define HOLDFAST_STORAGE_ENTRY_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"

#define ENTRY_VERSION       1
#define ENTRY_HEADER_BYTES  40
#define BUNDLE_HEADER_BYTES 32

/* Set by the leader while a voter is short of disk: what adds is refused on execution, unless it
 * is the repetition of something that was executed before. */
#define ENTRY_FLAG_STORAGE_FULL 1u
/* The first entry after a new leader was elected: leases get one full time-to-live. */
#define ENTRY_FLAG_NEW_LEADER 2u
#define ENTRY_FLAGS_KNOWN     3u

struct entry {
    uint8_t feature_level; /* Whoever executes it must know this one (feature.h). */
    uint16_t flags;
    uint64_t term;    /* The term of the leader that proposed it. */
    uint64_t time_ms; /* The cluster's time: milliseconds since 1970. */
    uint32_t n_bundles;
    struct slice bundles; /* Borrowed; walk it with entry_next_bundle(). */
};

struct bundle {
    uint64_t origin;   /* Id of the node that collected it. */
    uint64_t boot;     /* Drawn anew at each start of that node. */
    uint64_t sequence; /* From 1, rising by 1 with each bundle of one boot. */
    uint32_t n_commands;
    struct slice commands; /* Borrowed; walk it with bundle_next_command(). */
};

/* Start an entry in @buffer, which must be empty. */
void entry_begin(struct buffer *buffer, unsigned feature_level, uint16_t flags, uint64_t term,
                 uint64_t time_ms);

/* Append a bundle in its encoded form (header and commands), copied. */
void entry_add_bundle(struct buffer *buffer, struct slice bundle);

/* Fill in the counts and the checksum, and pad. */
void entry_finish(struct buffer *buffer);

/* Check the whole entry, down to the bounds of each command, and read its envelope.
 *
 * STATUS_CORRUPT: checksum or bounds are wrong. STATUS_UNSUPPORTED: version, flags or group are
 * of a later program; the node must stop before executing it. */
MUST_USE enum status entry_decode(struct slice bytes, struct entry *entry, struct error *error);

/* The next bundle of a decoded entry; false behind the last. @walk starts as entry->bundles. */
bool entry_next_bundle(struct slice *walk, struct bundle *bundle);

/* Start a bundle at the end of @buffer and give the offset for bundle_finish(). */
size_t bundle_begin(struct buffer *buffer, uint64_t origin, uint64_t boot, uint64_t sequence);
void bundle_add_command(struct buffer *buffer, struct slice command);
void bundle_finish(struct buffer *buffer, size_t offset, uint32_t n_commands);

/* Check the bounds of one encoded bundle that came from elsewhere. STATUS_CORRUPT if wrong. */
MUST_USE enum status bundle_decode(struct slice bytes, struct bundle *bundle);

/* The next command of a bundle; false behind the last. @walk starts as bundle->commands. */
bool bundle_next_command(struct slice *walk, struct slice *command);

#endif
